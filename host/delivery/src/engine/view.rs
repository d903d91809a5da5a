//! What an operator may see of the engine.

use super::{Engine, log::Log};
use crate::{
    name::{ConsumerId, HandlerName, QuarantineId, QueueId, QueueName, Sequence},
    record::{ConsumerRecord, HandlerRecord, QueueRecord},
};

/// A queue and how full it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// What was declared.
    pub record: QueueRecord,
    /// The oldest message of priority 0 that is kept; equal to `next` when there is none.
    pub first: Sequence,
    /// The oldest message of priority 0 that a consumer still needs; equal to `next` when there is none.
    pub needed: Sequence,
    /// The place of the next message of priority 0.
    pub next: Sequence,
    /// The oldest message of each priority that a consumer still needs, where there is one.
    pub oldest: Vec<Sequence>,
    /// Messages of each priority that a consumer still needs, from 0 on; empty when the queue has no priorities.
    pub by_priority: Vec<u64>,
    /// Messages that a consumer still needs, of all priorities.
    pub messages: u64,
    /// Their size in bytes, exact to about a thousand messages.
    pub bytes: u64,
    /// Its consumers.
    pub consumers: Vec<ConsumerId>,
}

/// A consumer and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerView {
    /// What was declared.
    pub record: ConsumerRecord,
    /// Its queue's name.
    pub queue: QueueName,
    /// Everything of priority 0 in the log below it is settled.
    pub floor: Sequence,
    /// Messages of the log that are not settled, leased ones among them.
    pub lag: u64,
    /// Deliveries leased now.
    pub in_flight: u64,
    /// Deliveries off the log: waiting for a retry or a delay, leased ones among them.
    pub pending: u64,
    /// How many these may be.
    pub pending_max: u64,
    /// Whether they are as many, so that no new message is delivered until one of them is done.
    pub is_full: bool,
    /// Deliveries that may have been running when the host stopped, which run one at a time.
    pub suspects: u64,
    /// Deliveries in quarantine.
    pub quarantined: u64,
}

impl Engine {
    /// All queues, by number.
    pub fn queues(&self) -> impl Iterator<Item = QueueView> {
        self.queues.keys().filter_map(|id| self.queue(*id))
    }

    /// One queue.
    #[must_use]
    pub fn queue(&self, id: QueueId) -> Option<QueueView> {
        let queue = self.queues.get(&id)?;
        Some(QueueView {
            record: queue.record.clone(),
            first: queue.plain_log().first,
            needed: queue.plain_log().needed,
            next: queue.plain_log().next,
            oldest: queue.logs.iter().filter(|log| log.messages() > 0).map(|log| log.needed).collect(),
            by_priority: match queue.logs.as_slice() {
                [_] => Vec::new(),
                logs => logs.iter().map(Log::messages).collect(),
            },
            messages: queue.messages(),
            bytes: queue.bytes(),
            consumers: queue.consumers.iter().copied().collect(),
        })
    }

    /// A queue's number.
    #[must_use]
    pub fn queue_id(&self, name: &QueueName) -> Option<QueueId> {
        self.queue_ids.get(name).copied()
    }

    /// A queue's name.
    #[must_use]
    pub fn queue_name(&self, id: QueueId) -> Option<&QueueName> {
        self.queues.get(&id).map(|queue| &queue.record.name)
    }

    /// All consumers, by number.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerView> {
        let mut quarantined = std::collections::BTreeMap::<ConsumerId, u64>::new();
        for consumer in self.quarantined.values() {
            *quarantined.entry(consumer.consumer).or_default() += 1;
        }
        self.consumers.iter().filter_map(move |(id, consumer)| {
            let queue = self.queues.get(&consumer.record.queue)?;
            Some(ConsumerView {
                record: consumer.record.clone(),
                queue: queue.record.name.clone(),
                floor: consumer.plain_lane().cursor.floor,
                lag: consumer.lag(&queue.logs),
                in_flight: consumer.in_flight.len() as u64,
                pending: consumer.pending.len() as u64,
                pending_max: self.limits.pending_max,
                is_full: consumer.is_full(self.limits.pending_max),
                suspects: consumer.suspects.len() as u64,
                quarantined: quarantined.get(id).copied().unwrap_or_default(),
            })
        })
    }

    /// Whether a delivery in quarantine has a capsule.
    #[must_use]
    pub const fn has_capsules(&self) -> bool {
        self.capsules_bytes > 0
    }

    /// All handlers, by name.
    pub fn handlers(&self) -> impl Iterator<Item = &HandlerRecord> {
        self.handlers.values()
    }

    /// One handler.
    #[must_use]
    pub fn handler(&self, name: &HandlerName) -> Option<&HandlerRecord> {
        self.handlers.get(name)
    }

    /// How many deliveries rest in quarantine.
    #[must_use]
    pub fn quarantined(&self) -> u64 {
        self.quarantined.len() as u64
    }

    /// Whether this delivery rests in quarantine.
    #[must_use]
    pub fn is_quarantined(&self, id: QuarantineId) -> bool {
        self.quarantined.contains_key(&id)
    }
}
