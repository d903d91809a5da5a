//! What is kept: the declarations of queues, consumers and handlers, and the records of deliveries that left
//! the happy path. `store` decides their bytes.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    message::Message,
    name::{ConsumerId, ConsumerName, Digest, HandlerName, NameError, QuarantineId, QueueId, QueueName, Sequence},
    outcome::Outcome,
    time::Timestamp,
};

pub use crate::consumer_config::{ConsumerConfig, DeliveryOrder, Expired, Poison, Start, StormPolicy};
pub use crate::grants::{Grants, SecretSource};
pub use crate::queue_config::{Binding, HeaderMatch, MatchMode, Overflow, QueueConfig, Retention};
pub use crate::versions::{Replacing, Retries, Sample, Versions};

/// A queue as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    /// Its number.
    pub id: QueueId,
    /// Its name.
    pub name: QueueName,
    /// Its declaration.
    pub config: QueueConfig,
}

/// Why a consumer takes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum PauseReason {
    /// An operator said so.
    Operator,
    /// The handler cannot be run: missing, does not compile, wrong world. It resumes when a good one is loaded.
    Handler {
        /// What is wrong with it.
        detail: String,
    },
    /// A message cannot be read from the store.
    Store {
        /// Where the damage is.
        detail: String,
    },
    /// The quarantine is full. It resumes when there is room.
    QuarantineFull,
    /// Most of the last deliveries failed in one way. One delivery at a time is tried until one succeeds.
    Storm {
        /// What the failures have in common, see [`Outcome::fingerprint`].
        fingerprint: String,
    },
    /// A delivery is in quarantine and policy wants order kept behind it. It resumes when that is redriven or purged.
    Poison {
        /// Which one.
        quarantine: QuarantineId,
    },
}

/// A consumer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerRecord {
    /// Its number.
    pub id: ConsumerId,
    /// The queue it reads.
    pub queue: QueueId,
    /// Its name, unique on the queue.
    pub name: ConsumerName,
    /// Its declaration.
    pub config: ConsumerConfig,
    /// Why it takes nothing, when it takes nothing.
    pub paused: Option<PauseReason>,
}

/// A handler as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerRecord {
    /// Its name.
    pub name: HandlerName,
    /// The component that runs now; none when it was declared and not loaded yet.
    pub digest: Option<Digest>,
    /// When that component was loaded.
    pub loaded_at: Timestamp,
    /// What the component reads by `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// Its limits.
    pub limits: HandlerLimits,
    /// What it may reach.
    #[serde(default)]
    pub grants: Grants,
    /// Where its secrets come from, by the name that it reads them under.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSource>,
    /// What the component imports; none when that was not noted yet. Another component that imports more needs an
    /// operator's approval.
    #[serde(default)]
    pub imports: Option<Vec<String>>,
    /// Its earlier versions, and the one that is tried.
    #[serde(default)]
    pub versions: Box<Versions>,
    /// How another version takes the place of this one.
    #[serde(default)]
    pub replacing: Box<Replacing>,
}

/// What stops a handler. Each is an operator's maximum for one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandlerLimits {
    /// Units of fuel, roughly one for each Wasm instruction.
    pub fuel_max: u64,
    /// All memories of an instance together, in bytes.
    pub memory_bytes_max: u64,
    /// Milliseconds from the call to the answer, waiting included.
    pub wall_clock_ms_max: u64,
    /// Messages published by one attempt.
    pub published_max: u32,
    /// Data and headers of all messages published by one attempt, in bytes.
    pub published_bytes_max: u64,
    /// Keys and values stored by one attempt, in bytes.
    pub state_bytes_max: u64,
    /// Output kept with one attempt, in bytes; the rest is dropped and said to be.
    pub log_bytes_max: u32,
    /// Calls of one instance before it is replaced by a fresh one; 1 means a fresh one each time.
    pub instance_calls_max: u32,
    /// HTTP requests sent by one attempt.
    pub http_requests_max: u32,
    /// HTTP requests of one attempt that are not finished, each with a connection of its own.
    pub http_open_max: u32,
    /// Heads and bodies of all HTTP requests of one attempt, in bytes.
    pub http_sent_bytes_max: u64,
    /// Heads and bodies of all answers to them, in bytes.
    pub http_received_bytes_max: u64,
}

