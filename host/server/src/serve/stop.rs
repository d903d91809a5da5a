//! When and how a host stops.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wasmill_runtime::Host;

/// How often the host is asked whether it failed.
const FAILURE_LOOK: Duration = Duration::from_millis(250);

/// What ends a host.
#[derive(Debug)]
pub(crate) enum Cause {
    /// Somebody asked for it.
    Asked(&'static str),
    /// The host failed, and why.
    Failed(String),
}

/// The signals that ask a host to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on, signals are ours to deal with.
    pub(crate) fn listen() -> Result<Self> {
        let of = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    /// The next one, by its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Wait until there is a reason to stop.
    pub(super) async fn cause(&mut self, host: &Host) -> Cause {
        tokio::select! {
            name = self.next() => Cause::Asked(name),
            reason = failure(host) => Cause::Failed(reason),
        }
    }

    /// Whoever asks again does not want to wait.
    pub(crate) fn exit_on_the_next(mut self) {
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!("{name} again: stopping at once; what is under way runs again at the next start");
            std::process::exit(1);
        });
    }
}

/// Why the host stopped by itself; waits for as long as it does not.
pub(crate) async fn failure(host: &Host) -> String {
    loop {
        match host.failure() {
            Some(reason) => return reason,
            None => tokio::time::sleep(FAILURE_LOOK).await,
        }
    }
}

impl Cause {
    /// What the process answers with.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Asked(_) => ExitCode::SUCCESS,
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}
