//! What the disk does at best: write, `fdatasync`, write, `fdatasync`.
//!
//! The file has its length before it is measured. Writing past its end would measure the file system's journal too,
//! and with it whatever else writes to the disk just then.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::plan::Plan;

/// A shared disk has moods, and what is wanted is what it can do: the best of so many rounds …
const ROUNDS: usize = 3;
/// … of so long.
const ROUND: Duration = Duration::from_secs(1);
/// The length of the file, unless one commit is longer. At its end it is written again from its beginning.
const FILE_BYTES: usize = 32 * 1024 * 1024;

/// Messages per second, when as many are written for each `fdatasync` as a commit of the host had.
pub(super) fn measure(plan: &Plan, messages_per_commit: f64) -> Result<f64> {
    let path = plan.folder("raw");
    let bytes = (plan.data.len() as f64 * messages_per_commit).max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousand messages of some bytes")]
    let commit = vec![b'x'; bytes as usize];
    let best = best_commits_per_s(&path, &commit).with_context(|| format!("cannot write to {}", path.display()))?;
    Ok(best * messages_per_commit)
}

fn best_commits_per_s(path: &Path, commit: &[u8]) -> std::io::Result<f64> {
    let length = FILE_BYTES.max(commit.len());
    let mut file = File::create(path)?;
    file.write_all(&vec![0; length])?;
    file.sync_all()?;
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        best = best.max(commits_per_s(&mut file, commit, length)?);
    }
    Ok(best)
}

fn commits_per_s(file: &mut File, commit: &[u8], length: usize) -> std::io::Result<f64> {
    file.rewind()?;
    let (mut commits, mut written) = (0.0, 0);
    let started = Instant::now();
    while started.elapsed() < ROUND {
        if written + commit.len() > length {
            file.rewind()?;
            written = 0;
        }
        file.write_all(commit)?;
        file.sync_data()?;
        written += commit.len();
        commits += 1.0;
    }
    Ok(commits / started.elapsed().as_secs_f64())
}
