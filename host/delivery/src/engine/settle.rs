//! Runs come back: each delivery is committed with its effects, runs again, or is given up.

use std::sync::Arc;

use super::{Engine, tick::Tick};
use crate::{
    effect::{Effect, PublishRefusal, SettleAnswer},
    input::{AttemptResult, Effects, Lease, Settlement, StateAccess, StateWrite, Ticket},
    limits::{EVIDENCE_ATTEMPTS_MAX, HOPS_MAX},
    message::Message,
    name::{ConsumerId, HandlerName, QuarantineId},
    outcome::Outcome,
    policy::{self, HOST_FAULT_DELAY_MS, Verdict},
    record::{AttemptRecord, PauseReason, PendingKey, PendingRecord, QuarantineReason, QuarantineRecord},
    time::Timestamp,
    write::Write,
};

/// A delivery that is being settled, apart from its result.
struct Settling {
    consumer: ConsumerId,
    lease: Lease,
    message: Arc<Message>,
    earlier: Vec<AttemptRecord>,
}

/// Whether a delivery of the run that wrote state was refused: later ones may have seen what it wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Sound,
    Broken,
}

impl Engine {
    pub(super) fn settle(&mut self, tick: &mut Tick, ticket: Ticket, id: ConsumerId, settlements: Vec<Settlement>) {
        let mut run = Run::Sound;
        let answers =
            settlements.into_iter().map(|settlement| self.settle_one(tick, id, settlement, &mut run)).collect();
        tick.effects.push(Effect::Settled { ticket, answers });
    }

    fn settle_one(&mut self, tick: &mut Tick, id: ConsumerId, settlement: Settlement, run: &mut Run) -> SettleAnswer {
        let Settlement { lease, message, earlier, result } = settlement;
        let Some(consumer) = self.consumers.get(&id).filter(|consumer| consumer.holds(&lease)) else {
            *run = broken_by(*run, &result);
            return SettleAnswer::StaleFence;
        };
        let handler = consumer.record.config.handler.clone();
        let settling = Settling { consumer: id, lease, message, earlier };
        tick.touched.insert(id);
        match result {
            AttemptResult::Failed(record) => self.judge(tick, settling, record),
            AttemptResult::Succeeded(effects) => {
                let answer = self.commit_effects(tick, settling, &handler, &effects, *run);
                if answer != SettleAnswer::Committed && !effects.state.writes.is_empty() {
                    *run = Run::Broken;
                }
                answer
            }
        }
    }

    fn commit_effects(
        &mut self,
        tick: &mut Tick,
        settling: Settling,
        handler: &HandlerName,
        effects: &Effects,
        run: Run,
    ) -> SettleAnswer {
        let depends_on_run = run == Run::Broken && !effects.state.is_empty();
        if depends_on_run || self.state.conflicts(handler, &effects.state) {
            self.give_back(tick, settling.consumer, &settling.lease);
            return SettleAnswer::Conflict;
        }
        if effects.published.iter().any(|message| message.lineage.hops > HOPS_MAX) {
            return self.give_up_loop(tick, settling);
        }
        match self.check_published(tick, &effects.published) {
            Err(refusal) => self.refuse_published(tick, settling, refusal),
            Ok(routes) => {
                self.append_published(tick, &effects.published, &routes);
                self.write_state(tick, handler, &effects.state);
                self.finish(tick, &settling);
                SettleAnswer::Committed
            }
        }
    }

    fn write_state(&mut self, tick: &mut Tick, handler: &HandlerName, access: &StateAccess) {
        self.state.record(tick.revision, handler, &access.writes);
        tick.writes.extend(access.writes.iter().map(|write| {
            let handler = handler.clone();
            match write.clone() {
                StateWrite::Set { key, value } => Write::PutState { handler, key, value },
                StateWrite::Delete { key } => Write::DeleteState { handler, key },
                StateWrite::Add { key, delta } => Write::AddState { handler, key, delta },
            }
        }));
    }

    /// The lease is over and the delivery leaves the place where it rested.
    fn finish(&mut self, tick: &mut Tick, settling: &Settling) {
        let Settling { consumer: id, lease, .. } = settling;
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        let revision = consumer.in_flight[&lease.sequence].revision;
        consumer.settle(lease);
        tick.trimmable.insert(consumer.record.queue);
        if let Some(due) = lease.pending_due {
            let key = PendingKey { consumer: *id, due, sequence: lease.sequence };
            tick.writes.push(Write::DeletePending { key });
        }
        self.lease_is_over(revision);
    }

    fn refuse_published(&mut self, tick: &mut Tick, settling: Settling, refusal: PublishRefusal) -> SettleAnswer {
        match refusal {
            PublishRefusal::QueueFull { .. } => {
                let due = tick.now.plus_ms(HOST_FAULT_DELAY_MS);
                let attempts_made = settling.lease.attempt - 1;
                self.put_off(tick, settling, due, attempts_made, None);
                SettleAnswer::PublishRefused { refusal, due }
            }
            PublishRefusal::Unroutable { topic } => {
                let record = host_record(tick.now, &settling.lease, Outcome::Unroutable { topic });
                self.judge(tick, settling, record)
            }
            PublishRefusal::UnknownQueue { queue } => {
                let topic = queue.to_string();
                let record = host_record(tick.now, &settling.lease, Outcome::Unroutable { topic });
                self.judge(tick, settling, record)
            }
        }
    }

