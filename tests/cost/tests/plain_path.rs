//! The plain path must not become dearer unseen.

#![allow(clippy::print_stdout, reason = "the figures are for whoever runs it")]

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use cost::{BATCH, Pump};
use serde::Deserialize;

/// How much more a number may be.
const TOLERANCE: f64 = 0.05;
/// Batches before anything is counted: caches fill, buffers reach their size.
const WARM_UP: u64 = 50;
/// Batches that are counted.
const COUNTED: u64 = 200;

/// What a message costs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Costs {
    allocations: f64,
    allocated_bytes: f64,
    commits: f64,
    instructions: f64,
}

fn expected() -> Result<Costs> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("expected.toml");
    toml::from_str(&fs::read_to_string(&file)?).with_context(|| file.display().to_string())
}

fn compare(what: &str, expected: f64, seen: f64) -> Result<()> {
    println!("{what}: {seen:.3} for each message, {expected:.3} expected");
    let ratio = seen / expected;
    ensure!(
        ratio <= 1.0 + TOLERANCE,
        "{what} are {seen:.3} for each message and were {expected:.3}, which is {:+.1} %; find out why, and if it is worth it \
         write the number into tests/cost/expected.toml",
        (ratio - 1.0) * 100.0
    );
    Ok(())
}

#[test]
fn allocations_and_commits() -> Result<()> {
    let expected = expected()?;
    let folder = tempfile::tempdir()?;
    let mut pump = Pump::open(folder.path())?;
    for _ in 0..WARM_UP {
        pump.batch()?;
    }
    let commits = pump.commits();
    let mut ran = Ok(());
    let counted = allocation_counter::measure(|| {
        for _ in 0..COUNTED {
            ran = pump.batch();
            if ran.is_err() {
                break;
            }
        }
    });
    ran?;
    let messages = (COUNTED * u64::from(BATCH)) as f64;
    compare("commits", expected.commits, (pump.commits() - commits) as f64 / messages)?;
    compare("allocations", expected.allocations, counted.count_total as f64 / messages)?;
    compare("allocated bytes", expected.allocated_bytes, counted.bytes_total as f64 / messages)
}

/// Instructions of so many batches, or none when there is no valgrind.
fn instructions(batches: u64) -> Result<u64> {
    let example = Path::new(env!("CARGO_BIN_EXE_plain-path"));
    let folder = tempfile::tempdir()?;
    let counts = folder.path().join("callgrind");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}", counts.display()));
    let output = valgrind.arg(example).arg(batches.to_string()).output().context("cannot start valgrind")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The first thread's own: sled's threads do as much as they come to.
    let counts = fs::read_to_string(counts.with_file_name("callgrind-01"))?;
    let total = counts.lines().find_map(|line| line.strip_prefix("totals: ")).context("callgrind counted nothing")?;
    Ok(total.trim().parse()?)
}

#[test]
fn instructions_by_callgrind() -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("there is no valgrind, so instructions are not counted; `apt-get install valgrind` brings it");
        return Ok(());
    }
    // The difference of two runs is without start and end.
    let (few, many) = (100, 500);
    let counted = instructions(many)?.saturating_sub(instructions(few)?);
    compare("instructions", expected()?.instructions, counted as f64 / ((many - few) * u64::from(BATCH)) as f64)
}
