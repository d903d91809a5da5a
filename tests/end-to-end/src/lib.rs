//! What the end-to-end tests share: a host in a folder of its own, with the handlers a test asks for.

pub mod hostile;
pub mod malformed;

use std::{fmt::Write as _, fs, time::Duration};

use anyhow::{Context, Result};
use host_process::{Client, HostProcess, Setup, guest};
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
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("wasmill.toml"), config)?;
        let mut host = Self { folder, process: None };
        host.start_again()?;
        Ok(host)
    }

    /// Start it on the folder it had.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<()> {
        let setup =
            Setup { config: Some(self.folder.path().join("wasmill.toml")), folder: self.folder.path().to_owned() };
        self.process = Some(HostProcess::start(&setup)?);
        Ok(())
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

    /// A file of its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
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
