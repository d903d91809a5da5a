//! The one writer.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use wasmill_delivery::{
    name::{ConsumerId, QueueId},
    write::{Recovered, Write},
};

use crate::{
    commit::{Commit, Memory, Ready},
    components::Components,
    database::{Alone, Change, Changes, Database},
    error::StoreError,
    folder::{self, Folder},
    journal::{self, Journal},
    options::StoreOptions,
    reader::Reader,
    recover,
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
    journal: Journal,
    /// What is committed and not yet in the tree. Who reads waits for it.
    ahead: Option<(Changes, Alone)>,
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
            failed: OnceLock::new(),
            _lock: folder.lock,
        });
        let last = journal::finish(&shared.path, &shared.database)?;
        let memory = memory_of(&shared)?;
        folder::write_format(&shared.path)?;
        Slots::forget_written_down(&shared.database)?;
        // Commits of the write-ahead log do not come after it by themselves.
        shared.database.make_durable()?;
        let journal = Journal::start(Arc::clone(&shared), options.durability, last)?;
        Ok(Self { options, memory, components, is_committing: false, journal, ahead: None, shared })
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
    /// durable when this returns, or later with [`crate::Durability::Interval`]. With no writes it goes on sweeping, see
    /// [`Self::is_sweeping`].
    ///
    /// # Errors
    /// When the writes cannot be made durable. Then nobody knows what is on the disk until the store is opened
    /// again, so every later commit is refused with [`StoreError::Poisoned`].
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.commit_ahead(writes)?;
        self.catch_up()
    }

    /// As [`Self::commit`], but who reads waits for [`Self::catch_up`], which this thread has to call before it reads itself;
    /// only messages that the tail cache has can be read at once. Meanwhile one can tell others that it is committed.
    ///
    /// # Errors
    /// As those of [`Self::commit`].
    pub fn commit_ahead(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.catch_up()?;
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

    /// Let everybody read what was committed.
    ///
    /// # Errors
    /// When the disk cannot be read or written. What was committed stays so; later commits are refused with
    /// [`StoreError::Poisoned`].
    pub fn catch_up(&mut self) -> Result<(), StoreError> {
        let Some((changes, alone)) = self.ahead.take() else { return Ok(()) };
        let applied = self.shared.database.apply_alone(&alone, changes.made.into_iter().chain(changes.others));
        applied.inspect_err(|error| self.shared.poison(error))
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
        let ahead = changes.map_or(Ok(None), |changes| self.journal.commit(changes))?;
        self.ahead = ahead.map(|changes| (changes, self.shared.database.alone()));
        self.journal.made_small(self.memory.slots.take_made_small());
        self.shared.gone.replace(self.memory.sweep.open_ranges());
        for (queue, below) in trimmed {
            self.shared.tail.forget(queue, below);
        }
        for (queue, chunk) in appended {
            self.shared.tail.keep(queue, Arc::new(chunk));
        }
        Ok(())
    }

    /// Say how the store is left, so that the next host finds nothing to finish.
    fn end(&self, mark: impl IntoIterator<Item = Change>) -> Result<(), StoreError> {
        let database = &self.shared.database;
        database.apply_in_order(self.memory.slots.write_down().into_iter().chain(mark))?;
        database.make_durable()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // When it fails, that is remembered.
        let _ = self.catch_up();
        // Its thread has ended then, and said whether it failed.
        let mark = self.journal.end();
        // With a log, what was left half done is finished by the next one who opens the store.
        if self.shared.failed.get().is_some() || self.is_committing {
            return;
        }
        if let Err(error) = self.end(mark) {
            tracing::warn!(%error, "the end of the store could not be written; nothing that was durable is lost");
        }
    }
}

/// A removal may not have been swept to its end before the store was closed.
fn memory_of(shared: &Shared) -> Result<Memory, StoreError> {
    let mut memory = Memory::new(Slots::open(&shared.database)?);
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

#[cfg(test)]
mod tests {
    use wasmill_delivery::{
        name::{HandlerName, Sequence},
        record::{QueueConfig, QueueRecord},
    };

    use super::*;
    use crate::{chunk::tests::message, journal::MADE_SMALL_MAX};

    /// sled may move a page with each slot that is made small, and calls stable what the disk may not have.
    #[test]
    fn much_that_is_swept_is_flushed_between() {
        const CHUNKS: usize = 3_000;
        let folder = tempfile::tempdir().expect("a folder");
        let options = StoreOptions { chunk_bytes: 5_000, ..StoreOptions::default() };
        let mut store = Store::open(folder.path(), options).expect("opens");
        let (queue, name) = (QueueId(1), "q".parse().expect("good"));
        let record = QueueRecord { id: queue, name, config: QueueConfig::default() };
        store.commit(&[Write::PutQueue { record }]).expect("is committed");
        let messages = vec![message(4_200); CHUNKS];
        store.commit(&[Write::Append { queue, first: Sequence(1), bytes_before: 0, messages }]).expect("is committed");
        let before = store.journal.flusher.begun();
        store.commit(&[Write::DeleteQueue { queue }]).expect("is committed");
        while store.is_sweeping() {
            store.commit(&[]).expect("is committed");
        }
        let begun = store.journal.flusher.begun() - before;
        // Of those that were asked for, the last may not have begun.
        assert!(begun + 1 >= CHUNKS / MADE_SMALL_MAX, "{begun} flushes");
    }

    /// Otherwise a file of the log would be written over whose commits are not durable in sled.
    #[test]
    fn a_file_of_the_log_is_not_written_over_when_a_flush_has_failed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
        store.shared.failed.set("the disk is gone".to_owned()).expect("nothing failed before");
        let mut make = || store.journal.commit(Changes { made: Vec::new(), others: vec![(b"k".to_vec(), None)] });
        let made = (0..1_000).take_while(|_| make().is_ok()).count();
        assert!((200..256).contains(&made), "a file has room for less than 256 commits: {made}");
        let error = make().err().expect("it stays so").to_string();
        assert!(error.contains("the disk is gone"), "{error}");
    }

    /// A panic of sled, say, after any of the changes.
    #[test]
    fn a_commit_that_panicked_is_finished_by_the_next_host() {
        let handler = HandlerName::new("h").expect("good");
        let names = ["a", "b", "c"];
        let put = |value: &'static str| {
            names.map(|key| Write::PutState { handler: handler.clone(), key: key.to_owned(), value: value.into() })
        };
        let keys = names.map(|name| crate::key::state(&handler, name));
        for made in 0..=names.len() {
            let folder = tempfile::tempdir().expect("a folder");
            let mut store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
            store.commit(&put("before")).expect("is committed");
            let before =
                keys.clone().map(|key| store.shared.database.find_as_it_is(&key).expect("reads").expect("there"));
            store.commit(&put("after")).expect("is committed");
            store.is_committing = true;
            let not_made = keys.iter().cloned().zip(before).skip(made).map(|(key, value)| (key, Some(value.to_vec())));
            store.shared.database.apply_in_order(not_made).expect("applies");

            let refused = store.commit(&[]).expect_err("nobody knows what a commit after it would mean");
            assert!(refused.to_string().contains("a panic in the midst of a commit"), "{refused}");
            drop(store);
            let reader = Store::open(folder.path(), StoreOptions::default()).expect("opens").reader();
            for name in names {
                let found = reader.state(&handler, name).expect("reads");
                assert_eq!(found.as_deref(), Some(b"after".as_slice()), "{name}, {made} made");
            }
        }
    }
}
