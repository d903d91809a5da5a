//! Looking through everything that is kept, for the messages of one chain.

use std::{collections::BTreeMap, ops::ControlFlow};

use wasmill_delivery::{
    engine::{ConsumerView, QueueView},
    message::Message,
    name::{ConsumerId, MessageId, QuarantineId, QueueId, Sequence},
    record::{AttemptRecord, DelayedKey, PendingKey, QuarantineReason},
    time::Timestamp,
};
use wasmill_store::{Reader, StoreError};

use super::{StepAttempt, WHY_MESSAGES_MAX, by_number};

/// Records that are read at once: they hold whole messages.
const READ_RECORDS: usize = 32;
/// Messages of a log that are read at once. One chunk of the store holds about as many.
const READ_MESSAGES: usize = 128;

/// A message of the chain, in one place.
pub(super) struct Seen {
    pub(super) id: MessageId,
    /// The message that caused it, or that it repeats.
    pub(super) parent: Option<MessageId>,
    pub(super) redrive_of: Option<QuarantineId>,
    pub(super) topic: String,
    pub(super) published_at: Timestamp,
    pub(super) spot: Spot,
}

/// Where a message was seen.
pub(super) enum Spot {
    Log {
        queue: QueueId,
        sequence: Sequence,
    },
    Pending {
        consumer: ConsumerId,
        sequence: Sequence,
        attempts: Vec<StepAttempt>,
    },
    Quarantine {
        id: QuarantineId,
        queue: String,
        consumer_id: ConsumerId,
        consumer: String,
        handler: Option<String>,
        sequence: Sequence,
        reason: QuarantineReason,
        attempts: Vec<StepAttempt>,
    },
    Delayed {
        due: Timestamp,
    },
}

/// See the module.
pub(super) struct Scan {
    reader: Reader,
    asked: MessageId,
    pub(super) queues: BTreeMap<QueueId, QueueView>,
    pub(super) consumers: BTreeMap<ConsumerId, ConsumerView>,
    pub(super) seen: Vec<Seen>,
    /// Whether there are more than are looked at.
    pub(super) limited: bool,
}

impl Scan {
    pub(super) fn new(reader: Reader, queues: Vec<QueueView>, consumers: Vec<ConsumerView>, asked: MessageId) -> Self {
        let (queues, consumers) = by_number(queues, consumers);
        Self { reader, asked, queues, consumers, seen: Vec::new(), limited: false }
    }

    /// Once through for what the chain is called, and once more for all of it. Blocks on the disk.
    pub(super) fn run(mut self) -> Result<Self, StoreError> {
        let Some(correlation) = self.correlation()? else { return Ok(self) };
        let asked = self.asked.clone();
        let mut seen = Vec::new();
        let limited = self.each(|message, spot| {
            let in_chain = message.id == correlation || message.lineage.correlation.as_ref() == Some(&correlation);
            if !in_chain && !is_near(message, &asked) {
                return ControlFlow::Continue(());
            }
            if seen.len() == WHY_MESSAGES_MAX {
                return ControlFlow::Break(());
            }
            seen.push(Seen::new(message, spot()));
            ControlFlow::Continue(())
        })?;
        self.seen = seen;
        self.limited = limited;
        Ok(self)
    }

    /// The message from outside that began the chain. When the message itself is not kept, those next to it know.
    fn correlation(&self) -> Result<Option<MessageId>, StoreError> {
        let mut found = None;
        self.each(|message, _| {
            if !is_near(message, &self.asked) {
                return ControlFlow::Continue(());
            }
            found = Some(message.lineage.correlation.as_ref().unwrap_or(&message.id).clone());
            if message.id == self.asked { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    /// Look at every message that is kept, each place for itself, until `look` has seen enough; answers whether it has.
    /// A delivery goes from the log off it and from there to quarantine, and so does this: it misses none on its way.
    fn each(&self, mut look: impl FnMut(&Message, &dyn Fn() -> Spot) -> ControlFlow<()>) -> Result<bool, StoreError> {
        Ok(self.each_delayed(&mut look)?.is_break()
            || self.each_logged(&mut look)?.is_break()
            || self.each_pending(&mut look)?.is_break()
            || self.each_quarantined(&mut look)?.is_break())
    }

    fn each_delayed(&self, look: &mut Look<'_>) -> Result<ControlFlow<()>, StoreError> {
        let mut after: Option<DelayedKey> = None;
        loop {
            let page = self.reader.delayed_page(after, READ_RECORDS)?;
            let Some((last, _)) = page.last() else { return Ok(ControlFlow::Continue(())) };
            after = Some(*last);
            for (key, entry) in &page {
                if look(&entry.message, &|| Spot::Delayed { due: key.due }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }

    fn each_logged(&self, look: &mut Look<'_>) -> Result<ControlFlow<()>, StoreError> {
        for queue in self.queues.keys().copied() {
            let mut from = Sequence::FIRST;
            loop {
                let page = self.reader.log_page(queue, from, READ_MESSAGES)?;
                let Some((last, _)) = page.last() else { break };
                from = last.next();
                for (sequence, message) in &page {
                    if look(message, &|| Spot::Log { queue, sequence: *sequence }).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn each_pending(&self, look: &mut Look<'_>) -> Result<ControlFlow<()>, StoreError> {
        for consumer in self.consumers.keys().copied() {
            let mut after: Option<PendingKey> = None;
            loop {
                let page = self.reader.pending_page(consumer, after, READ_RECORDS)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                for (key, record) in &page {
                    let attempts = || attempts(&record.attempts);
                    let spot = || Spot::Pending { consumer, sequence: key.sequence, attempts: attempts() };
                    if look(&record.message, &spot).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn each_quarantined(&self, look: &mut Look<'_>) -> Result<ControlFlow<()>, StoreError> {
        let mut after: Option<QuarantineId> = None;
        loop {
            let page = self.reader.quarantine_page(after, READ_RECORDS)?;
            let Some(last) = page.last() else { return Ok(ControlFlow::Continue(())) };
            after = Some(last.id);
            for record in &page {
                let spot = || Spot::Quarantine {
                    id: record.id,
                    queue: record.queue.to_string(),
                    consumer_id: record.consumer_id,
                    consumer: record.consumer.to_string(),
                    handler: record.handler.as_ref().map(ToString::to_string),
                    sequence: record.sequence,
                    reason: record.reason,
                    attempts: attempts(&record.attempts),
                };
                if look(&record.message, &spot).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
}

type Look<'a> = dyn FnMut(&Message, &dyn Fn() -> Spot) -> ControlFlow<()> + 'a;

impl Seen {
    fn new(message: &Message, spot: Spot) -> Self {
        let lineage = &message.lineage;
        let repeats = lineage.redrive_of.as_ref().map(|(id, _)| id);
        Self {
            id: message.id.clone(),
            parent: repeats.or(lineage.cause.as_ref()).cloned(),
            redrive_of: lineage.redrive_of.as_ref().map(|(_, id)| *id),
            topic: message.topic.to_string(),
            published_at: message.published_at,
            spot,
        }
    }
}

/// Whether a message is the one of this id, or names it.
fn is_near(message: &Message, id: &MessageId) -> bool {
    let lineage = &message.lineage;
    message.id == *id
        || lineage.cause.as_ref() == Some(id)
        || lineage.correlation.as_ref() == Some(id)
        || lineage.redrive_of.as_ref().is_some_and(|(old, _)| old == id)
}

fn attempts(records: &[AttemptRecord]) -> Vec<StepAttempt> {
    StepAttempt::of(records)
}
