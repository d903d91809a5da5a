//! What can go wrong with the host itself, in words for the person who runs it.

use std::path::PathBuf;

use wasmill_delivery::{
    effect::{OrderRefusal, PublishRefusal},
    name::{ConsumerName, Digest, HandlerName, NameError, QuarantineId, QueueName},
    outcome::Outcome,
};
use wasmill_sandbox::{LimitsError, LoadError, SandboxError};
use wasmill_store::StoreError;

use crate::signatures::SignatureProblem;

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
    /// A handler asks for more than the operator lets it have.
    #[error(
        "{limit} is {given}; this host allows a handler at most {most}: ask for that or less, or raise the maximum under \
         [limits.handler] in the host's configuration"
    )]
    BeyondMaximum {
        /// The limit's name.
        limit: &'static str,
        /// What was asked for, in the unit of the limit: bytes, milliseconds, or a count.
        given: u64,
        /// What there is.
        most: u64,
    },
    /// A component does not fit. The one that was there stays.
    #[error("handler {handler}: {problem}")]
    Load {
        /// Which handler it was to be.
        handler: HandlerName,
        /// What does not fit.
        problem: LoadError,
    },
    /// A component asks for more than the one before it did, and no operator approved that. The one that was there stays.
    #[error(
        "handler {handler}: this component imports {}, which the one before it did not; look whether it should, and load \
         it again with your approval (`wasmill handler load {handler} FILE --approve`, or ?approve=true)",
        .added.join(", ")
    )]
    NeedsApproval {
        /// Which handler.
        handler: HandlerName,
        /// What it imports besides.
        added: Vec<String>,
    },
    /// A component is not signed as the operator wants it. The one that was there stays.
    #[error("handler {handler}: {problem}")]
    Signature {
        /// Which handler it was to be.
        handler: HandlerName,
        /// What is wrong.
        problem: Box<SignatureProblem>,
    },
    /// A secret of a handler is not there.
    #[error("handler {handler}: secret {secret} {problem}")]
    Secret {
        /// Which handler.
        handler: HandlerName,
        /// The name that the handler reads it under.
        secret: String,
        /// What is wrong with it, without its value.
        problem: String,
    },
    /// More is granted than a handler can have.
    #[error(transparent)]
    Grants(NameError),
    /// How a handler is replaced, or its sample message, breaks a rule.
    #[error(transparent)]
    Replacing(NameError),
    /// A component fails on the sample message of its handler. The one that was there stays.
    #[error(
        "handler {handler}: this component fails on the handler's sample message: {}; the version before it stays",
        crate::smoke::describe(.outcome, .log)
    )]
    SmokeTest {
        /// Which handler.
        handler: HandlerName,
        /// How its attempt ended.
        outcome: Box<Outcome>,
        /// What it printed, cut.
        log: String,
    },
    /// There is nothing to go back to.
    #[error(
        "handler {handler} has no earlier version that was not given up; `wasmill handler history {handler}` shows what it has, \
         and --to goes to any of them"
    )]
    NoEarlierVersion {
        /// Which handler.
        handler: HandlerName,
    },
    /// No version that is kept begins so.
    #[error(
        "handler {handler} has no version {given:?} in its history; `wasmill handler history {handler}` shows what it has"
    )]
    UnknownVersion {
        /// Which handler.
        handler: HandlerName,
        /// What was asked for.
        given: String,
    },
    /// More than one version begins so.
    #[error("handler {handler} has more than one version that begins with {given:?}; give more of its digest")]
    AmbiguousVersion {
        /// Which handler.
        handler: HandlerName,
        /// What was asked for.
        given: String,
    },
    /// No version is tried.
    #[error(
        "handler {handler} has no version that is tried; begin one with `wasmill handler load {handler} FILE --canary 10%`"
    )]
    NoCanary {
        /// Which handler.
        handler: HandlerName,
    },
    /// A component that was loaded earlier is gone from the store.
    #[error("handler {handler}: its component {digest} is missing from the store; load it again")]
    ComponentMissing {
        /// Which handler.
        handler: HandlerName,
        /// Which version.
        digest: String,
    },
    /// As many requests wait for a reply as may.
    #[error(
        "{} requests wait for a reply already, which is the limit; try again later",
        crate::request::REQUESTS_WAITING_MAX
    )]
    TooManyRequests,
    /// As many requests wait for jobs to end as may.
    #[error(
        "{} requests wait for jobs to end already, which is the limit; ask without waiting",
        crate::jobs::JOB_WAITS_MAX
    )]
    TooManyJobWaits,
    /// A consumer that runs a handler is not pulled.
    #[error(
        "consumer {consumer} of queue {queue} runs handler {handler}, so nobody else takes its deliveries; declare \
         another consumer without a handler and pull that"
    )]
    NotPulled {
        /// Its queue.
        queue: QueueName,
        /// Its name.
        consumer: ConsumerName,
        /// What it runs.
        handler: HandlerName,
    },
    /// As many pulls wait as may.
    #[error("{} pulls wait already, which is the limit; try again later", crate::pull::PULLS_WAITING_MAX)]
    TooManyPulls,
    /// As much is pulled and not settled as may be.
    #[error(
        "{} deliveries, or {} bytes of them, are pulled and not settled, which is the limit; settle some first",
        crate::pull::PULLED_MAX,
        crate::pull::PULLED_BYTES_MAX
    )]
    TooManyPulled,
    /// As many redrives run in the background as may.
    #[error(
        "{} redrives run in the background already, which is the limit; wait for one, or cancel one",
        crate::redrives::REDRIVES_RUNNING_MAX
    )]
    TooManyRedrives,
    /// The inputs of a quarantined delivery's last attempt are not kept, so it cannot be run again.
    #[error("quarantined delivery {id} has no capsule: {why}")]
    NoCapsule {
        /// Which delivery.
        id: QuarantineId,
        /// Why not.
        why: String,
    },
    /// There is no component of that digest.
    #[error("there is no component {digest} on this host")]
    UnknownComponent {
        /// Which.
        digest: Digest,
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

impl HostError {
    /// Whether the store is still held by a host of this very process that was closed: connections and calls that end after
    /// it let go of it one by one.
    #[must_use]
    pub fn is_held_by_this_process(&self) -> bool {
        let own = format!("process {}", std::process::id());
        matches!(self, Self::Store(StoreError::InUse { holder, .. }) if *holder == own)
    }
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
    /// Its delay is longer than a host keeps anything.
    #[error("deliver-at is {deliver_at_ms} ms since 1970, more than 10 years from now; publish it later")]
    TooLate {
        /// What was asked for, in milliseconds since 1970.
        deliver_at_ms: u64,
    },
    /// No queue took it.
    #[error(transparent)]
    Refused(#[from] PublishRefusal),
    /// The host failed before it could answer: whether it was kept is not known. Publish it again with the same id.
    #[error(transparent)]
    Host(#[from] HostError),
}
