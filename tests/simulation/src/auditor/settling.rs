//! What may become of a delivery that a worker settles.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use wasmill_delivery::{
    effect::{Effect, PublishRefusal, SettleAnswer},
    input::{AttemptResult, Effects, Lease, PublishEntry, Settlement, Ticket},
    limits::{EVIDENCE_ATTEMPTS_MAX, HOPS_MAX},
    name::{ConsumerId, QueueId},
    outcome::Outcome,
    record::{Overflow, PauseReason, QuarantineReason, QueueRecord},
    time::Timestamp,
};

use super::{
    Auditor, Waiting,
    answers::Answers,
    groups,
    storms::{Change, Changes},
};
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
        let mut paused = VecDeque::new();
        let answers = loop {
            match effects.take("a settle")? {
                Effect::Paused { consumer, reason } if *consumer == id => {
                    paused.push_back(Change::Paused(reason.clone()))
                }
                Effect::Resumed { consumer, reason } if *consumer == id => {
                    paused.push_back(Change::Resumed(reason.clone()));
                }
                Effect::Reply { .. } => {}
                Effect::Settled { ticket: answered, answers } if *answered == ticket => break answers,
                other => violated!("settle {ticket:?} is answered by {other:?}"),
            }
        };
        ensure!(answers.len() == settlements.len(), "{} settled, {} answers", settlements.len(), answers.len());
        let mut broken = false;
        let mut index = 0;
        for group in settlements.split_inclusive(|settlement| !groups::goes_on(settlement)) {
            let (answers, notes) = (&answers[index..index + group.len()], notes.get(index..).unwrap_or_default());
            index += group.len();
            match (group, answers) {
                ([settlement], [answer]) if !groups::goes_on(settlement) => {
                    self.settled_one(id, settlement, answer, notes.first(), &mut broken, &mut paused)?;
                    self.job_is_settled(id, settlement, answer);
                }
                (group, answers) => self.settled_group(id, group, answers, notes, &mut broken, &mut paused)?,
            }
        }
        ensure!(paused.is_empty(), "{id:?} was paused or resumed without a reason: {paused:?}");
        Ok(())
    }

    fn settled_one(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        answer: &SettleAnswer,
        notes: Option<&Notes>,
        broken: &mut bool,
        paused: &mut Changes,
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
        let before = self.must_wait_for(id, lease.sequence, &settlement.message, &BTreeSet::new());
        let out_of_order = *answer == SettleAnswer::OutOfOrder;
        ensure!(
            before.is_some() == out_of_order,
            "{lease:?} of {id:?} is before {before:?}, but the answer is {answer:?}"
        );
        if out_of_order {
            self.give_back(id, &lease);
            self.count("settle out of order");
            return Ok(());
        }
        if self.is_void(id, lease.sequence) {
            ensure!(*answer == SettleAnswer::Cancelled, "{lease:?} of {id:?} was cancelled, but: {answer:?}");
            self.leave(id, &lease);
            self.count("cancelled while it ran");
            return Ok(());
        }
        match &settlement.result {
            AttemptResult::Failed(record) => self.failed(id, settlement, record, answer, paused),
            AttemptResult::SucceededWithNext => violated!("{lease:?} is settled without the next"),
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
        paused: &mut Changes,
    ) -> Checked {
        let lease = &settlement.lease;
        self.storm_note(id, lease, None);
        if *answer == SettleAnswer::Conflict {
            ensure!(!effects.state.is_empty(), "{lease:?} conflicts without touching state");
            self.give_back(id, lease);
            self.count(if broken { "conflict: run broken" } else { "conflict" });
            return Ok(());
        }
        ensure!(!broken || effects.state.is_empty(), "{lease:?} built on a delivery that was refused: {answer:?}");
        if effects.published.iter().any(|entry| entry.message.lineage.hops > HOPS_MAX) {
            return self.given_up(id, settlement, answer, QuarantineReason::Loop, 0, paused);
        }
        if let Some(limit) = self.result_over(id, lease, effects) {
            self.count("job result too large");
            return self.host_failed(id, settlement, Outcome::NeverFits { limit }, answer, paused);
        }
        match self.routes(&effects.published) {
            Ok(routes) => match answer {
                SettleAnswer::Committed => self.committed(id, lease, effects, notes, &routes, paused),
                SettleAnswer::PublishRefused { refusal, due } => {
                    self.publish_refused(id, settlement, refusal, *due, &routes)
                }
                answer => {
                    // It published more to a queue than that can ever hold, which is a failure of its own.
                    let exceeded = self.exceeded(&effects.published, &routes);
                    let Some(limit) = exceeded else { violated!("{lease:?} published what fits, and failed") };
                    let outcome = Outcome::NeverFits { limit };
                    self.host_failed(id, settlement, outcome, answer, paused)
                }
            },
            Err(refused) => match answer {
                // A queue before the topic that nobody takes may be full.
                SettleAnswer::PublishRefused { refusal, due } => {
                    let routes = effects.published.iter().map(|entry| self.destinations(entry).unwrap_or_default());
                    let routes = routes.collect::<Vec<_>>();
                    self.publish_refused(id, settlement, refusal, *due, &routes)
                }
                answer => {
                    let topic = match refused {
                        PublishRefusal::UnknownQueue { queue } => queue.to_string(),
                        PublishRefusal::Unroutable { topic } => topic,
                        other => violated!("the model refuses {other:?}"),
                    };
                    // What is published before it may be too much already.
                    let routes = effects.published.iter().map_while(|entry| self.destinations(entry).ok());
                    let exceeded = self.exceeded(&effects.published, &routes.collect::<Vec<_>>());
                    let unroutable = Outcome::Unroutable { topic };
                    let outcome = exceeded.map_or(unroutable, |limit| Outcome::NeverFits { limit });
                    self.host_failed(id, settlement, outcome, answer, paused)
                }
            },
        }
    }

    /// The limit of a queue that so much together could never keep.
    pub(super) fn exceeded(&self, published: &[PublishEntry], routes: &[Vec<QueueId>]) -> Option<String> {
        let mut sizes: BTreeMap<QueueId, (u64, u64)> = BTreeMap::new();
        for (entry, queues) in published.iter().zip(routes) {
            for queue in queues {
                if entry.deliver_at.is_some_and(|due| due > self.now) {
                    continue;
                }
                let (messages, bytes) = sizes.entry(*queue).or_default();
                *messages += 1;
                *bytes += entry.message.size_bytes();
                let QueueRecord { name, config, .. } = &self.queues[queue].record;
                if *messages > config.messages_max && config.overflow != Overflow::DropOldest {
                    return Some(format!("queue {name}, messages-max = {}", config.messages_max));
                }
                if *bytes > config.bytes_max {
                    return Some(format!("queue {name}, bytes-max = {}", config.bytes_max));
                }
            }
        }
        None
    }

    pub(super) fn routes(&self, published: &[PublishEntry]) -> Result<Vec<Vec<QueueId>>, PublishRefusal> {
        published.iter().map(|entry| self.destinations(entry)).collect()
    }

    pub(super) fn publish_refused(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        refusal: &PublishRefusal,
        due: Timestamp,
        routes: &[Vec<QueueId>],
    ) -> Checked {
        let queues: Vec<QueueId> = routes.iter().flatten().copied().collect();
        if let PublishRefusal::DelayedFull { .. } = refusal {
            let wanted = settlement_delays(settlement, self.now);
            let full = self.delayed.len() as u64 + wanted > self.limits.delayed_max;
            ensure!(full, "{wanted} more can be delayed, but: {refusal}");
            self.count("settle refused: too many delayed");
            self.put_off(id, settlement, due, settlement.lease.attempt - 1, 0);
            return Ok(());
        }
        let PublishRefusal::QueueFull { queue, .. } = refusal else { violated!("{refusal} defers nothing") };
        let wanted = self.queue_id(queue).map_or(0, |id| queues.iter().filter(|queue| **queue == id).count());
        self.may_refuse(refusal, &queues, wanted as u64)?;
        self.count("settle refused: queue full");
        self.put_off(id, settlement, due, settlement.lease.attempt - 1, 0);
        Ok(())
    }

    pub(super) fn committed(
        &mut self,
        id: ConsumerId,
        lease: &Lease,
        effects: &Effects,
        notes: Option<&Notes>,
        routes: &[Vec<QueueId>],
        paused: &mut Changes,
    ) -> Checked {
        let Some(notes) = notes else { violated!("the simulation kept no notes of {lease:?}") };
        let Some(handler) = self.consumers[&id].record.config.handler.clone() else { violated!("{id:?} runs nothing") };
        ensure!(handler == notes.handler, "{lease:?} ran as {} and committed as {handler}", notes.handler);
        notes.observed.iter().try_for_each(|seen| self.still_so(lease, notes, seen))?;
        for (entry, queues) in effects.published.iter().zip(routes) {
            if !entry.message.topic.is_reply() && entry.deliver_at.is_some_and(|due| due > self.now) {
                self.delay(entry)?;
                continue;
            }
            if let Some(full) = queues.iter().find(|queue| self.is_full(**queue, 1)) {
                violated!("{lease:?} published {} to {full:?}, which is full", entry.message.id);
            }
            self.append_to(queues, &entry.message);
        }
        effects.state.writes.iter().for_each(|write| self.state.write(&handler, write));
        *self.commits.entry(handler.clone()).or_default() += u64::from(!effects.state.writes.is_empty());
        *self.bumps.entry(handler).or_default() += notes.bumps;
        self.leave(id, lease);
        if matches!(self.consumers[&id].record.paused, Some(PauseReason::Storm { .. })) {
            self.expect_change(id, paused, None)?;
            self.count("storm ended");
        }
        if let Some(consumer) = self.consumers.get_mut(&id) {
            *consumer.committed.entry(lease.sequence).or_default() += 1;
            // Records of two other hosts may have had the same place.
            let once = consumer.committed[&lease.sequence] == 1 || lease.sequence.is_imported();
            ensure!(once, "{lease:?} of {id:?} is committed twice");
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

    /// The delivery leaves the place where it was; the caller says where it goes.
    pub(super) fn leave(&mut self, id: ConsumerId, lease: &Lease) {
        if self.runs_alone(id, lease) {
            self.alone = None;
        }
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.leased.remove(&lease.sequence);
            consumer.suspects.remove(&lease.sequence);
            match lease.pending_due {
                Some(_) => consumer.pending.remove(&lease.sequence).is_some(),
                None => consumer.log.remove(&lease.sequence),
            };
        }
    }

    pub(super) fn put_off(
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
            if *settlement.result.outcome() == Outcome::HostCrash {
                // It runs alone for as long as the host remembers that it crashed it.
                consumer.suspects.insert(settlement.lease.sequence);
                *self.counts.entry("host crash counted").or_default() += 1;
            }
        }
    }
}

fn settlement_delays(settlement: &Settlement, now: Timestamp) -> u64 {
    let AttemptResult::Succeeded(effects) = &settlement.result else { return 0 };
    let kept = effects.published.iter().filter(|entry| !entry.message.topic.is_reply());
    kept.filter(|entry| entry.deliver_at.is_some_and(|due| due > now)).count() as u64
}
