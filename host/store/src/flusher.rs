//! The thread that brings to the tree what has gathered in [`crate::memtable`], and makes it durable there: when it is asked, for the
//! write-ahead log ([`crate::wal`]), or every so often, for [`crate::Durability::Interval`]. sled has one of its own, but that only
//! logs an fsync that fails.

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
}

impl State {
    const fn is_done(&self) -> bool {
        !self.is_wanted && !self.is_flushing
    }
}

impl Flusher {
    /// With `every`, what was committed is flushed so often, also when nobody asks for it.
    pub(crate) fn start(shared: Arc<Shared>, every: Option<Duration>) -> Result<Self, StoreError> {
        let work = Arc::new(Work::default());
        let path = shared.path.clone();
        let mine = Arc::clone(&work);
        let thread = thread::Builder::new()
            .name("store-flusher".to_owned())
            .spawn(move || while mine.flush_next(&shared, every) {})
            .map_err(|error| StoreError::io("start the thread that flushes", path, error))?;
        Ok(Self { work, thread: Some(thread) })
    }

    /// Flush what was committed until now, without waiting for it, once what was asked for before is durable or has failed. When
    /// it fails, the store takes no more.
    pub(crate) fn begin_next(&self) {
        self.when_done().is_wanted = true;
        self.work.changed.notify_all();
    }

    /// Flush what was committed until now on this thread, which is the only one that asks for flushes.
    pub(crate) fn flush_here(&self, shared: &Shared) -> Result<(), StoreError> {
        drop(self.when_done());
        shared.check()?;
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
    fn flush_next(&self, shared: &Shared, every: Option<Duration>) -> bool {
        let idle = |state: &mut State| !state.is_wanted && !state.is_over;
        let state = self.lock();
        let mut state = match every {
            Some(every) => {
                self.changed.wait_timeout_while(state, every, idle).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
        };
        let is_over = state.is_over;
        (state.is_wanted, state.is_flushing) = (false, true);
        drop(state);
        let _flushing = Flushing { work: self, shared };
        if let Err(error) = flush(&shared.database) {
            shared.poison(&error);
        }
        !is_over
    }
}

fn flush(database: &Database) -> Result<(), StoreError> {
    let Some(layer) = database.memtable.freeze() else { return Ok(()) };
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
        if thread::panicking() {
            self.shared.poison(&StoreError::Poisoned { first: "a panic in the midst of a flush".to_owned() });
        }
        self.work.lock().is_flushing = false;
        self.work.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

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
}
