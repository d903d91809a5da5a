//! A consumer as the engine knows it: its cursor, what it has in flight and what waits for a later time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    cursor::Cursor,
    input::{Lease, Revision, Ticket},
    limits::DISPATCH_RESERVE,
    name::{Fence, Sequence},
    record::ConsumerRecord,
    time::Timestamp,
};

#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) record: ConsumerRecord,
    cursor: Cursor,
    cursor_changed: bool,
    /// The first message of the log that was not leased since the host started.
    next: Sequence,
    /// Messages of the log that were leased and given back.
    returned: BTreeSet<Sequence>,
    /// Deliveries off the log that are not leased now, with their attempts, in the order they are due.
    pub(super) pending: BTreeMap<(Timestamp, Sequence), u32>,
    pub(super) in_flight: BTreeMap<Sequence, InFlight>,
    /// Who waits for deliveries, and for how many, longest first.
    pub(super) waiting: VecDeque<(Ticket, u32)>,
    pub(super) alarm: Option<Timestamp>,
    /// Who gets the odd one when room is halved between the log and what waits off it.
    log_is_next: bool,
}

/// A lease that is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) lease: Lease,
    /// The tick in which it was given.
    pub(super) revision: Revision,
}

/// A delivery that could be leased now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ready {
    Log(Sequence),
    Pending { due: Timestamp, sequence: Sequence, attempts_made: u32 },
}

impl Consumer {
    pub(super) fn new(record: ConsumerRecord, cursor: Cursor) -> Self {
        Self {
            record,
            next: cursor.floor,
            cursor,
            cursor_changed: false,
            returned: BTreeSet::new(),
            pending: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            waiting: VecDeque::new(),
            alarm: None,
            log_is_next: false,
        }
    }

    pub(super) const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The cursor, if it must be written in this commit.
    pub(super) fn take_changed_cursor(&mut self) -> Option<Cursor> {
        std::mem::take(&mut self.cursor_changed).then(|| self.cursor.clone())
    }

    /// How many more deliveries may be leased.
    pub(super) fn room(&self) -> usize {
        (self.record.config.in_flight_max as usize).saturating_sub(self.in_flight.len())
    }

    /// How many deliveries wait off the log, in flight or not.
    pub(super) fn pending_len(&self) -> u64 {
        let leased = self.in_flight.values().filter(|in_flight| in_flight.lease.pending_due.is_some()).count();
        (self.pending.len() + leased) as u64
    }

    /// How much of `room` is for what waits off the log. The odd one is given in turn, or a consumer that leases one
    /// at a time would never come to the log while a delivery defers itself again and again.
    pub(super) const fn share_off_log(&mut self, room: usize) -> usize {
        let share = if self.log_is_next { room / 2 } else { room.div_ceil(2) };
        if room > 0 {
            self.log_is_next = !self.log_is_next;
        }
        share
    }

    /// Take what waits off the log and is due.
    pub(super) fn next_due_pending(&mut self, now: Timestamp) -> Option<Ready> {
        let (&(due, sequence), &attempts_made) = self.pending.first_key_value().filter(|((due, _), _)| *due <= now)?;
        self.pending.remove(&(due, sequence));
        Some(Ready::Pending { due, sequence, attempts_made })
    }

    /// Take the next message of the log that ends before `end`.
    pub(super) fn next_from_log(&mut self, end: Sequence) -> Option<Ready> {
        if let Some(sequence) = self.returned.pop_first() {
            return Some(Ready::Log(sequence));
        }
        let sequence = self.cursor.next_unsettled(self.next);
        if sequence >= end {
            return None;
        }
        self.next = sequence.next();
        if self.next > self.cursor.dispatch_bound {
            self.cursor.dispatch_bound = self.next.plus(DISPATCH_RESERVE);
            self.cursor_changed = true;
        }
        Some(Ready::Log(sequence))
    }

    pub(super) fn lease(&mut self, ready: Ready, fence: Fence, revision: Revision) -> Lease {
        let lease = match ready {
            Ready::Log(sequence) => Lease { sequence, attempt: 1, fence, pending_due: None },
            Ready::Pending { due, sequence, attempts_made } => {
                Lease { sequence, attempt: attempts_made + 1, fence, pending_due: Some(due) }
            }
        };
        self.in_flight.insert(lease.sequence, InFlight { lease, revision });
        lease
    }

    /// Whether the lease is out and nothing came after it.
    pub(super) fn holds(&self, lease: &Lease) -> bool {
        self.in_flight.get(&lease.sequence).is_some_and(|in_flight| in_flight.lease == *lease)
    }

    /// Take a lease back, unused: its delivery is ready again.
    pub(super) fn give_back(&mut self, lease: &Lease) {
        self.in_flight.remove(&lease.sequence);
        match lease.pending_due {
            None => {
                self.returned.insert(lease.sequence);
            }
            Some(due) => {
                self.pending.insert((due, lease.sequence), lease.attempt - 1);
            }
        }
    }

    /// The delivery of this lease is done with, as far as the log goes.
    pub(super) fn settle(&mut self, lease: &Lease) {
        self.in_flight.remove(&lease.sequence);
        if lease.pending_due.is_none() {
            self.cursor.settle(lease.sequence);
            self.cursor_changed = true;
        }
    }

    /// When this consumer has something to do that no input will tell of.
    pub(super) fn wanted_alarm(&self, now: Timestamp) -> Option<Timestamp> {
        if self.record.paused.is_some() || self.waiting.is_empty() || self.room() == 0 {
            return None;
        }
        let after_now = (Timestamp(now.0 + 1), Sequence(0));
        self.pending.range(after_now..).next().map(|((due, _), _)| *due)
    }

    /// Messages in the log that this consumer has not settled, leased ones among them.
    pub(super) fn lag(&self, end: Sequence) -> u64 {
        end.0 - self.cursor.floor.0 - self.cursor.settled_above_floor()
    }
}
