//! A consumer as the engine knows it: its cursor, what it has in flight and what waits for a later time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{lane::Lane, log::Log, rate::Bucket, sequencing::Sequencing, storm::Storm, turns::Turns};
use crate::{
    consumer_config::{DeliveryOrder, Poison},
    cursor::Cursor,
    input::{Lease, Revision, Ticket},
    limits::DISPATCH_RESERVE_MAX,
    name::{Fence, KeyHash, Sequence},
    priority::Priority,
    record::{ConsumerRecord, PauseReason},
    time::Timestamp,
};

#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) record: ConsumerRecord,
    /// As many as its queue has logs. More than one exclude an order.
    pub(super) lanes: Vec<Lane>,
    /// Deliveries off the logs, leased ones among them.
    pub(super) pending: BTreeMap<Sequence, Pending>,
    /// Those of them that may not be leased, because messages of the log before them were not looked at.
    unseen: BTreeSet<Sequence>,
    pub(super) in_flight: BTreeMap<Sequence, InFlight>,
    /// Which deliveries wait for which; none when there is no order.
    pub(super) sequencing: Option<Sequencing>,
    /// Deliveries that may have been running when the host stopped. They run alone or not at all.
    pub(super) suspects: BTreeSet<Sequence>,
    /// Who waits for deliveries, and for how many, longest first.
    pub(super) waiting: VecDeque<(Ticket, u32)>,
    pub(super) alarm: Option<Timestamp>,
    /// Nothing is leased before.
    pub(super) closed_until: Timestamp,
    pub(super) storm: Storm,
    pub(super) bucket: Bucket,
    turns: Turns,
}

/// A delivery off the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) due: Timestamp,
    pub(super) attempts_made: u32,
    /// What stands for its message's key.
    pub(super) hash: Option<KeyHash>,
}

/// A lease that is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) lease: Lease,
    /// The tick in which it was given.
    pub(super) revision: Revision,
    /// Whether the store knows that it runs.
    pub(super) marked: bool,
    /// What it is ordered by.
    pub(super) hash: Option<KeyHash>,
}

/// A delivery that could be leased now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ready {
    Log { sequence: Sequence, hash: Option<KeyHash> },
    Pending { due: Timestamp, sequence: Sequence, attempts_made: u32, hash: Option<KeyHash> },
}

impl Ready {
    pub(super) const fn sequence(&self) -> Sequence {
        match self {
            Self::Log { sequence, .. } | Self::Pending { sequence, .. } => *sequence,
        }
    }
}

impl Consumer {
    pub(super) fn new(record: ConsumerRecord, lanes: Vec<Lane>) -> Self {
        let sequencing = (record.config.order != DeliveryOrder::None).then(Sequencing::default);
        Self {
            bucket: Bucket::default(),
            record,
            lanes,
            pending: BTreeMap::new(),
            unseen: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            sequencing,
            suspects: BTreeSet::new(),
            waiting: VecDeque::new(),
            alarm: None,
            closed_until: Timestamp(0),
            storm: Storm::default(),
            turns: Turns::default(),
        }
    }

    /// The place in the log of what is not urgent, which is the only one of most queues.
    pub(super) fn plain_lane(&self) -> &Lane {
        &self.lanes[0]
    }

    pub(super) fn lane_of(&self, sequence: Sequence) -> &Lane {
        &self.lanes[Priority::of(sequence).index()]
    }

    pub(super) fn lane_of_mut(&mut self, sequence: Sequence) -> &mut Lane {
        &mut self.lanes[Priority::of(sequence).index()]
    }

    /// Its queue has more logs now.
    pub(super) fn open_lanes(&mut self, count: usize) {
        let missing = Priority::all().take(count).skip(self.lanes.len());
        self.lanes.extend(missing.map(Lane::empty));
    }

    /// The cursors that must be written in this commit. As they are written anyway, they say how far leasing may go.
    pub(super) fn take_changed_cursors(&mut self) -> impl Iterator<Item = Cursor> {
        self.lanes.iter_mut().filter_map(Lane::take_changed_cursor)
    }

    /// Whether a program outside runs its deliveries.
    pub(super) const fn is_pulled(&self) -> bool {
        self.record.config.handler.is_none()
    }

