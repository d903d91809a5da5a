//! Runs come back: each delivery is committed with its effects, runs again, or is given up.

use std::sync::Arc;

use bytes::Bytes;

use super::{Engine, Quarantined, consumer::Pending, tick::Tick};
use crate::{
    effect::{Effect, PublishRefusal, SettleAnswer},
    input::{AttemptResult, Effects, Lease, Settlement, StateAccess, StateWrite, Ticket},
    limits::{EVIDENCE_ATTEMPTS_MAX, HANDLER_DELAY_MS_MAX, HOPS_MAX},
    message::Message,
    name::{ConsumerId, HandlerName, QuarantineId, Sequence},
    outcome::Outcome,
    policy::{self, HOST_FAULT_DELAY_MS, Verdict},
    record::{AttemptRecord, CapsuleKept, PauseReason, PendingKey, PendingRecord, QuarantineReason, QuarantineRecord},
    time::Timestamp,
    write::Write,
};

/// A delivery that is being settled, apart from its result.
pub(super) struct Settling {
    pub(super) consumer: ConsumerId,
    pub(super) lease: Lease,
    message: Arc<Message>,
    earlier: Vec<AttemptRecord>,
    capsule: Option<Bytes>,
}

impl Settling {
    pub(super) fn of(consumer: ConsumerId, settlement: Settlement) -> Self {
        let Settlement { lease, message, earlier, result: _, capsule } = settlement;
        Self { consumer, lease, message, earlier, capsule }
    }

    pub(super) const fn place(&self) -> (ConsumerId, Sequence) {
        (self.consumer, self.lease.sequence)
    }
}

/// Whether a delivery of the run that wrote state was refused: later ones may have seen what it wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Sound,
    Broken,
}

impl Engine {
    pub(super) fn settle(&mut self, tick: &mut Tick, ticket: Ticket, id: ConsumerId, settlements: Vec<Settlement>) {
        let mut run = Run::Sound;
        let mut answers = Vec::with_capacity(settlements.len());
        let mut group = Vec::new();
        for settlement in settlements {
            let goes_on = matches!(settlement.result, AttemptResult::SucceededWithNext);
            group.push(settlement);
            if goes_on {
                continue;
            }
            if group.len() > 1 {
                answers.extend(self.settle_group(tick, id, std::mem::take(&mut group), &mut run));
            } else {
                answers.extend(group.pop().map(|settlement| self.settle_one(tick, id, settlement, &mut run)));
            }
        }
        // One whose end is missing has no effects to commit with.
        answers.extend(self.refuse_group(tick, id, &group));
        tick.effects.push(Effect::Settled { ticket, answers });
    }

    fn settle_one(&mut self, tick: &mut Tick, id: ConsumerId, settlement: Settlement, run: &mut Run) -> SettleAnswer {
        let Settlement { lease, message, earlier, result, capsule } = settlement;
        let Some(consumer) = self.consumers.get_mut(&id).filter(|consumer| consumer.holds(&lease)) else {
            *run = broken_by(*run, &result);
            return SettleAnswer::StaleFence;
        };
        consumer.learn(&lease, message.key_hash(), tick.now);
        if !consumer.is_in_order(&lease) {
            *run = broken_by(*run, &result);
            self.give_back(tick, id, &lease);
            return SettleAnswer::OutOfOrder;
        }
        if self.jobs.is_void((id, lease.sequence)) {
            *run = broken_by(*run, &result);
            self.drop_void(tick, id, &lease);
            return SettleAnswer::Cancelled;
        }
        if matches!(result, AttemptResult::Succeeded(_)) {
            // Also when its effects cannot be committed now: the handler did what it should.
            consumer.storm.note(consumer.record.config.storm, lease.sequence, None);
        }
        let handler = consumer.record.config.handler.clone();
        let settling = Settling { consumer: id, lease, message, earlier, capsule };
        tick.touched.insert(id);
        let answer = match result {
            AttemptResult::Failed(record) => self.judge(tick, settling, record),
            AttemptResult::SucceededWithNext => {
                self.give_back(tick, id, &settling.lease);
                SettleAnswer::Conflict
            }
            AttemptResult::Succeeded(effects) => {
                let answer = self.commit_effects(tick, settling, handler.as_ref(), &effects, *run);
                if answer != SettleAnswer::Committed && !effects.state.writes.is_empty() {
                    *run = Run::Broken;
                }
                answer
            }
        };
        self.job_is_settled(tick, (id, lease.sequence), lease.attempt, &answer);
        answer
    }

