//! What the sandbox saw when a handler ran. Guest failure is a value, never an `Err`.

use serde::{Deserialize, Serialize};

use crate::limits::REASON_BYTES_MAX;

/// A fingerprint of a failure, in bytes.
pub const FINGERPRINT_BYTES_MAX: usize = 120;

/// How one attempt ended. Kept in the quarantine record, and a metric label by its [`Outcome::name`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Outcome {
    /// The handler returned `ok`.
    Success,
    /// The handler asked to be run again.
    Retry {
        /// In its words.
        reason: String,
        /// The wait it asked for, in milliseconds.
        after_ms: Option<u64>,
    },
    /// The handler asked for a later time. Burns no attempt.
    Defer {
        /// The wait it asked for, in milliseconds.
        after_ms: u64,
    },
    /// The handler asked that nothing of its message's key runs for a while; without a key, or without order by key,
    /// that its consumer takes nothing. Burns no attempt.
    Throttle {
        /// For how long, in milliseconds.
        after_ms: u64,
    },
    /// The handler said that it can never succeed.
    Reject {
        /// In its words.
        reason: String,
    },
    /// It used up its fuel.
    OutOfFuel {
        /// The limit it reached, in units of fuel.
        fuel_max: u64,
    },
    /// It asked for more memory than its limit and failed because of it.
    OutOfMemory {
        /// The limit it reached, in bytes.
        memory_bytes_max: u64,
    },
    /// It ran longer than its limit of wall clock, waiting included.
    TimedOut {
        /// The limit it reached, in milliseconds.
        wall_clock_ms_max: u64,
    },
    /// It recursed past its stack.
    StackOverflow,
    /// It published more messages or bytes than its limit.
    PublishLimit {
        /// Which limit, with its number.
        limit: String,
    },
    /// It stored more bytes than its limit.
    StateLimit {
        /// Which limit, with its number.
        limit: String,
    },
    /// It trapped: `unreachable`, a panic, an index out of bounds, a division by zero …
    Trapped {
        /// The engine's word for it.
        trap: String,
    },
    /// It called `exit`.
    Exited {
        /// Whether it said success. Either way it did not answer.
        success: bool,
    },
    /// It succeeded, but no queue takes a message that it published.
    Unroutable {
        /// Where the message was to go.
        topic: String,
    },
    /// It succeeded, but a message that it published is larger than its queue can ever hold.
    NeverFits {
        /// The queue, with its limit.
        limit: String,
    },
    /// The message expired before it was run.
    Expired,
    /// A program outside leased it and did not settle it in time.
    LeaseExpired {
        /// How long it had, in milliseconds.
        lease_ms: u64,
    },
    /// The host stopped while it ran. Only deliveries that were alone under suspicion get this.
    HostCrash,
    /// The host could not run it, by no fault of the message: a missing component, a store that cannot be read.
    /// Burns no attempt.
    HostFault {
        /// What failed.
        detail: String,
    },
}

