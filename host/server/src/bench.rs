//! `wasmill bench`: what this machine does with Wasmill, next to what its disk can do at best.
//!
//! One run measures three things on the same disk: a durable publish, a delivery to a handler in its sandbox and a
//! durable settle, called in this process; the same over HTTP on a loopback socket; and a plain file to which as many
//! bytes are written per `fdatasync` as the first run had in one commit. Client and host share the machine, as they do
//! in the figures of other systems that we compare with.
//!
//! Memory is that of the whole process: publishers, client, host, handlers and the figures themselves.
//!
//! What is settled is read off the consumer's floor, about once a millisecond: every message below it is settled,
//! durably. So latencies under load are right to about a millisecond; those of one message at a time are asked for
//! without a pause and are right to the time of one look.

mod backlog;
mod count;
mod host;
mod http;
mod in_process;
mod latency;
mod load;
mod memory;
mod plan;
mod raw;
mod report;
mod settle;

use std::path::PathBuf;

use anyhow::Result;

use self::{
    plan::{Durability, Plan},
    report::{Report, Run},
};
use crate::cli::output;

/// Measure throughput and latency on this machine
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArguments {
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// How many messages each run publishes
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// Data of one message, in bytes
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=16 * 1024 * 1024))]
    data_bytes: u32,
    /// Publishers at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    producers: u32,
    /// Messages of each publisher that are published and not yet answered
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    in_flight: u32,
    /// What to measure
    #[arg(long, value_enum, default_value_t = Mode::All)]
    mode: Mode,
    /// When a commit is durable
    #[arg(long, value_enum, default_value_t = Durability::Fsync)]
    durability: Durability,
    /// The component that handles the messages
    #[arg(long, value_name = "FILE", default_value = "target/guests/guest-noop.wasm")]
    handler: PathBuf,
    /// Measure on the disk of this folder; what is made in it is removed again. The default is the system's temporary
    /// folder
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// Instead, publish so many messages with the consumer paused; say how much memory that takes, and how long a host
    /// needs until it delivers the first of them after a restart
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    backlog: Option<u64>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// The host called in this process.
    InProcess,
    /// The host over HTTP on a loopback socket.
    Http,
    /// Both.
    All,
}

/// Measure, and say what came of it.
pub(crate) async fn run(arguments: BenchArguments) -> Result<()> {
    let plan = Plan::new(&arguments)?;
    let report = match arguments.backlog {
        Some(messages) => Report { runs: Vec::new(), backlog: Some(backlog::measure(&plan, messages).await?) },
        None => Report { runs: measure(&plan, arguments.mode).await?, backlog: None },
    };
    if arguments.json { output::say_json(&report) } else { output::say(report.for_people()) }
}

async fn measure(plan: &Plan, mode: Mode) -> Result<Vec<Run>> {
    let mut measured = Vec::new();
    if matches!(mode, Mode::InProcess | Mode::All) {
        measured.push(("in-process", in_process::measure(plan).await?));
    }
    if matches!(mode, Mode::Http | Mode::All) {
        measured.push(("http", http::measure(plan).await?));
    }
    // The disk is asked last: only now is known how many messages a commit has.
    let batch = measured.first().map_or(1.0, |(_, first)| first.messages_per_commit);
    let raw_append_per_s = raw::measure(plan, batch)?;
    Ok(measured.into_iter().map(|(mode, measured)| Run::new(mode, plan, measured, raw_append_per_s)).collect())
}
