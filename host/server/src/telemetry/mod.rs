//! What the host counts, and how Prometheus reads it.
//!
//! [`Metrics`] is the host's [`Observer`], called for every attempt and every settled delivery on the threads that run
//! handlers. The metric families of `prometheus-client` hash their labels and take a lock for each such call, so here
//! counts are plain atomics behind one look into a map that hardly ever changes, and become families only when they
//! are read. What can be read off the host instead (depths, ages, sizes) is not counted at all, so that it cannot
//! drift.
//!
//! All names are in [`names`]; no message id and no key is ever a label.

mod encode;
mod gauges;
mod histogram;
mod labelled;
pub mod names;
mod series;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{encoding::text, registry::Registry};
use wasmill_delivery::{
    job::JobState,
    name::{Digest, HandlerName, QueueName},
};
use wasmill_runtime::{AttemptSeen, CanarySeen, Commit, Host, Observer, SettleSeen};

use self::{
    gauges::Gauges,
    histogram::Histogram,
    labelled::Labelled,
    series::{HandlerSeries, QueueSeries, SettledSeries},
};

/// The media type of what [`Metrics::scrape`] answers.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the host counts. Give it to the host as its observer, and to the HTTP API to be read.
#[derive(Debug, Default)]
pub struct Metrics {
    queues: Labelled<QueueName, QueueSeries>,
    handlers: Labelled<HandlerName, HandlerSeries>,
    settled: Labelled<QueueName, Labelled<HandlerName, SettledSeries>>,
    /// What programs outside had; its handler is the empty word.
    settled_outside: Labelled<QueueName, SettledSeries>,
    /// In the order of [`JobState::ALL`].
    jobs_ended: [AtomicU64; JobState::ALL.len()],
    /// In the order of [`names::CALLBACK_OUTCOMES`].
    callbacks: [AtomicU64; names::CALLBACK_OUTCOMES.len()],
    streams_open: AtomicU64,
    streams_refused: AtomicU64,
    commits: Histogram<{ names::COMMIT_BUCKETS_US.len() }>,
}

impl Metrics {
    /// Everything at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The callback of a job was called.
    pub(crate) fn callback_called(&self, delivered: bool) {
        self.callbacks[usize::from(!delivered)].fetch_add(1, Relaxed);
    }

    /// A stream is open, until the answer is dropped.
    pub(crate) fn stream_opened(self: &Arc<Self>) -> OpenStream {
        self.streams_open.fetch_add(1, Relaxed);
        OpenStream(Arc::clone(self))
    }

    /// A stream was refused, because as many as may be are open.
    pub(crate) fn stream_refused(&self) {
        self.streams_refused.fetch_add(1, Relaxed);
    }

    /// Everything as OpenMetrics text. When the host has stopped, only what was counted is there.
    ///
    /// # Errors
    /// When the text cannot be written.
    pub async fn scrape(self: &Arc<Self>, host: &Host) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        match Gauges::read(host).await {
            Ok(gauges) => {
                self.forget_missing(&gauges);
                registry.register_collector(Box::new(gauges));
            }
            Err(error) => tracing::debug!(%error, "the host cannot be looked at for its metrics"),
        }
        registry.register_collector(Box::new(Arc::clone(self)));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    /// Drop what was counted for queues and handlers that are gone, so that names that come and go do not add up.
    fn forget_missing(&self, gauges: &Gauges) {
        self.queues.retain(|queue| gauges.has_queue(queue));
        self.settled.retain(|queue| gauges.has_queue(queue));
        self.settled_outside.retain(|queue| gauges.has_queue(queue));
        self.handlers.retain(|handler| gauges.has_handler(handler));
    }
}

/// A stream that is counted as open.
pub(crate) struct OpenStream(Arc<Metrics>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams_open.fetch_sub(1, Relaxed);
    }
}

impl Observer for Metrics {
    fn published(&self, queue: &QueueName, messages: u64) {
        self.queues.with(queue, |series| series.published(messages));
    }

    fn committed(&self, commit: &Commit) {
        let us = u64::try_from(commit.duration.as_micros()).unwrap_or(u64::MAX);
        self.commits.observe(us, &names::COMMIT_BUCKETS_US);
    }

    fn attempted(&self, attempt: &AttemptSeen<'_>) {
        self.handlers.with(attempt.handler, |series| series.attempted(attempt));
    }

    fn settled(&self, settled: &SettleSeen<'_>) {
        match settled.handler {
            Some(handler) => {
                self.settled.with(settled.queue, |handlers| handlers.with(handler, |series| series.settled(settled)));
            }
            None => self.settled_outside.with(settled.queue, |series| series.settled(settled)),
        }
    }

    fn job_ended(&self, state: JobState) {
        self.jobs_ended[state as usize].fetch_add(1, Relaxed);
    }

    fn handler_replaced(&self, handler: &HandlerName, _digest: Digest) {
        self.handlers.with(handler, HandlerSeries::replaced);
    }

    fn canary_ended(&self, canary: &CanarySeen<'_>) {
        self.handlers.with(canary.handler, |series| series.canary_ended(canary.promoted));
    }
}

#[cfg(test)]
mod tests;
