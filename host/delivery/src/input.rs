//! Every way into the engine.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    job::{JobId, NewJob},
    message::Message,
    name::{ConsumerId, ConsumerName, Fence, HandlerName, QuarantineId, QueueId, QueueName, Sequence},
    outcome::Outcome,
    record::{AttemptRecord, ConsumerConfig, DelayedKey, HandlerRecord, PauseReason, QuarantineRecord, QueueConfig},
    schedule::{ScheduleName, ScheduleRecord},
    time::Timestamp,
    write::DedupId,
};

/// Who waits for the answer of an input. The pump gives them out and knows who is behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One thing that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// Messages to be routed and kept. Each entry is taken or refused for itself.
    Publish {
        /// Who waits.
        ticket: Ticket,
        /// The messages.
        entries: Vec<PublishEntry>,
    },
    /// A worker or a pulling client wants deliveries, now or when there are some.
    Lease {
        /// Who waits.
        ticket: Ticket,
        /// Of which consumer.
        consumer: ConsumerId,
        /// At most so many.
        deliveries_max: u32,
    },
    /// Whoever waited with that ticket for deliveries waits no more.
    CancelLease {
        /// The ticket of the `Lease`.
        ticket: Ticket,
        /// Of which consumer.
        consumer: ConsumerId,
    },
    /// Deliveries of one run that were tried, in the order they ran.
    Settle {
        /// Who waits.
        ticket: Ticket,
        /// The consumer that leased them.
        consumer: ConsumerId,
        /// Each delivery and what came of it.
        settlements: Vec<Settlement>,
    },
    /// Leases that were not used. No attempt is burned.
    Return {
        /// The consumer that leased them.
        consumer: ConsumerId,
        /// Which.
        leases: Vec<Lease>,
    },
    /// What an [`crate::effect::Effect::Read`] asked for: messages of a queue's log.
    Messages {
        /// The queue.
        queue: QueueId,
        /// Where reading began.
        from: Sequence,
        /// In order and without gaps; those that the log does not have any more are left out at the front.
        messages: Vec<(Sequence, Arc<Message>)>,
    },
    /// What an [`crate::effect::Effect::ReadDelayed`] asked for.
    Delayed {
        /// Each with its key, in any order.
        entries: Vec<(DelayedKey, PublishEntry)>,
    },
    /// Something an operator or the host's own machinery orders.
    Order {
        /// Who waits.
        ticket: Ticket,
        /// What.
        order: Order,
    },
}

/// One message of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishEntry {
    /// The message.
    pub message: Arc<Message>,
    /// Where it goes.
    pub to: Destination,
    /// What makes it the same as an earlier one; none when it cannot be one.
    pub dedup: Option<DedupId>,
    /// When it is to be published; now, when that is not in the future.
    pub deliver_at: Option<Timestamp>,
}

impl PublishEntry {
    /// To go to whatever binds its topic, now.
    #[must_use]
    pub const fn new(message: Arc<Message>) -> Self {
        Self { message, to: Destination::Topic, dedup: None, deliver_at: None }
    }
}

/// Where a published message goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// To every queue that binds its topic.
    Topic,
    /// To this queue, whatever it binds.
    Queue(QueueName),
}

