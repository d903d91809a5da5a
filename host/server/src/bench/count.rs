//! What the host says while it is measured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::watch;
use wasmill_delivery::name::{Digest, HandlerName, QueueName};
use wasmill_runtime::{AttemptSeen, Commit, Observer, SettleSeen};

use crate::telemetry::Metrics;

/// Counts commits and messages, and passes everything on to the metrics that a server would keep.
pub(super) struct Count {
    commits: AtomicU64,
    published: AtomicU64,
    attempted: AtomicBool,
    first_attempt: watch::Sender<Option<Instant>>,
    metrics: Arc<Metrics>,
}

/// How much there was at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    commits: u64,
    published: u64,
}

impl Count {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            commits: AtomicU64::new(0),
            published: AtomicU64::new(0),
            attempted: AtomicBool::new(false),
            first_attempt: watch::Sender::new(None),
            metrics: Metrics::new(),
        })
    }

    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    pub(super) fn now(&self) -> Counted {
        Counted { commits: self.commits.load(Relaxed), published: self.published.load(Relaxed) }
    }

    /// Wait until a delivery was tried.
    pub(super) async fn first_attempt(&self) -> Instant {
        let mut seen = self.first_attempt.subscribe();
        let first = seen.wait_for(Option::is_some).await;
        first.ok().and_then(|first| *first).expect("the sender lives as long as this")
    }
}

impl Counted {
    /// Messages in a commit, on average, between then and now. Commits that settle count too.
    pub(super) fn messages_per_commit(self, now: Self) -> f64 {
        (now.published - self.published) as f64 / (now.commits - self.commits).max(1) as f64
    }
}

impl Observer for Count {
    fn published(&self, queue: &QueueName, messages: u64) {
        self.published.fetch_add(messages, Relaxed);
        self.metrics.published(queue, messages);
    }

    fn committed(&self, commit: &Commit) {
        self.commits.fetch_add(1, Relaxed);
        self.metrics.committed(commit);
    }

    fn attempted(&self, attempt: &AttemptSeen<'_>) {
        if !self.attempted.load(Relaxed) && !self.attempted.swap(true, Relaxed) {
            self.first_attempt.send_replace(Some(Instant::now()));
        }
        self.metrics.attempted(attempt);
    }

    fn settled(&self, settled: &SettleSeen<'_>) {
        self.metrics.settled(settled);
    }

    fn handler_replaced(&self, handler: &HandlerName, digest: Digest) {
        self.metrics.handler_replaced(handler, digest);
    }
}
