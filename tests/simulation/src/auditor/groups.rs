//! What may become of deliveries that were given to a handler in one call: all of them commit, or none.

use std::collections::BTreeSet;

use wasmill_delivery::{
    effect::{PublishRefusal, SettleAnswer},
    input::{AttemptResult, Effects, Settlement},
    limits::HOPS_MAX,
    name::{ConsumerId, QueueId},
};

use super::{Auditor, storms::Changes};
use crate::{
    handler::Notes,
    violation::{Checked, ensure, violated},
};

/// Whether a settlement is settled with the next one.
pub(super) const fn goes_on(settlement: &Settlement) -> bool {
    matches!(settlement.result, AttemptResult::SucceededWithNext)
}

impl Auditor {
    pub(super) fn settled_group(
        &mut self,
        id: ConsumerId,
        group: &[Settlement],
        answers: &[SettleAnswer],
        notes: &[Notes],
        broken: &mut bool,
        paused: &mut Changes,
    ) -> Checked {
        let committed = answers.iter().filter(|answer| **answer == SettleAnswer::Committed).count();
        ensure!(committed == 0 || committed == group.len(), "{committed} of a group of {} commit", group.len());
        let effects = match group.last().map(|last| &last.result) {
            Some(AttemptResult::Succeeded(effects)) => Some(effects),
            Some(AttemptResult::SucceededWithNext | AttemptResult::Failed(_)) | None => None,
        };
        let Some(effects) = effects.filter(|_| self.can_settle_all(id, group)) else {
            *broken |= effects.is_some_and(|effects| !effects.state.writes.is_empty());
            self.count("group refused");
            return group.iter().zip(answers).try_for_each(|(one, answer)| self.refused_one(id, one, answer));
        };
        let was_broken = *broken;
        *broken |= committed == 0 && !effects.state.writes.is_empty();
        for settlement in group {
            self.storm_note(id, &settlement.lease, None);
        }
        self.settled_together(id, group, answers, effects, notes, was_broken, paused)?;
        for (settlement, answer) in group.iter().zip(answers) {
            self.job_is_settled(id, settlement, answer);
        }
        Ok(())
    }

    fn can_settle_all(&self, id: ConsumerId, group: &[Settlement]) -> bool {
        let mut before = BTreeSet::new();
        group.iter().all(|Settlement { lease, message, .. }| {
            let valid = self.consumers.get(&id).is_some_and(|consumer| consumer.holds(lease));
            let in_order = self.must_wait_for(id, lease.sequence, message, &before).is_none();
            valid && in_order && !self.is_void(id, lease.sequence) && before.insert(lease.sequence)
        })
    }

    fn refused_one(&mut self, id: ConsumerId, settlement: &Settlement, answer: &SettleAnswer) -> Checked {
        let lease = &settlement.lease;
        let valid = self.consumers.get(&id).is_some_and(|consumer| consumer.holds(lease));
        let wanted = if !valid {
            SettleAnswer::StaleFence
        } else if self.is_void(id, lease.sequence) {
            self.leave(id, lease);
            SettleAnswer::Cancelled
        } else {
            self.give_back(id, lease);
            SettleAnswer::Conflict
        };
        ensure!(*answer == wanted, "{lease:?} of a group that is refused: {answer:?}, not {wanted:?}");
        self.job_is_settled(id, settlement, answer);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is what the answer depends on")]
    fn settled_together(
        &mut self,
        id: ConsumerId,
        group: &[Settlement],
        answers: &[SettleAnswer],
        effects: &Effects,
        notes: &[Notes],
        broken: bool,
        paused: &mut Changes,
    ) -> Checked {
        let (Some(last), Some(answer)) = (group.last(), answers.last()) else { violated!("a group of none") };
        ensure!(answers.iter().all(|other| other == answer), "a group is answered differently: {answers:?}");
        if *answer == SettleAnswer::Conflict {
            ensure!(!effects.state.is_empty(), "{:?} conflicts without touching state", last.lease);
            group.iter().for_each(|one| self.give_back(id, &one.lease));
            self.count("group in conflict");
            return Ok(());
        }
        ensure!(!broken || effects.state.is_empty(), "{:?} built on what was refused: {answer:?}", last.lease);
        let too_far = effects.published.iter().any(|entry| entry.message.lineage.hops > HOPS_MAX);
        let too_large = group.iter().any(|one| self.result_over(id, &one.lease, effects).is_some());
        if too_far || too_large {
            return self.is_run_alone(id, group, answer);
        }
        match (self.routes(&effects.published), answer) {
            (Ok(routes), SettleAnswer::Committed) => {
                self.committed(id, &last.lease, effects, notes.get(group.len() - 1), &routes, paused)?;
                for (one, notes) in group.iter().zip(notes).take(group.len() - 1) {
                    self.committed(id, &one.lease, &Effects::default(), Some(notes), &[], paused)?;
                }
                self.count("group committed");
                Ok(())
            }
            (routes, SettleAnswer::PublishRefused { refusal, due }) => {
                let known = |entry| self.destinations(entry).unwrap_or_default();
                let routes: Vec<Vec<QueueId>> =
                    routes.unwrap_or_else(|_: PublishRefusal| effects.published.iter().map(known).collect());
                self.publish_refused(id, last, refusal, *due, &routes)?;
                for one in &group[..group.len() - 1] {
                    self.put_off(id, one, *due, one.lease.attempt - 1, 0);
                }
                self.count("group without room");
                Ok(())
            }
            (routes, answer) => {
                let fits = routes.is_ok_and(|routes| self.exceeded(&effects.published, &routes).is_none());
                ensure!(!fits, "{:?} published what fits, and failed: {answer:?}", last.lease);
                self.is_run_alone(id, group, answer)
            }
        }
    }

    /// What they published can never be taken, and it is not known which of them is to blame.
    fn is_run_alone(&mut self, id: ConsumerId, group: &[Settlement], answer: &SettleAnswer) -> Checked {
        let wanted = SettleAnswer::RetryAt { due: self.now, burned_attempt: false };
        ensure!(*answer == wanted, "a group published what cannot be taken: {answer:?}, not {wanted:?}");
        for one in group {
            self.put_off(id, one, self.now, one.lease.attempt - 1, 1);
        }
        self.count("group to be run alone");
        Ok(())
    }
}
