//! What can go wrong with the host itself, in words for the person who runs it.

use std::path::PathBuf;

use wasmill_delivery::{
    effect::{OrderRefusal, PublishRefusal},
    name::{HandlerName, NameError},
};
use wasmill_sandbox::{LimitsError, LoadError, SandboxError};
use wasmill_store::StoreError;

/// The host cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The store failed. Nothing that was answered is lost; start again when the cause is gone.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sandbox cannot be set up on this machine.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The host has stopped, or is stopping.
    #[error("the host has stopped{}", .reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Stopped {
        /// What stopped it, when it was not asked to.
        reason: Option<String>,
    },
    /// The order was refused.
    #[error(transparent)]
    Refused(#[from] OrderRefusal),
    /// The sandbox cannot keep a limit.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// A component does not fit. The one that was there stays.
    #[error("handler {handler}: {problem}")]
    Load {
        /// Which handler it was to be.
        handler: HandlerName,
        /// What does not fit.
        problem: LoadError,
    },
    /// A component that was loaded earlier is gone from the store.
    #[error("handler {handler}: its component {digest} is missing from the store; load it again")]
    ComponentMissing {
        /// Which handler.
        handler: HandlerName,
        /// Which version.
        digest: String,
    },
    /// A thread of the host could not be started.
    #[error("cannot start a thread of the host: {0}")]
    Thread(std::io::Error),
    /// A file cannot be read.
    #[error("cannot read {path}: {problem}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: std::io::Error,
    },
}

/// A message was not published. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It breaks a rule.
    #[error(transparent)]
    Invalid(#[from] NameError),
    /// Its data is too large.
    #[error("the data is {bytes} bytes; at most {bytes_max} are accepted (data-bytes-max)")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Topics of the host's own.
    #[error("topic {topic} is the host's own; topics under $sys can be bound, not published to")]
    SystemTopic {
        /// Which.
        topic: String,
    },
    /// No queue took it.
    #[error(transparent)]
    Refused(#[from] PublishRefusal),
    /// The host failed before it could answer: whether it was kept is not known. Publish it again with the same id.
    #[error(transparent)]
    Host(#[from] HostError),
}
