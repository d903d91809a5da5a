//! Deliveries that a handler was given in one call: they commit together or not at all.
//!
//! What such a call published and stored belongs to all of its deliveries. So when one of them cannot be settled (its
//! lease is over, it is out of its order, its job was cancelled), the others go back too, and burn no attempt. What the
//! effects themselves are refused for (nobody takes a topic, a loop) is kept as evidence with each of the deliveries, which burns no
//! attempt either: whoever runs them shall run one that has evidence alone, and then it is known which is to blame.

use std::collections::BTreeSet;

use super::{
    Engine,
    settle::{Run, Settling},
    tick::Tick,
};
use crate::{
    effect::{PublishRefusal, SettleAnswer},
    input::{AttemptResult, Effects, Settlement},
    limits::HOPS_MAX,
    name::{ConsumerId, HandlerName, Sequence},
    outcome::Outcome,
    policy::HOST_FAULT_DELAY_MS,
    record::AttemptRecord,
    time::Timestamp,
};

/// Why a group does not commit.
enum Refusal {
    /// What it read was changed, or it built on what was refused.
    Conflict,
    /// There is no room for what it published.
    NoRoom(PublishRefusal),
    /// What it published can never be taken.
    Never(Outcome),
}

impl Engine {
    /// All but the last are [`AttemptResult::SucceededWithNext`].
    pub(super) fn settle_group(
        &mut self,
        tick: &mut Tick,
        id: ConsumerId,
        group: Vec<Settlement>,
        run: &mut Run,
    ) -> Vec<SettleAnswer> {
        let effects = match group.last().map(|last| &last.result) {
            Some(AttemptResult::Succeeded(effects)) => effects.clone(),
            Some(AttemptResult::SucceededWithNext | AttemptResult::Failed(_)) | None => {
                return self.refuse_group(tick, id, &group);
            }
        };
        if !self.can_settle_all(tick, id, &group) {
            if !effects.state.writes.is_empty() {
                *run = Run::Broken;
            }
            return self.refuse_group(tick, id, &group);
        }
        let Some(consumer) = self.consumers.get_mut(&id) else { return self.refuse_group(tick, id, &group) };
        for settlement in &group {
            consumer.storm.note(consumer.record.config.storm, settlement.lease.sequence, None);
        }
        let handler = consumer.record.config.handler.clone();
        tick.touched.insert(id);
        let group: Vec<Settling> = group.into_iter().map(|settlement| Settling::of(id, settlement)).collect();
        let refused = self.commit_group(tick, &group, handler.as_ref(), &effects, *run).err();
        if refused.is_some() && !effects.state.writes.is_empty() {
            *run = Run::Broken;
        }
        group
            .into_iter()
            .map(|settling| {
                let (place, attempt) = (settling.place(), settling.lease.attempt);
                let answer = self.answer_group(tick, settling, refused.as_ref());
                self.job_is_settled(tick, place, attempt, &answer);
                answer
            })
            .collect()
    }

    /// Whether each could be settled, one after the other.
    fn can_settle_all(&mut self, tick: &Tick, id: ConsumerId, group: &[Settlement]) -> bool {
        let Some(consumer) = self.consumers.get_mut(&id) else { return false };
        if !group.iter().all(|settlement| consumer.holds(&settlement.lease)) {
            return false;
        }
        for Settlement { lease, message, .. } in group {
            consumer.learn(lease, message.key_hash(), tick.now);
        }
        let mut before: BTreeSet<Sequence> = BTreeSet::new();
        for Settlement { lease, .. } in group {
            // The same lease twice is valid once.
            if !consumer.is_in_order_after(lease, &before) || !before.insert(lease.sequence) {
                return false;
            }
        }
        group.iter().all(|settlement| !self.jobs.is_void((id, settlement.lease.sequence)))
    }

    /// None of them commits. Each is answered with what stands in its own way, if anything does.
    pub(super) fn refuse_group(&mut self, tick: &mut Tick, id: ConsumerId, group: &[Settlement]) -> Vec<SettleAnswer> {
        group.iter().map(|settlement| self.refuse_one(tick, id, settlement)).collect()
    }

