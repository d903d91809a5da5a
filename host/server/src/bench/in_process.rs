//! The host, called in this process.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use wasmill_runtime::{Draft, Host};

use super::{
    host::{Measured, NAME},
    latency::{self, Latencies},
    load::{self, Door},
    memory,
    plan::Plan,
    report::Figures,
    settle::Floors,
};

/// Publishing by a call.
pub(super) struct InProcess {
    pub(super) host: Host,
    pub(super) data: Bytes,
}

impl Door for InProcess {
    async fn publish(&self, messages: u64) -> Result<Vec<u64>> {
        let drafts = (0..messages).map(|_| Draft::new(NAME, self.data.clone()).content_type("application/json"));
        let answers = self.host.publish_many(drafts.collect()).await?;
        let sequence = |answer: Result<wasmill_runtime::Published, _>| {
            let published = answer?;
            let (_, sequence) = published.places.first().context("a message went nowhere")?;
            Ok(sequence.0)
        };
        answers.into_iter().map(sequence).collect()
    }
}

pub(super) async fn measure(plan: &Plan) -> Result<Figures> {
    let measured = Measured::open(plan, &plan.folder("in-process")).await?;
    measured.declare(plan).await?;
    let door = Arc::new(InProcess { host: measured.host.clone(), data: plan.data.clone() });
    let figures = measure_door(plan, &measured, &door).await?;
    measured.close().await?;
    Ok(figures)
}

/// One message at a time first, which also warms the host up; then all publishers at once.
pub(super) async fn measure_door(plan: &Plan, measured: &Measured, door: &Arc<impl Door>) -> Result<Figures> {
    memory::forget_peak();
    let latency_one_ms = latency::one_at_a_time(measured, door).await?;
    let before = measured.count.now();
    let wanted = measured.consumer().await?.floor.plus(plan.messages).0;
    let started = std::time::Instant::now();
    let (published, floors) =
        tokio::try_join!(load::publish(plan, door, plan.messages, load::all), Floors::watch(measured, wanted))?;
    Ok(Figures {
        publish_per_s: plan.messages as f64 / published.took.as_secs_f64(),
        end_to_end_per_s: plan.messages as f64 / floors.end().duration_since(started).as_secs_f64(),
        latency_ms: Latencies::of_run(&published, &floors)?,
        latency_one_ms,
        messages_per_commit: before.messages_per_commit(measured.count.now()),
        rss_mib_max: memory::peak_mib()?,
        store_mib: memory::mib(measured.host.store_bytes()?),
    })
}
