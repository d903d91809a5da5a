//! The process that kills: starts the child, lets it work for a random time, kills it, and audits in the end.

use std::{
    collections::BTreeSet,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::audit;

/// How a host is killed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often.
    pub kills: u32,
    /// What the instants are made of.
    pub seed: u64,
    /// The longest life of a child, in milliseconds.
    pub life_ms_max: u64,
    /// Numbers in one publish.
    pub batch: u64,
}

impl Plan {
    /// So many kills of short lives.
    #[must_use]
    pub const fn of_kills(kills: u32) -> Self {
        Self { kills, seed: 1, life_ms_max: 400, batch: 8 }
    }
}

/// Kill a child so often, then audit. Answers with a report of what was found.
///
/// # Errors
/// When the audit finds something lost, doubled or invented, or a child ends by itself.
pub fn run(program: &Path, plan: &Plan) -> Result<String> {
    let Plan { kills, seed, life_ms_max, batch } = *plan;
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let mut random = seed;
    let mut answered = BTreeSet::new();
    let mut next = 1;
    for _ in 0..kills {
        let life = Duration::from_millis(next_random(&mut random) % life_ms_max);
        answered.extend(live_and_die(program, folder.path(), next, batch, life)?);
        // Half of the time the next child repeats numbers that were not answered, and some that were.
        let repeat = if next_random(&mut random).is_multiple_of(2) { 8 * batch } else { 0 };
        next = answered.last().map_or(1, |last| last + 1).saturating_sub(repeat).max(1);
    }
    let audited = audit::run(folder.path(), &answered)?;
    Ok(format!(
        "{kills} kills in {:.1} s: {} publishes answered, {} kept, all handled, every effect exactly once",
        started.elapsed().as_secs_f64(),
        answered.len(),
        audited
    ))
}

fn live_and_die(program: &Path, folder: &Path, first: u64, batch: u64, life: Duration) -> Result<Vec<u64>> {
    let mut child = Command::new(program)
        .arg("child")
        .args([folder.as_os_str(), first.to_string().as_ref(), batch.to_string().as_ref()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.as_mut().map(|stdout| stdout.read_to_string(&mut text));
        text
    });
    std::thread::sleep(life);
    let ended = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    ensure!(ended.is_none(), "the child ended by itself: {ended:?}");
    let text = reader.join().unwrap_or_default();
    Ok(text.lines().map(str::parse).collect::<Result<_, _>>()?)
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