    fn refuse_one(&mut self, tick: &mut Tick, id: ConsumerId, settlement: &Settlement) -> SettleAnswer {
        let lease = &settlement.lease;
        if !self.consumers.get(&id).is_some_and(|consumer| consumer.holds(lease)) {
            return SettleAnswer::StaleFence;
        }
        if self.jobs.is_void((id, lease.sequence)) {
            self.drop_void(tick, id, lease);
            return SettleAnswer::Cancelled;
        }
        self.give_back(tick, id, lease);
        SettleAnswer::Conflict
    }

    fn commit_group(
        &mut self,
        tick: &mut Tick,
        group: &[Settling],
        handler: Option<&HandlerName>,
        effects: &Effects,
        run: Run,
    ) -> Result<(), Refusal> {
        let depends_on_run = run == Run::Broken && !effects.state.is_empty();
        if depends_on_run || handler.is_some_and(|handler| self.state.conflicts(handler, &effects.state)) {
            return Err(Refusal::Conflict);
        }
        if let Some(entry) = effects.published.iter().find(|entry| entry.message.lineage.hops > HOPS_MAX) {
            let limit = format!("a message to {} has come more than {HOPS_MAX} hops", entry.message.topic);
            return Err(Refusal::Never(Outcome::PublishLimit { limit }));
        }
        if let Some(limit) =
            group.iter().find_map(|settling| self.job_result_over(settling.place(), &effects.published))
        {
            return Err(Refusal::Never(Outcome::NeverFits { limit }));
        }
        let places = self.check_published(tick, &effects.published).map_err(refusal)?;
        self.append_published(tick, &effects.published, &places);
        if let Some(handler) = handler {
            self.write_state(tick, handler, &effects.state);
        }
        for settling in group {
            self.keep_job_result(tick, settling.place(), &effects.published);
            self.finish(tick, settling, false);
            self.end_storm(tick, settling.consumer);
        }
        Ok(())
    }

    fn answer_group(&mut self, tick: &mut Tick, settling: Settling, refused: Option<&Refusal>) -> SettleAnswer {
        let attempts_made = settling.lease.attempt - 1;
        match refused {
            None => SettleAnswer::Committed,
            Some(Refusal::Conflict) => {
                self.give_back(tick, settling.consumer, &settling.lease);
                SettleAnswer::Conflict
            }
            Some(Refusal::NoRoom(refusal)) => {
                let due = tick.now.plus_ms(HOST_FAULT_DELAY_MS);
                self.put_off(tick, settling, due, attempts_made, None);
                SettleAnswer::PublishRefused { refusal: refusal.clone(), due }
            }
            Some(Refusal::Never(outcome)) => self.put_off_alone(tick, settling, outcome.clone(), tick.now),
        }
    }

    fn put_off_alone(&mut self, tick: &mut Tick, settling: Settling, outcome: Outcome, due: Timestamp) -> SettleAnswer {
        let attempts_made = settling.lease.attempt - 1;
        self.jobs.note_failed(settling.place(), &outcome);
        let record = AttemptRecord::without_sandbox(settling.lease.attempt, tick.now, outcome);
        self.put_off(tick, settling, due, attempts_made, Some(record));
        SettleAnswer::RetryAt { due, burned_attempt: false }
    }
}

fn refusal(refusal: PublishRefusal) -> Refusal {
    match refusal {
        PublishRefusal::QueueFull { .. } | PublishRefusal::DelayedFull { .. } => Refusal::NoRoom(refusal),
        PublishRefusal::Unroutable { topic }
        | PublishRefusal::NoConsumer { topic }
        | PublishRefusal::TooManyConsumers { topic, .. } => Refusal::Never(Outcome::Unroutable { topic }),
        PublishRefusal::UnknownQueue { queue } => Refusal::Never(Outcome::Unroutable { topic: queue.to_string() }),
        PublishRefusal::NeverFits { queue, limit } => {
            Refusal::Never(Outcome::NeverFits { limit: format!("queue {queue}, {limit}") })
        }
    }
}
