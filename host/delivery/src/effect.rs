//! Every way out of the engine. None is let out before the writes of its tick are durable.

use std::sync::Arc;

use crate::{
    input::{Lease, Ticket},
    job::{JobId, JobState},
    message::Message,
    name::{ConsumerId, ConsumerName, HandlerName, MessageId, QuarantineId, QueueId, QueueName, Sequence},
    record::{DelayedKey, PauseReason, QuarantineReason},
    schedule::ScheduleName,
    time::Timestamp,
};

/// One thing to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer a publisher, entry by entry.
    Published {
        /// Who waits.
        ticket: Ticket,
        /// In the order of the entries.
        answers: Vec<Result<Receipt, PublishRefusal>>,
    },
    /// Hand out deliveries, never none.
    Leased {
        /// Who waits.
        ticket: Ticket,
        /// The consumer.
        consumer: ConsumerId,
        /// Its queue.
        queue: QueueId,
        /// The rights to run them.
        leases: Vec<Lease>,
    },
    /// There will be no deliveries for this ticket: the consumer is gone.
    LeaseEnded {
        /// Who waits.
        ticket: Ticket,
    },
    /// A run is settled; one answer per settlement, in order.
    Settled {
        /// Who waits.
        ticket: Ticket,
        /// What became of each delivery.
        answers: Vec<SettleAnswer>,
    },
    /// An order is carried out, or refused.
    Ordered {
        /// Who waits.
        ticket: Ticket,
        /// What came of it.
        answer: Result<OrderReceipt, OrderRefusal>,
    },
    /// A consumer was paused by the engine itself.
    Paused {
        /// The consumer.
        consumer: ConsumerId,
        /// Why.
        reason: PauseReason,
    },
    /// A consumer that the engine paused takes deliveries again.
    Resumed {
        /// The consumer.
        consumer: ConsumerId,
        /// Why it was paused.
        reason: PauseReason,
    },
    /// Deliveries that ran alone when the host stopped: settle each as failed by [`crate::outcome::Outcome::HostCrash`].
    Crashed {
        /// The consumer.
        consumer: ConsumerId,
        /// Its queue.
        queue: QueueId,
        /// The rights to settle them.
        leases: Vec<Lease>,
    },
    /// The engine needs messages of a log: answer with [`crate::input::Input::Messages`].
    Read {
        /// The queue.
        queue: QueueId,
        /// The first.
        from: Sequence,
        /// At most so many, and not past the end of the log as it is now.
        limit: usize,
    },
    /// The engine needs messages whose time has come: answer with [`crate::input::Input::Delayed`].
    ReadDelayed {
        /// Which.
        keys: Vec<DelayedKey>,
    },
    /// A job has ended.
    JobEnded {
        /// Its id.
        id: JobId,
        /// How.
        state: JobState,
    },
    /// A message for whoever waits for a reply; if nobody does, it is dropped.
    Reply {
        /// The message; its topic says who waits.
        message: Arc<Message>,
    },
}

/// A message is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whether the same id was published within the dedup window, so that nothing was added now.
    pub duplicate: bool,
    /// Where it went; empty for a duplicate, for one that is delayed, and for one that no queue takes and policy drops.
    pub places: Vec<(QueueId, Sequence)>,
    /// Where it is held back, and until when.
    pub delayed: Option<DelayedKey>,
}

impl Receipt {
    /// Until when it is held back.
    #[must_use]
    pub fn delayed_until(&self) -> Option<Timestamp> {
        self.delayed.map(|key| key.due)
    }
}

/// A message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishRefusal {
    /// No queue binds its topic.
    #[error("no queue takes topic {topic}; bind one to it, or publish to a queue by name")]
    Unroutable {
        /// The topic.
        topic: String,
    },
    /// There is no such queue.
    #[error("there is no queue {queue}; `wasmill queue list` shows those there are")]
    UnknownQueue {
        /// Its name.
        queue: QueueName,
    },
    /// A queue that must take it is full. No queue took it.
    #[error("queue {queue} is full ({limit}); its consumers must catch up, or raise the limit")]
    QueueFull {
        /// Which one.
        queue: QueueName,
        /// Which limit, with its number.
        limit: String,
        /// How long a publisher waits for room, in milliseconds.
        wait_ms: u64,
    },
    /// A queue that must take it could not hold it if it were empty.
    #[error("queue {queue} can never hold this message ({limit}); raise the limit, or publish less")]
    NeverFits {
        /// Which one.
        queue: QueueName,
        /// Which limit, with its number.
        limit: String,
    },
    /// It is of a job, and there is nobody who would handle it.
    #[error("no consumer takes topic {topic}, so that a job there would never end; declare one first")]
    NoConsumer {
        /// The topic.
        topic: String,
    },
    /// It is of a job, and goes to more consumers than can be followed.
    #[error("{consumers} consumers take topic {topic}; at most 100 can be followed, so publish it without a job")]
    TooManyConsumers {
        /// The topic.
        topic: String,
        /// How many.
        consumers: usize,
    },
    /// As many messages are delayed as may be.
    #[error("{delayed_max} messages are delayed already, which is the limit (delayed-max)")]
    DelayedFull {
        /// The limit.
        delayed_max: u64,
    },
}

