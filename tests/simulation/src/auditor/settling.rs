//! What may become of a delivery that a worker settles.

use std::sync::Arc;

use wasmill_delivery::{
    effect::{Effect, PublishRefusal, SettleAnswer},
    input::{AttemptResult, Effects, Lease, Settlement, Ticket},
    limits::{EVIDENCE_ATTEMPTS_MAX, HANDLER_DELAY_MS_MAX, HOPS_MAX},
    message::Message,
    name::{ConsumerId, QuarantineId, QueueId},
    outcome::Outcome,
    policy::HOST_FAULT_DELAY_MS,
    record::{PauseReason, QuarantineReason},
    time::Timestamp,
};

use super::{Auditor, Resting, Waiting, answers::Answers};
use crate::{
    handler::{Notes, Observation},
    state::integer,
    violation::{Checked, ensure, violated},
};

impl Auditor {
    pub(super) fn settled(
        &mut self,
        ticket: Ticket,
        id: ConsumerId,
        settlements: &[Settlement],
        notes: &[Notes],
        effects: &mut Answers<'_>,
    ) -> Checked {
        let mut paused = 0;
        let answers = loop {
            match effects.take("a settle")? {
                Effect::Paused { consumer, reason: PauseReason::QuarantineFull } if *consumer == id => paused += 1,
                Effect::Settled { ticket: answered, answers } if *answered == ticket => break answers,
                other @ (Effect::Published { .. }
                | Effect::Leased { .. }
                | Effect::LeaseEnded { .. }
                | Effect::Settled { .. }
                | Effect::Ordered { .. }
                | Effect::Paused { .. }) => violated!("settle {ticket:?} is answered by {other:?}"),
            }
        };
        ensure!(answers.len() == settlements.len(), "{} settled, {} answers", settlements.len(), answers.len());
        let mut broken = false;
        for (index, (settlement, answer)) in settlements.iter().zip(answers).enumerate() {
            self.settled_one(id, settlement, answer, notes.get(index), &mut broken, &mut paused)?;
        }
        ensure!(paused == 0, "{id:?} was paused for a full quarantine that is not full");
        Ok(())
    }