    /// How many more deliveries may be leased.
    pub(super) fn room(&self) -> usize {
        (self.record.config.in_flight_max as usize).saturating_sub(self.in_flight.len())
    }

    /// Whether so many deliveries wait for a retry or a delay that new messages wait too.
    pub(super) fn is_full(&self, pending_max: u64) -> bool {
        self.pending.len() as u64 >= pending_max
    }

    pub(super) const fn ordered_by(&self, hash: Option<KeyHash>) -> Option<KeyHash> {
        self.record.config.order.group(hash)
    }

    /// What a delivery that is not of the log is ordered by. One that was imported has no place among the others.
    pub(super) const fn placed_by(&self, sequence: Sequence, hash: Option<KeyHash>) -> Option<KeyHash> {
        if sequence.is_imported() { None } else { self.ordered_by(hash) }
    }

    /// Whether a delivery that is given up holds those behind it.
    pub(super) const fn poison_holds(&self) -> bool {
        match self.record.config.poison {
            Poison::Park | Poison::Block => self.sequencing.is_some(),
            Poison::Skip => false,
        }
    }

    /// Whether a delivery that is given up stops all.
    pub(super) const fn poison_blocks(&self) -> bool {
        match (self.record.config.order, self.record.config.poison) {
            (DeliveryOrder::Key, Poison::Block) | (DeliveryOrder::Strict, Poison::Park | Poison::Block) => true,
            (DeliveryOrder::None, _) | (DeliveryOrder::Key, Poison::Park | Poison::Skip) => false,
            (DeliveryOrder::Strict, Poison::Skip) => false,
        }
    }

    /// Whether nothing off the log can run, now or later, before something in the log did.
    pub(super) fn waits_for_log(&self) -> bool {
        // A key that is closed for a while goes on by itself, or each further key that is closed would add one.
        let no_gate = self.sequencing.as_ref().is_some_and(|sequencing| sequencing.next_gate().is_none());
        no_gate && self.plain_lane().due.is_empty() && self.in_flight.is_empty()
    }

    /// How much of `room` is for what waits off the log of a lane.
    pub(super) fn share_off_log(&mut self, lane: Priority, room: usize) -> usize {
        self.lanes[lane.index()].share_off_log(room, self.record.config.retry_share)
    }

    /// Take what waits off the log of a lane and is due.
    pub(super) fn next_due_pending(&mut self, lane: Priority, now: Timestamp) -> Option<Ready> {
        let sequence = self.lanes[lane.index()].take_due(now, &self.suspects)?;
        self.ready_pending(sequence)
    }

    fn ready_pending(&self, sequence: Sequence) -> Option<Ready> {
        let Pending { due, attempts_made, hash } = *self.pending.get(&sequence)?;
        Some(Ready::Pending { due, sequence, attempts_made, hash: self.placed_by(sequence, hash) })
    }

    /// Take the next message of the log of a lane that ends before `end`.
    pub(super) fn next_from_log(&mut self, lane: Priority, end: Sequence) -> Option<Ready> {
        if let Some(sequencing) = &mut self.sequencing {
            return sequencing.take_ready(&self.suspects);
        }
        let sequence = self.lanes[lane.index()].take_next(end, &self.suspects)?;
        Some(Ready::Log { sequence, hash: None })
    }

    /// Take the most urgent delivery that is ready, but for the turns of those that are less urgent. What is void is
    /// given to nobody and takes no turn.
    pub(super) fn next_by_priority(
        &mut self,
        now: Timestamp,
        logs: &[Log],
        log_is_open: bool,
        is_void: impl Fn(Sequence) -> bool,
    ) -> Option<Ready> {
        let mut lanes = self.turns.order();
        let (lane, ready) = lanes.find_map(|lane| Some((lane, self.next_of_lane(lane, now, logs, log_is_open)?)))?;
        if !is_void(ready.sequence()) {
            self.turns.given(lane);
        }
        Some(ready)
    }

    fn next_of_lane(&mut self, lane: Priority, now: Timestamp, logs: &[Log], log_is_open: bool) -> Option<Ready> {
        let off_log_first = self.share_off_log(lane, 1) == 1;
        let first = if off_log_first { self.next_due_pending(lane, now) } else { None };
        first
            .or_else(|| if log_is_open { self.next_from_log(lane, logs[lane.index()].next) } else { None })
            .or_else(|| self.next_due_pending(lane, now))
    }

