//! How commits become durable, and what of them is done again when the store of a host that was killed is opened.

use std::{path::Path, sync::Arc};

use crate::{
    checkpoint::Checkpoints,
    database::{Change, Changes, Database},
    error::StoreError,
    key,
    shared::Shared,
    value::Payload,
    wal::{self, Number, Room, Wal},
};

/// With [`crate::Durability::Fsync`].
pub(crate) struct Journal {
    wal: Wal,
    checkpoints: Checkpoints,
    /// How often the store has swept since the last checkpoint, without a commit.
    swept: u32,
    shared: Arc<Shared>,
}

/// After so many there is a checkpoint: each may move 64 pages of 32 KiB, and see [`wal::FILE_BYTES`].
const SWEPT_MAX: u32 = 4;

impl Journal {
    /// Go on behind the commit `last`.
    pub(crate) fn start(shared: Arc<Shared>, last: Number) -> Result<Self, StoreError> {
        let wal = Wal::open(&shared.path, last)?;
        let checkpoints = Checkpoints::start(Arc::clone(&shared))?;
        Ok(Self { wal, checkpoints, swept: 0, shared })
    }

    pub(crate) const fn last(&self) -> Number {
        self.wal.last()
    }

    /// Make these changes: all or none, and durable when this returns.
    pub(crate) fn make(&mut self, changes: Changes) -> Result<(), StoreError> {
        let Changes { made, others } = changes;
        match self.wal.room_for(&made, &others) {
            Room::Nowhere => return self.make_as_batch(made, others),
            Room::InTheOtherFile => self.turn()?,
            Room::Here => {}
        }
        self.wal.append(&made, &others)?;
        self.shared.database.apply_in_order(made.into_iter().chain(others))
    }

    /// Something was changed that was no commit.
    pub(crate) fn idle(&mut self) {
        self.swept += 1;
        if self.swept >= SWEPT_MAX {
            self.swept = 0;
            self.checkpoints.begin_next();
        }
    }

    fn make_as_batch(&self, made: Vec<Change>, mut others: Vec<Change>) -> Result<(), StoreError> {
        others.extend(mark(self.wal.last()));
        apply_as_batch(&self.shared.database, Changes { made, others })?;
        self.shared.database.make_durable()
    }

    /// Go on in the other file.
    fn turn(&mut self) -> Result<(), StoreError> {
        self.shared.database.apply_in_order(mark(self.wal.last()))?;
        // The one before it has made durable what the other file has.
        self.checkpoints.begin_next();
        if let Some(first) = self.shared.failed.get() {
            return Err(StoreError::Poisoned { first: first.clone() });
        }
        self.wal.turn();
        Ok(())
    }
}

/// Make these changes: all or none, and durable with [`Database::make_durable`].
pub(crate) fn apply_as_batch(database: &Database, changes: Changes) -> Result<(), StoreError> {
    // The batch is in no order. Slots that nobody uses do no harm.
    database.apply_in_order(changes.made)?;
    database.apply_as_batch(changes.others)
}

/// What says that all commits up to this one are in the tree, behind their changes.
pub(crate) fn mark(last: Number) -> impl IntoIterator<Item = Change> {
    Payload::of(&last.to_le_bytes()).seal(key::applied()).into_iter().map(|(key, value)| (key, Some(value)))
}

/// Make the changes of the commits that the last host may not have brought to the tree. Answers which one was the last.
///
/// # Errors
/// When the log is damaged, or the store was left by a host of format 3 that was killed. Nothing was changed then. And when the
/// changes cannot be made.
pub(crate) fn finish(folder: &Path, database: &Database) -> Result<Number, StoreError> {
    if database.find_as_it_is(&key::redo())?.is_some() {
        return Err(StoreError::UnfinishedFormat { path: folder.to_owned() });
    }
    let applied = applied(database)?;
    let records = wal::read_after(folder, applied)?;
    let Some(last) = records.last().map(|record| record.number) else { return Ok(applied) };
    tracing::info!(commits = records.len(), "the last host was killed; its last commits are brought to the tree");
    for record in records {
        database.apply_in_order(record.changes)?;
    }
    database.apply_in_order(mark(last))?;
    database.make_durable()?;
    Ok(last)
}

fn applied(database: &Database) -> Result<Number, StoreError> {
    let key = key::applied();
    let Some(found) = database.read(&key)? else { return Ok(0) };
    let number = found.first_chunk().copied().map(Number::from_le_bytes);
    number.ok_or_else(|| StoreError::damaged(key::describe(&key), "it is shorter than a number"))
}
