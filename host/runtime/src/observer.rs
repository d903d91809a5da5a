//! What the host tells whoever keeps its metrics. Called on hot paths: an observer must be quick and must not block.

use std::time::Duration;

use wasmill_delivery::{
    canary::CanaryEnd,
    effect::SettleAnswer,
    input::PublishEntry,
    job::JobState,
    message::Message,
    name::{ConsumerName, Digest, HandlerName, QueueName, Sequence},
    outcome::Outcome,
};

/// One commit of the store.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// From the first write to the answer of the disk.
    pub duration: Duration,
}

/// One attempt, as it ended in the sandbox.
#[derive(Clone, Copy, Debug)]
pub struct AttemptSeen<'a> {
    /// Where the delivery came from.
    pub queue: &'a QueueName,
    /// Whose it was.
    pub consumer: &'a ConsumerName,
    /// What ran.
    pub handler: &'a HandlerName,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Units of fuel it used.
    pub fuel_used: u64,
    /// The largest memory of its instance, in bytes.
    pub memory_bytes_peak: u64,
    /// The message.
    pub message: &'a Message,
    /// Which run of it this was, from 1.
    pub attempt: u32,
    /// What the handler printed; of a call with many deliveries, all of it.
    pub log: &'a str,
    /// How many attempts of the same call were told of before this one: 0 but for a call with many deliveries.
    pub place_in_call: usize,
    /// Its message's place in the queue.
    pub sequence: Sequence,
    /// What it published, in order: it exists once the delivery commits. Of a call with many deliveries, the last has it.
    pub published: &'a [PublishEntry],
}

/// One delivery, as it was settled.
#[derive(Clone, Copy, Debug)]
pub struct SettleSeen<'a> {
    /// Where the delivery came from.
    pub queue: &'a QueueName,
    /// Whose it was.
    pub consumer: &'a ConsumerName,
    /// Its message's place in the queue.
    pub sequence: Sequence,
    /// What ran; none when a program outside had it.
    pub handler: Option<&'a HandlerName>,
    /// How its attempt ended, by [`Outcome::name`].
    pub outcome: &'static str,
    /// What was decided.
    pub answer: &'a SettleAnswer,
}

/// One trial of a version, as it ended.
#[derive(Clone, Copy, Debug)]
pub struct CanarySeen<'a> {
    /// The handler.
    pub handler: &'a HandlerName,
    /// The version that was tried.
    pub digest: Digest,
    /// Why it ended.
    pub end: &'a CanaryEnd,
    /// Whether that version runs for all from then on.
    pub promoted: bool,
}

/// Whoever keeps the metrics.
pub trait Observer: Send + Sync + 'static {
    /// Messages were added to a queue, durably.
    fn published(&self, _queue: &QueueName, _messages: u64) {}
    /// A commit became durable.
    fn committed(&self, _commit: &Commit) {}
    /// An attempt ended.
    fn attempted(&self, _attempt: &AttemptSeen<'_>) {}
    /// A delivery was settled, durably.
    fn settled(&self, _settled: &SettleSeen<'_>) {}
    /// A job has ended, durably.
    fn job_ended(&self, _state: JobState) {}
    /// A handler runs this version from now on.
    fn handler_replaced(&self, _handler: &HandlerName, _digest: Digest) {}
    /// A version is not tried any more.
    fn canary_ended(&self, _canary: &CanarySeen<'_>) {}
}

/// Nobody looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
