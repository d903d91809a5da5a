//! Deliveries leave the quarantine: redriven or purged.

use std::{collections::BTreeSet, sync::Arc};

use super::super::{
    Engine, Quarantined,
    consumer::{Consumer, Pending},
    tick::Tick,
};
use super::Answer;
use crate::{
    effect::{Effect, OrderReceipt, OrderRefusal},
    message::Message,
    name::{ConsumerId, QuarantineId},
    record::{PauseReason, PendingKey, PendingRecord, QuarantineRecord},
    write::Write,
};

impl Engine {
    /// The new message takes the place of the old one, for the consumer that gave it up and for no other.
    pub(super) fn redrive(&mut self, tick: &mut Tick, record: QuarantineRecord, message: Arc<Message>) -> Answer {
        let id = record.id;
        if !self.quarantined.contains_key(&id) {
            return Err(OrderRefusal::UnknownQuarantine { id });
        }
        let consumer = self
            .consumers
            .get_mut(&record.consumer_id)
            .ok_or(OrderRefusal::UnknownConsumer { queue: record.queue, consumer: record.consumer })?;
        if consumer.pending.contains_key(&record.sequence) {
            return Err(OrderRefusal::PlaceTaken { id, sequence: record.sequence.original().0 });
        }
        let key = PendingKey { consumer: record.consumer_id, due: tick.now, sequence: record.sequence };
        // It holds those behind it until it is settled, by the key that it has now.
        consumer.release(record.message.key_hash(), key.sequence, tick.now);
        consumer.put_off(key.sequence, Pending { due: key.due, attempts_made: 0, hash: message.key_hash() }, tick.now);
        self.leaves_quarantine(id);
        tick.touched.insert(key.consumer);
        self.job_is_redriven(tick, (key.consumer, key.sequence), tick.now);
        tick.writes.push(Write::DeleteQuarantine { id });
        let record = PendingRecord { message, attempts_made: 0, attempts: Vec::new() };
        tick.writes.push(Write::PutPending { key, record });
        self.resume_behind(tick, &[id]);
        Ok(OrderReceipt::Done)
    }

    pub(super) fn leaves_quarantine(&mut self, id: QuarantineId) -> Option<Quarantined> {
        let gone = self.quarantined.remove(&id)?;
        self.capsules_bytes -= gone.capsule_bytes;
        Some(gone)
    }

    pub(super) fn purge_quarantine(&mut self, tick: &mut Tick, ids: &[QuarantineId]) -> OrderReceipt {
        let ids: BTreeSet<QuarantineId> = ids.iter().copied().collect();
        let mut known = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(Quarantined { consumer, sequence, hash, .. }) = self.leaves_quarantine(id) else { continue };
            if let Some(owner) = self.consumers.get_mut(&consumer).filter(|owner| owner.poison_holds()) {
                owner.release(hash, sequence, tick.now);
                tick.touched.insert(consumer);
            }
            tick.writes.push(Write::DeleteQuarantine { id });
            known.push(id);
        }
        self.resume_behind(tick, &known);
        OrderReceipt::Purged { count: known.len() as u64 }
    }

    /// Consumers that were paused because of these deliveries, or because the quarantine was full, go on.
    pub(super) fn resume_behind(&mut self, tick: &mut Tick, gone: &[QuarantineId]) {
        let has_room = (self.quarantined.len() as u64) < self.limits.quarantine_max;
        let waits = |consumer: &Consumer| match &consumer.record.paused {
            Some(PauseReason::QuarantineFull) => has_room,
            Some(PauseReason::Poison { quarantine }) => gone.contains(quarantine),
            Some(
                PauseReason::Operator
                | PauseReason::Handler { .. }
                | PauseReason::Store { .. }
                | PauseReason::Storm { .. },
            )
            | None => false,
        };
        let waiting: Vec<ConsumerId> =
            self.consumers.iter().filter(|(_, consumer)| waits(consumer)).map(|(id, _)| *id).collect();
        for consumer in waiting {
            if let Ok(Some(reason)) = self.set_paused(tick, consumer, None) {
                tick.effects.push(Effect::Resumed { consumer, reason });
            }
        }
    }
}
