//! The one writer.

use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use wasmill_delivery::{
    name::{ConsumerId, QueueId},
    write::{Recovered, Write},
};

use crate::{
    commit::{Commit, Memory, Ready},
    components::Components,
    database::Database,
    error::StoreError,
    flusher::Flusher,
    folder::{self, Folder},
    options::{Durability, StoreOptions},
    reader::Reader,
    recover, redo,
    shared::Shared,
    slots::Slots,
    staging::Staging,
    sweep::Gone,
    tail::Tail,
};

/// A store that is open, and its only writer. Its folder stays locked until it and all its readers are dropped.
///
/// All its methods block: give it a thread of its own.
pub struct Store {
    options: StoreOptions,
    memory: Memory,
    components: Components,
    /// Still true when a commit has failed or panicked.
    is_committing: bool,
    /// Before `shared`, so that it flushes while the database is there.
    _flusher: Option<Flusher>,
    shared: Arc<Shared>,
}

impl Store {
    /// Open the store in the folder `path`. What is missing is made, the folder too.
    ///
    /// # Errors
    /// When the folder cannot be made, read or written, when another process has the store open, when its format is
    /// newer than this program, or when its database is damaged. The error names the folder and says what to do.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let folder = Folder::open(path)?;
        let components = Components::new(&folder.components());
        let shared = Arc::new(Shared {
            path: folder.path.clone(),
            database: Database::open(&folder.database(), &options)?,
            tail: Tail::new(options.log_cache_bytes),
            gone: Gone::default(),
            dirty: AtomicBool::new(false),
            failed: OnceLock::new(),
            _lock: folder.lock,
        });
        let memory = memory_of(&shared)?;
        folder::write_format(&shared.path)?;
        Slots::forget_written_down(&shared.database)?;
        redo::fill_page(&shared.database)?;
        let flusher = flusher_for(options.durability, &shared)?;
        Ok(Self { options, memory, components, is_committing: false, _flusher: flusher, shared })
    }

    /// Visit all that is durable, in the order that [`Recovered`] documents. It streams: memory does not grow with
    /// what is stored. Of a log it reads the first and the last chunk. Counters are visited when some were put.
    ///
    /// # Errors
    /// When something of it is damaged or cannot be read. What was visited before is sound.
    pub fn recover(&self, visit: &mut dyn FnMut(Recovered)) -> Result<(), StoreError> {
        recover::recover(&self.shared, visit)
    }

    /// Commit writes: all or nothing, in their order, so that a later one sees what an earlier one did. It is
    /// durable when this returns, or later with [`Durability::Interval`]. With no writes it goes on sweeping, see
    /// [`Self::is_sweeping`].
    ///
    /// # Errors
    /// When the writes cannot be made durable. Then nobody knows what is on the disk until the store is opened
    /// again, so every later commit is refused with [`StoreError::Poisoned`].
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if let Some(first) = self.shared.failed.get() {
            return Err(StoreError::Poisoned { first: first.clone() });
        }
        if self.is_committing {
            return Err(StoreError::Poisoned { first: "a panic in the midst of a commit".to_owned() });
        }
        self.is_committing = true;
        self.try_commit(writes).inspect_err(|error| self.shared.poison(error))?;
        self.is_committing = false;
        Ok(())
    }

    /// Whether something that was deleted still takes space, because commits delete a bounded number of entries
    /// each. An idle host may commit nothing until it is false.
    #[must_use]
    pub fn is_sweeping(&self) -> bool {
        !self.memory.sweep.is_done() || !self.memory.slots.are_small()
    }

    /// Something to read with.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }

    /// Handlers' components.
    #[must_use]
    pub fn components(&self) -> Components {
        self.components.clone()
    }

    fn try_commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let staging = Staging::new(&self.shared.database);
        let mut commit = Commit::new(staging, &mut self.memory, self.options.chunk_bytes);
        writes.iter().try_for_each(|write| commit.stage(write))?;
        let Ready { changes, appended, trimmed } = commit.finish()?;
        if let Some(changes) = changes {
            changes.apply(&self.shared.database)?;
            self.make_durable()?;
        }
        self.shared.gone.replace(self.memory.sweep.open_ranges());
        for (queue, below) in trimmed {
            self.shared.tail.forget(queue, below);
        }
        for (queue, chunk) in appended {
            self.shared.tail.keep(queue, Arc::new(chunk));
        }
        Ok(())
    }

    fn make_durable(&self) -> Result<(), StoreError> {
        match self.options.durability {
            Durability::Fsync => self.shared.database.make_durable(),
            Durability::Interval { flush_ms: _ } => {
                self.shared.dirty.store(true, Ordering::Release);
                Ok(())
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // What was left half done is finished by the next one who opens the store.
        if self.shared.failed.get().is_some() || self.is_committing {
            return;
        }
        let ended = redo::end(&self.shared.database, self.memory.slots.write_down()).and_then(|()| self.make_durable());
        if let Err(error) = ended {
            tracing::warn!(%error, "the end of the store could not be written; nothing is lost");
        }
    }
}

/// What the last host left half done is finished. A removal may not have been swept to its end before the store was closed.
fn memory_of(shared: &Shared) -> Result<Memory, StoreError> {
    let may_be_filled = redo::finish(&shared.database)?;
    let mut memory = Memory::new(Slots::open(&shared.database, &may_be_filled)?);
    let (queues, consumers) = recover::orphans(shared)?;
    for queue in queues {
        memory.sweep.remove_logs(QueueId(queue));
    }
    for consumer in consumers {
        memory.sweep.remove_pending(ConsumerId(consumer));
    }
    shared.gone.replace(memory.sweep.open_ranges());
    Ok(memory)
}

fn flusher_for(durability: Durability, shared: &Arc<Shared>) -> Result<Option<Flusher>, StoreError> {
    match durability {
        Durability::Fsync => Ok(None),
        Durability::Interval { flush_ms } => Flusher::start(Arc::clone(shared), flush_ms).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use wasmill_delivery::name::HandlerName;

    use super::*;
    use crate::{redo::Changes, value::Payload};

    /// A panic of sled, say.
    #[test]
    fn a_commit_that_panicked_is_finished_by_the_next_host() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
        let handler = HandlerName::new("h").expect("good");
        let keys = ["a", "b"].map(|name| crate::key::state(&handler, name));
        let others =
            keys.iter().flat_map(|key| Payload::of(b"1").seal(key.clone())).map(|(key, value)| (key, Some(value)));
        let changes =
            Changes { filled: Vec::new(), filled_are_named: true, others: others.collect(), named: Vec::new() };
        // All of it was made but the last change.
        store.is_committing = true;
        changes.apply(&store.shared.database).expect("applies");
        store.shared.database.apply_in_order([(keys[1].clone(), None)]).expect("applies");

        let refused = store.commit(&[]).expect_err("nobody knows what a commit after it would mean");
        assert!(refused.to_string().contains("a panic in the midst of a commit"), "{refused}");
        drop(store);
        let store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
        for name in ["a", "b"] {
            assert_eq!(
                store.reader().state(&handler, name).expect("reads").as_deref(),
                Some(b"1".as_slice()),
                "{name}"
            );
        }
    }
}