    fn commit_effects(
        &mut self,
        tick: &mut Tick,
        settling: Settling,
        handler: Option<&HandlerName>,
        effects: &Effects,
        run: Run,
    ) -> SettleAnswer {
        let depends_on_run = run == Run::Broken && !effects.state.is_empty();
        if depends_on_run || handler.is_some_and(|handler| self.state.conflicts(handler, &effects.state)) {
            self.give_back(tick, settling.consumer, &settling.lease);
            return SettleAnswer::Conflict;
        }
        if effects.published.iter().any(|entry| entry.message.lineage.hops > HOPS_MAX) {
            return self.give_up_loop(tick, settling);
        }
        if let Some(limit) = self.job_result_over(settling.place(), &effects.published) {
            let record = AttemptRecord::without_sandbox(settling.lease.attempt, tick.now, Outcome::NeverFits { limit });
            return self.judge(tick, settling, record);
        }
        match self.check_published(tick, &effects.published) {
            Err(refusal) => self.refuse_published(tick, settling, refusal),
            Ok(places) => {
                self.append_published(tick, &effects.published, &places);
                if let Some(handler) = handler {
                    self.write_state(tick, handler, &effects.state);
                }
                self.keep_job_result(tick, settling.place(), &effects.published);
                self.finish(tick, &settling, false);
                self.end_storm(tick, settling.consumer);
                SettleAnswer::Committed
            }
        }
    }

    pub(super) fn write_state(&mut self, tick: &mut Tick, handler: &HandlerName, access: &StateAccess) {
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

    /// The lease is over and the delivery leaves the place where it rested. `stays` says that it waits elsewhere.
    pub(super) fn finish(&mut self, tick: &mut Tick, settling: &Settling, stays: bool) {
        self.leave(tick, settling.consumer, &settling.lease, stays);
    }

    pub(super) fn leave(&mut self, tick: &mut Tick, id: ConsumerId, lease: &Lease, stays: bool) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let Some(in_flight) = consumer.settle(lease, stays) else { return };
        if let (Some(sequencing), Some(hash), Some(rate)) =
            (&mut consumer.sequencing, in_flight.hash, consumer.record.config.key_rate_per_second)
        {
            sequencing.close(hash, tick.now.plus_ms(1_000_u64.div_ceil(u64::from(rate))));
        }
        consumer.lease_over(in_flight.hash, tick.now);
        tick.trimmable.insert(consumer.record.queue);
        if let Some(due) = lease.pending_due {
            let key = PendingKey { consumer: id, due, sequence: lease.sequence };
            tick.writes.push(Write::DeletePending { key });
        }
        self.lease_is_void(tick, id, &in_flight);
        self.forget_suspicion(tick, id);
    }

    fn refuse_published(&mut self, tick: &mut Tick, settling: Settling, refusal: PublishRefusal) -> SettleAnswer {
        match refusal {
            PublishRefusal::QueueFull { .. } | PublishRefusal::DelayedFull { .. } => {
                let due = tick.now.plus_ms(HOST_FAULT_DELAY_MS);
                let attempts_made = settling.lease.attempt - 1;
                self.put_off(tick, settling, due, attempts_made, None);
                SettleAnswer::PublishRefused { refusal, due }
            }
            PublishRefusal::Unroutable { topic } => {
                let record =
                    AttemptRecord::without_sandbox(settling.lease.attempt, tick.now, Outcome::Unroutable { topic });
                self.judge(tick, settling, record)
            }
            PublishRefusal::NeverFits { queue, limit } => {
                let limit = format!("queue {queue}, {limit}");
                let record =
                    AttemptRecord::without_sandbox(settling.lease.attempt, tick.now, Outcome::NeverFits { limit });
                self.judge(tick, settling, record)
            }
            // Only what is submitted as a job is refused for these reasons.
            PublishRefusal::NoConsumer { topic } | PublishRefusal::TooManyConsumers { topic, .. } => {
                let record =
                    AttemptRecord::without_sandbox(settling.lease.attempt, tick.now, Outcome::Unroutable { topic });
                self.judge(tick, settling, record)
            }
            PublishRefusal::UnknownQueue { queue } => {
                let topic = queue.to_string();
                let record =
                    AttemptRecord::without_sandbox(settling.lease.attempt, tick.now, Outcome::Unroutable { topic });
                self.judge(tick, settling, record)
            }
        }
    }

