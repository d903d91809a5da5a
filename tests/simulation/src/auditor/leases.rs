//! Deliveries that go out, and those that should have.

use std::collections::BTreeSet;

use wasmill_delivery::{
    effect::Effect,
    input::{Lease, Ticket},
    name::{ConsumerId, QueueId, Sequence},
    priority::Priority,
    record::{DeliveryOrder, PauseReason},
    time::Timestamp,
};

use super::{Auditor, ModelConsumer};
use crate::violation::{Checked, ensure, violated};

impl Auditor {
    pub(super) fn leased(&mut self, effect: &Effect) -> Checked {
        let Effect::Leased { ticket, consumer, queue, leases } = effect else {
            violated!("nothing asked for {effect:?}");
        };
        self.may_lease(*ticket, *consumer, *queue, leases.len())?;
        self.keeps_rate(*consumer, leases.len())?;
        let mut run = BTreeSet::new();
        for lease in leases {
            self.runs_in_turn(*consumer, lease, &run)?;
            self.runs_by_priority(*consumer, lease.sequence)?;
            self.lease_one(*consumer, lease)?;
            run.insert(lease.sequence);
        }
        Ok(())
    }

    /// What is ordered runs in order, what is closed waits, and what is suspect runs alone.
    fn runs_in_turn(&mut self, id: ConsumerId, lease: &Lease, run: &BTreeSet<Sequence>) -> Checked {
        let at = lease.sequence;
        ensure!(!self.is_void(id, at), "{id:?} is given {lease:?}, which was cancelled");
        let Some(consumer) = self.consumers.get(&id) else { violated!("{id:?} is gone") };
        let Some(message) = self.message_of(consumer, at) else { violated!("{lease:?} of {id:?} has no message") };
        let before = self.must_wait_for(id, at, &message, run);
        ensure!(before.is_none(), "{id:?} is given {lease:?} before {before:?}, which is not settled");
        ensure!(
            consumer.closed_until <= self.now,
            "{id:?} is closed until {:?}, now {:?}",
            consumer.closed_until,
            self.now
        );
        // What was imported has no place among the others of its key.
        let key = message.key.as_ref().filter(|_| !at.is_imported());
        let key_closed = key.and_then(|key| consumer.keys_closed_until.get(key));
        let open =
            key_closed.is_none_or(|until| *until <= self.now) || consumer.record.config.order == DeliveryOrder::None;
        ensure!(open, "{id:?} is given {lease:?}, whose key is closed until {key_closed:?}");
        ensure!(self.alone.is_none(), "{id:?} is given {lease:?} while {:?} runs alone", self.alone);
        if consumer.suspects.contains(&at) {
            let busy = self.consumers.values().any(|consumer| !consumer.leased.is_empty());
            ensure!(!busy, "{lease:?} of {id:?} is suspect and runs beside others");
            self.alone = Some((id, at));
            self.count("suspect ran alone");
        } else if before.is_none() && run.iter().any(|other| *other < at) && message.key.is_some() {
            self.count("leased as a run");
        }
        Ok(())
    }

    /// No second sees more than the rate and a tenth of it.
    fn keeps_rate(&mut self, id: ConsumerId, count: usize) -> Checked {
        let now = self.now;
        let Some(consumer) = self.consumers.get_mut(&id) else { return Ok(()) };
        consumer.leased_at.retain(|at| now.ms_since(*at) < 1_000);
        consumer.leased_at.extend(std::iter::repeat_n(now, count));
        if let Some(rate) = consumer.record.config.rate_per_second {
            let most = (rate + (rate / 10).max(1)) as usize;
            let found = consumer.leased_at.len();
            ensure!(
                found <= most,
                "{id:?} leased {found} deliveries in a second, its rate is {rate}: {:?}",
                consumer.leased_at
            );
        }
        Ok(())
    }

    fn may_lease(&mut self, ticket: Ticket, id: ConsumerId, queue: QueueId, count: usize) -> Checked {
        let Some(consumer) = self.consumers.get_mut(&id) else { violated!("{id:?} is gone and gets leases") };
        ensure!(consumer.record.queue == queue, "{id:?} is not on {queue:?}");
        match &consumer.record.paused {
            None => {}
            Some(PauseReason::Storm { .. }) => {
                let alone = consumer.leased.is_empty() && count == 1;
                ensure!(alone, "{id:?} is paused for a storm and gets {count} leases");
            }
            Some(reason) => violated!("{id:?} is paused ({reason:?}) and gets leases"),
        }
        let first = consumer.waiting.pop_front();
        let Some((waiting, deliveries_max)) = first else {
            violated!("nobody of {id:?} waits, {ticket:?} gets leases")
        };
        ensure!(waiting == ticket, "{waiting:?} of {id:?} waits longest, {ticket:?} gets leases");
        let room = (consumer.record.config.in_flight_max as usize).saturating_sub(consumer.leased.len());
        let allowed = room.min(deliveries_max as usize);
        ensure!((1..=allowed).contains(&count), "{id:?} gets {count} leases, {allowed} are allowed");
        Ok(())
    }

