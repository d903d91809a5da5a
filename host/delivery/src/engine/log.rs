//! One log of a queue as the engine knows it: its ends and how large it is.

use std::collections::VecDeque;

use crate::{name::Sequence, queue_config::Retention, time::Timestamp, write::LogBounds};

/// Marks closer together than this are not kept.
const MARK_EVERY_MESSAGES: u64 = 1_024;
/// A mark that is older gets a successor with the next message.
const MARK_EVERY_MS: u64 = 10_000;
/// Beyond so many marks every other one is dropped.
const MARKS_MAX: usize = 8_192;

#[derive(Clone, Debug)]
pub(super) struct Log {
    /// The oldest message that is kept.
    pub(super) first: Sequence,
    /// The oldest message that a consumer still needs.
    pub(super) needed: Sequence,
    /// The place of the next message.
    pub(super) next: Sequence,
    bytes_before_next: u64,
    /// Ascending, from which the size and the age of what is left is known.
    marks: VecDeque<Mark>,
}

/// What was true when a message was appended.
#[derive(Clone, Copy, Debug)]
struct Mark {
    sequence: Sequence,
    bytes_before: u64,
    at: Timestamp,
}

impl Log {
    pub(super) fn new(bounds: LogBounds) -> Self {
        let mark = Mark { sequence: bounds.first, bytes_before: bounds.bytes_before_first, at: Timestamp(0) };
        Self {
            first: bounds.first,
            needed: bounds.first,
            next: bounds.next,
            bytes_before_next: bounds.bytes_before_next,
            marks: VecDeque::from([mark]),
        }
    }

    /// How many messages somebody still needs.
    pub(super) const fn messages(&self) -> u64 {
        self.next.0 - self.needed.0
    }

    pub(super) const fn bytes_before_next(&self) -> u64 {
        self.bytes_before_next
    }

    /// How large those are together; between two marks it is estimated.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes_before_next - self.bytes_before(self.needed)
    }

    fn bytes_before(&self, sequence: Sequence) -> u64 {
        let after = self.marks.partition_point(|mark| mark.sequence <= sequence);
        let ends = |mark: &Mark| (mark.sequence, mark.bytes_before);
        let (low, low_bytes) = after.checked_sub(1).map_or((self.first, 0), |index| ends(&self.marks[index]));
        let (high, high_bytes) = self.marks.get(after).map_or((self.next, self.bytes_before_next), ends);
        if high <= low {
            return low_bytes;
        }
        let share = u128::from(high_bytes - low_bytes) * u128::from(sequence.0 - low.0) / u128::from(high.0 - low.0);
        low_bytes + u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// Add one message of that size and say its place.
    pub(super) fn append(&mut self, bytes: u64, now: Timestamp) -> Sequence {
        let sequence = self.next;
        let far =
            |mark: &Mark| sequence.0 - mark.sequence.0 >= MARK_EVERY_MESSAGES || now.ms_since(mark.at) >= MARK_EVERY_MS;
        if self.marks.back().is_none_or(far) {
            self.marks.push_back(Mark { sequence, bytes_before: self.bytes_before_next, at: now });
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

    /// Nobody needs what is below `needed`. Answers with the first message that is kept, if that is news.
    pub(super) fn trim(&mut self, needed: Sequence, retention: Option<Retention>, now: Timestamp) -> Option<Sequence> {
        self.needed = needed;
        let below = match retention {
            None => needed,
            Some(retention) => needed.min(self.retained_from(retention, now)),
        };
        if below <= self.first {
            return None;
        }
        let bytes_before = self.bytes_before(below);
        let at = self.marks.iter().take_while(|mark| mark.sequence <= below).last().map_or(now, |mark| mark.at);
        self.first = below;
        while self.marks.front().is_some_and(|mark| mark.sequence <= below) {
            self.marks.pop_front();
        }
        self.marks.push_front(Mark { sequence: below, bytes_before, at });
        Some(below)
    }

    /// The first message that is within all bounds. Bytes and age are known at marks only, so a few more are kept.
    fn retained_from(&self, retention: Retention, now: Timestamp) -> Sequence {
        let by_count = retention.messages.map(|most| Sequence(self.next.0.saturating_sub(most)));
        let by_bytes = retention.bytes.and_then(|most| {
            let beyond = |mark: &&Mark| self.bytes_before_next - mark.bytes_before >= most;
            self.marks.iter().take_while(beyond).last().map(|mark| mark.sequence)
        });
        let by_age = retention.age_ms.and_then(|most| {
            let old = |mark: &&Mark| now.ms_since(mark.at) > most;
            self.marks.iter().take_while(old).last().map(|mark| mark.sequence)
        });
        [by_count, by_bytes, by_age].into_iter().flatten().max().unwrap_or(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::priority::Priority;

    fn log() -> Log {
        Log::new(LogBounds::empty(Priority::LOWEST))
    }

    #[test]
    fn bytes_follow_appends_and_trims() {
        let mut log = log();
        for _ in 0..10_000 {
            log.append(100, Timestamp(0));
        }
        assert_eq!((log.messages(), log.bytes()), (10_000, 1_000_000));
        assert_eq!(log.trim(Sequence(5_001), None, Timestamp(0)), Some(Sequence(5_001)));
        assert_eq!((log.messages(), log.bytes()), (5_000, 500_000));
        assert_eq!(log.trim(Sequence(5_001), None, Timestamp(0)), None, "no news");
        assert_eq!(log.trim(Sequence(10_001), None, Timestamp(0)), Some(Sequence(10_001)));
        assert_eq!((log.messages(), log.bytes()), (0, 0));
    }

    #[test]
    fn marks_are_bounded_and_stay_good_enough() {
        let mut log = log();
        for _ in 0..MARKS_MAX as u64 * MARK_EVERY_MESSAGES * 2 {
            log.append(1, Timestamp(0));
        }
        assert!(log.marks.len() <= MARKS_MAX + 1);
        let half = log.messages() / 2;
        log.trim(Sequence(half + 1), None, Timestamp(0));
        assert_eq!(log.bytes(), half);
    }

    #[test]
    fn what_is_retained_is_within_its_bounds_and_a_mark_more() {
        let retained = |retention: Retention| {
            let mut log = log();
            for second in 0..100 {
                for _ in 0..100 {
                    log.append(10, Timestamp(second * 1_000));
                }
            }
            log.trim(log.next, Some(retention), Timestamp(100_000));
            assert_eq!((log.messages(), log.bytes()), (0, 0), "what is retained does not count");
            log.next.0 - log.first.0
        };
        assert_eq!(retained(Retention { messages: Some(500), ..Retention::default() }), 500);
        assert_eq!(retained(Retention::default()), 10_000, "no bound keeps all");
        let by_bytes = retained(Retention { bytes: Some(5_000), ..Retention::default() });
        assert!((500..=1_600).contains(&by_bytes), "{by_bytes}");
        let by_age = retained(Retention { age_ms: Some(30_000), ..Retention::default() });
        assert!((3_000..=4_200).contains(&by_age), "{by_age}");
    }
}
