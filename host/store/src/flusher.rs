//! The thread behind [`crate::Durability::Interval`]: it makes durable what was committed, every so often. sled has
//! one of its own, but that only logs an fsync that fails.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{error::StoreError, shared::Shared};

/// Dropping it flushes once more and ends the thread.
pub(crate) struct Flusher {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Flusher {
    pub(crate) fn start(shared: Arc<Shared>, flush_ms: u64) -> Result<Self, StoreError> {
        let stop = Arc::new(Stop::default());
        let path = shared.path.clone();
        let every = Duration::from_millis(flush_ms.max(1));
        let waits = Arc::clone(&stop);
        let run = move || {
            while flush(&shared) && !waits.within(every) {}
            flush(&shared);
        };
        let thread = thread::Builder::new()
            .name("store-flusher".to_owned())
            .spawn(run)
            .map_err(|error| StoreError::io("start the thread that flushes", path, error))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Stop {
    /// Wait, and say whether it was asked for.
    fn within(&self, time: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(asked, time, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

/// Make durable what is not, and say whether to go on: after a failure no commit is taken any more.
fn flush(shared: &Shared) -> bool {
    if !shared.dirty.swap(false, Ordering::AcqRel) {
        return true;
    }
    let result = shared.database.make_durable();
    result.inspect_err(|error| shared.poison(error)).is_ok()
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop.ask();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by the panic hook; there is nobody here to tell.
            let _ = thread.join();
        }
    }
}
