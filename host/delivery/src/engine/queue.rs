//! A queue's log as the engine knows it: its ends and how large it is.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    effect::PublishRefusal,
    name::{ConsumerId, Sequence},
    record::QueueRecord,
    write::LogBounds,
};

/// Marks closer together than this are not kept.
const MARK_EVERY_MESSAGES: u64 = 1_024;
/// Beyond so many marks every other one is dropped.
const MARKS_MAX: usize = 8_192;

#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) record: QueueRecord,
    pub(super) consumers: BTreeSet<ConsumerId>,
    /// The oldest message that somebody still needs.
    pub(super) first: Sequence,
    /// The place of the next message.
    pub(super) next: Sequence,
    bytes_before_next: u64,
    /// Ascending `(place, bytes before it)`, from which the size of what is left is known.
    marks: VecDeque<(Sequence, u64)>,
}

impl Queue {
    pub(super) fn new(record: QueueRecord, log: LogBounds) -> Self {
        Self {
            record,
            consumers: BTreeSet::new(),
            first: log.first,
            next: log.next,
            bytes_before_next: log.bytes_before_next,
            marks: VecDeque::from([(log.first, log.bytes_before_first)]),
        }
    }

    /// How many messages somebody still needs.
    pub(super) const fn messages(&self) -> u64 {
        self.next.0 - self.first.0
    }

    pub(super) const fn bytes_before_next(&self) -> u64 {
        self.bytes_before_next
    }

    /// How large those are together; between two marks it is estimated.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes_before_next - self.bytes_before(self.first)
    }

    fn bytes_before(&self, sequence: Sequence) -> u64 {
        let after = self.marks.partition_point(|(at, _)| *at <= sequence);
        let (low, low_bytes) = after.checked_sub(1).map_or((self.first, 0), |index| self.marks[index]);
        let (high, high_bytes) = self.marks.get(after).copied().unwrap_or((self.next, self.bytes_before_next));
        if high <= low {
            return low_bytes;
        }
        let share = u128::from(high_bytes - low_bytes) * u128::from(sequence.0 - low.0) / u128::from(high.0 - low.0);
        low_bytes + u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// Whether so much more fits.
    pub(super) fn check_room(&self, messages: u64, bytes: u64) -> Result<(), PublishRefusal> {
        let config = &self.record.config;
        let limit = if self.messages() + messages > config.messages_max {
            format!("messages-max = {}", config.messages_max)
        } else if self.bytes() + bytes > config.bytes_max {
            format!("bytes-max = {}", config.bytes_max)
        } else {
            return Ok(());
        };
        Err(PublishRefusal::QueueFull { queue: self.record.name.clone(), limit })
    }

    /// Add one message of that size and say its place.
    pub(super) fn append(&mut self, bytes: u64) -> Sequence {
        let sequence = self.next;
        if self.marks.back().is_none_or(|(at, _)| sequence.0 - at.0 >= MARK_EVERY_MESSAGES) {
            self.marks.push_back((sequence, self.bytes_before_next));
            self.thin_marks();
        }
        self.next = sequence.next();
        self.bytes_before_next += bytes;
        sequence
    }

    fn thin_marks(&mut self) {
        if self.marks.len() > MARKS_MAX {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Nobody needs what is below. Answers whether that is news.
    pub(super) fn trim(&mut self, below: Sequence) -> bool {
        if below <= self.first {
            return false;
        }
        let bytes = self.bytes_before(below);
        self.first = below;
        while self.marks.front().is_some_and(|(at, _)| *at <= below) {
            self.marks.pop_front();
        }
        self.marks.push_front((below, bytes));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        name::{QueueId, QueueName},
        record::QueueConfig,
    };

    fn queue() -> Queue {
        let name = QueueName::new("q").expect("a name");
        Queue::new(QueueRecord { id: QueueId(1), name, config: QueueConfig::default() }, LogBounds::EMPTY)
    }

    #[test]
    fn bytes_follow_appends_and_trims() {
        let mut queue = queue();
        for _ in 0..10_000 {
            queue.append(100);
        }
        assert_eq!((queue.messages(), queue.bytes()), (10_000, 1_000_000));
        assert!(queue.trim(Sequence(5_001)));
        assert_eq!((queue.messages(), queue.bytes()), (5_000, 500_000));
        assert!(!queue.trim(Sequence(5_001)), "no news");
        assert!(queue.trim(Sequence(10_001)));
        assert_eq!((queue.messages(), queue.bytes()), (0, 0));
    }

    #[test]
    fn marks_are_bounded_and_stay_good_enough() {
        let mut queue = queue();
        for _ in 0..MARKS_MAX as u64 * MARK_EVERY_MESSAGES * 2 {
            queue.append(1);
        }
        assert!(queue.marks.len() <= MARKS_MAX + 1);
        let half = queue.messages() / 2;
        queue.trim(Sequence(half + 1));
        assert_eq!(queue.bytes(), half);
    }
}