    fn lease_one(&mut self, id: ConsumerId, lease: &Lease) -> Checked {
        ensure!(lease.fence.0 > self.last_fence, "{lease:?} has a fence from before {}", self.last_fence);
        self.last_fence = lease.fence.0;
        let now = self.now;
        let Some(consumer) = self.consumers.get_mut(&id) else { violated!("{id:?} is gone") };
        ensure!(!consumer.leased.contains_key(&lease.sequence), "{id:?} is given {lease:?} while it is leased");
        let attempt = consumer.attempt_of(lease, now)?;
        ensure!(lease.attempt == attempt, "{id:?} is given {lease:?}, attempt {attempt} is next");
        let most = consumer.attempts_max_ever;
        ensure!(attempt <= most, "{id:?} is given attempt {attempt} of {most}: {lease:?}");
        consumer.leased.insert(lease.sequence, *lease);
        if lease.pending_due.is_none() {
            let to = consumer.dispatched_to.entry(Priority::of(lease.sequence)).or_insert(Sequence(0));
            *to = lease.sequence.next().max(*to);
        }
        self.count(if attempt > 1 { "leased again" } else { "leased" });
        Ok(())
    }

    /// No wake-up is lost: whoever waits either has no room or there is nothing for it.
    pub(super) fn nothing_left_to_lease(&self) -> Checked {
        // While a suspect runs or waits to run, everybody waits; that all of them come is what the drain proves.
        let suspicious = self.alone.is_some() || self.consumers.values().any(|c| !c.suspects.is_empty());
        let simple = |consumer: &ModelConsumer| {
            let config = &consumer.record.config;
            let closed = consumer.closed_until > self.now || config.rate_per_second.is_some();
            config.order == DeliveryOrder::None && !closed && consumer.record.paused.is_none()
        };
        let waiting = self.consumers.iter().filter(|(_, c)| c.may_get_more() && simple(c) && !suspicious);
        for (id, consumer) in waiting {
            let due = consumer.first_waiting(|due| due <= self.now);
            ensure!(due.is_none(), "{id:?} waits for deliveries while one has been due since {due:?}");
            let open = (consumer.pending.len() as u64) < self.limits.pending_max;
            let ready = consumer.log.iter().find(|sequence| !consumer.leased.contains_key(sequence));
            ensure!(!open || ready.is_none(), "{id:?} waits for deliveries while {ready:?} is in the log");
        }
        Ok(())
    }

    /// Whether a lease is out and nothing came after it.
    #[must_use]
    pub fn holds(&self, id: ConsumerId, lease: &Lease) -> bool {
        self.consumers.get(&id).is_some_and(|consumer| consumer.holds(lease))
    }

    /// When the engine must wake up at the latest.
    pub(super) fn next_wanted(&self) -> Option<Timestamp> {
        let simple = |consumer: &&ModelConsumer| {
            let config = &consumer.record.config;
            consumer.may_get_more() && config.order == DeliveryOrder::None && consumer.record.paused.is_none()
        };
        let consumers = self.consumers.values().filter(simple);
        // What is due already was not leased for another reason, which has its own alarm or its own input.
        let due = consumers.filter_map(|consumer| {
            let closed = consumer.closed_until;
            consumer.first_waiting(|due| due > self.now).map(|due| due.max(closed))
        });
        let delayed = self.delayed.keys().filter(|_| self.delayed_asked.is_empty()).map(|key| key.due);
        due.chain(delayed).chain(self.next_job_wanted()).min()
    }
}

impl ModelConsumer {
    fn may_get_more(&self) -> bool {
        let room = self.leased.len() < self.record.config.in_flight_max as usize;
        matches!(self.record.paused, None | Some(PauseReason::Storm { .. })) && !self.waiting.is_empty() && room
    }

    /// When the first delivery off the log is due that is not leased.
    fn first_waiting(&self, wanted: impl Fn(Timestamp) -> bool) -> Option<Timestamp> {
        let free = self.pending.iter().filter(|(sequence, _)| !self.leased.contains_key(sequence));
        free.map(|(_, waiting)| waiting.due).filter(|due| wanted(*due)).min()
    }

    /// Which attempt of a delivery is next, if it is where the lease says.
    fn attempt_of(&self, lease: &Lease, now: Timestamp) -> Result<u32, crate::violation::Violation> {
        let in_log = self.log.contains(&lease.sequence);
        match (lease.pending_due, self.pending.get(&lease.sequence)) {
            (None, None) if in_log => Ok(1),
            (Some(due), Some(waiting)) if !in_log => {
                ensure!(due == waiting.due && due <= now, "{lease:?} is due at {:?}, now is {now:?}", waiting.due);
                Ok(waiting.attempts_made + 1)
            }
            (None | Some(_), found) => {
                violated!("{lease:?} is not where it says: in the log {in_log}, pending {:?}", found.map(|w| w.due))
            }
        }
    }
}
