//! Wasmill called in its own process, without a network: `wasmill bench --mode in-process`.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Place;
use crate::case::{Case, Shape, Work};

/// What the host's own benchmark says.
#[derive(Clone, Copy, Debug)]
pub struct InProcess {
    pub end_to_end_per_s: f64,
    pub publish_per_s: f64,
    pub raw_append_per_s: f64,
    pub latency_p50_ms: f64,
    pub latency_p99_ms: f64,
    pub rss_mib_max: f64,
}

/// Why it does not measure a case.
pub fn lacks(case: &Case) -> Option<&'static str> {
    match case {
        Case { work: Work::Forward, .. } => Some("wasmill bench has no queue for what a handler publishes"),
        Case { consumers: 2.., .. } => Some("wasmill bench has one consumer"),
        Case { shape: Shape::Backlog, .. } => Some("wasmill bench drains no backlog"),
        Case { .. } => None,
    }
}

pub fn measure(place: &Place, case: &Case, messages: u64) -> Result<InProcess> {
    let mut command = Command::new(&place.wasmill);
    command.args(["bench", "--mode", "in-process", "--json", "--messages", &messages.to_string()]);
    command.args(["--data-bytes", &case.data_bytes.to_string(), "--producers", &case.producers.to_string()]);
    command.args(["--in-flight", &case.in_flight.to_string(), "--handler"]).arg(&place.handlers.nothing);
    command.arg("--store").arg(&place.folder);
    let output = command.output().context("cannot start wasmill bench")?;
    ensure!(output.status.success(), "wasmill bench failed: {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let run = &report["runs"][0];
    let number = |pointer: &str| {
        run.pointer(pointer)
            .and_then(Value::as_f64)
            .with_context(|| format!("wasmill bench says no {pointer}: {report}"))
    };
    Ok(InProcess {
        end_to_end_per_s: number("/end_to_end_per_s")?,
        publish_per_s: number("/publish_per_s")?,
        raw_append_per_s: number("/raw_append_per_s")?,
        latency_p50_ms: number("/latency_one_ms/p50")?,
        latency_p99_ms: number("/latency_one_ms/p99")?,
        rss_mib_max: number("/rss_mib_max")?,
    })
}
