//! Calls that compute for long make room for those that do not.
//!
//! Every call begins on the threads that are for quick ones. One that has computed for [`QUICK_MAX`] goes on
//! elsewhere: on threads of a lower priority, where it has what nobody else wants of the machine, see
//! [`crate::share`]. So handlers that burn their whole fuel cannot slow down the ones beside them, however many they are, and
//! nothing has to be known of a handler beforehand. Waiting does not count, for the processor neither.
//!
//! A call with several deliveries has that once for each, as it has its fuel: otherwise a hundred quick ones in a call would be one
//! long one.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use rustix::process::nice;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};

use crate::share::{Share, thread_time};

/// What a call may compute for each of its deliveries before it makes room. Ten yields of a guest, more or less.
const QUICK_MAX: Duration = Duration::from_millis(1);
/// The nice value of the threads for long calls: the system gives a thread of 0 nine times as much.
const NICE: i32 = 10;

/// Threads for calls that compute for long. They are to be shut down by whoever made them.
///
/// # Errors
/// When the system gives no threads.
pub fn slow_lane(threads: usize) -> std::io::Result<(Runtime, SlowLane)> {
    let threads = threads.max(1);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("wasmill-slow")
        .on_thread_start(|| {
            // Without the permission to be polite they are as all others.
            let _ = nice(NICE);
        })
        .enable_all()
        .build()?;
    let lane = SlowLane { threads: runtime.handle().clone(), share: Arc::new(Share::new(threads)) };
    Ok((runtime, lane))
}

/// Where long calls go on. Cheap to clone.
#[derive(Clone)]
pub struct SlowLane {
    threads: Handle,
    share: Arc<Share>,
}

impl std::fmt::Debug for SlowLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlowLane").finish_non_exhaustive()
    }
}

/// Run a call with so many deliveries to its end, here or in the slow lane.
///
/// Its first stretch, up to where the guest yields, is not measured: most calls have no other, and the time of a thread is a call of
/// the system.
pub(crate) async fn run<F>(mut call: Pin<Box<F>>, deliveries: usize, slow: &SlowLane) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    let quick_max = QUICK_MAX.saturating_mul(u32::try_from(deliveries).unwrap_or(u32::MAX));
    let mut computed: Option<Duration> = None;
    let quick = poll_fn(|context| {
        let begun = computed.map(|before| (before, thread_time()));
        match call.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                let until_now =
                    begun.map_or(Duration::ZERO, |(before, begun)| before + thread_time().saturating_sub(begun));
                computed = Some(until_now);
                if until_now < quick_max { Poll::Pending } else { Poll::Ready(None) }
            }
        }
    });
    match quick.await {
        Some(output) => output,
        None => Moved(slow.threads.spawn(polite(call, Arc::clone(&slow.share)))).await,
    }
}

/// Rest after each stretch of a call as others want it, and offer them the processor: one who wakes up would wait for
/// milliseconds until the system takes it from one who computes.
async fn polite<F: Future>(mut call: Pin<Box<F>>, share: Arc<Share>) -> F::Output {
    poll_fn(|context| {
        let begun = thread_time();
        let polled = call.as_mut().poll(context);
        let rest = share.rest_after(thread_time().saturating_sub(begun));
        if polled.is_pending() {
            // The whole thread, for that is what is to leave the processor.
            if rest.is_zero() { std::thread::yield_now() } else { share.rest(rest) }
        }
        polled
    })
    .await
}

/// Drop something large where it disturbs nobody, and wait for that.
pub(crate) async fn drop_there<T: Send + 'static>(large: T, slow: &SlowLane) {
    Moved(slow.threads.spawn(async move { drop(large) })).await;
}

/// A call in the slow lane. It ends when nobody waits for it.
struct Moved<T>(JoinHandle<T>);

impl<T> Future for Moved<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Ready(Ok(output)) => Poll::Ready(output),
            Poll::Ready(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The lane was shut down, and this one is about to be.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Drop for Moved<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn name_after(busy: Duration) -> Option<String> {
        let until = Instant::now() + busy;
        while Instant::now() < until {
            tokio::task::yield_now().await;
        }
        std::thread::current().name().map(str::to_owned)
    }

    #[tokio::test]
    async fn a_call_that_computes_for_long_is_moved_and_no_other() {
        let (threads, lane) = slow_lane(1).unwrap();
        let slow = Some("wasmill-slow".to_owned());
        assert_ne!(run(Box::pin(name_after(Duration::ZERO)), 1, &lane).await, slow);
        assert_eq!(run(Box::pin(name_after(QUICK_MAX * 50)), 1, &lane).await, slow);
        assert_ne!(run(Box::pin(name_after(QUICK_MAX * 50)), 10_000, &lane).await, slow, "each delivery has its own");
        assert_eq!(run(Box::pin(name_after(QUICK_MAX * 50)), 5, &lane).await, slow, "and no more than that");
        let waits = async {
            tokio::time::sleep(QUICK_MAX * 50).await;
            name_after(Duration::ZERO).await
        };
        assert_ne!(run(Box::pin(waits), 1, &lane).await, slow, "waiting does not count");
        let holds_its_thread = async {
            // To be woken takes some of the processor too, so it is few times.
            for _ in 0..5 {
                std::thread::sleep(QUICK_MAX * 10);
                tokio::task::yield_now().await;
            }
            name_after(Duration::ZERO).await
        };
        assert_ne!(run(Box::pin(holds_its_thread), 1, &lane).await, slow, "nor does a thread without a processor");
        threads.shutdown_background();
    }

    #[tokio::test]
    async fn a_moved_call_that_nobody_waits_for_ends() {
        let (threads, lane) = slow_lane(1).unwrap();
        let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        let call = async move {
            let _alive = alive;
            name_after(Duration::from_secs(3_600)).await
        };
        let dropped = tokio::time::timeout(Duration::from_millis(50), run(Box::pin(call), 1, &lane)).await;
        assert!(dropped.is_err());
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), ended.recv()).await.unwrap(), None);
        threads.shutdown_background();
    }
}
