//! Starts, kills and speaks to a real `wasmill` process over real sockets, for examples and tests.
//!
//! It knows the HTTP API as any client does, and nothing of the host's insides.

mod client;
mod files;
mod process;

pub use self::{
    client::Client,
    files::{guest, project_root, release, wasmill_binary},
    process::{HostProcess, Setup},
};