/// An order of an operator or of the host's own machinery.
#[derive(Clone, Debug)]
pub enum Order {
    /// Declare a queue, or change it.
    PutQueue {
        /// Its name.
        name: QueueName,
        /// What it shall be.
        config: QueueConfig,
    },
    /// Remove a queue, its log and its consumers. What they quarantined stays.
    DeleteQueue {
        /// Its name.
        name: QueueName,
    },
    /// Declare a consumer, or change it. The place of an existing one does not move.
    PutConsumer {
        /// Its queue.
        queue: QueueName,
        /// Its name.
        name: ConsumerName,
        /// What it shall be.
        config: ConsumerConfig,
        /// The place of [`crate::record::Start::Time`] in the log, which whoever can read the log has looked up.
        from: Option<Sequence>,
    },
    /// Remove a consumer and its pending deliveries. What it quarantined stays.
    DeleteConsumer {
        /// Its queue.
        queue: QueueName,
        /// Its name.
        name: ConsumerName,
    },
    /// Declare a handler, or change it.
    PutHandler {
        /// All of it.
        record: Box<HandlerRecord>,
    },
    /// Remove a handler that no consumer runs.
    DeleteHandler {
        /// Its name.
        name: HandlerName,
    },
    /// Let a consumer take nothing.
    Pause {
        /// The consumer.
        consumer: ConsumerId,
        /// Why.
        reason: PauseReason,
    },
    /// Let a consumer take deliveries again, whyever it was paused.
    Resume {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// Give a quarantined delivery back to its consumer as a new message.
    Redrive {
        /// The record, as it was read from the store.
        record: Box<QuarantineRecord>,
        /// The new message; its lineage names the old one.
        message: Arc<Message>,
    },
    /// Forget quarantined deliveries.
    PurgeQuarantine {
        /// Which.
        ids: Vec<QuarantineId>,
    },
    /// Declare a schedule, change it, or move its next time. What fired before stays known.
    PutSchedule {
        /// All of it; `last` and `fired` count only when it is new.
        record: Box<ScheduleRecord>,
    },
    /// Remove a schedule.
    DeleteSchedule {
        /// Its name.
        name: ScheduleName,
    },
    /// The time of a schedule has come: publish its message and move on, in one commit.
    FireSchedule {
        /// Its name.
        name: ScheduleName,
        /// The time that fires. When it is not the schedule's next one, it has fired already, and nothing is changed.
        planned: Timestamp,
        /// The time after it, always later than `planned`; none when there is none.
        next: Option<Timestamp>,
        /// The message. It is not checked for being a duplicate, and is published now.
        entry: PublishEntry,
    },
    /// Put a quarantined delivery of another host, or of an earlier time, into quarantine under a number of its own. Its
    /// consumer is the one of the same name on the queue of the same name. It holds nothing that is ordered behind it.
    ImportQuarantine {
        /// All of it. Its number and the number of its consumer are not looked at.
        record: Box<QuarantineRecord>,
    },
    /// Publish a message and follow its deliveries.
    SubmitJob {
        /// What is to be known of it.
        job: Box<NewJob>,
        /// Its message.
        entry: PublishEntry,
    },
    /// A job is not wanted any more: what of it has not ended is settled without effects.
    CancelJob {
        /// Its id.
        id: JobId,
    },
    /// A message that waits for its time is not wanted any more.
    CancelDelayed {
        /// Its key.
        key: DelayedKey,
    },
    /// The host is about to stop, and what ran was settled or given back: what is not leased now is under no suspicion.
    Rest,
}

/// The right to run one attempt of one delivery. Settling or returning it uses it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The message's place in the queue.
    pub sequence: Sequence,
    /// Which run it is, from 1.
    pub attempt: u32,
    /// What makes a late settle known.
    pub fence: Fence,
    /// Where the delivery rests: in the log, or pending with this due time.
    pub pending_due: Option<Timestamp>,
}

/// What came of one delivery of a run.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The right under which it ran.
    pub lease: Lease,
    /// The message that ran.
    pub message: Arc<Message>,
    /// Earlier attempts, as they were read with the delivery.
    pub earlier: Vec<AttemptRecord>,
    /// What the handler wants done if it succeeded, or the evidence if it did not.
    pub result: AttemptResult,
    /// The inputs of an attempt that failed, which only whoever ran it can read. They are kept if it is the last one.
    pub capsule: Option<Bytes>,
}

/// How an attempt ended, and what comes with it.
#[derive(Clone, Debug)]
pub enum AttemptResult {
    /// The handler answered `ok`.
    Succeeded(Effects),
    /// The handler answered `ok` in the same call as the next settlement of the run, and what the call did cannot be told
    /// apart: it is in the last one's [`AttemptResult::Succeeded`]. All of them commit or none does.
    SucceededWithNext,
    /// Anything else. `record.outcome` is not [`Outcome::Success`].
    Failed(AttemptRecord),
}

impl AttemptResult {
    /// What the sandbox saw.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        match self {
            Self::Succeeded(_) | Self::SucceededWithNext => &Outcome::Success,
            Self::Failed(record) => &record.outcome,
        }
    }
}

/// What a handler published and stored in one attempt. It exists if and only if the delivery commits.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// What it published.
    pub published: Vec<PublishEntry>,
    /// What it read and wrote of its state.
    pub state: StateAccess,
}

/// What one attempt read and wrote of its handler's state.
#[derive(Clone, Debug, Default)]
pub struct StateAccess {
    /// The revision of the store that its first read saw: the engine's tick that was durable then. What was
    /// written later than this conflicts with the reads.
    pub revision: Revision,
    /// Keys that it read from the store, also those it found missing.
    pub reads: Vec<String>,
    /// Whether it listed keys, which reads all of them.
    pub listed: bool,
    /// What it wrote, in order.
    pub writes: Vec<StateWrite>,
}

impl StateAccess {
    /// Whether it touched nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.reads.is_empty() && self.writes.is_empty() && !self.listed
    }
}

/// One change of a handler's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateWrite {
    /// Replace the value.
    Set {
        /// Its key.
        key: String,
        /// What it shall be.
        value: Bytes,
    },
    /// Remove the value.
    Delete {
        /// Its key.
        key: String,
    },
    /// Add to a decimal integer.
    Add {
        /// Its key.
        key: String,
        /// What to add.
        delta: i64,
    },
}

impl StateWrite {
    /// The key that it changes.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Set { key, .. } | Self::Delete { key } | Self::Add { key, .. } => key,
        }
    }

    /// Its key and its value, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let value = match self {
            Self::Set { value, .. } => value.len(),
            Self::Delete { .. } => 0,
            Self::Add { delta, .. } => size_of_val(delta),
        };
        (self.key().len() + value) as u64
    }
}

/// The number of a tick. Each tick's writes are one commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);
