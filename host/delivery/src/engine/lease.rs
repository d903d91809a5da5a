//! Deliveries go out: to whoever waits for them, as long as the consumer's limits allow.

use super::{
    Engine,
    consumer::{Consumer, Ready},
    tick::Tick,
};
use crate::{
    effect::Effect,
    input::{Lease, Revision, Ticket},
    name::{ConsumerId, Fence, Sequence},
};

impl Engine {
    pub(super) fn wait_for_lease(&mut self, tick: &mut Tick, ticket: Ticket, id: ConsumerId, deliveries_max: u32) {
        match self.consumers.get_mut(&id) {
            Some(consumer) if deliveries_max > 0 => {
                consumer.waiting.push_back((ticket, deliveries_max));
                tick.touched.insert(id);
            }
            _ => tick.effects.push(Effect::LeaseEnded { ticket }),
        }
    }

    pub(super) fn cancel_lease(&mut self, ticket: Ticket, id: ConsumerId) {
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.waiting.retain(|(waiting, _)| *waiting != ticket);
        }
    }

    pub(super) fn return_leases(&mut self, tick: &mut Tick, id: ConsumerId, leases: &[Lease]) {
        for lease in leases {
            self.give_back(tick, id, lease);
        }
    }

    /// Take one lease back; a lease that is not out any more changes nothing.
    pub(super) fn give_back(&mut self, tick: &mut Tick, id: ConsumerId, lease: &Lease) {
        if let Some(consumer) = self.consumers.get_mut(&id).filter(|consumer| consumer.holds(lease)) {
            let revision = consumer.in_flight[&lease.sequence].revision;
            consumer.give_back(lease);
            tick.touched.insert(id);
            self.lease_is_over(revision);
        }
    }

    pub(super) fn lease_is_over(&mut self, revision: Revision) {
        if let Some(count) = self.leases_by_revision.get_mut(&revision) {
            *count -= 1;
            if *count == 0 {
                self.leases_by_revision.remove(&revision);
            }
        }
    }

    /// Wake consumers that wait for a time that has come.
    pub(super) fn ring_alarms(&mut self, tick: &mut Tick) {
        while let Some((due, id)) = self.alarms.first().copied().filter(|(due, _)| *due <= tick.now) {
            self.alarms.remove(&(due, id));
            if let Some(consumer) = self.consumers.get_mut(&id) {
                consumer.alarm = None;
                tick.touched.insert(id);
            }
        }
    }

    pub(super) fn set_alarms(&mut self, tick: &Tick) {
        for id in &tick.touched {
            let Some(consumer) = self.consumers.get_mut(id) else { continue };
            let wanted = consumer.wanted_alarm(tick.now);
            if wanted != consumer.alarm {
                if let Some(old) = consumer.alarm {
                    self.alarms.remove(&(old, *id));
                }
                if let Some(new) = wanted {
                    self.alarms.insert((new, *id));
                }
                consumer.alarm = wanted;
            }
        }
    }

    pub(super) fn lease_to_waiting(&mut self, tick: &mut Tick) {
        for id in tick.touched.iter().copied().collect::<Vec<_>>() {
            while let Some(effect) = self.lease_to_first_waiting(tick, id) {
                tick.effects.push(effect);
            }
        }
    }

    fn lease_to_first_waiting(&mut self, tick: &Tick, id: ConsumerId) -> Option<Effect> {
        let consumer = self.consumers.get_mut(&id)?;
        if consumer.record.paused.is_some() {
            return None;
        }
        let (ticket, deliveries_max) = *consumer.waiting.front()?;
        let room = consumer.room().min(deliveries_max as usize);
        let queue = consumer.record.queue;
        let end = self.queues.get(&queue)?.next;
        let log_is_open = consumer.pending_len() < self.limits.pending_max;
        let ready = gather_ready(consumer, room, tick, end, log_is_open);
        if ready.is_empty() {
            return None;
        }
        consumer.waiting.pop_front();
        let mut leases = Vec::with_capacity(ready.len());
        for ready in ready {
            self.next_fence += 1;
            leases.push(consumer.lease(ready, Fence(self.next_fence), tick.revision));
        }
        let count = u32::try_from(leases.len()).expect("in-flight-max fits 32 bits");
        *self.leases_by_revision.entry(tick.revision).or_default() += count;
        Some(Effect::Leased { ticket, consumer: id, queue, leases })
    }
}

/// Up to `room` deliveries: what waited off the log gets half of it while there is something in the log, so that
/// retries never starve new work, nor the other way round.
fn gather_ready(consumer: &mut Consumer, room: usize, tick: &Tick, end: Sequence, log_is_open: bool) -> Vec<Ready> {
    let mut ready = Vec::new();
    let half = consumer.share_off_log(room);
    ready.extend(std::iter::from_fn(|| consumer.next_due_pending(tick.now)).take(half));
    if log_is_open {
        let rest = room - ready.len();
        ready.extend(std::iter::from_fn(|| consumer.next_from_log(end)).take(rest));
    }
    let rest = room - ready.len();
    ready.extend(std::iter::from_fn(|| consumer.next_due_pending(tick.now)).take(rest));
    ready
}
