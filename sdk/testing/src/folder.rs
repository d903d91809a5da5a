//! Where the stores of tests are, and what becomes of those whose test was killed.

use std::{path::Path, sync::Once, time::Duration};

use tempfile::TempDir;

use crate::error::HarnessError;

/// The number of the process comes behind it.
const PREFIX: &str = "wasmill-test-";
/// What a process that cannot be seen from here has not touched for so long, it does not use any more.
const LEFT_AFTER: Duration = Duration::from_secs(60 * 60);

/// In memory where the system has a folder for that and there is room, unless `TMPDIR` says where: a store on a disk takes
/// ten times as long to open.
pub(crate) fn make() -> Result<TempDir, HarnessError> {
    const IN_MEMORY: &str = "/dev/shm";
    const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
    if std::env::var_os("TMPDIR").is_none()
        && rustix::fs::statvfs(IN_MEMORY).is_ok_and(|room| room.f_bavail.saturating_mul(room.f_frsize) > FREE_BYTES_MIN)
        && let Ok(folder) = make_in(Path::new(IN_MEMORY))
    {
        return Ok(folder);
    }
    let folder = std::env::temp_dir();
    make_in(&folder).map_err(|problem| HarnessError::File { path: folder, problem })
}

fn make_in(parent: &Path) -> std::io::Result<TempDir> {
    static SWEEP: Once = Once::new();
    SWEEP.call_once(|| sweep(parent));
    tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir_in(parent)
}

/// Remove the stores of processes that are gone. What cannot be removed is another user's, or gone by now.
fn sweep(parent: &Path) {
    for path in std::fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if is_left(&path) {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

fn is_left(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(PREFIX));
    let Some((process, _)) = name.and_then(|name| name.split_once('-')) else { return false };
    let processes = Path::new("/proc");
    let is_gone =
        process.parse::<u32>().is_ok() && processes.join("self").exists() && !processes.join(process).exists();
    // A container has processes that cannot be seen from outside, and may share the folder.
    is_gone && is_untouched(path)
}

fn is_untouched(path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|about| about.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > LEFT_AFTER))
}
