//! The limit of wall clock.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep};

/// The deadline passed before the call ended.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Run a call until it ends or the deadline passes, and drop it then.
///
/// Unlike `tokio::time::timeout` it looks at the clock each time the guest yields. The timer alone would come late:
/// a runtime whose workers are busy with spinning guests looks at its timers once in 61 turns. And a call that
/// never waits, which is nearly every one, pays for no timer.
///
/// It takes the call pinned, because a call is a kilobyte or more and would be copied twice on its way in here.
pub(crate) async fn within<F: Future>(deadline: Instant, mut call: Pin<&mut F>) -> Result<F::Output, Elapsed> {
    let mut timer = None;
    poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending if Instant::now() >= deadline => Poll::Ready(Err(Elapsed)),
        Poll::Pending => wake_at(deadline, &mut timer, context).map(|()| Err(Elapsed)),
    })
    .await
}

fn wake_at(deadline: Instant, timer: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) -> Poll<()> {
    timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline))).as_mut().poll(context)
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_call_that_never_waits_for_anything_is_cut() {
        let spinning = async {
            loop {
                tokio::task::yield_now().await;
            }
        };
        let deadline = Instant::now() + Duration::from_millis(20);
        let outcome: Result<(), Elapsed> = within(deadline, pin!(spinning)).await;
        assert!(outcome.is_err());
    }

    #[tokio::test]
    async fn a_call_that_waits_for_ever_is_cut() {
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(within(deadline, pin!(std::future::pending::<()>())).await.is_err());
        assert!(Instant::now() >= deadline);
    }

    #[tokio::test]
    async fn a_call_that_ends_is_not() {
        let deadline = Instant::now() + Duration::from_secs(3_600);
        assert_eq!(within(deadline, pin!(async { 7 })).await.expect("in time"), 7);
    }
}
