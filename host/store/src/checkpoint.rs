//! The thread that makes durable in sled what the write-ahead log ([`crate::wal`]) had, so that a file of the log can be written again.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use crate::{error::StoreError, shared::Shared};

/// Dropping it ends the thread, after the checkpoint that it has begun.
pub(crate) struct Checkpoints {
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
    /// Asked for, or under way.
    is_open: bool,
    is_over: bool,
}

impl Checkpoints {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let work = Arc::new(Work::default());
        let path = shared.path.clone();
        let mine = Arc::clone(&work);
        let thread = thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || mine.run(&shared))
            .map_err(|error| StoreError::io("start the thread that makes checkpoints", path, error))?;
        Ok(Self { work, thread: Some(thread) })
    }

    /// Make durable all that was applied until now, once the checkpoint before it has ended. When one fails, the store takes no more.
    pub(crate) fn begin_next(&self) {
        let open = self.work.lock();
        let mut state =
            self.work.changed.wait_while(open, |state| state.is_open).unwrap_or_else(PoisonError::into_inner);
        state.is_open = true;
        self.work.changed.notify_all();
    }
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, shared: &Shared) {
        loop {
            let idle = self.lock();
            let state = self
                .changed
                .wait_while(idle, |state| !state.is_open && !state.is_over)
                .unwrap_or_else(PoisonError::into_inner);
            if !state.is_open {
                return;
            }
            drop(state);
            let ending = Ending { work: self, shared };
            if let Err(error) = shared.database.make_durable() {
                shared.poison(&error);
            }
            drop(ending);
        }
    }
}

/// Ends a checkpoint, also one that panics: nobody may wait for it for ever.
struct Ending<'a> {
    work: &'a Work,
    shared: &'a Shared,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.poison(&StoreError::Poisoned { first: "a panic in the midst of a checkpoint".to_owned() });
        }
        self.work.lock().is_open = false;
        self.work.changed.notify_all();
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.work.lock().is_over = true;
        self.work.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by the panic hook; there is nobody here to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use super::*;

    /// Otherwise a file of the log would be written over whose commits are not durable in sled.
    #[test]
    fn one_checkpoint_waits_for_the_one_before_it() {
        // Nobody works here but this test.
        let checkpoints = Checkpoints { work: Arc::default(), thread: None };
        checkpoints.begin_next();
        let has_begun = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                checkpoints.begin_next();
                has_begun.store(true, Ordering::Release);
            });
            thread::sleep(Duration::from_millis(50));
            assert!(!has_begun.load(Ordering::Acquire));
            checkpoints.work.lock().is_open = false;
            checkpoints.work.changed.notify_all();
        });
        assert!(has_begun.load(Ordering::Acquire) && checkpoints.work.lock().is_open);
    }
}
