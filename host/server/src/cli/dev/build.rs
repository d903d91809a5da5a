//! The project's build command, while it runs.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often it is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Run a shell command in the current folder; what it says goes where ours goes. Whoever drops this ends it, with all
/// that it started.
pub(super) async fn run(command: &str) -> Result<ExitStatus> {
    let mut shell = Command::new("sh");
    // A group of its own, so that it can be ended as a whole, and is not by a Ctrl-C that is meant for us.
    shell.env("PATH", path()?);
    shell.args(["-c", command]).stdin(Stdio::null()).process_group(0);
    let mut group = Group { child: shell.spawn().context("cannot start sh")?, ended: false };
    loop {
        if let Some(status) = group.child.try_wait()? {
            group.ended = true;
            return Ok(status);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// With this program's folder in front: builds may call `wasmill`, and mean the one that runs them.
fn path() -> Result<OsString> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = program.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&folders));
    std::env::join_paths(folders).context("this program's folder cannot be in the path")
}

struct Group {
    child: Child,
    ended: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended since.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