    /// Messages of the log below `bound` may have been leased when the host stopped.
    pub(super) fn suspect_leased(&mut self, bound: Sequence) {
        let cursor = &self.lanes[Priority::of(bound).index()].cursor;
        let mut sequence = cursor.next_unsettled(cursor.floor);
        while sequence < bound {
            self.suspects.insert(sequence);
            sequence = cursor.next_unsettled(sequence.next());
        }
    }

    /// A delivery that ran alone when the host stopped, as if it had just been leased; none when it is not there.
    pub(super) fn crashed(&mut self, sequence: Sequence, end: Sequence) -> Option<Ready> {
        if let Some(pending) = self.pending.get(&sequence).copied() {
            self.lane_of_mut(sequence).due.remove(&(pending.due, sequence));
            let hash = self.placed_by(sequence, pending.hash);
            return Some(Ready::Pending { due: pending.due, sequence, attempts_made: pending.attempts_made, hash });
        }
        let in_log = sequence < end && !self.lane_of(sequence).cursor.is_settled(sequence);
        in_log.then_some(Ready::Log { sequence, hash: None })
    }

    /// The first suspect that could run now.
    pub(super) fn runnable_suspect(&self, now: Timestamp) -> Option<Sequence> {
        let may_run = |sequence: &Sequence| match (self.pending.get(sequence), &self.sequencing) {
            (Some(pending), _) => pending.due <= now && self.lane_of(*sequence).due.contains(&(pending.due, *sequence)),
            (None, Some(sequencing)) => sequencing.is_ready(*sequence),
            (None, None) => true,
        };
        self.suspects.iter().find(|sequence| may_run(sequence)).copied()
    }

    /// Take this suspect, which can run now.
    pub(super) fn take_suspect(&mut self, sequence: Sequence) -> Ready {
        if let Some(pending) = self.pending.get(&sequence).copied() {
            self.lane_of_mut(sequence).due.remove(&(pending.due, sequence));
            let hash = self.placed_by(sequence, pending.hash);
            return Ready::Pending { due: pending.due, sequence, attempts_made: pending.attempts_made, hash };
        }
        let hash = self.sequencing.as_mut().and_then(|sequencing| sequencing.take_this(sequence));
        Ready::Log { sequence, hash }
    }

    pub(super) fn lease(&mut self, ready: Ready, fence: Fence, revision: Revision, marked: bool) -> Lease {
        let (lease, hash) = match ready {
            Ready::Log { sequence, hash } => (Lease { sequence, attempt: 1, fence, pending_due: None }, hash),
            Ready::Pending { due, sequence, attempts_made, hash } => {
                (Lease { sequence, attempt: attempts_made + 1, fence, pending_due: Some(due) }, hash)
            }
        };
        // A consumer that leases few at a time reserves few, or a crash would put many under suspicion that never ran.
        let reserve = (4 * self.in_flight.len() as u64).clamp(1, DISPATCH_RESERVE_MAX);
        let lane = self.lane_of_mut(lease.sequence);
        if lease.pending_due.is_none() && lease.sequence >= lane.cursor.dispatch_bound {
            lane.cursor.dispatch_bound = lease.sequence.plus(1 + reserve);
            lane.cursor_changed = true;
        }
        if let (Some(sequencing), Some(hash)) = (&mut self.sequencing, hash) {
            sequencing.leased(hash);
        }
        self.in_flight.insert(lease.sequence, InFlight { lease, revision, marked, hash });
        lease
    }

    /// Whether the lease is out and nothing came after it.
    pub(super) fn holds(&self, lease: &Lease) -> bool {
        self.in_flight.get(&lease.sequence).is_some_and(|in_flight| in_flight.lease == *lease)
    }

    /// What a delivery is ordered by, when its lease was given without knowing it: after a crash, before its message was
    /// read.
    pub(super) fn learn(&mut self, lease: &Lease, hash: Option<KeyHash>, now: Timestamp) {
        let hash = self.placed_by(lease.sequence, hash);
        let Some(in_flight) = self.in_flight.get_mut(&lease.sequence).filter(|in_flight| in_flight.hash.is_none())
        else {
            return;
        };
        if let (Some(sequencing), Some(hash)) = (&mut self.sequencing, hash) {
            in_flight.hash = Some(hash);
            sequencing.enter(hash, lease.sequence);
            sequencing.leased(hash);
            self.promote(hash, now);
        }
    }

