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
    database::Database,
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
        Ok(Self { options, memory, components, is_committing: false, journal, shared })
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
        self.shared.check()?;
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

    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
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
        // Who reads sees the changes at once, so what they hide is hidden before.
        let gone = self.memory.sweep.open_ranges();
        self.shared.gone.add(&gone);
        for (queue, below) in trimmed {
            self.shared.tail.forget(queue, below);
        }
        changes.map_or(Ok(()), |changes| self.journal.commit(changes))?;
        self.journal.make_small(self.memory.slots.take_small())?;
        self.shared.gone.replace(gone);
        for (queue, chunk) in appended {
            self.shared.tail.keep(queue, Arc::new(chunk));
        }
        Ok(())
    }

    /// Say how the store is left, so that the next host finds nothing to finish.
    fn end(&self) -> Result<(), StoreError> {
        let database = &self.shared.database;
        database.apply_in_order(self.memory.slots.write_down())?;
        database.make_durable()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Its thread has ended then, and said whether it failed.
        self.journal.flusher.end();
        // With a log, what was left half done is finished by the next one who opens the store.
        if self.shared.failed.get().is_some() || self.is_committing {
            return;
        }
        if let Err(error) = self.end() {
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
    use std::{
        sync::atomic::Ordering,
        time::{Duration, Instant},
    };

    use wasmill_delivery::{
        name::{HandlerName, Sequence},
        record::{QueueConfig, QueueRecord},
    };

    use super::*;
    use crate::{chunk::tests::message, database::Changes, slots};

    fn waits(store: &Store) -> usize {
        store.shared.database.waits.load(Ordering::Relaxed)
    }

    /// sled calls stable what the disk may not have.
    #[test]
    fn little_is_given_to_sled_between_two_waits_for_the_disk() {
        const MIB: usize = 1024 * 1024;
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
        let (queue, name) = (QueueId(1), "q".parse().expect("good"));
        let record = QueueRecord { id: queue, name, config: QueueConfig::default() };
        store.commit(&[Write::PutQueue { record }]).expect("is committed");
        let before = waits(&store);
        let (mut next, mut bytes_before) = (Sequence(1), 0);
        for _ in 0..80 {
            let messages = vec![message(30_000); 35];
            let bytes = messages.iter().map(|message| message.size_bytes()).sum::<u64>();
            let append = Write::Append { queue, first: next, bytes_before, messages };
            store.commit(&[append]).expect("is committed");
            (next, bytes_before) = (next.plus(35), bytes_before + bytes);
        }
        let appended = usize::try_from(bytes_before).expect("some MiB") / MIB;
        let flush = |store: &Store| store.journal.flusher.flush_here(&store.shared).expect("is flushed");
        flush(&store);
        let waited = waits(&store) - before;
        assert!(waited >= appended / 4, "{waited} for {appended} MiB");
        let before = waits(&store);
        store.commit(&[Write::DeleteQueue { queue }]).expect("is committed");
        while store.is_sweeping() {
            store.commit(&[]).expect("is committed");
        }
        flush(&store);
        let moved = 2_800 * slots::BYTES_MOVED_MAX / MIB;
        let waited = waits(&store) - before;
        assert!(waited >= moved / 4, "{waited} while {moved} MiB may move");
    }

    /// Otherwise a file of the log would be written over whose commits are not durable in sled.
    #[test]
    fn a_file_of_the_log_is_not_written_over_when_a_flush_has_failed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
        store.shared.failed.set("the disk is gone".to_owned()).expect("nothing failed before");
        let mut make = || store.journal.commit(Changes { made: Vec::new(), others: vec![(b"k".to_vec(), None)] });
        let made = (0..3_000).take_while(|_| make().is_ok()).count();
        assert!((2_000..2_048).contains(&made), "a file has room for less than 2,048 commits: {made}");
        let error = make().expect_err("it stays so").to_string();
        assert!(error.contains("the disk is gone"), "{error}");
    }

    /// A panic of sled in the thread that flushes, say, after any of the changes.
    #[test]
    fn what_is_half_in_the_tree_is_finished_by_the_next_host() {
        let handler = HandlerName::new("h").expect("good");
        let names = ["a", "b", "c"];
        let put = |value: &'static str| {
            names.map(|key| Write::PutState { handler: handler.clone(), key: key.to_owned(), value: value.into() })
        };
        for made in 0..=names.len() {
            let folder = tempfile::tempdir().expect("a folder");
            let mut store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
            store.commit(&put("before")).expect("is committed");
            let database = &store.shared.database;
            let frozen = database.memtable.freeze().expect("no flush failed").expect("something was committed");
            frozen.apply(database).expect("applies");
            database.memtable.thaw();
            store.commit(&put("after")).expect("is committed");
            let database = &store.shared.database;
            database.memtable.freeze().expect("no flush failed").expect("something was committed");
            let keys = names.map(|name| crate::key::state(&handler, name));
            let after = keys.map(|key| (key.clone(), database.find_as_it_is(&key).expect("reads")));
            database.apply_in_order(after.into_iter().take(made)).expect("applies");
            drop(store);
            let reader = Store::open(folder.path(), StoreOptions::default()).expect("opens").reader();
            for name in names {
                let found = reader.state(&handler, name).expect("reads");
                assert_eq!(found.as_deref(), Some(b"after".as_slice()), "{name}, {made} made");
            }
        }
    }

    /// A small entry makes sled write much more than it has.
    #[test]
    fn small_entries_are_waited_for_too_also_when_they_are_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
        let put = |number: u32| Write::PutState {
            handler: HandlerName::new("h").expect("good"),
            key: format!("{number:08}"),
            value: "x".into(),
        };
        store.commit(&[put(0)]).expect("is committed");
        // Nothing goes to the tree by itself then.
        let shared = store.shared();
        shared.database.memtable.freeze().expect("no flush failed").expect("something was committed");
        store.commit(&(1..16_000).map(put).collect::<Vec<_>>()).expect("is committed");
        let again = Store::open(copy_of(folder.path()).path(), StoreOptions::default()).expect("opens");
        // Each counts as some 530 bytes: two waits in their midst, one behind them, and one of each start.
        assert_eq!(waits(&again), 4);

        shared.database.memtable.thaw();
        let before = waits(&store);
        store.journal.flusher.flush_here(&shared).expect("is flushed");
        assert_eq!(waits(&store) - before, 3);
    }

    /// After a kill there is nothing to make again then, and what is free is given back.
    #[test]
    fn a_quiet_store_brings_all_to_the_tree() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
        let (handler, key) = (HandlerName::new("h").expect("good"), "k".to_owned());
        let entry = crate::key::state(&handler, &key);
        store.commit(&[Write::PutState { handler, key, value: "x".into() }]).expect("is committed");
        let shared = store.shared();
        let is_there = || shared.database.tree(&crate::key::KeyRange::of_prefix(entry.clone())).next().is_some();
        let began = Instant::now();
        while !is_there() || shared.database.memtable.find(&entry).is_some() {
            assert!(began.elapsed() < Duration::from_secs(30), "it stays in memory");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn copy_of(folder: &Path) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(copy.path().join("db")).expect("is made");
        for name in ["FORMAT", "wal-0", "wal-1", "db/conf", "db/db"] {
            std::fs::copy(folder.join(name), copy.path().join(name)).expect("is copied");
        }
        copy
    }

    /// Of a row of slots that are filled, emptied and filled again.
    #[test]
    fn wherever_a_flush_was_cut_off_the_next_host_has_all() {
        const MESSAGES: u64 = 100;
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
        let shared = store.shared();
        let (queue, name) = (QueueId(1), "q".parse().expect("good"));
        let record = QueueRecord { id: queue, name, config: QueueConfig::default() };
        store.commit(&[Write::PutQueue { record }]).expect("is committed");
        let (mut next, mut bytes_before) = (1, 0);
        for round in 0..90 {
            let messages = vec![message(200 + round * 7); usize::try_from(MESSAGES).expect("small")];
            let bytes = messages.iter().map(|message| message.size_bytes()).sum::<u64>();
            let append = Write::Append { queue, first: Sequence(next), bytes_before, messages };
            (next, bytes_before) = (next + MESSAGES, bytes_before + bytes);
            // More are behind in the middle, so that slots are made before and in what is cut off.
            let behind = MESSAGES * if (20..60).contains(&round) { 30 } else { 5 };
            let below = Sequence(u64::saturating_sub(next, behind).max(1));
            store.commit(&[append, Write::Trim { queue, below }]).expect("is committed");
            if round == 40 {
                store.journal.flusher.flush_here(&shared).expect("is flushed");
            }
        }
        let all = |store: &Store| store.reader().log_page(queue, Sequence(1), usize::MAX).expect("reads");
        let expected = all(&store);
        let layer = shared.database.memtable.freeze().expect("no flush failed").expect("something was committed");
        let changes: Vec<_> = layer.in_order().collect();
        let mut cuts = 0;
        for (number, (key, newest)) in changes.iter().enumerate() {
            shared.database.apply_in_order([(key.to_vec(), newest.clone())]).expect("applies");
            if number % (changes.len() / 20) == 0 {
                shared.database.make_durable().expect("is durable");
                let cut = Store::open(copy_of(folder.path()).path(), StoreOptions::default()).expect("opens");
                assert_eq!(all(&cut), expected, "{number} of {} changes were made", changes.len());
                cuts += 1;
            }
        }
        assert!(cuts >= 20 && expected.len() > 400, "{cuts} cuts, {} messages", expected.len());
    }

    #[test]
    fn after_a_commit_that_panicked_none_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
        store.is_committing = true;
        let refused = store.commit(&[]).expect_err("nobody knows what a commit after it would mean");
        assert!(refused.to_string().contains("a panic in the midst of a commit"), "{refused}");
    }
}
