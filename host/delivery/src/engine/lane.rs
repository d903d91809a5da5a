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
}

impl Lane {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self { next: cursor.floor, cursor, cursor_changed: false, returned: BTreeSet::new(), due: BTreeSet::new() }
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
