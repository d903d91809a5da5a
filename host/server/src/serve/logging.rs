//! Log lines: to standard error, for people or as JSON.

use std::io::IsTerminal as _;

use anyhow::{Result, anyhow};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Begin to log. `RUST_LOG` wins over the configuration.
pub(crate) fn begin(config: &LogConfig) -> Result<()> {
    let level = std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty());
    let filter = match &level {
        Some(level) => EnvFilter::try_new(level).map_err(|error| anyhow!("RUST_LOG is {level:?}: {error}"))?,
        None => EnvFilter::try_new(&config.level)?,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    }
    .map_err(|error| anyhow!("cannot begin to log: {error}"))
}