    fn settled_one(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        answer: &SettleAnswer,
        notes: Option<&Notes>,
        broken: &mut bool,
        paused: &mut u32,
    ) -> Checked {
        let lease = settlement.lease;
        let valid = self.consumers.get(&id).is_some_and(|consumer| consumer.holds(&lease));
        let stale = *answer == SettleAnswer::StaleFence;
        ensure!(valid != stale, "{lease:?} of {id:?} is valid: {valid}, but the answer is {answer:?}");
        let was_broken = *broken;
        let committed = *answer == SettleAnswer::Committed;
        if let AttemptResult::Succeeded(effects) = &settlement.result {
            *broken |= !committed && !effects.state.writes.is_empty();
        }
        if stale {
            self.count("settle stale");
            return Ok(());
        }
        match &settlement.result {
            AttemptResult::Failed(record) => self.failed(id, settlement, &record.outcome, answer, paused),
            AttemptResult::Succeeded(effects) => {
                self.succeeded(id, settlement, effects, answer, notes, was_broken, paused)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is what the answer depends on")]
    fn succeeded(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        effects: &Effects,
        answer: &SettleAnswer,
        notes: Option<&Notes>,
        broken: bool,
        paused: &mut u32,
    ) -> Checked {
        let lease = &settlement.lease;
        if *answer == SettleAnswer::Conflict {
            ensure!(!effects.state.is_empty(), "{lease:?} conflicts without touching state");
            self.give_back(id, lease);
            self.count(if broken { "conflict: run broken" } else { "conflict" });
            return Ok(());
        }
        ensure!(!broken || effects.state.is_empty(), "{lease:?} built on a delivery that was refused: {answer:?}");
        if effects.published.iter().any(|message| message.lineage.hops > HOPS_MAX) {
            return self.given_up(id, settlement, answer, QuarantineReason::Loop, 0, paused);
        }
        match self.routes(&effects.published) {
            Ok(routes) if matches!(answer, SettleAnswer::PublishRefused { .. }) => {
                let SettleAnswer::PublishRefused { refusal, due } = answer else { return Ok(()) };
                self.publish_refused(id, settlement, refusal, *due, &routes)
            }
            Ok(routes) => {
                ensure!(*answer == SettleAnswer::Committed, "{lease:?} succeeded, but: {answer:?}");
                self.committed(id, lease, effects, notes, &routes)
            }
            Err(topic) => match answer {
                // A queue before the topic that nobody takes may be full.
                SettleAnswer::PublishRefused { refusal, due } => {
                    let routes = effects.published.iter().map(|message| self.route(&message.topic)).collect::<Vec<_>>();
                    self.publish_refused(id, settlement, refusal, *due, &routes)
                }
                SettleAnswer::Committed
                | SettleAnswer::Conflict
                | SettleAnswer::StaleFence
                | SettleAnswer::RetryAt { .. }
                | SettleAnswer::Quarantined { .. } => {
                    self.failed(id, settlement, &Outcome::Unroutable { topic }, answer, paused)
                }
            },
        }
    }

    fn routes(&self, published: &[Arc<Message>]) -> Result<Vec<Vec<QueueId>>, String> {
        let routed = |message: &Arc<Message>| match self.route(&message.topic) {
            queues if queues.is_empty() => Err(message.topic.to_string()),
            queues => Ok(queues),
        };
        published.iter().map(routed).collect()
    }

    fn publish_refused(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        refusal: &PublishRefusal,
        due: Timestamp,
        routes: &[Vec<QueueId>],
    ) -> Checked {
        let queues: Vec<QueueId> = routes.iter().flatten().copied().collect();
        let PublishRefusal::QueueFull { queue, .. } = refusal else { violated!("{refusal} defers nothing") };
        let wanted = self.queue_id(queue).map_or(0, |id| queues.iter().filter(|queue| **queue == id).count());
        self.may_refuse(refusal, &queues, wanted as u64)?;
        self.count("settle refused: queue full");
        self.put_off(id, settlement, due, settlement.lease.attempt - 1, 0);
        Ok(())
    }

    fn committed(
        &mut self,
        id: ConsumerId,
        lease: &Lease,
        effects: &Effects,
        notes: Option<&Notes>,
        routes: &[Vec<QueueId>],
    ) -> Checked {
        let Some(notes) = notes else { violated!("the simulation kept no notes of {lease:?}") };
        let handler = self.consumers[&id].record.config.handler.clone();
        ensure!(handler == notes.handler, "{lease:?} ran as {} and committed as {handler}", notes.handler);
        notes.observed.iter().try_for_each(|seen| self.still_so(lease, notes, seen))?;
        for (message, queues) in effects.published.iter().zip(routes) {
            if let Some(full) = queues.iter().find(|queue| self.is_full(**queue, 1)) {
                violated!("{lease:?} published {} to {full:?}, which is full", message.id);
            }
            self.append_to(queues, message);
        }
        effects.state.writes.iter().for_each(|write| self.state.write(&handler, write));
        *self.commits.entry(handler.clone()).or_default() += 1;
        *self.bumps.entry(handler).or_default() += notes.bumps;
        self.leave(id, lease);
        if let Some(consumer) = self.consumers.get_mut(&id) {
            *consumer.committed.entry(lease.sequence).or_default() += 1;
            ensure!(consumer.committed[&lease.sequence] == 1, "{lease:?} of {id:?} is committed twice");
        }
        self.count(if effects.published.is_empty() { "committed" } else { "committed with messages" });
        Ok(())
    }

    /// Deliveries are serialisable: what one read is what it would read now.
    fn still_so(&self, lease: &Lease, notes: &Notes, seen: &Observation) -> Checked {
        match seen {
            Observation::Value(key, value) => {
                let now = self.state.get(&notes.handler, key);
                ensure!(now == *value, "{lease:?} read {key} as {value:?} and commits when it is {now:?}");
            }
            Observation::Integer(key) => {
                let now = self.state.get(&notes.handler, key);
                ensure!(integer(now.as_ref()).is_some(), "{lease:?} adds to {key}, which is {now:?}");
            }
            Observation::Keys(keys) => {
                let now = self.state.keys(&notes.handler);
                ensure!(now == *keys, "{lease:?} listed {keys:?} and commits when they are {now:?}");
            }
        }
        Ok(())
    }

    fn failed(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        outcome: &Outcome,
        answer: &SettleAnswer,
        paused: &mut u32,
    ) -> Checked {
        let attempt = settlement.lease.attempt;
        let config = self.consumers[&id].record.config.clone();
        let asked_ms = match outcome {
            Outcome::Defer { after_ms } => return self.deferred(id, settlement, answer, *after_ms),
            Outcome::HostFault { .. } => return self.deferred(id, settlement, answer, HOST_FAULT_DELAY_MS),
            Outcome::Reject { .. } => {
                return self.given_up(id, settlement, answer, QuarantineReason::Rejected, 1, paused);
            }
            Outcome::Success => violated!("the simulation failed with success"),
            Outcome::Retry { after_ms, .. } => *after_ms,
            Outcome::OutOfFuel { .. }
            | Outcome::OutOfMemory { .. }
            | Outcome::TimedOut { .. }
            | Outcome::StackOverflow
            | Outcome::PublishLimit { .. }
            | Outcome::StateLimit { .. }
            | Outcome::Trapped { .. }
            | Outcome::Exited { .. }
            | Outcome::Unroutable { .. }
            | Outcome::HostCrash => None,
        };
        if attempt >= config.attempts_max {
            return self.given_up(id, settlement, answer, QuarantineReason::AttemptsExhausted, 1, paused);
        }
        let SettleAnswer::RetryAt { due, burned_attempt: true } = answer else {
            violated!("attempt {attempt} of {} failed by {}: {answer:?}", config.attempts_max, outcome.name());
        };
        let wait_ms = due.ms_since(self.now);
        let (least, most) = asked_ms.map_or((0, config.backoff.cap_ms), |asked| (asked, asked));
        ensure!((least..=most).contains(&wait_ms), "it waits {wait_ms} ms, not {least} to {most}");
        self.count("retry");
        self.put_off(id, settlement, *due, attempt, 1);
        Ok(())
    }

    fn deferred(&mut self, id: ConsumerId, settlement: &Settlement, answer: &SettleAnswer, after_ms: u64) -> Checked {
        let due = self.now.plus_ms(after_ms.min(HANDLER_DELAY_MS_MAX));
        let wanted = SettleAnswer::RetryAt { due, burned_attempt: false };
        ensure!(*answer == wanted, "{:?} is deferred: {answer:?}, not {wanted:?}", settlement.lease);
        self.count("deferred");
        self.put_off(id, settlement, due, settlement.lease.attempt - 1, 1);
        Ok(())
    }

    fn given_up(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        answer: &SettleAnswer,
        reason: QuarantineReason,
        evidence: usize,
        paused: &mut u32,
    ) -> Checked {
        let lease = &settlement.lease;
        if self.quarantine.len() as u64 >= self.limits.quarantine_max {
            return self.quarantine_full(id, settlement, answer, evidence, paused);
        }
        let SettleAnswer::Quarantined { id: number, reason: given } = answer else {
            violated!("{lease:?} is given up ({}), but: {answer:?}", reason.name());
        };
        ensure!(*given == reason, "{lease:?} is given up as {}, not {}", given.name(), reason.name());
        ensure!(number.0 > self.last_quarantine.0, "quarantine number {number} was used before");
        self.last_quarantine = QuarantineId(number.0);
        let message = Arc::clone(&settlement.message);
        let resting = Resting { consumer: id, sequence: lease.sequence, message, attempts_made: lease.attempt };
        self.quarantine.insert(*number, resting);
        self.leave(id, lease);
        self.count(reason.name());
        Ok(())
    }

    fn quarantine_full(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        answer: &SettleAnswer,
        evidence: usize,
        paused: &mut u32,
    ) -> Checked {
        let due = self.now.plus_ms(HOST_FAULT_DELAY_MS);
        let wanted = SettleAnswer::RetryAt { due, burned_attempt: false };
        ensure!(*answer == wanted, "the quarantine is full: {answer:?}, not {wanted:?}");
        ensure!(*paused > 0, "{id:?} was not paused although the quarantine is full");
        *paused -= 1;
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.record.paused = Some(PauseReason::QuarantineFull);
        }
        self.count("quarantine full");
        self.put_off(id, settlement, due, settlement.lease.attempt - 1, evidence);
        Ok(())
    }

    /// The delivery leaves the place where it was; the caller says where it goes.
    fn leave(&mut self, id: ConsumerId, lease: &Lease) {
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.leased.remove(&lease.sequence);
            match lease.pending_due {
                Some(_) => consumer.pending.remove(&lease.sequence).is_some(),
                None => consumer.log.remove(&lease.sequence),
            };
        }
    }

    fn put_off(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        due: Timestamp,
        attempts_made: u32,
        evidence: usize,
    ) {
        self.leave(id, &settlement.lease);
        let evidence = (settlement.earlier.len() + evidence).min(EVIDENCE_ATTEMPTS_MAX);
        let waiting = Waiting { due, attempts_made, message: Arc::clone(&settlement.message), evidence };
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.pending.insert(settlement.lease.sequence, waiting);
        }
    }
}
