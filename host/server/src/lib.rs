//! The `wasmill` binary: configuration, HTTP, command line, telemetry, shutdown.
//!
//! Nothing about messages is decided here; this crate puts a face on [`wasmill_runtime::Host`]. It must not know of
//! sled or wasmtime.

mod bench;
pub mod callbacks;
pub mod cli;
mod client;
pub mod config;
pub mod http;
mod project;
mod samples;
mod serve;
mod signature_file;
pub mod telemetry;
mod templates;
mod watch;

use wasmill_settings::forms;