    /// Whether every earlier delivery that this one must wait for is settled.
    pub(super) fn is_in_order(&self, lease: &Lease) -> bool {
        let hash = self.in_flight.get(&lease.sequence).and_then(|in_flight| in_flight.hash);
        match (&self.sequencing, hash) {
            (Some(sequencing), Some(hash)) => sequencing.is_first(hash, lease.sequence),
            (None, _) | (_, None) => true,
        }
    }

    /// Whether it would be in order once these are settled.
    pub(super) fn is_in_order_after(&self, lease: &Lease, settled: &BTreeSet<Sequence>) -> bool {
        let hash = self.in_flight.get(&lease.sequence).and_then(|in_flight| in_flight.hash);
        match (&self.sequencing, hash) {
            (Some(sequencing), Some(hash)) => sequencing.is_first_after(hash, lease.sequence, settled),
            (None, _) | (_, None) => true,
        }
    }

    /// Take a lease back, unused: its delivery is ready again.
    pub(super) fn give_back(&mut self, lease: &Lease, now: Timestamp) {
        let Some(in_flight) = self.in_flight.remove(&lease.sequence) else { return };
        match (lease.pending_due, &mut self.sequencing) {
            (Some(_), Some(_)) if in_flight.hash.is_some() => {}
            (Some(due), _) => drop(self.lane_of_mut(lease.sequence).due.insert((due, lease.sequence))),
            (None, Some(sequencing)) => sequencing.give_back(lease.sequence, in_flight.hash),
            (None, None) if self.suspects.contains(&lease.sequence) => {}
            (None, None) => drop(self.lane_of_mut(lease.sequence).returned.insert(lease.sequence)),
        }
        self.lease_over(in_flight.hash, now);
    }

