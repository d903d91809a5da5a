//! What the disk does at best: append, `fdatasync`, append, `fdatasync`.

use std::{
    fs::File,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::plan::Plan;

/// Disks have moods: it is looked at for at least so long …
const TIME_MIN: Duration = Duration::from_secs(1);
/// … and no longer than this.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Messages per second, when as many are appended for each `fdatasync` as a commit of the host had.
pub(super) fn measure(plan: &Plan, messages_per_commit: f64) -> Result<f64> {
    let path = plan.folder("raw");
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let bytes = (plan.data.len() as f64 * messages_per_commit).max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousand messages of some bytes")]
    let commit = vec![b'x'; bytes as usize];
    let commits_max = (plan.messages as f64 / messages_per_commit).ceil().max(1.0);
    let started = Instant::now();
    let mut commits = 0.0;
    while (commits < commits_max && started.elapsed() < TIME_MAX) || started.elapsed() < TIME_MIN {
        file.write_all(&commit).and_then(|()| file.sync_data()).context("cannot write to the disk")?;
        commits += 1.0;
    }
    Ok(commits * messages_per_commit / started.elapsed().as_secs_f64())
}
