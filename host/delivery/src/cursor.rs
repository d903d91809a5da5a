//! A consumer's place in the log: everything below the floor is settled, and so are some ranges above it.

use serde::{Deserialize, Serialize};

use crate::name::Sequence;

/// A consumer's durable place in its queue's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Everything below it is settled.
    pub floor: Sequence,
    /// What is settled above the floor: disjoint, ascending, never touching, `start` included and `end` not.
    pub settled: Vec<(Sequence, Sequence)>,
    /// Nothing at or above it was ever leased. After a crash, what is unsettled below it may have been running.
    pub dispatch_bound: Sequence,
}

impl Cursor {
    /// A cursor with nothing settled, that begins at `first`.
    #[must_use]
    pub const fn starting_at(first: Sequence) -> Self {
        Self { floor: first, settled: Vec::new(), dispatch_bound: first }
    }

    /// Whether the message at `sequence` is settled.
    #[must_use]
    pub fn is_settled(&self, sequence: Sequence) -> bool {
        sequence < self.floor || self.range_with(sequence).is_some()
    }

    /// How many messages above the floor are settled.
    #[must_use]
    pub fn settled_above_floor(&self) -> u64 {
        self.settled.iter().map(|(start, end)| end.0 - start.0).sum()
    }

    /// The first sequence at or after `from` that is not settled.
    #[must_use]
    pub fn next_unsettled(&self, from: Sequence) -> Sequence {
        let from = from.max(self.floor);
        self.range_with(from).map_or(from, |(_, end)| end)
    }

    /// Settle the message at `sequence`.
    ///
    /// # Panics
    /// When it is settled already: a lease is used up by settling it, so this is a mistake of the caller.
    pub fn settle(&mut self, sequence: Sequence) {
        assert!(!self.is_settled(sequence), "sequence {} is settled twice", sequence.0);
        if sequence == self.floor {
            self.floor = self.floor.next();
            if self.settled.first().is_some_and(|(start, _)| *start == self.floor) {
                self.floor = self.settled.remove(0).1;
            }
            return;
        }
        let after = self.settled.partition_point(|(start, _)| *start < sequence);
        let joins_before = after > 0 && self.settled[after - 1].1 == sequence;
        let joins_after = self.settled.get(after).is_some_and(|(start, _)| *start == sequence.next());
        match (joins_before, joins_after) {
            (true, true) => {
                self.settled[after - 1].1 = self.settled[after].1;
                self.settled.remove(after);
            }
            (true, false) => self.settled[after - 1].1 = sequence.next(),
            (false, true) => self.settled[after].0 = sequence,
            (false, false) => self.settled.insert(after, (sequence, sequence.next())),
        }
    }

    fn range_with(&self, sequence: Sequence) -> Option<(Sequence, Sequence)> {
        let after = self.settled.partition_point(|(start, _)| *start <= sequence);
        let (start, end) = *self.settled.get(after.checked_sub(1)?)?;
        (sequence < end).then_some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Settle 1..=n in many orders and hold the cursor against a plain set after each step.
    #[test]
    fn agrees_with_a_set_in_every_order() {
        for seed in 0..200_u64 {
            let mut order: Vec<u64> = (1..=24).collect();
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            for i in (1..order.len()).rev() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let j = usize::try_from(random >> 33).expect("31 bits") % (i + 1);
                order.swap(i, j);
            }
            let mut cursor = Cursor::starting_at(Sequence::FIRST);
            let mut model = BTreeSet::new();
            for sequence in order {
                cursor.settle(Sequence(sequence));
                model.insert(sequence);
                for at in 1..=26 {
                    assert_eq!(cursor.is_settled(Sequence(at)), model.contains(&at), "seed {seed}");
                    let next = (at..).find(|s| !model.contains(s)).expect("endless");
                    assert_eq!(cursor.next_unsettled(Sequence(at)), Sequence(next), "seed {seed}");
                }
                assert!(cursor.settled.windows(2).all(|w| w[0].1 < w[1].0), "seed {seed}: ranges touch");
                assert!(cursor.settled.first().is_none_or(|(start, _)| *start > cursor.floor), "seed {seed}");
            }
            assert_eq!(cursor, Cursor { floor: Sequence(25), ..Cursor::starting_at(Sequence(25)) }.with_bound(1));
        }
    }

    impl Cursor {
        fn with_bound(self, bound: u64) -> Self {
            Self { dispatch_bound: Sequence(bound), ..self }
        }
    }

    #[test]
    #[should_panic(expected = "settled twice")]
    fn settling_twice_is_refused() {
        let mut cursor = Cursor::starting_at(Sequence::FIRST);
        cursor.settle(Sequence(2));
        cursor.settle(Sequence(2));
    }
}
