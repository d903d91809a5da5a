//! How commits become durable, and what of them is done again when the store of a host that was killed is opened.

use std::{path::Path, sync::Arc};

use crate::{
    checkpoint::Checkpoints,
    database::{Change, Changes, Database},
    error::StoreError,
    key::{self, KeyRange},
    shared::Shared,
    value::Payload,
    wal::{self, Number, Room, Wal},
};

/// With [`crate::Durability::Fsync`].
pub(crate) struct Journal {
    wal: Wal,
    checkpoints: Checkpoints,
    shared: Arc<Shared>,
}

impl Journal {
    /// Go on behind the commit `last`.
    pub(crate) fn start(shared: Arc<Shared>, last: Number) -> Result<Self, StoreError> {
        let wal = Wal::open(&shared.path, last)?;
        let checkpoints = Checkpoints::start(Arc::clone(&shared))?;
        Ok(Self { wal, checkpoints, shared })
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
/// When the log is damaged. Nothing was changed then. And when the changes cannot be made.
pub(crate) fn finish(folder: &Path, database: &Database) -> Result<Number, StoreError> {
    refuse_redo(folder, database)?;
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

/// A host of format 3 that was killed may have left a commit in part. One that ended has left what filled the record's page.
fn refuse_redo(folder: &Path, database: &Database) -> Result<(), StoreError> {
    if database.find_as_it_is(&key::redo())?.is_some() {
        let problem = "a host of format 3 was killed; start that version once and stop it with SIGTERM".to_owned();
        return Err(StoreError::NotAStore { path: folder.to_owned(), problem });
    }
    let fillings = database.range(&KeyRange::of_kind(key::REDO)).map(|entry| Ok((entry?.0.to_vec(), None)));
    database.apply_in_order(fillings.collect::<Result<Vec<_>, StoreError>>()?)
}