/// Cut the words of a handler, or of a program outside, at [`REASON_BYTES_MAX`].
#[must_use]
pub fn cut_reason(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

impl Outcome {
    /// The word that metrics, logs and the API use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Retry { .. } => "retry",
            Self::Defer { .. } => "defer",
            Self::Throttle { .. } => "throttle",
            Self::Reject { .. } => "reject",
            Self::OutOfFuel { .. } => "out-of-fuel",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::TimedOut { .. } => "timed-out",
            Self::StackOverflow => "stack-overflow",
            Self::PublishLimit { .. } => "publish-limit",
            Self::StateLimit { .. } => "state-limit",
            Self::Trapped { .. } => "trapped",
            Self::Exited { .. } => "exited",
            Self::Unroutable { .. } => "unroutable",
            Self::NeverFits { .. } => "never-fits",
            Self::Expired => "expired",
            Self::LeaseExpired { .. } => "lease-expired",
            Self::HostCrash => "host-crash",
            Self::HostFault { .. } => "host-fault",
        }
    }

    /// One sentence for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Success => "the handler succeeded".to_owned(),
            Self::Retry { reason, .. } => format!("the handler asked for a retry: {reason}"),
            Self::Defer { after_ms } => {
                format!("the handler asked to be run again in {after_ms} ms")
            }
            Self::Throttle { after_ms } => format!("the handler asked for a pause of {after_ms} ms"),
            Self::Reject { reason } => format!("the handler rejected it: {reason}"),
            Self::OutOfFuel { fuel_max } => {
                format!("the handler used up its {fuel_max} units of fuel")
            }
            Self::OutOfMemory { memory_bytes_max } => {
                format!("the handler needed more than its {memory_bytes_max} bytes of memory")
            }
            Self::TimedOut { wall_clock_ms_max } => {
                format!("the handler ran longer than its {wall_clock_ms_max} ms")
            }
            Self::StackOverflow => "the handler overflowed its stack".to_owned(),
            Self::PublishLimit { limit } => format!("the handler published more than {limit}"),
            Self::StateLimit { limit } => format!("the handler stored more than {limit}"),
            Self::Trapped { trap } => format!("the handler trapped: {trap}"),
            Self::Exited { success } => {
                format!("the handler called exit({}) instead of answering", if *success { 0 } else { 1 })
            }
            Self::Unroutable { topic } => format!("the handler published to {topic}, which no queue takes"),
            Self::NeverFits { limit } => format!("the handler published more than a queue can ever hold: {limit}"),
            Self::Expired => "the message expired before it was run".to_owned(),
            Self::LeaseExpired { lease_ms } => format!("whoever leased it did not settle it within {lease_ms} ms"),
            Self::HostCrash => "the host stopped while the handler ran".to_owned(),
            Self::HostFault { detail } => format!("the host could not run the handler: {detail}"),
        }
    }

    /// What failures of the same kind have in common: the outcome's name and its words, numbers left out, cut at
    /// [`FINGERPRINT_BYTES_MAX`].
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let detail = match self {
            Self::Retry { reason, .. } | Self::Reject { reason } => reason,
            Self::Trapped { trap } => trap,
            Self::Unroutable { topic } => topic,
            Self::NeverFits { limit } | Self::PublishLimit { limit } | Self::StateLimit { limit } => limit,
            Self::HostFault { detail } => detail,
            Self::Success
            | Self::Defer { .. }
            | Self::Throttle { .. }
            | Self::OutOfFuel { .. }
            | Self::OutOfMemory { .. }
            | Self::TimedOut { .. }
            | Self::StackOverflow
            | Self::Exited { .. }
            | Self::Expired
            | Self::LeaseExpired { .. }
            | Self::HostCrash => "",
        };
        let words = detail.split(|c: char| c.is_ascii_digit()).filter(|word| !word.is_empty());
        let mut text = self.name().to_owned();
        for word in words {
            text.push(if text.len() == self.name().len() { ':' } else { '#' });
            text.push_str(word);
        }
        let end = text.floor_char_boundary(FINGERPRINT_BYTES_MAX);
        text.truncate(end);
        text
    }

    /// Whether the same inputs on a fresh instance would end the same way, as far as the host can know.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        match self {
            Self::OutOfFuel { .. }
            | Self::OutOfMemory { .. }
            | Self::StackOverflow
            | Self::PublishLimit { .. }
            | Self::StateLimit { .. }
            | Self::Trapped { .. }
            | Self::Exited { .. } => true,
            Self::Success
            | Self::Retry { .. }
            | Self::Defer { .. }
            | Self::Throttle { .. }
            | Self::Reject { .. }
            | Self::TimedOut { .. }
            | Self::Unroutable { .. }
            | Self::NeverFits { .. }
            | Self::Expired
            | Self::LeaseExpired { .. }
            | Self::HostCrash
            | Self::HostFault { .. } => false,
        }
    }
}
