//! What a long backlog costs: memory while it grows, and time to work again after a restart.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use serde::Serialize;

use super::{host::Measured, in_process::InProcess, load, memory, plan::Plan};

/// See the module.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Backlog {
    pub(super) messages: u64,
    pub(super) data_bytes: usize,
    pub(super) publish_per_s: f64,
    /// Resident when all was published.
    pub(super) rss_mib: f64,
    /// The most that was resident meanwhile.
    pub(super) rss_mib_max: f64,
    pub(super) store_mib: f64,
    /// From nothing to a host that answers.
    pub(super) open_s: f64,
    /// From nothing to the first delivery that was tried.
    pub(super) first_delivery_s: f64,
}

pub(super) async fn measure(plan: &Plan, messages: u64) -> Result<Backlog> {
    let store = plan.folder("backlog");
    let measured = Measured::open(plan, &store).await?;
    measured.declare(plan).await?;
    measured.host.pause(measured.consumer().await?.record.id).await?;
    let door = Arc::new(InProcess { host: measured.host.clone(), data: plan.data.clone() });
    memory::forget_peak();
    let took = load::publish(plan, &door, messages, load::nothing).await?.took;
    let (rss_mib, rss_mib_max) = (memory::resident_mib()?, memory::peak_mib()?);
    let store_mib = memory::mib(measured.host.store_bytes()?);
    drop(door);
    measured.close().await?;

    let started = Instant::now();
    let again = Measured::open(plan, &store).await?;
    let open_s = started.elapsed().as_secs_f64();
    again.host.resume(again.consumer().await?.record.id).await?;
    let first_delivery_s = again.count.first_attempt().await.duration_since(started).as_secs_f64();
    again.close().await?;
    Ok(Backlog {
        messages,
        data_bytes: plan.data.len(),
        publish_per_s: messages as f64 / took.as_secs_f64(),
        rss_mib,
        rss_mib_max,
        store_mib,
        open_s,
        first_delivery_s,
    })
}
