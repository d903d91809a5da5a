//! The main job on real input. Starts a host, publishes 1,707 real earthquakes and a few broken records to it over
//! HTTP, and shows what three handlers made of them. With `--crash` the host is killed half way and started again;
//! the summary must be the same.

mod input;
mod publish;
mod summary;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use host_process::{HostProcess, Setup};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{input::Record, publish::Publisher, summary::Summary};

/// Nothing here takes longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Publish 1,707 earthquakes to a Wasmill host and show what three handlers make of them.
#[derive(Parser)]
struct Arguments {
    /// Kill the host with SIGKILL half way and start it again
    #[arg(long)]
    crash: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    /// Keep the host's folder here instead of a temporary one
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command for people")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("quakes: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<String> {
    let temporary = tempfile::tempdir()?;
    let folder = arguments.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR"));
    let setup = Setup { config: Some(example.join("wasmill.toml")), folder };
    let records = input::read(&example.join("data"))?;
    let host = HostProcess::start(&setup)?;
    let started = Instant::now();
    let host = publish_all(host, &setup, &records, arguments.crash)?;
    host.client().wait_until_settled(PATIENCE)?;
    let summary = Summary::gather(host.client(), records.len(), started.elapsed())?;
    let status = host.terminate()?;
    ensure!(status.success(), "the host did not stop cleanly: {status}");
    summary.check_expected(&example.join("expected.json"))?;
    if arguments.json { Ok(serde_json::to_string_pretty(&summary)?) } else { Ok(summary.for_people(arguments.crash)) }
}

fn publish_all(mut host: HostProcess, setup: &Setup, records: &[Record], crash: bool) -> Result<HostProcess> {
    let mut publisher = Publisher::new(records);
    let bar = progress_bar(records.len())?;
    let half = records.len() / 2;
    while !publisher.is_done() {
        if crash && !publisher.crashed && publisher.answered() >= half {
            bar.println("half way: the host is killed with SIGKILL while it works, and started again");
            publisher.publish_unanswered(host.client());
            host.kill()?;
            publisher.crashed = true;
            host = HostProcess::start(setup)?;
        }
        publisher.publish_next(host.client()).context("the host did not take the messages")?;
        bar.set_position(publisher.answered() as u64);
    }
    bar.set_message("published; waiting until every delivery is settled");
    bar.finish();
    Ok(host)
}

fn progress_bar(length: usize) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} published {msg}")?;
    Ok(ProgressBar::new(length as u64).with_style(style))
}
