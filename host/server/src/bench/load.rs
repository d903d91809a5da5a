//! Publishers that keep the host busy.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;

use super::plan::Plan;

/// A way to publish.
pub(super) trait Door: Send + Sync + 'static {
    /// Publish so many messages in one call. Answers their sequences, once they are durable.
    fn publish(&self, messages: u64) -> impl Future<Output = Result<Vec<u64>>> + Send;
}

/// Everything is published.
pub(super) struct Published {
    /// From the first call to the last answer.
    pub(super) took: Duration,
    /// When the call began that published each sequence, as far as it was kept; in no order.
    pub(super) called: Vec<(u64, Instant)>,
}

/// What to keep of a call: the sequences that it published, and when it began.
pub(super) type Keep = fn(Vec<u64>, Instant) -> Vec<(u64, Instant)>;

/// Keep everything.
pub(super) fn all(sequences: Vec<u64>, called: Instant) -> Vec<(u64, Instant)> {
    sequences.into_iter().map(|sequence| (sequence, called)).collect()
}

/// Keep nothing, where it is the memory that is measured.
pub(super) fn nothing(_sequences: Vec<u64>, _called: Instant) -> Vec<(u64, Instant)> {
    Vec::new()
}

/// Publish all messages of the plan, by all its publishers at once.
pub(super) async fn publish(plan: &Plan, door: &Arc<impl Door>, messages: u64, keep: Keep) -> Result<Published> {
    let started = Instant::now();
    let mut publishers = JoinSet::new();
    for share in shares(messages, u64::from(plan.producers)) {
        publishers.spawn(produce(Arc::clone(door), share, plan.batch(), plan.calls(), keep));
    }
    let mut called = Vec::new();
    while let Some(produced) = publishers.join_next().await {
        called.extend(produced.context("a publisher panicked")??);
    }
    Ok(Published { took: started.elapsed(), called })
}

async fn produce(
    door: Arc<impl Door>,
    messages: u64,
    batch: u64,
    calls: usize,
    keep: Keep,
) -> Result<Vec<(u64, Instant)>> {
    let batches = (0..messages.div_ceil(batch)).map(|index| batch.min(messages - index * batch));
    let calling = batches.map(|size| {
        let door = &door;
        async move {
            let called = Instant::now();
            let sequences = door.publish(size).await?;
            Ok::<_, anyhow::Error>(keep(sequences, called))
        }
    });
    let answered: Vec<_> = stream::iter(calling).buffer_unordered(calls).try_collect().await?;
    Ok(answered.into_iter().flatten().collect())
}

/// The messages, dealt out to publishers.
fn shares(messages: u64, producers: u64) -> impl Iterator<Item = u64> {
    (0..producers).map(move |index| messages / producers + u64::from(index < messages % producers))
}

#[cfg(test)]
mod tests {
    #[test]
    fn shares_add_up() {
        for (messages, producers) in [(10, 4), (3, 4), (100_000, 7), (1, 1)] {
            let dealt: Vec<u64> = super::shares(messages, producers).collect();
            assert_eq!(dealt.iter().sum::<u64>(), messages);
            assert!(dealt.iter().all(|share| *share == messages / producers || *share == messages / producers + 1));
        }
    }
}
