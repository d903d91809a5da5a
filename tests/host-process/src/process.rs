//! One `wasmill serve` as a child process.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{client::Client, files::wasmill_binary};

/// A host that does not answer within this has failed to start.
const START_MAX: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The configuration file; none starts the host without one.
    pub config: Option<PathBuf>,
    /// The folder that becomes its current one; its log, its store and its address are kept there.
    pub folder: PathBuf,
}

/// A running host. It is killed when this is dropped.
#[derive(Debug)]
pub struct HostProcess {
    child: Child,
    client: Client,
}

impl HostProcess {
    /// Start a host and wait until it is ready.
    ///
    /// # Errors
    /// When it cannot be started or does not become ready; its log is in the error.
    pub fn start(setup: &Setup) -> Result<Self> {
        Self::start_with(setup, &[])
    }

    /// Start a host with these variables in its environment, besides the caller's.
    ///
    /// # Errors
    /// As [`HostProcess::start`].
    pub fn start_with(setup: &Setup, environment: &[(&str, &Path)]) -> Result<Self> {
        let address_file = setup.folder.join("address");
        let _ = std::fs::remove_file(&address_file);
        let log = File::options().create(true).append(true).open(setup.folder.join("wasmill.log"))?;
        let mut command = Command::new(wasmill_binary()?);
        command.arg("serve").args(["--listen", "127.0.0.1:0", "--address-file"]).arg(&address_file);
        command.arg("--store").arg(setup.folder.join("store"));
        if let Some(config) = &setup.config {
            command.arg("--config").arg(config);
        }
        command.envs(environment.iter().copied());
        command.current_dir(&setup.folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("cannot start wasmill")?;
        match wait_until_ready(&mut child, &address_file) {
            Ok(client) => Ok(Self { child, client }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let log = std::fs::read_to_string(setup.folder.join("wasmill.log")).unwrap_or_default();
                Err(error.context(format!("the host did not start; its log:\n{log}")))
            }
        }
    }

    /// Speaks to it.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// End it as a power cut would: SIGKILL.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// End it as an operator would: SIGTERM, then wait.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(id.context("no process id")?, rustix::process::Signal::TERM)?;
        Ok(self.child.wait()?)
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until_ready(child: &mut Child, address_file: &Path) -> Result<Client> {
    let deadline = Instant::now() + START_MAX;
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("it ended at once with {status}");
        }
        let address = std::fs::read_to_string(address_file).unwrap_or_default();
        if address.ends_with('\n') {
            let client = Client::new(&format!("http://{}", address.trim()))?;
            if client.is_ready() {
                return Ok(client);
            }
        }
        if Instant::now() > deadline {
            bail!("it was not ready after {} s", START_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
