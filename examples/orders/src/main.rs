//! The event-driven order system that everybody draws. `order.placed` fans out to email, inventory, analytics and
//! payment; the card network fails now and then and payments are retried; one poison order is quarantined by two of
//! the four, looked at, corrected and redriven. What it prints is compared with `expected.txt`.

mod story;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, ensure};
use host_process::{HostProcess, Setup};

use crate::story::Story;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command for people")]
fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("orders: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String> {
    let folder = tempfile::tempdir()?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR"));
    let setup = Setup { config: Some(example.join("wasmill.toml")), folder: folder.path().to_owned() };
    let orders = std::fs::read_to_string(example.join("data/orders.ndjson")).context("cannot read the orders")?;
    let host = HostProcess::start(&setup)?;
    let text = Story::new(host.client()).tell(&orders)?;
    ensure!(host.terminate()?.success(), "the host did not stop cleanly");
    let expected = std::fs::read_to_string(example.join("expected.txt")).context("cannot read expected.txt")?;
    ensure!(text == expected, "this is not what expected.txt says:\n{text}");
    Ok(text)
}