    fn judge(&mut self, tick: &mut Tick, settling: Settling, record: AttemptRecord) -> SettleAnswer {
        let Some(consumer) = self.consumers.get_mut(&settling.consumer) else { return SettleAnswer::StaleFence };
        let attempts_made = settling.lease.attempt;
        self.jobs.note_failed(settling.place(), &record.outcome);
        let identity = (u64::from(settling.consumer.0) << 40) ^ settling.lease.sequence.0;
        if let Outcome::Throttle { after_ms } = record.outcome {
            consumer.throttle(&settling.lease, tick.now.plus_ms(after_ms.min(HANDLER_DELAY_MS_MAX)));
        }
        if counts_for_storm(&record.outcome) && matches!(consumer.record.paused, Some(PauseReason::Storm { .. })) {
            return self.wait_out_storm(tick, settling, record);
        }
        let config = &consumer.record.config;
        let repeats = config.deterministic && settling.earlier.last().is_some_and(|last| is_repeated(last, &record));
        let verdict = policy::verdict(config, &record.outcome, attempts_made, identity, tick.now);
        let again = matches!(verdict, Verdict::RetryAt { burns_attempt: true, .. });
        let verdict = if again && repeats { Verdict::Quarantine(QuarantineReason::Deterministic) } else { verdict };
        if let Some(reason) = self.storm_begins(tick, &settling, &record) {
            self.pause_by_itself(tick, settling.consumer, reason);
            return self.wait_out_storm(tick, settling, record);
        }
        match verdict {
            Verdict::Commit => {
                self.finish(tick, &settling, false);
                SettleAnswer::Committed
            }
            Verdict::Drop => {
                self.finish(tick, &settling, false);
                SettleAnswer::Expired
            }
            Verdict::RetryAt { due, burns_attempt } => {
                let attempts_made = if burns_attempt { attempts_made } else { attempts_made - 1 };
                self.put_off(tick, settling, due, attempts_made, Some(record));
                SettleAnswer::RetryAt { due, burned_attempt: burns_attempt }
            }
            Verdict::Quarantine(reason) => self.quarantine(tick, settling, Some(record), reason),
        }
    }

    /// A delivery was committed: whatever was wrong with its consumer is not any more.
    pub(super) fn end_storm(&mut self, tick: &mut Tick, id: ConsumerId) {
        let Some(consumer) = self.consumers.get(&id) else { return };
        if matches!(consumer.record.paused, Some(PauseReason::Storm { .. }))
            && let Ok(Some(reason)) = self.set_paused(tick, id, None)
        {
            tick.effects.push(Effect::Resumed { consumer: id, reason });
        }
    }

    fn storm_begins(&mut self, tick: &Tick, settling: &Settling, record: &AttemptRecord) -> Option<PauseReason> {
        let consumer = self.consumers.get_mut(&settling.consumer).filter(|_| counts_for_storm(&record.outcome))?;
        let policy = consumer.record.config.storm;
        let fingerprint = record.outcome.fingerprint();
        let fingerprint = consumer.storm.note(policy, settling.lease.sequence, Some(fingerprint))?;
        if consumer.record.paused.is_some() {
            return None;
        }
        consumer.storm.begin(policy, tick.now);
        Some(PauseReason::Storm { fingerprint })
    }

    /// The engine pauses a consumer, unless it is paused already.
    fn pause_by_itself(&mut self, tick: &mut Tick, id: ConsumerId, reason: PauseReason) {
        let runs = self.consumers.get(&id).is_some_and(|consumer| consumer.record.paused.is_none());
        if runs && self.set_paused(tick, id, Some(&reason)).is_ok() {
            tick.effects.push(Effect::Paused { consumer: id, reason });
        }
    }

    /// While a storm goes on, no failure burns an attempt: the fault is not in the message.
    fn wait_out_storm(&mut self, tick: &mut Tick, settling: Settling, record: AttemptRecord) -> SettleAnswer {
        let Some(consumer) = self.consumers.get_mut(&settling.consumer) else { return SettleAnswer::StaleFence };
        if consumer.in_flight.len() == 1 {
            let policy = consumer.record.config.storm;
            consumer.storm.probe_failed(policy, tick.now);
        }
        let attempts_made = settling.lease.attempt - 1;
        self.put_off(tick, settling, tick.now, attempts_made, Some(record));
        SettleAnswer::RetryAt { due: tick.now, burned_attempt: false }
    }

