//! Ids that were published lately, so that a publisher can repeat what was not answered.

use std::collections::{BTreeSet, VecDeque};

use crate::{time::Timestamp, write::DedupId};

/// The ids of one window, bounded in time and in number.
#[derive(Clone, Debug)]
pub struct Dedup {
    window_ms: u64,
    ids_max: usize,
    known: BTreeSet<DedupId>,
    /// The same ids, oldest first, by the time they were published.
    by_time: VecDeque<(Timestamp, Vec<DedupId>)>,
    forgotten_before: Timestamp,
}

impl Dedup {
    /// Remember ids for `window_ms`, and at most `ids_max` of them.
    #[must_use]
    pub const fn new(window_ms: u64, ids_max: usize) -> Self {
        Self { window_ms, ids_max, known: BTreeSet::new(), by_time: VecDeque::new(), forgotten_before: Timestamp(0) }
    }

    /// Whether the id was published within the window.
    #[must_use]
    pub fn knows(&self, id: DedupId) -> bool {
        self.known.contains(&id)
    }

    /// Remember an id from now on; at once, so that a double within one tick is found too.
    pub fn remember(&mut self, id: DedupId) {
        self.known.insert(id);
    }

    /// Note that these ids, all of them remembered, were published at `at`. Times must not go back.
    pub fn stamp(&mut self, at: Timestamp, ids: Vec<DedupId>) {
        self.by_time.push_back((at, ids));
    }

    /// Take ids back as a store gives them.
    pub fn restore(&mut self, at: Timestamp, ids: Vec<DedupId>) {
        self.known.extend(&ids);
        self.by_time.push_back((at, ids));
    }

    /// Forget what is past the window or beyond the limit. Answers with the first time that still counts when
    /// something was forgotten. Ask before [`Self::knows`], or an id is known for longer than its window.
    pub fn forget(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut moved = false;
        while let Some((at, ids)) = self.by_time.front() {
            if now.ms_since(*at) <= self.window_ms && self.known.len() <= self.ids_max {
                break;
            }
            // Entries of one millisecond share a key in the store, so they go together or stay together.
            // After the clock was set back over a restart a later entry may have an earlier time.
            self.forgotten_before = self.forgotten_before.max(at.plus_ms(1));
            for id in ids {
                self.known.remove(id);
            }
            self.by_time.pop_front();
            moved = true;
        }
        while self.by_time.front().is_some_and(|(at, _)| *at < self.forgotten_before) {
            let (_, ids) = self.by_time.pop_front().unwrap_or_default();
            for id in ids {
                self.known.remove(&id);
            }
            moved = true;
        }
        moved.then_some(self.forgotten_before)
    }

    /// How many ids are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(dedup: &mut Dedup, at: u64, id: u128) {
        dedup.remember(DedupId(id));
        dedup.stamp(Timestamp(at), vec![DedupId(id)]);
    }

    #[test]
    fn the_window_passes() {
        let mut dedup = Dedup::new(100, 1_000);
        publish(&mut dedup, 0, 1);
        publish(&mut dedup, 60, 2);
        assert_eq!(dedup.forget(Timestamp(100)), None);
        assert_eq!(dedup.forget(Timestamp(101)), Some(Timestamp(1)));
        assert!(!dedup.knows(DedupId(1)) && dedup.knows(DedupId(2)));
        assert_eq!(dedup.forget(Timestamp(161)), Some(Timestamp(61)));
        assert!(dedup.is_empty());
    }

    #[test]
    fn what_is_forgotten_stays_forgotten_when_the_clock_was_set_back() {
        let mut dedup = Dedup::new(100, 1_000);
        dedup.restore(Timestamp(500), vec![DedupId(1)]);
        publish(&mut dedup, 300, 2);
        assert_eq!(dedup.forget(Timestamp(700)), Some(Timestamp(501)), "the store must forget both");
        assert!(dedup.is_empty());
    }

    #[test]
    fn the_number_is_bounded_and_the_oldest_go() {
        let mut dedup = Dedup::new(u64::MAX, 3);
        for id in 0..5 {
            publish(&mut dedup, id, u128::from(id));
        }
        assert_eq!(dedup.forget(Timestamp(5)), Some(Timestamp(2)));
        assert_eq!(dedup.len(), 3);
        assert!(!dedup.knows(DedupId(1)) && dedup.knows(DedupId(2)));
    }
}
