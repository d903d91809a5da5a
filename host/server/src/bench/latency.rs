//! From the call that publishes a message until it is settled.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    host::Measured,
    load::{Door, Published},
    settle::Floors,
};

/// Messages that are sent one at a time.
const ONE_MESSAGES: usize = 500;
/// No longer than this is spent on them.
const ONE_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest that is told apart.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latencies {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

impl Latencies {
    fn of(latencies: impl Iterator<Item = Duration>) -> Result<Self> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, LATENCY_US_MAX, 3)?;
        for latency in latencies {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX).max(1));
        }
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Ok(Self { p50: ms(0.5), p99: ms(0.99), p999: ms(0.999) })
    }

    /// Of all messages of a run.
    pub(super) fn of_run(published: &Published, floors: &Floors) -> Result<Self> {
        Self::of(published.called.iter().map(|(sequence, called)| floors.settled(*sequence).duration_since(*called)))
    }
}

/// One message at a time: the next one is published when the last one is settled.
pub(super) async fn one_at_a_time(measured: &Measured, door: &Arc<impl Door>) -> Result<Latencies> {
    let started = Instant::now();
    let mut latencies = Vec::with_capacity(ONE_MESSAGES);
    while latencies.len() < ONE_MESSAGES && started.elapsed() < ONE_TIME_MAX {
        let called = Instant::now();
        for sequence in door.publish(1).await? {
            while measured.consumer().await?.floor.0 <= sequence {}
        }
        latencies.push(called.elapsed());
    }
    Latencies::of(latencies.into_iter())
}