    /// The delivery of this lease leaves the place where it rested. `stays` says that it waits elsewhere, so that
    /// what is ordered behind it goes on waiting.
    pub(super) fn settle(&mut self, lease: &Lease, stays: bool) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(&lease.sequence)?;
        self.suspects.remove(&lease.sequence);
        if lease.pending_due.is_none() {
            self.lane_of_mut(lease.sequence).settle(lease.sequence);
        } else {
            self.pending.remove(&lease.sequence);
        }
        if let (Some(sequencing), Some(hash), false) = (&mut self.sequencing, in_flight.hash, stays) {
            sequencing.leave(hash, lease.sequence);
        }
        Some(in_flight)
    }

    /// A lease of deliveries ordered by `hash` is over; the next one of them may be leased.
    pub(super) fn lease_over(&mut self, hash: Option<KeyHash>, now: Timestamp) {
        let (Some(sequencing), Some(hash)) = (&mut self.sequencing, hash) else { return };
        sequencing.returned(hash);
        self.promote(hash, now);
    }

    /// Let the first of the deliveries ordered by `hash` be leased, and no other.
    pub(super) fn promote(&mut self, hash: KeyHash, now: Timestamp) {
        let Some(sequencing) = &mut self.sequencing else { return };
        let pending = &self.pending;
        let promotion = sequencing.promote(hash, now, |sequence| pending.get(&sequence).map(|p| p.due));
        if let Some(withdrawn) = promotion.withdrawn {
            self.lane_of_mut(withdrawn.1).due.remove(&withdrawn);
        }
        if let Some((due, sequence)) = promotion.due {
            if self.has_seen_below(sequence) {
                self.lane_of_mut(sequence).due.insert((due, sequence));
            } else {
                self.unseen.insert(sequence);
            }
        }
    }

    /// Whether every message of the log below it that is not settled is in the window.
    fn has_seen_below(&self, sequence: Sequence) -> bool {
        let lane = self.plain_lane();
        lane.cursor.next_unsettled(lane.next) > sequence
    }

    /// The window has moved: deliveries off the log whose predecessors are known now may be leased.
    pub(super) fn promote_seen(&mut self, now: Timestamp) {
        while let Some(sequence) = self.unseen.first().copied().filter(|sequence| self.has_seen_below(*sequence)) {
            self.unseen.pop_first();
            let hash = self.pending.get(&sequence).and_then(|pending| self.ordered_by(pending.hash));
            if let Some(hash) = hash {
                self.promote(hash, now);
            }
        }
    }

    /// A delivery rests off the log.
    pub(super) fn put_off(&mut self, sequence: Sequence, pending: Pending, now: Timestamp) {
        self.pending.insert(sequence, pending);
        let hash = self.placed_by(sequence, pending.hash);
        match (&mut self.sequencing, hash) {
            (Some(sequencing), Some(hash)) => {
                sequencing.enter(hash, sequence);
                self.promote(hash, now);
            }
            (None, _) | (_, None) => drop(self.lane_of_mut(sequence).due.insert((pending.due, sequence))),
        }
    }

    /// A quarantined delivery holds those behind it.
    pub(super) fn hold(&mut self, hash: Option<KeyHash>, sequence: Sequence, now: Timestamp) {
        let hash = self.placed_by(sequence, hash);
        if let (Some(sequencing), Some(hash)) = (&mut self.sequencing, hash) {
            sequencing.enter(hash, sequence);
            self.promote(hash, now);
        }
    }

    /// A quarantined delivery does not hold those behind it any more.
    pub(super) fn release(&mut self, hash: Option<KeyHash>, sequence: Sequence, now: Timestamp) {
        let hash = self.placed_by(sequence, hash);
        if let (Some(sequencing), Some(hash)) = (&mut self.sequencing, hash) {
            sequencing.leave(hash, sequence);
            self.promote(hash, now);
        }
    }

    /// The message was dropped from the log, whoever has it.
    pub(super) fn drop_from_log(&mut self, sequence: Sequence, now: Timestamp) -> Option<InFlight> {
        let lane = self.lane_of_mut(sequence);
        if lane.cursor.is_settled(sequence) {
            return None;
        }
        lane.returned.remove(&sequence);
        lane.settle(sequence);
        let in_flight = self.in_flight.remove(&sequence);
        self.suspects.remove(&sequence);
        let in_window = self.sequencing.as_mut().and_then(|sequencing| sequencing.take_this(sequence));
        let hash = in_window.or(in_flight.and_then(|in_flight| in_flight.hash));
        if let (Some(sequencing), Some(hash)) = (&mut self.sequencing, hash) {
            sequencing.leave(hash, sequence);
            if in_flight.is_some() {
                sequencing.returned(hash);
            }
            self.promote(hash, now);
        }
        in_flight
    }

    /// Nothing ordered with this lease goes out before `until`; when nothing is ordered with it, nothing at all.
    pub(super) fn throttle(&mut self, lease: &Lease, until: Timestamp) {
        let hash = self.in_flight.get(&lease.sequence).and_then(|in_flight| in_flight.hash);
        match (&mut self.sequencing, hash) {
            (Some(sequencing), Some(hash)) => sequencing.close(hash, until),
            (None, _) | (_, None) => self.closed_until = self.closed_until.max(until),
        }
    }

    /// When this consumer has something to do that no input will tell of.
    pub(super) fn wanted_alarm(&self, now: Timestamp) -> Option<Timestamp> {
        if self.waiting.is_empty() || self.room() == 0 {
            return None;
        }
        match &self.record.paused {
            None => {}
            Some(PauseReason::Storm { .. }) => {
                return self.storm.probe_at().filter(|at| *at > now && self.in_flight.is_empty());
            }
            Some(_) => return None,
        }
        if self.closed_until > now {
            return Some(self.closed_until);
        }
        let after_now = (Timestamp(now.0 + 1), Sequence(0));
        let due = self.lanes.iter().filter_map(|lane| lane.due.range(after_now..).next().map(|(due, _)| *due)).min();
        let gate = self.sequencing.as_ref().and_then(Sequencing::next_gate);
        let rate = self.bucket.next_token(self.record.config.rate_per_second, now);
        [due, gate, rate].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Messages in the logs that this consumer has not settled, leased ones among them.
    pub(super) fn lag(&self, logs: &[Log]) -> u64 {
        self.lanes.iter().zip(logs).map(|(lane, log)| lane.lag(log.next)).sum()
    }
}
