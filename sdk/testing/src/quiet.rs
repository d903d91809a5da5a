//! When there is nothing left to do at the time that a test's clock shows.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

/// Is told when a runtime of one thread runs out of things to do. Whoever waits for that goes on before the clock does.
#[derive(Clone, Default)]
pub(crate) struct Quiet(Arc<Mutex<Option<Waker>>>);

impl Quiet {
    /// To be called on the runtime's thread right before it parks: it looks again for somebody who was woken, and lets time
    /// pass only when there is nobody.
    pub(crate) fn reached(&self) {
        if let Some(waker) = self.waiting().take() {
            waker.wake();
        }
    }

    /// Until all others wait for something that is not there yet. The clock stands still meanwhile.
    pub(crate) async fn wait(&self) {
        let mut has_asked = false;
        poll_fn(|context| {
            let mut waiting = self.waiting();
            if has_asked && waiting.is_none() {
                return Poll::Ready(());
            }
            has_asked = true;
            *waiting = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
