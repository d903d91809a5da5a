//! Deliveries that go out, and those that should have.

use wasmill_delivery::{
    effect::Effect,
    input::{Lease, Ticket},
    name::{ConsumerId, QueueId},
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
        leases.iter().try_for_each(|lease| self.lease_one(*consumer, lease))
    }

    fn may_lease(&mut self, ticket: Ticket, id: ConsumerId, queue: QueueId, count: usize) -> Checked {
        let Some(consumer) = self.consumers.get_mut(&id) else { violated!("{id:?} is gone and gets leases") };
        ensure!(consumer.record.queue == queue, "{id:?} is not on {queue:?}");
        ensure!(consumer.record.paused.is_none(), "{id:?} is paused and gets leases");
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
            consumer.dispatched_to = consumer.dispatched_to.max(lease.sequence.next());
        }
        self.count(if attempt > 1 { "leased again" } else { "leased" });
        Ok(())
    }

    /// No wake-up is lost: whoever waits either has no room or there is nothing for it.
    pub(super) fn nothing_left_to_lease(&self) -> Checked {
        for (id, consumer) in self.consumers.iter().filter(|(_, consumer)| consumer.may_get_more()) {
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
        let consumers = self.consumers.values().filter(|consumer| consumer.may_get_more());
        consumers.filter_map(|consumer| consumer.first_waiting(|_| true)).min()
    }
}

impl ModelConsumer {
    fn may_get_more(&self) -> bool {
        let room = self.leased.len() < self.record.config.in_flight_max as usize;
        self.record.paused.is_none() && !self.waiting.is_empty() && room
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