    fn give_up_loop(&mut self, tick: &mut Tick, settling: Settling) -> SettleAnswer {
        self.quarantine(tick, settling, None, QuarantineReason::Loop)
    }

    /// The delivery rests off the log until `due`.
    pub(super) fn put_off(
        &mut self,
        tick: &mut Tick,
        settling: Settling,
        due: Timestamp,
        attempts_made: u32,
        record: Option<AttemptRecord>,
    ) {
        self.finish(tick, &settling, true);
        let Settling { consumer: id, lease, message, earlier, .. } = settling;
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let key = PendingKey { consumer: id, due, sequence: lease.sequence };
        consumer.put_off(lease.sequence, Pending { due, attempts_made, hash: message.key_hash() }, tick.now);
        if record.as_ref().is_some_and(|record| record.outcome == Outcome::HostCrash) {
            consumer.suspects.insert(lease.sequence);
            self.suspicious.insert(id);
        }
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
        let (holds, blocks) = self
            .consumers
            .get(&settling.consumer)
            .map_or((false, false), |consumer| (consumer.poison_holds(), consumer.poison_blocks()));
        self.finish(tick, &settling, holds);
        let Settling { consumer, lease, message, earlier, capsule } = settling;
        let capsule_bytes = capsule.as_ref().map_or(0, |capsule| capsule.len() as u64);
        let has_room = self.capsules_bytes.saturating_add(capsule_bytes) <= self.limits.capsules_bytes_max;
        let kept = match &capsule {
            None => CapsuleKept::None,
            Some(_) if !has_room => CapsuleKept::NoRoom,
            Some(_) => CapsuleKept::Kept { bytes: capsule_bytes },
        };
        let capsule = capsule.filter(|_| has_room);
        let capsule_bytes = if has_room { capsule_bytes } else { 0 };
        self.capsules_bytes += capsule_bytes;
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
            capsule: kept,
        };
        let hash = record.message.key_hash();
        self.quarantined.insert(id, Quarantined { consumer, sequence: lease.sequence, hash, capsule_bytes });
        Self::tell_quarantined(tick, &record);
        tick.writes.push(Write::PutQuarantine { record: Box::new(record), capsule });
        if blocks {
            self.pause_by_itself(tick, consumer, PauseReason::Poison { quarantine: id });
        }
        SettleAnswer::Quarantined { id, reason }
    }

    pub(super) fn next_quarantine_id(&mut self, tick: &mut Tick) -> QuarantineId {
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
        self.pause_by_itself(tick, consumer, PauseReason::QuarantineFull);
        SettleAnswer::RetryAt { due, burned_attempt: false }
    }
}

fn broken_by(run: Run, result: &AttemptResult) -> Run {
    match result {
        AttemptResult::Succeeded(effects) if !effects.state.writes.is_empty() => Run::Broken,
        AttemptResult::Succeeded(_) | AttemptResult::SucceededWithNext | AttemptResult::Failed(_) => run,
    }
}

/// Whether a failure says something about the handler or what it depends on.
const fn counts_for_storm(outcome: &Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::Success
            | Outcome::Defer { .. }
            | Outcome::Throttle { .. }
            | Outcome::Expired
            | Outcome::HostFault { .. }
    )
}

/// Whether two attempts on fresh instances of one version ended in the same way after the same work. A handler is told
/// which attempt it is and may do better the next time, so one that a storm has repeated says nothing.
fn is_repeated(last: &AttemptRecord, record: &AttemptRecord) -> bool {
    let fresh = last.fresh && record.fresh && last.digest.is_some() && last.attempt < record.attempt;
    let same = last.outcome == record.outcome && last.fuel_used == record.fuel_used && last.digest == record.digest;
    fresh && same && record.outcome.is_repeatable()
}

fn with_record(mut earlier: Vec<AttemptRecord>, record: Option<AttemptRecord>) -> Vec<AttemptRecord> {
    earlier.extend(record);
    let surplus = earlier.len().saturating_sub(EVIDENCE_ATTEMPTS_MAX);
    earlier.drain(..surplus);
    earlier
}
