//! Every way out of the engine. None is let out before the writes of its tick are durable.

use crate::{
    input::{Lease, Ticket},
    name::{ConsumerId, ConsumerName, HandlerName, QuarantineId, QueueId, QueueName, Sequence},
    record::{PauseReason, QuarantineReason},
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
}

/// A message is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whether the same id was published within the dedup window, so that nothing was added now.
    pub duplicate: bool,
    /// Where it went; empty for a duplicate.
    pub places: Vec<(QueueId, Sequence)>,
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
    /// There is no such quarantined delivery.
    #[error("there is no quarantined delivery {id}; it was redriven or purged, or never was")]
    UnknownQuarantine {
        /// Its number.
        id: QuarantineId,
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
    /// There are as many as there may be.
    #[error("there are {max} {what} already, which is the limit")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u64,
    },
}