    fn judge(&mut self, tick: &mut Tick, settling: Settling, record: AttemptRecord) -> SettleAnswer {
        let Some(consumer) = self.consumers.get(&settling.consumer) else { return SettleAnswer::StaleFence };
        let config = &consumer.record.config;
        let attempts_made = settling.lease.attempt;
        let identity = (u64::from(settling.consumer.0) << 40) ^ settling.lease.sequence.0;
        match policy::verdict(config, &record.outcome, attempts_made, identity, tick.now) {
            Verdict::Commit => {
                self.finish(tick, &settling);
                SettleAnswer::Committed
            }
            Verdict::RetryAt { due, burns_attempt } => {
                let attempts_made = if burns_attempt { attempts_made } else { attempts_made - 1 };
                self.put_off(tick, settling, due, attempts_made, Some(record));
                SettleAnswer::RetryAt { due, burned_attempt: burns_attempt }
            }
            Verdict::Quarantine(reason) => self.quarantine(tick, settling, Some(record), reason),
        }
    }

    fn give_up_loop(&mut self, tick: &mut Tick, settling: Settling) -> SettleAnswer {
        self.quarantine(tick, settling, None, QuarantineReason::Loop)
    }

    /// The delivery rests off the log until `due`.
    fn put_off(
        &mut self,
        tick: &mut Tick,
        settling: Settling,
        due: Timestamp,
        attempts_made: u32,
        record: Option<AttemptRecord>,
    ) {
        self.finish(tick, &settling);
        let Settling { consumer: id, lease, message, earlier } = settling;
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let key = PendingKey { consumer: id, due, sequence: lease.sequence };
        consumer.pending.insert((due, lease.sequence), attempts_made);
        let record = PendingRecord { message, attempts_made, attempts: with_record(earlier, record) };
        tick.writes.push(Write::PutPending { key, record });
    }

    fn quarantine(
        &mut self,
        tick: &mut Tick,
        settling: Settling,
        record: Option<AttemptRecord>,
        reason: QuarantineReason,
    ) -> SettleAnswer {
        if self.quarantined.len() as u64 >= self.limits.quarantine_max {
            return self.wait_for_quarantine_room(tick, settling, record);
        }
        let id = self.next_quarantine_id(tick);
        self.finish(tick, &settling);
        let Settling { consumer, lease, message, earlier } = settling;
        let consumer_record = &self.consumers[&consumer].record;
        let record = QuarantineRecord {
            id,
            queue: self.queues[&consumer_record.queue].record.name.clone(),
            consumer_id: consumer,
            consumer: consumer_record.name.clone(),
            handler: consumer_record.config.handler.clone(),
            sequence: lease.sequence,
            message,
            reason,
            attempts: with_record(earlier, record),
            attempts_made: lease.attempt,
            quarantined_at: tick.now,
        };
        self.quarantined.insert(id, consumer);
        tick.writes.push(Write::PutQuarantine { record: Box::new(record) });
        SettleAnswer::Quarantined { id, reason }
    }

    fn next_quarantine_id(&mut self, tick: &mut Tick) -> QuarantineId {
        tick.counters_before.get_or_insert(self.counters);
        let id = QuarantineId(self.counters.quarantine);
        self.counters.quarantine += 1;
        id
    }

    /// Nothing is lost when the quarantine is full: the consumer stops and the delivery waits.
    fn wait_for_quarantine_room(
        &mut self,
        tick: &mut Tick,
        settling: Settling,
        record: Option<AttemptRecord>,
    ) -> SettleAnswer {
        let due = tick.now.plus_ms(HOST_FAULT_DELAY_MS);
        let (consumer, attempts_made) = (settling.consumer, settling.lease.attempt - 1);
        self.put_off(tick, settling, due, attempts_made, record);
        if self.pause(tick, consumer, PauseReason::QuarantineFull).is_ok() {
            tick.effects.push(Effect::Paused { consumer, reason: PauseReason::QuarantineFull });
        }
        SettleAnswer::RetryAt { due, burned_attempt: false }
    }
}

fn broken_by(run: Run, result: &AttemptResult) -> Run {
    match result {
        AttemptResult::Succeeded(effects) if !effects.state.writes.is_empty() => Run::Broken,
        AttemptResult::Succeeded(_) | AttemptResult::Failed(_) => run,
    }
}

/// What is known of an attempt that the host itself refused after it ran.
fn host_record(now: Timestamp, lease: &Lease, outcome: Outcome) -> AttemptRecord {
    AttemptRecord {
        attempt: lease.attempt,
        digest: None,
        started_at: now,
        duration_us: 0,
        outcome,
        fuel_used: 0,
        memory_bytes_peak: 0,
        log: String::new(),
        backtrace: Vec::new(),
    }
}

fn with_record(mut earlier: Vec<AttemptRecord>, record: Option<AttemptRecord>) -> Vec<AttemptRecord> {
    earlier.extend(record);
    let surplus = earlier.len().saturating_sub(EVIDENCE_ATTEMPTS_MAX);
    earlier.drain(..surplus);
    earlier
}
