//! What the disk does at best with a log that grows: append, `fdatasync`, append, `fdatasync`.

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
/// Where the file begins anew, so that the disk does not fill up.
const FILE_BYTES_MAX: usize = 512 * 1024 * 1024;

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
    let mut file = File::create(path)?;
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        best = best.max(commits_per_s(&mut file, commit)?);
    }
    Ok(best)
}

fn commits_per_s(file: &mut File, commit: &[u8]) -> std::io::Result<f64> {
    let mut commits = 0.0;
    let mut written = 0;
    begin_anew(file)?;
    let started = Instant::now();
    while started.elapsed() < ROUND {
        if written > FILE_BYTES_MAX {
            begin_anew(file)?;
            written = 0;
        }
        file.write_all(commit)?;
        file.sync_data()?;
        written += commit.len();
        commits += 1.0;
    }
    Ok(commits / started.elapsed().as_secs_f64())
}

fn begin_anew(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.sync_all()
}