impl Default for HandlerLimits {
    fn default() -> Self {
        Self {
            fuel_max: 1_000_000_000,
            memory_bytes_max: 64 * 1024 * 1024,
            wall_clock_ms_max: 30_000,
            published_max: 1_000,
            published_bytes_max: 16 * 1024 * 1024,
            state_bytes_max: 4 * 1024 * 1024,
            log_bytes_max: 16 * 1024,
            instance_calls_max: 10_000,
            http_requests_max: 100,
            http_open_max: 8,
            http_sent_bytes_max: 16 * 1024 * 1024,
            http_received_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// What is known of one attempt that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Which run it was, from 1.
    pub attempt: u32,
    /// The version of the handler that ran; none when none could be run.
    pub digest: Option<Digest>,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Units of fuel it used.
    pub fuel_used: u64,
    /// The largest memory of its instance, in bytes.
    pub memory_bytes_peak: u64,
    /// What it printed, cut at its limit.
    pub log: String,
    /// The guest's call stack when it trapped, innermost first.
    pub backtrace: Vec<String>,
    /// Whether no earlier delivery ran in the same instance.
    #[serde(default)]
    pub fresh: bool,
}

impl AttemptRecord {
    /// An attempt of which no sandbox knows: one that the host itself ended, or that ran outside.
    #[must_use]
    pub const fn without_sandbox(attempt: u32, started_at: Timestamp, outcome: Outcome) -> Self {
        Self {
            attempt,
            digest: None,
            started_at,
            duration_us: 0,
            outcome,
            fuel_used: 0,
            memory_bytes_peak: 0,
            log: String::new(),
            backtrace: Vec::new(),
            fresh: false,
        }
    }
}

/// A delivery off the happy path: waiting for a retry or a delay. It holds its own copy of the message, so
/// that the log can go on without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRecord {
    /// The message.
    pub message: Arc<Message>,
    /// Attempts that count.
    pub attempts_made: u32,
    /// The last attempts, oldest first, at most [`crate::limits::EVIDENCE_ATTEMPTS_MAX`].
    pub attempts: Vec<AttemptRecord>,
}

/// The key of a pending delivery, in the order they become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PendingKey {
    /// Whose it is.
    pub consumer: ConsumerId,
    /// When it may run.
    pub due: Timestamp,
    /// The message's place in the queue.
    pub sequence: Sequence,
}

/// The key of a delayed message, in the order they become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DelayedKey {
    /// When it is to be published.
    pub due: Timestamp,
    /// Its number.
    pub number: u64,
}

/// As people name it: the time in milliseconds, `-`, and the number.
impl fmt::Display for DelayedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.due.0, self.number)
    }
}

impl FromStr for DelayedKey {
    type Err = NameError;
    fn from_str(given: &str) -> Result<Self, NameError> {
        let parsed = || {
            let (due, number) = given.split_once('-')?;
            Some(Self { due: Timestamp(due.parse().ok()?), number: number.parse().ok()? })
        };
        parsed().ok_or_else(|| {
            NameError::new("delayed id", given, "is not two numbers with '-' between, as `wasmill delayed list` shows")
        })
    }
}

/// A delivery that may have been running when the host stopped: off the log each one that is leased, of the log only
/// one that runs alone. See the suspects' procedure in ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningMark {
    /// Whether nothing else ran.
    pub alone: bool,
}

/// Why policy gave a delivery up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuarantineReason {
    /// The handler said that it can never succeed.
    Rejected,
    /// Every attempt failed; the last attempt says how.
    AttemptsExhausted,
    /// What it published had come round too often.
    Loop,
    /// It failed twice in the same way on fresh instances, so that further attempts would too.
    Deterministic,
    /// It was not handled before it expired.
    Expired,
}

impl QuarantineReason {
    /// The word that metrics, logs and the API use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::AttemptsExhausted => "attempts-exhausted",
            Self::Loop => "loop",
            Self::Deterministic => "deterministic",
            Self::Expired => "expired",
        }
    }
}

/// Whether the inputs of a quarantined delivery's last attempt are kept, so that it can be run again elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum CapsuleKept {
    /// There were none: it ended outside of the sandbox, an earlier version of the host kept none, or it was imported.
    #[default]
    None,
    /// They are.
    Kept {
        /// So many bytes.
        bytes: u64,
    },
    /// Capsules took all the room that there is for them.
    NoRoom,
}

/// A delivery that policy gave up on, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// Its number.
    pub id: QuarantineId,
    /// Where it came from.
    pub queue: QueueName,
    /// The consumer's number.
    pub consumer_id: ConsumerId,
    /// The consumer's name.
    pub consumer: ConsumerName,
    /// The handler that failed; none for a consumer that is pulled from outside.
    pub handler: Option<HandlerName>,
    /// The message's place in the queue.
    pub sequence: Sequence,
    /// The message.
    pub message: Arc<Message>,
    /// Why it is here.
    pub reason: QuarantineReason,
    /// The last attempts, oldest first, at most [`crate::limits::EVIDENCE_ATTEMPTS_MAX`].
    pub attempts: Vec<AttemptRecord>,
    /// Attempts that counted, also those no longer in `attempts`.
    pub attempts_made: u32,
    /// When policy gave up.
    pub quarantined_at: Timestamp,
    /// Whether its last attempt can be run again elsewhere.
    #[serde(default)]
    pub capsule: CapsuleKept,
}
