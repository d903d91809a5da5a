//! Why a test could not be run to its end.

use std::path::PathBuf;

use wasmill_runtime::{
    HostError, PublishError,
    simulated::{LoadError, SandboxError},
};

/// Why a test could not be run to its end. It says nothing of what the handler should have done.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A file cannot be read or written.
    #[error("{}: {problem}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// The sandbox cannot be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The component is no handler that can be run.
    #[error("the component cannot be run: {0}")]
    Component(#[from] LoadError),
    /// The host refused something, or stopped.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A message of the test cannot be published.
    #[error("message {message} of the test cannot be published: {problem}")]
    Publish {
        /// Its id.
        message: String,
        /// Why.
        problem: PublishError,
    },
    /// It never comes to its end.
    #[error("{what}; say for how long the test shall go on (run-for), or mend the handler")]
    Endless {
        /// What goes on.
        what: String,
    },
    /// No clock or thread.
    #[error("the test's runtime cannot be started: {0}")]
    Runtime(std::io::Error),
    /// A setting breaks its rule.
    #[error("{0}")]
    Setting(String),
    /// A capsule cannot be read.
    #[error(transparent)]
    Capsule(#[from] wasmill_runtime::replay::CapsuleFileError),
}
