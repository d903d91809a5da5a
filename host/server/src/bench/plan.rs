//! What a run does, checked once.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tempfile::TempDir;
use wasmill_runtime::{Durability as StoreDurability, StoreOptions};

use super::BenchArguments;

/// Milliseconds between two flushes with `--durability interval`.
const FLUSH_MS: u64 = 50;

/// When a commit is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Durability {
    /// Before the publisher is answered
    Fsync,
    /// At most 50 ms later
    Interval,
}

impl Durability {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Interval => "interval",
        }
    }
}

/// See the module.
pub(super) struct Plan {
    pub(super) messages: u64,
    /// The data of every message: JSON of the length that was asked for.
    pub(super) data: Bytes,
    pub(super) producers: u32,
    pub(super) in_flight: u32,
    pub(super) durability: Durability,
    pub(super) component: Bytes,
    /// Removed at the end, with all that the runs leave in it.
    folder: TempDir,
}

impl Plan {
    pub(super) fn new(arguments: &BenchArguments) -> Result<Self> {
        let handler = &arguments.handler;
        let component = std::fs::read(handler).with_context(|| {
            format!(
                "cannot read the handler {}; run `cargo xtask guests` first, or name a component with --handler FILE",
                handler.display()
            )
        })?;
        Ok(Self {
            messages: arguments.messages,
            data: json_of(arguments.data_bytes),
            producers: arguments.producers,
            in_flight: arguments.in_flight,
            durability: arguments.durability,
            component: component.into(),
            folder: make_folder(arguments.store.as_ref())?,
        })
    }

    /// Messages in one call of a publisher: half of what it may have outstanding.
    pub(super) fn batch(&self) -> u64 {
        u64::from(self.in_flight / 2).max(1)
    }

    /// Calls of a publisher that wait for their answer at once.
    pub(super) const fn calls(&self) -> usize {
        if self.in_flight > 1 { 2 } else { 1 }
    }

    /// A place for one run.
    pub(super) fn folder(&self, of: &str) -> PathBuf {
        self.folder.path().join(of)
    }

    pub(super) fn store_options(&self) -> StoreOptions {
        let durability = match self.durability {
            Durability::Fsync => StoreDurability::Fsync,
            Durability::Interval => StoreDurability::Interval { flush_ms: FLUSH_MS },
        };
        StoreOptions { durability, ..StoreOptions::default() }
    }
}

fn make_folder(within: Option<&PathBuf>) -> Result<TempDir> {
    let mut named = tempfile::Builder::new();
    named.prefix("wasmill-bench-");
    match within {
        Some(within) => {
            named.tempdir_in(within).with_context(|| format!("cannot make a folder in {}", within.display()))
        }
        None => named.tempdir().context("cannot make a temporary folder"),
    }
}

/// A JSON string of exactly so many bytes, so that it can be a line of NDJSON as it is.
fn json_of(bytes: u32) -> Bytes {
    let inside = "x".repeat(bytes.saturating_sub(2) as usize);
    format!("\"{inside}\"").into()
}
