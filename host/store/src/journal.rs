//! How commits become durable, and what of them is done again when the store of a host that was killed is opened.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    database::{Changes, Database},
    error::StoreError,
    flusher::{Flusher, Pace},
    key,
    memtable::Layer,
    options::Durability,
    shared::Shared,
    wal::{self, Number, Room, Wal},
};

/// Belongs to the writer.
pub(crate) struct Journal {
    /// None with [`Durability::Interval`]: commits are durable when a flush has brought them to the tree.
    wal: Option<Wal>,
    pub(crate) flusher: Flusher,
    shared: Arc<Shared>,
}

/// After so many slots that are to be made small there is a flush.
const MADE_SMALL_MAX: usize = 256;
/// After so many entries there is a flush, also when no file of the log is full: who lists entries passes over those that are deleted. A
/// file of long messages has some 2,500 entries, and a flush before it is full would only delay the next.
const ENTRIES_MAX: usize = 16 * 1024;
/// After so many bytes of commits that are in no log there is a flush: they go to the tree as one. See [`crate::memtable`].
const UNLOGGED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// When nothing was committed for so long there is a flush too, so that the next host has nothing to make again.
const QUIET: Duration = Duration::from_secs(1);

impl Journal {
    /// Go on behind the commit `last`.
    pub(crate) fn start(shared: Arc<Shared>, durability: Durability, last: Number) -> Result<Self, StoreError> {
        let (wal, pace) = match durability {
            Durability::Fsync => (Some(Wal::open(&shared.path, last)?), Pace::WhenQuiet(QUIET)),
            Durability::Interval { flush_ms } => (None, Pace::Every(Duration::from_millis(flush_ms.max(1)))),
        };
        let flusher = Flusher::start(Arc::clone(&shared), pace)?;
        Ok(Self { wal, flusher, shared })
    }

    /// Commit these changes: all or none. With [`Durability::Fsync`] they are durable when this returns.
    pub(crate) fn commit(&mut self, changes: Changes) -> Result<(), StoreError> {
        let memtable = &self.shared.database.memtable;
        let Some(wal) = &mut self.wal else {
            let bytes = memtable.put_unlogged(changes);
            return self.flush_when(bytes >= UNLOGGED_BYTES_MAX);
        };
        match wal.room_for(&changes) {
            Room::Nowhere => {
                // Alone, because it cannot be given to sled in pieces.
                self.flusher.flush_here(&self.shared)?;
                memtable.put_unlogged(changes);
                return self.flusher.flush_here(&self.shared);
            }
            Room::InTheOtherFile => {
                // The one before it has made durable in the tree what the other file has.
                self.flusher.begin_next();
                self.shared.check()?;
                wal.turn();
            }
            Room::Here => {}
        }
        wal.append(&changes)?;
        let entries = memtable.put(changes, wal.last());
        self.flush_when(entries >= ENTRIES_MAX)
    }

    /// These slots are free, and to be made small in the tree.
    pub(crate) fn make_small(&mut self, slots: Vec<u32>) -> Result<(), StoreError> {
        let is_due = !slots.is_empty() && self.shared.database.memtable.make_small(slots) >= MADE_SMALL_MAX;
        self.flush_when(is_due)
    }

    fn flush_when(&self, is_due: bool) -> Result<(), StoreError> {
        if is_due {
            self.flusher.begin();
            self.shared.check()?;
        }
        Ok(())
    }
}

/// Make the changes of the commits that the last host may not have brought to the tree. Answers which one was the last. They are durable
/// there then.
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
    Layer::again(records).apply(database)?;
    Ok(last)
}

fn applied(database: &Database) -> Result<Number, StoreError> {
    let key = key::applied();
    let Some(found) = database.read(&key)? else { return Ok(0) };
    let number = found.first_chunk().copied().map(Number::from_le_bytes);
    number.ok_or_else(|| StoreError::damaged(key::describe(&key), "it is shorter than a number"))
}
