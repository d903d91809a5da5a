//! What came of it, for people and for programs.

use serde::Serialize;

use super::{backlog::Backlog, latency::Latencies, plan::Plan};
use crate::cli::output::{facts, table};

/// What one run measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) publish_per_s: f64,
    pub(super) end_to_end_per_s: f64,
    pub(super) latency_ms: Latencies,
    pub(super) latency_one_ms: Latencies,
    pub(super) messages_per_commit: f64,
    pub(super) rss_mib_max: f64,
    pub(super) store_mib: f64,
}

/// One run, with what it was asked to do.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    mode: &'static str,
    messages: u64,
    data_bytes: usize,
    producers: u32,
    in_flight: u32,
    durability: &'static str,
    publish_per_s: f64,
    end_to_end_per_s: f64,
    latency_ms: Latencies,
    latency_one_ms: Latencies,
    messages_per_commit: f64,
    raw_append_per_s: f64,
    ratio_to_raw: f64,
    rss_mib_max: f64,
    store_mib: f64,
}

impl Run {
    pub(super) fn new(mode: &'static str, plan: &Plan, figures: Figures, raw_append_per_s: f64) -> Self {
        let Figures {
            publish_per_s,
            end_to_end_per_s,
            latency_ms,
            latency_one_ms,
            messages_per_commit,
            rss_mib_max,
            store_mib,
        } = figures;
        Self {
            mode,
            messages: plan.messages,
            data_bytes: plan.data.len(),
            producers: plan.producers,
            in_flight: plan.in_flight,
            durability: plan.durability.name(),
            publish_per_s,
            end_to_end_per_s,
            latency_ms,
            latency_one_ms,
            messages_per_commit,
            raw_append_per_s,
            ratio_to_raw: end_to_end_per_s / raw_append_per_s,
            rss_mib_max,
            store_mib,
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) runs: Vec<Run>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backlog: Option<Backlog>,
}

impl Report {
    pub(super) fn for_people(&self) -> String {
        match (&self.backlog, self.runs.first()) {
            (Some(backlog), _) => backlog_for_people(backlog),
            (None, Some(first)) => {
                let about = format!(
                    "{} messages of {} bytes, publishers {}, in flight {} each, durability {}",
                    first.messages, first.data_bytes, first.producers, first.in_flight, first.durability,
                );
                format!("{about}\n\n{}", self.runs_for_people())
            }
            (None, None) => String::new(),
        }
    }

    fn runs_for_people(&self) -> String {
        type Figure = (&'static str, fn(&Run) -> String);
        let figures: [Figure; 10] = [
            ("published, durably, per s", |run| whole(run.publish_per_s)),
            ("published, handled and settled, per s", |run| whole(run.end_to_end_per_s)),
            ("latency under load, ms, p50 / p99 / p99.9", |run| latencies(run.latency_ms)),
            ("latency of one at a time, ms, the same", |run| latencies(run.latency_one_ms)),
            ("messages per commit", |run| format!("{:.1}", run.messages_per_commit)),
            ("raw append + fdatasync, per s", |run| whole(run.raw_append_per_s)),
            ("share of that", |run| format!("{:.2}", run.ratio_to_raw)),
            ("memory of the process at most, MiB", |run| whole(run.rss_mib_max)),
            ("store, MiB", |run| whole(run.store_mib)),
            ("data, MiB", |run| whole(run.messages as f64 * run.data_bytes as f64 / (1024.0 * 1024.0))),
        ];
        let headings: Vec<String> =
            std::iter::once(String::new()).chain(self.runs.iter().map(|run| format!("{}>", run.mode))).collect();
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        let rows = figures
            .iter()
            .map(|(name, figure)| std::iter::once((*name).to_owned()).chain(self.runs.iter().map(figure)).collect());
        table(&headings, rows)
    }
}

fn backlog_for_people(backlog: &Backlog) -> String {
    facts(&[
        ("backlog", format!("{} messages of {} bytes", backlog.messages, backlog.data_bytes)),
        ("published, durably, per s", whole(backlog.publish_per_s)),
        ("memory with the backlog, MiB", format!("{:.0} (at most {:.0})", backlog.rss_mib, backlog.rss_mib_max)),
        ("store, MiB", whole(backlog.store_mib)),
        ("restart until it answers, s", format!("{:.2}", backlog.open_s)),
        ("restart until the first delivery, s", format!("{:.2}", backlog.first_delivery_s)),
    ])
}

fn latencies(latencies: Latencies) -> String {
    format!("{:.2} / {:.2} / {:.2}", latencies.p50, latencies.p99, latencies.p999)
}

fn whole(number: f64) -> String {
    format!("{number:.0}")
}
