//! How commits become durable, and what of them is done again when the store of a host that was killed is opened.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    database::{Change, Changes, Database},
    error::StoreError,
    flusher::Flusher,
    key,
    options::Durability,
    shared::Shared,
    value::Payload,
    wal::{self, Number, Room, Wal},
};

/// Belongs to the writer.
pub(crate) struct Journal {
    way: Way,
    pub(crate) flusher: Flusher,
    /// Slots that were made small since a flush began because of that.
    made_small: usize,
    shared: Arc<Shared>,
}

/// How a commit is made.
enum Way {
    /// With [`Durability::Fsync`].
    Log(Wal),
    /// Commits are in the tree alone, and durable later.
    Tree {
        /// The last commit of the write-ahead log when the store was opened.
        last: Number,
    },
}

impl Way {
    const fn last(&self) -> Number {
        match self {
            Self::Log(wal) => wal.last(),
            Self::Tree { last } => *last,
        }
    }
}

/// After so many slots there is a flush: with each, sled may move a page of 32 KiB, and see [`wal::FILE_BYTES`].
pub(crate) const MADE_SMALL_MAX: usize = 256;

impl Journal {
    /// Go on behind the commit `last`.
    pub(crate) fn start(shared: Arc<Shared>, durability: Durability, last: Number) -> Result<Self, StoreError> {
        let (way, every) = match durability {
            Durability::Fsync => (Way::Log(Wal::open(&shared.path, last)?), None),
            Durability::Interval { flush_ms } => (Way::Tree { last }, Some(Duration::from_millis(flush_ms.max(1)))),
        };
        let flusher = Flusher::start(Arc::clone(&shared), every)?;
        Ok(Self { way, flusher, made_small: 0, shared })
    }

    /// Commit these changes: all or none. With [`Durability::Fsync`] they are durable when this returns. Answers those that are still
    /// to be applied, before anything else is.
    pub(crate) fn commit(&mut self, changes: Changes) -> Result<Option<Changes>, StoreError> {
        let Way::Log(wal) = &mut self.way else {
            self.apply_as_batch(changes)?;
            self.flusher.want();
            return Ok(None);
        };
        match wal.room_for(&changes) {
            Room::Nowhere => {
                self.make_as_batch(changes)?;
                return Ok(None);
            }
            Room::InTheOtherFile => turn(wal, &self.flusher, &self.shared)?,
            Room::Here => {}
        }
        wal.append(&changes)?;
        Ok(Some(changes))
    }

    /// So many slots were made small, in a commit or without one.
    pub(crate) fn made_small(&mut self, slots: usize) {
        self.made_small += slots;
        if self.made_small >= MADE_SMALL_MAX {
            self.made_small = 0;
            match self.way {
                Way::Log(_) => self.flusher.begin_next(),
                Way::Tree { .. } => self.flusher.want(),
            }
        }
    }

    /// Nothing is flushed any more by itself, and what was to be is. Answers what says that all commits are in the tree.
    pub(crate) fn end(&mut self) -> impl IntoIterator<Item = Change> + use<> {
        self.flusher.end();
        mark(self.way.last())
    }

    /// It comes after the last commit of the log.
    fn make_as_batch(&self, mut changes: Changes) -> Result<(), StoreError> {
        changes.others.extend(mark(self.way.last()));
        self.apply_as_batch(changes)?;
        self.shared.database.make_durable()
    }

    /// All or none. The batch is in no order; slots that nobody uses do no harm.
    fn apply_as_batch(&self, changes: Changes) -> Result<(), StoreError> {
        self.shared.database.apply_in_order(changes.made)?;
        self.shared.database.apply_as_batch(changes.others)
    }
}

/// Go on in the other file.
fn turn(wal: &mut Wal, flusher: &Flusher, shared: &Shared) -> Result<(), StoreError> {
    shared.database.apply_in_order(mark(wal.last()))?;
    // The one before it has made durable what the other file has.
    flusher.begin_next();
    if let Some(first) = shared.failed.get() {
        return Err(StoreError::Poisoned { first: first.clone() });
    }
    wal.turn();
    Ok(())
}

/// What says that all commits up to this one are in the tree, behind their changes.
fn mark(last: Number) -> impl Iterator<Item = Change> {
    Payload::of(&last.to_le_bytes()).changes(key::applied())
}

/// Make the changes of the commits that the last host may not have brought to the tree. Answers which one was the last. They are durable
/// there after [`Database::make_durable`], and until then in the log.
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
    Ok(last)
}

fn applied(database: &Database) -> Result<Number, StoreError> {
    let key = key::applied();
    let Some(found) = database.read(&key)? else { return Ok(0) };
    let number = found.first_chunk().copied().map(Number::from_le_bytes);
    number.ok_or_else(|| StoreError::damaged(key::describe(&key), "it is shorter than a number"))
}