/// What became of one settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleAnswer {
    /// It is done.
    Committed,
    /// It will run again, because it failed or asked for it.
    RetryAt {
        /// When.
        due: Timestamp,
        /// Whether the attempt counts.
        burned_attempt: bool,
    },
    /// It is in quarantine.
    Quarantined {
        /// As this number.
        id: QuarantineId,
        /// Why.
        reason: QuarantineReason,
    },
    /// It succeeded, but what it read was changed meanwhile, or it built on a delivery of its run that was refused.
    /// It runs again at once and no attempt is burned.
    Conflict,
    /// It succeeded, but a message it published could not be taken. It runs again later.
    PublishRefused {
        /// Why.
        refusal: PublishRefusal,
        /// When.
        due: Timestamp,
    },
    /// It ran before an earlier delivery of its key was settled, which the consumer's order forbids. It runs again in
    /// its turn and no attempt is burned.
    OutOfOrder,
    /// Its message had expired; it is settled without effects.
    Expired,
    /// Its job was cancelled; it is settled without effects.
    Cancelled,
    /// The lease was not valid any more. Nothing was changed.
    StaleFence,
}

/// An order was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderReceipt {
    /// Nothing more to say.
    Done,
    /// A queue was declared.
    Queue {
        /// Its number.
        id: QueueId,
        /// Whether it is new.
        created: bool,
    },
    /// A consumer was declared.
    Consumer {
        /// Its number.
        id: ConsumerId,
        /// Whether it is new.
        created: bool,
    },
    /// A schedule was declared.
    Schedule {
        /// Whether it is new.
        created: bool,
    },
    /// A schedule was to fire.
    Fired {
        /// Whether it did so now. If not, that time had fired already, or is not planned any more.
        now: bool,
    },
    /// A quarantined delivery was imported.
    Imported {
        /// Its number here.
        id: QuarantineId,
    },
    /// A job was submitted, or was there already.
    Job {
        /// Whether it was there, so that nothing was published now.
        known: bool,
        /// Until when its message is held back.
        delayed_until: Option<Timestamp>,
    },
    /// How many were purged.
    Purged {
        /// So many.
        count: u64,
    },
}

/// An order was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefusal {
    /// There is no such queue.
    #[error("there is no queue {queue}; `wasmill queue list` shows those there are")]
    UnknownQueue {
        /// Its name.
        queue: QueueName,
    },
    /// There is no such consumer.
    #[error("there is no consumer {consumer} on queue {queue}; `wasmill consumer list` shows those there are")]
    UnknownConsumer {
        /// The queue.
        queue: QueueName,
        /// Its name.
        consumer: ConsumerName,
    },
    /// The consumer is gone.
    #[error("the consumer is gone; `wasmill consumer list` shows those there are")]
    ConsumerGone,
    /// There is no such handler.
    #[error("there is no handler {handler}; `wasmill handler list` shows those there are")]
    UnknownHandler {
        /// Its name.
        handler: HandlerName,
    },
    /// The handler is in use.
    #[error("handler {handler} is run by consumer {consumer} of queue {queue}; remove that first")]
    HandlerInUse {
        /// The handler.
        handler: HandlerName,
        /// A consumer that runs it.
        consumer: ConsumerName,
        /// Its queue.
        queue: QueueName,
    },
    /// There is no such schedule.
    #[error("there is no schedule {schedule}; `wasmill schedule list` shows those there are")]
    UnknownSchedule {
        /// Its name.
        schedule: ScheduleName,
    },
    /// The message of a schedule cannot be published now.
    #[error(transparent)]
    Publish(#[from] PublishRefusal),
    /// There is no such job.
    #[error("there is no job {job}; it was forgotten, or never was (`wasmill job list` shows those there are)")]
    UnknownJob {
        /// Its id.
        job: JobId,
    },
    /// The job has ended.
    #[error("job {job} is {state} and cannot be cancelled any more", state = state.name())]
    JobEnded {
        /// Its id.
        job: JobId,
        /// How.
        state: JobState,
    },
    /// Its message has an id that was published a short while ago, and not as a job that is known.
    #[error(
        "message id {message} was published within the dedup window, and not as a job that is known; choose another id"
    )]
    PublishedBefore {
        /// The id.
        message: MessageId,
    },
    /// There is no such delayed message.
    #[error(
        "there is no delayed message {key}; it was published or cancelled, or its time came and its queue was full: then \
         it has another id (`wasmill delayed list` shows those there are)"
    )]
    UnknownDelayed {
        /// Its key.
        key: DelayedKey,
    },
    /// The delayed message is of a job.
    #[error("the delayed message is of job {job}; cancel that (`wasmill job cancel {job}`)")]
    DelayedJob {
        /// Its id.
        job: JobId,
    },
    /// There is no such quarantined delivery.
    #[error("there is no quarantined delivery {id}; it was redriven or purged, or never was")]
    UnknownQuarantine {
        /// Its number.
        id: QuarantineId,
    },
    /// A delivery that was imported with the same place waits for the consumer already.
    #[error(
        "quarantined delivery {id} was imported with place {sequence}, and another one with that place waits for its \
         consumer now; redrive it when that one is settled"
    )]
    PlaceTaken {
        /// Its number.
        id: QuarantineId,
        /// The place in the log that both come from.
        sequence: u64,
    },
    /// A number in a declaration is out of its range.
    #[error("{what} is {given}; it must be from {min} to {max}")]
    OutOfRange {
        /// Which setting.
        what: &'static str,
        /// What was given.
        given: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A declaration contradicts itself.
    #[error("{problem}")]
    Contradiction {
        /// What does not go with what, and what to do.
        problem: String,
    },
    /// There are as many as there may be.
    #[error("there are {max} {what} already, which is the limit")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u64,
    },
}

impl OrderRefusal {
    /// Check a number of a declaration or a request; both ends are allowed.
    ///
    /// # Errors
    /// [`OrderRefusal::OutOfRange`].
    pub fn check_range(what: &'static str, given: u64, min: u64, max: u64) -> Result<(), Self> {
        if (min..=max).contains(&given) { Ok(()) } else { Err(Self::OutOfRange { what, given, min, max }) }
    }
}
