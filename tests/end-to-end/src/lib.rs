//! What the end-to-end tests share: a host in a folder of its own, with the handlers a test asks for.

pub mod hostile;
pub mod malformed;
pub mod server;

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use host_process::{Client, HostProcess, Setup, guest, wasmill_binary};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes, on any machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A host with its folder. Both go when it is dropped.
#[derive(Debug)]
pub struct TestHost {
    folder: TempDir,
    process: Option<HostProcess>,
}

impl TestHost {
    /// Start a host with this configuration.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(config: &str) -> Result<Self> {
        Self::start_with(config, &[])
    }

    /// Start a host with this configuration and these variables in its environment.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with(config: &str, environment: &[(&str, &Path)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("wasmill.toml"), config)?;
        let mut host = Self { folder, process: None };
        host.process = Some(HostProcess::start_with(&host.setup(), environment)?);
        Ok(host)
    }

    /// Start it on the folder it had.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = Some(HostProcess::start(&self.setup())?);
        Ok(())
    }

    fn setup(&self) -> Setup {
        Setup { config: Some(self.folder.path().join("wasmill.toml")), folder: self.folder.path().to_owned() }
    }

    /// Take the process, to kill or terminate it.
    ///
    /// # Errors
    /// When there is none.
    pub fn take_process(&mut self) -> Result<HostProcess> {
        self.process.take().context("the host does not run")
    }

    /// Speaks to it.
    ///
    /// # Panics
    /// When the process was taken and not started again.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.process.as_ref().expect("the host runs").client()
    }

    /// Run a command line in its folder, with `wasmill` in the path and speaking to it. Answers what it printed.
    ///
    /// # Errors
    /// When it fails; what it complained of is in the error.
    pub fn shell(&self, command: &str) -> Result<String> {
        let binary = wasmill_binary()?;
        let binaries = binary.parent().context("a file is in a folder")?.display();
        let output = Command::new("sh")
            .args(["-c", command])
            .env("PATH", format!("{binaries}:{}", std::env::var("PATH")?))
            .env("WASMILL_URL", self.client().url())
            .current_dir(self.folder.path())
            .output()?;
        let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "`{command}` fails: {said}{complaint}");
        Ok(said.into_owned())
    }

    /// The resident memory of its process, in bytes.
    ///
    /// # Errors
    /// When it does not run, or the system does not say.
    pub fn resident_bytes(&self) -> Result<u64> {
        let process = self.process.as_ref().context("the host does not run")?;
        let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
    }

    /// The time that all cores together have worked for its process.
    ///
    /// # Errors
    /// When it does not run, or the system does not say.
    pub fn processor_time(&self) -> Result<Duration> {
        let process = self.process.as_ref().context("the host does not run")?;
        processor_time_in(&fs::read_to_string(format!("/proc/{}/stat", process.id()))?)
    }

    /// The time that all cores together have worked for those of its threads that have this name.
    ///
    /// # Errors
    /// When it does not run, or the system does not say.
    pub fn processor_time_of(&self, threads: &str) -> Result<Duration> {
        let process = self.process.as_ref().context("the host does not run")?;
        let mut all = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", process.id()))? {
            let thread = thread?.path();
            // One that has ended meanwhile has no files.
            let (name, stat) = (fs::read_to_string(thread.join("comm")), fs::read_to_string(thread.join("stat")));
            if let (Ok(name), Ok(stat)) = (name, stat)
                && name.trim_end() == threads
            {
                all += processor_time_in(&stat)?;
            }
        }
        Ok(all)
    }

    /// A file of its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

/// The time in the system's line about a process or a thread.
fn processor_time_in(stat: &str) -> Result<Duration> {
    /// Linux counts hundredths of a second for programs, whatever it counts itself.
    const TICK_MS: u64 = 10;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = fields.get(11).context("no user time")?.parse::<u64>()?
        + fields.get(12).context("no system time")?.parse::<u64>()?;
    Ok(Duration::from_millis(ticks * TICK_MS))
}

/// A handler of that name running that guest, with a queue and a consumer of its own. `more` goes into the handler's
/// section.
///
/// # Errors
/// When the guest is not built.
pub fn handler_with_queue(name: &str, package: &str, more: &str) -> Result<String> {
    let file = guest(package)?;
    let mut config = String::new();
    writeln!(config, "[handler.{name}]\nfile = {:?}\n{more}", file.display().to_string())?;
    writeln!(config, "[queue.{name}]\nbindings = [\"{name}\"]")?;
    writeln!(config, "[queue.{name}.consumer.{name}]\nhandler = \"{name}\"\nattempts = 2")?;
    writeln!(config, "backoff = {{ initial = \"1ms\", cap = \"5ms\" }}")?;
    Ok(config)
}

/// Quarantine records of a handler, with all evidence.
///
/// # Errors
/// When the host does not answer.
pub fn quarantined(client: &Client, handler: &str) -> Result<Vec<Value>> {
    let list = client.get(&format!("/v1/quarantine?limit=1000&handler={handler}"))?;
    let ids = list["quarantined"].as_array().context("no list")?.iter().map(|record| record["id"].clone());
    ids.map(|id| client.get(&format!("/v1/quarantine/{id}"))).collect()
}
