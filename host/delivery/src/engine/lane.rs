//! A consumer's place in one log of its queue, and what it may lease there.

use std::collections::BTreeSet;

use crate::{cursor::Cursor, name::Sequence, priority::Priority, time::Timestamp};

#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) cursor: Cursor,
    pub(super) cursor_changed: bool,
    /// The first message of the log that was not looked at since the host started.
    pub(super) next: Sequence,
    /// Messages of the log that were leased and given back; without an order.
    pub(super) returned: BTreeSet<Sequence>,
    /// Deliveries off the log that may be leased once they are due.
    pub(super) due: BTreeSet<(Timestamp, Sequence)>,
    /// What is owed to them of former shares, in hundredths of a delivery.
    owed_percent: usize,
}

impl Lane {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self {
            next: cursor.floor,
            cursor,
            cursor_changed: false,
            returned: BTreeSet::new(),
            due: BTreeSet::new(),
            owed_percent: 50,
        }
    }

    /// For a log in which nothing was published before the consumer came.
    pub(super) fn empty(priority: Priority) -> Self {
        Self::new(Cursor::starting_at(priority.first()))
    }

    pub(super) fn settle(&mut self, sequence: Sequence) {
        self.cursor.settle(sequence);
        self.cursor_changed = true;
    }

    pub(super) fn take_changed_cursor(&mut self) -> Option<Cursor> {
        std::mem::take(&mut self.cursor_changed).then(|| self.cursor.clone())
    }

    /// How much of `room` is for what waits off the log. Fractions add up, or a consumer that leases one at a time
    /// would never come to one of the two.
    pub(super) const fn share_off_log(&mut self, room: usize, percent: u32) -> usize {
        let owed_percent = room * percent as usize + self.owed_percent;
        self.owed_percent = owed_percent % 100;
        owed_percent / 100
    }

    /// The next message of the log before `end` that nobody has, in order.
    pub(super) fn take_next(&mut self, end: Sequence, suspects: &BTreeSet<Sequence>) -> Option<Sequence> {
        if let Some(sequence) = self.returned.pop_first() {
            return Some(sequence);
        }
        loop {
            let sequence = self.cursor.next_unsettled(self.next);
            if sequence >= end {
                return None;
            }
            self.next = sequence.next();
            if !suspects.contains(&sequence) {
                return Some(sequence);
            }
        }
    }

    /// The first delivery off the log that is due.
    pub(super) fn take_due(&mut self, now: Timestamp, suspects: &BTreeSet<Sequence>) -> Option<Sequence> {
        let due_now = self.due.iter().take_while(|(due, _)| *due <= now);
        let (due, sequence) = due_now.copied().find(|(_, sequence)| !suspects.contains(sequence))?;
        self.due.remove(&(due, sequence));
        Some(sequence)
    }

    /// Messages of the log before `end` that are not settled, leased ones among them.
    pub(super) fn lag(&self, end: Sequence) -> u64 {
        end.0.saturating_sub(self.cursor.floor.0).saturating_sub(self.cursor.settled_above_floor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_off_the_log_gets_its_share_whatever_is_asked_for() {
        for percent in [1, 10, 33, 50, 99] {
            for room in [1, 2, 3, 7, 100] {
                let mut lane = Lane::empty(Priority::LOWEST);
                let shares: Vec<usize> = (0..100).map(|_| lane.share_off_log(room, percent)).collect();
                assert_eq!(shares.iter().sum::<usize>(), room * percent as usize, "{percent} % of {room}: {shares:?}");
                let (least, most) = (shares.iter().min(), shares.iter().max());
                assert!(least.zip(most).is_some_and(|(least, most)| most - least <= 1), "{percent} %: {shares:?}");
            }
        }
        let mut lane = Lane::empty(Priority::LOWEST);
        assert_eq!([1, 1, 0, 1, 3].map(|room| lane.share_off_log(room, 50)), [1, 0, 0, 1, 1]);
    }
}
