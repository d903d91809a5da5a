//! The thread that brings to the tree what has gathered in [`crate::memtable`], and makes it durable there: when it is asked or nothing
//! was committed for a while, for the write-ahead log ([`crate::wal`]), or every so often, for [`crate::Durability::Interval`]. sled has
//! one of its own, but that only logs an fsync that fails.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{database::Database, error::StoreError, shared::Shared};

/// Dropping it ends the thread, after the flush that is under way.
pub(crate) struct Flusher {
    work: Arc<Work>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_wanted: bool,
    is_flushing: bool,
    is_over: bool,
    /// A flush has panicked, and there will be no other.
    is_dead: bool,
    /// [`crate::memtable::Memtable::changes`] when there was time to flush.
    seen: u64,
}

impl State {
    const fn is_done(&self) -> bool {
        self.is_dead || !(self.is_wanted || self.is_flushing)
    }
}

/// When there is a flush that nobody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// So often.
    Every(Duration),
    /// When nothing was committed for so long, and twice that at most.
    WhenQuiet(Duration),
}

impl Flusher {
    pub(crate) fn start(shared: Arc<Shared>, pace: Pace) -> Result<Self, StoreError> {
        let work = Arc::new(Work::default());
        let path = shared.path.clone();
        let mine = Arc::clone(&work);
        let thread = thread::Builder::new()
            .name("store-flusher".to_owned())
            .spawn(move || while mine.flush_next(&shared, pace) {})
            .map_err(|error| StoreError::io("start the thread that flushes", path, error))?;
        Ok(Self { work, thread: Some(thread) })
    }

    /// Flush what was committed until now, without waiting for it, once what was asked for before is durable or has failed. When
    /// it fails, the store takes no more.
    pub(crate) fn begin_next(&self) {
        self.when_done().is_wanted = true;
        self.work.changed.notify_all();
    }

    /// As [`Self::begin_next`]; when a flush is asked for that has not begun, wait until it has.
    pub(crate) fn begin(&self) {
        let state = self.work.lock();
        if !state.is_wanted {
            drop(state);
            return self.begin_next();
        }
        drop(self.work.changed.wait_while(state, |state| state.is_wanted && !state.is_dead));
    }

    /// Flush what was committed until now on this thread, which is the only one that asks for flushes.
    pub(crate) fn flush_here(&self, shared: &Shared) -> Result<(), StoreError> {
        let mut state = self.when_done();
        shared.check()?;
        state.is_flushing = true;
        drop(state);
        let _flushing = Flushing { work: &self.work, shared };
        flush(&shared.database)
    }

    fn when_done(&self) -> MutexGuard<'_, State> {
        let waited = self.work.changed.wait_while(self.work.lock(), |state| !state.is_done());
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// End the thread. What was committed is flushed before, whatever became of commits since.
    pub(crate) fn end(&mut self) {
        self.work.lock().is_over = true;
        self.work.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by the panic hook; there is nobody here to tell.
            let _ = thread.join();
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.end();
    }
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait until it is time to flush, and do it. Answers whether there will be a next time.
    fn flush_next(&self, shared: &Shared, pace: Pace) -> bool {
        let (Pace::Every(time) | Pace::WhenQuiet(time)) = pace;
        let idle = |state: &mut State| !state.is_wanted && !state.is_over;
        let waited = self.changed.wait_timeout_while(self.lock(), time, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let changes = shared.database.memtable.changes();
        let is_quiet = std::mem::replace(&mut state.seen, changes) == changes;
        let is_asked = state.is_wanted || state.is_over;
        let is_time = !state.is_flushing && (is_quiet || matches!(pace, Pace::Every(_))) && shared.check().is_ok();
        if !is_asked && !is_time {
            return true;
        }
        let is_over = state.is_over;
        (state.is_wanted, state.is_flushing) = (false, true);
        drop(state);
        self.changed.notify_all();
        let _flushing = Flushing { work: self, shared };
        if let Err(error) = flush(&shared.database) {
            shared.poison(&error);
        }
        !is_over
    }
}

fn flush(database: &Database) -> Result<(), StoreError> {
    let Some(layer) = database.memtable.freeze()? else { return Ok(()) };
    layer.apply(database)?;
    database.memtable.thaw();
    // sled's buffers are of 16 MiB, and freed once a thread has put by 64 things to be freed.
    crossbeam_epoch::pin().flush();
    Ok(())
}

/// Ends a flush, also one that panics: nobody may wait for it for ever.
struct Flushing<'a> {
    work: &'a Work,
    shared: &'a Shared,
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        let mut state = self.work.lock();
        if thread::panicking() {
            self.shared.poison(&StoreError::Poisoned { first: "a panic in the midst of a flush".to_owned() });
            state.is_dead = true;
        }
        state.is_flushing = false;
        drop(state);
        self.work.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{options::StoreOptions, store::Store};

    /// Otherwise a file of the log would be written over whose commits are not durable in sled.
    #[test]
    fn one_flush_waits_for_the_one_before_it() {
        // Nobody works here but this test.
        let flusher = Flusher { work: Arc::default(), thread: None };
        flusher.begin_next();
        for is_flushing in [true, false] {
            let has_begun = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    flusher.begin_next();
                    has_begun.store(true, Ordering::Release);
                });
                thread::sleep(Duration::from_millis(50));
                assert!(!has_begun.load(Ordering::Acquire), "flushing: {is_flushing}");
                let mut state = flusher.work.lock();
                (state.is_wanted, state.is_flushing) = (false, is_flushing);
                drop(state);
                flusher.work.changed.notify_all();
                if is_flushing {
                    thread::sleep(Duration::from_millis(50));
                    assert!(!has_begun.load(Ordering::Acquire), "it is under way");
                    flusher.work.lock().is_flushing = false;
                    flusher.work.changed.notify_all();
                }
            });
            assert!(has_begun.load(Ordering::Acquire));
        }
    }
    #[test]
    fn nobody_waits_for_a_flush_that_has_panicked() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), StoreOptions::default()).expect("opens");
        let flusher = Flusher { work: Arc::default(), thread: None };
        let (work, shared) = (Arc::clone(&flusher.work), store.shared());
        let panicked = thread::spawn(move || {
            work.lock().is_flushing = true;
            let _flushing = Flushing { work: &work, shared: &shared };
            panic!("as sled might");
        });
        panicked.join().expect_err("it panics");
        let (sender, receiver) = std::sync::mpsc::channel();
        let shared = store.shared();
        thread::spawn(move || {
            (0..3).for_each(|_| flusher.begin_next());
            sender.send(flusher.flush_here(&shared))
        });
        let flushed = receiver.recv_timeout(Duration::from_secs(30)).expect("it waits for ever");
        let error = flushed.expect_err("it is not known what the tree has").to_string();
        assert!(error.contains("a panic in the midst of a flush"), "{error}");
    }
}
