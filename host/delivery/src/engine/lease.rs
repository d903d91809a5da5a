//! Deliveries go out: to whoever waits for them, as long as the consumer's limits allow.

use std::sync::Arc;

use super::{
    Engine,
    consumer::{Consumer, InFlight, Ready},
    log::Log,
    tick::Tick,
};
use crate::{
    effect::Effect,
    input::{Lease, Revision, Ticket},
    limits::READ_MESSAGES_MAX,
    message::Message,
    name::{ConsumerId, Fence, QueueId, Sequence},
    priority::Priority,
    record::{PauseReason, PendingKey, PendingRecord, RunningMark},
    time::Timestamp,
    write::Write,
};

/// So many fences are reserved at once.
const FENCES_RESERVED: u64 = 1 << 20;

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
            let in_flight = consumer.in_flight[&lease.sequence];
            consumer.give_back(lease, tick.now);
            self.lease_is_void(tick, id, &in_flight);
        }
    }

    /// What the engine keeps of a lease besides its consumer goes.
    pub(super) fn lease_is_void(&mut self, tick: &mut Tick, id: ConsumerId, in_flight: &InFlight) {
        tick.touched.insert(id);
        let sequence = in_flight.lease.sequence;
        if in_flight.marked {
            tick.writes.push(Write::DeleteRunning { consumer: id, sequence });
        }
        if self.alone == Some((id, sequence)) {
            self.alone = None;
            tick.touch_all = true;
        }
        self.lease_is_over(in_flight.revision);
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
        self.ask_for_delayed(tick);
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
        self.look_around(tick);
        if self.run_suspects(tick) {
            self.held_back = true;
            return;
        }
        if std::mem::take(&mut self.held_back) {
            tick.touch_all = true;
            self.look_around(tick);
        }
        for id in tick.touched.iter().copied().collect::<Vec<_>>() {
            while let Some(effect) = self.lease_to_first_waiting(tick, id) {
                tick.effects.extend(effect);
            }
        }
    }

    fn look_around(&mut self, tick: &mut Tick) {
        if tick.touch_all {
            tick.touched.extend(self.consumers.keys());
        }
        for id in tick.touched.iter().copied().collect::<Vec<_>>() {
            self.open_gates(tick, id);
            self.look_ahead(tick, id);
        }
    }

    fn open_gates(&mut self, tick: &Tick, id: ConsumerId) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let Some(sequencing) = &mut consumer.sequencing else { return };
        for hash in sequencing.open_gates(tick.now) {
            consumer.promote(hash, tick.now);
        }
        consumer.promote_seen(tick.now);
    }

    /// Answers with nothing inside when all that could be leased was cancelled: then there may be more.
    fn lease_to_first_waiting(&mut self, tick: &mut Tick, id: ConsumerId) -> Option<Option<Effect>> {
        let consumer = self.consumers.get_mut(&id)?;
        let (ticket, deliveries_max) = *consumer.waiting.front()?;
        let open = match &consumer.record.paused {
            None => usize::MAX,
            Some(PauseReason::Storm { .. }) if consumer.in_flight.is_empty() => {
                usize::from(consumer.storm.probe_at() <= Some(tick.now))
            }
            Some(_) => 0,
        };
        if consumer.closed_until > tick.now {
            return None;
        }
        let rate = consumer.record.config.rate_per_second;
        let mut room = consumer.room().min(deliveries_max as usize).min(open).min(consumer.bucket.room(rate, tick.now));
        let queue = consumer.record.queue;
        let logs = &self.queues.get(&queue)?.logs;
        let mut log_is_open = !consumer.is_full(self.limits.pending_max);
        if !log_is_open && consumer.waits_for_log() {
            // All that is off the log waits for messages in it, which must go first; one at a time adds one at most.
            log_is_open = true;
            room = room.min(1);
        }
        let is_void = |sequence| self.jobs.is_void((id, sequence));
        let ready = gather_ready(consumer, room, tick.now, logs, log_is_open, is_void);
        if ready.is_empty() {
            return None;
        }
        consumer.waiting.pop_front();
        let leases = self.lease_run(tick, id, ready, false);
        let leases = self.without_void(tick, id, leases);
        let consumer = self.consumers.get_mut(&id)?;
        if leases.is_empty() {
            // All of them were cancelled. Whoever waits goes on waiting for others.
            consumer.waiting.push_front((ticket, deliveries_max));
            self.look_ahead(tick, id);
            return Some(None);
        }
        consumer.bucket.take(rate, tick.now, leases.len());
        Some(Some(Effect::Leased { ticket, consumer: id, queue, leases }))
    }

    fn lease_run(&mut self, tick: &mut Tick, id: ConsumerId, run: Vec<Ready>, alone: bool) -> Vec<Lease> {
        let first_fence = self.reserve_fences(tick, run.len() as u64);
        let consumer = self.consumers.get_mut(&id).expect("whoever leases has looked");
        let mut leases = Vec::with_capacity(run.len());
        for (fence, ready) in (first_fence..).map(Fence).zip(run) {
            let off_log = matches!(ready, Ready::Pending { .. }) && !consumer.is_pulled();
            let marked = off_log || alone;
            let lease = consumer.lease(ready, fence, tick.revision, marked);
            if marked {
                let mark = RunningMark { alone };
                tick.writes.push(Write::PutRunning { consumer: id, sequence: lease.sequence, mark });
            }
            leases.push(lease);
        }
        let count = u32::try_from(leases.len()).expect("in-flight-max fits 32 bits");
        *self.leases_by_revision.entry(tick.revision).or_default() += count;
        leases
    }

    /// Fences that were never given out, from the one answered on.
    fn reserve_fences(&mut self, tick: &mut Tick, count: u64) -> u64 {
        let first = self.next_fence + 1;
        self.next_fence += count;
        if self.next_fence >= self.counters.fence {
            tick.counters_before.get_or_insert(self.counters);
            self.counters.fence = self.next_fence + FENCES_RESERVED;
        }
        first
    }

    /// Deliveries that may have been running when the host stopped run one at a time, and nothing else of this host
    /// runs beside them. Answers whether one runs, or must run as soon as what runs now is settled.
    fn run_suspects(&mut self, tick: &mut Tick) -> bool {
        loop {
            if let Some(runs) = self.run_suspect(tick) {
                return runs;
            }
        }
    }

    /// None when the suspect was cancelled, and there may be another one.
    fn run_suspect(&mut self, tick: &mut Tick) -> Option<bool> {
        if self.alone.is_some() {
            return Some(true);
        }
        if self.suspicious.is_empty() {
            return Some(false);
        }
        let runnable = self.suspicious.iter().find_map(|id| {
            let consumer = self.consumers.get(id)?;
            let rate = consumer.record.config.rate_per_second;
            let open = consumer.record.paused.is_none()
                && consumer.closed_until <= tick.now
                && consumer.bucket.room(rate, tick.now) > 0;
            let wanted = open && !consumer.waiting.is_empty();
            let sequence = consumer.runnable_suspect(tick.now).filter(|_| wanted)?;
            Some((*id, sequence))
        });
        let Some((id, sequence)) = runnable else { return Some(false) };
        let busy = self.consumers.values().any(|consumer| !consumer.is_pulled() && !consumer.in_flight.is_empty());
        if busy {
            return Some(true);
        }
        let consumer = self.consumers.get_mut(&id).expect("it was just found");
        let queue = consumer.record.queue;
        let ready = consumer.take_suspect(sequence);
        tick.touched.insert(id);
        let leases = self.lease_run(tick, id, vec![ready], true);
        let leases = self.without_void(tick, id, leases);
        if leases.is_empty() {
            self.look_ahead(tick, id);
            return None;
        }
        let consumer = self.consumers.get_mut(&id).expect("it was just found");
        let (ticket, _) = consumer.waiting.pop_front().expect("somebody waits");
        let rate = consumer.record.config.rate_per_second;
        consumer.bucket.take(rate, tick.now, 1);
        self.alone = Some((id, sequence));
        tick.effects.push(Effect::Leased { ticket, consumer: id, queue, leases });
        Some(true)
    }

    /// Deliveries that ran alone when the host stopped are settled as failed by that, by whoever can read them.
    pub(super) fn judge_crashed(&mut self, tick: &mut Tick) {
        for (id, sequence) in std::mem::take(&mut self.crashed) {
            let Some(consumer) = self.consumers.get_mut(&id) else { continue };
            let queue = consumer.record.queue;
            let log = self.queues.get(&queue).and_then(|queue| queue.log_of(sequence));
            let end = log.map_or(Sequence::FIRST, |log| log.next);
            let Some(ready) = consumer.crashed(sequence, end) else {
                tick.writes.push(Write::DeleteRunning { consumer: id, sequence });
                continue;
            };
            let leases = self.lease_run(tick, id, vec![ready], true);
            self.alone = Some((id, sequence));
            tick.effects.push(Effect::Crashed { consumer: id, queue, leases });
        }
    }

    /// The consumer has no more suspects.
    pub(super) fn forget_suspicion(&mut self, tick: &mut Tick, id: ConsumerId) {
        if self.suspicious.is_empty() {
            return;
        }
        let none_left = self.consumers.get(&id).is_none_or(|consumer| consumer.suspects.is_empty());
        if none_left && self.suspicious.remove(&id) && self.suspicious.is_empty() {
            tick.touch_all = true;
        }
    }

    /// A consumer with an order asks for more of its log when its window has room.
    fn look_ahead(&self, tick: &mut Tick, id: ConsumerId) {
        let Some(consumer) = self.consumers.get(&id).filter(|consumer| !consumer.waiting.is_empty()) else { return };
        let Some(sequencing) = consumer.sequencing.as_ref().filter(|sequencing| sequencing.reading.is_none()) else {
            return;
        };
        if !matches!(consumer.record.paused, None | Some(PauseReason::Storm { .. })) {
            return;
        }
        let queue = consumer.record.queue;
        let Some(end) = self.queues.get(&queue).map(|queue| queue.plain_log().next) else { return };
        let lane = consumer.plain_lane();
        let from = lane.cursor.next_unsettled(lane.next);
        let has_room = sequencing.window_len() * 2 <= self.limits.order_window_max;
        let from = if from < end && has_room {
            Some(from)
        } else if from < end && !sequencing.has_ready() && !consumer.is_full(self.limits.pending_max) {
            sequencing.first_stuck()
        } else {
            None
        };
        if let Some(from) = from {
            tick.reads.insert(id, (queue, from));
        }
    }

    /// Reads that were asked for go out when the tick is closed.
    pub(super) fn ask_for_reads(&mut self, tick: &mut Tick) {
        for (id, (queue, from)) in std::mem::take(&mut tick.reads) {
            let sequencing = self.consumers.get_mut(&id).and_then(|consumer| consumer.sequencing.as_mut());
            if let Some(sequencing) = sequencing {
                sequencing.reading = Some(from);
                let limit = READ_MESSAGES_MAX.min(self.limits.order_window_max);
                tick.effects.push(Effect::Read { queue, from, limit });
            }
        }
    }

    /// Messages of a log that somebody asked for.
    pub(super) fn look_at(
        &mut self,
        tick: &mut Tick,
        queue: QueueId,
        from: Sequence,
        messages: &[(Sequence, Arc<Message>)],
    ) {
        let Some(ordered) = self.queues.get(&queue).map(|queue| queue.ordered.clone()) else { return };
        for id in ordered {
            let Some(consumer) = self.consumers.get_mut(&id) else { continue };
            if let Some(sequencing) = consumer.sequencing.as_mut().filter(|sequencing| sequencing.reading == Some(from))
            {
                sequencing.reading = None;
                tick.touched.insert(id);
                look_ahead_at(consumer, messages, self.limits.order_window_max);
                self.park_stuck(tick, id, messages);
            }
        }
    }

    /// Messages that wait behind one that is not in the log any more leave it too, so that the log can go on.
    fn park_stuck(&mut self, tick: &mut Tick, id: ConsumerId, messages: &[(Sequence, Arc<Message>)]) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let Some(sequencing) = &consumer.sequencing else { return };
        if sequencing.window_len() * 2 <= self.limits.order_window_max {
            return;
        }
        for (sequence, message) in messages {
            if consumer.is_full(self.limits.pending_max) {
                return;
            }
            let Some(sequencing) = &mut consumer.sequencing else { return };
            if !sequencing.is_stuck(*sequence) || consumer.suspects.contains(sequence) {
                continue;
            }
            sequencing.take_this(*sequence);
            consumer.lane_of_mut(*sequence).settle(*sequence);
            let pending = super::consumer::Pending { due: tick.now, attempts_made: 0, hash: message.key_hash() };
            consumer.put_off(*sequence, pending, tick.now);
            let key = PendingKey { consumer: id, due: tick.now, sequence: *sequence };
            let record = PendingRecord { message: Arc::clone(message), attempts_made: 0, attempts: Vec::new() };
            tick.writes.push(Write::PutPending { key, record });
            tick.trimmable.insert(consumer.record.queue);
        }
    }
}

