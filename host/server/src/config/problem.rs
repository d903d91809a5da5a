//! What is wrong with a configuration file, and where.

use std::path::PathBuf;

pub use wasmill_settings::Wrong;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {problem}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        problem: std::io::Error,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Wrong(Box<Wrong>),
    /// The address can be reached from other machines, and nobody said that it may.
    #[error(
        "the address {listen} can be reached from other machines, and the API asks nobody who they are; listen on \
         127.0.0.1, or write allow-remote = true under [server] in the configuration if something in front of the \
         host keeps strangers out"
    )]
    Remote {
        /// Which address.
        listen: std::net::SocketAddr,
    },
}