/// What was read comes into the window, as far as it follows what is there.
fn look_ahead_at(consumer: &mut Consumer, messages: &[(Sequence, Arc<Message>)], window_max: usize) {
    for (sequence, message) in messages {
        let lane = consumer.plain_lane();
        if *sequence != lane.cursor.next_unsettled(lane.next) {
            continue;
        }
        let hash = consumer.ordered_by(message.key_hash());
        let Some(sequencing) = &mut consumer.sequencing else { return };
        if sequencing.window_len() >= window_max {
            return;
        }
        if !consumer.in_flight.contains_key(sequence) {
            sequencing.see(*sequence, hash);
        }
        consumer.lane_of_mut(*sequence).next = sequence.next();
    }
}

/// Up to `room` deliveries: what waited off the log gets its share of it while there is something in the log, so
/// that retries never starve new work, nor the other way round.
fn gather_ready(
    consumer: &mut Consumer,
    room: usize,
    now: Timestamp,
    logs: &[Log],
    log_is_open: bool,
    is_void: impl Fn(Sequence) -> bool,
) -> Vec<Ready> {
    let mut ready = Vec::new();
    if room == 0 {
        return ready;
    }
    if logs.len() > 1 {
        ready.extend(std::iter::from_fn(|| consumer.next_by_priority(now, logs, log_is_open, &is_void)).take(room));
        return ready;
    }
    let plain = Priority::LOWEST;
    let share = consumer.share_off_log(plain, room);
    ready.extend(std::iter::from_fn(|| consumer.next_due_pending(plain, now)).take(share));
    if log_is_open {
        let rest = room - ready.len();
        ready.extend(std::iter::from_fn(|| consumer.next_from_log(plain, logs[0].next)).take(rest));
    }
    let rest = room - ready.len();
    ready.extend(std::iter::from_fn(|| consumer.next_due_pending(plain, now)).take(rest));
    if let Some(sequencing) = &mut consumer.sequencing {
        sequencing.end_run();
    }
    ready
}
