//! Whose turn it is among priorities: the most urgent first, and now and then each of them in turn, so that nothing
//! waits for ever.

use crate::priority::{PRIORITIES, Priority};

/// One of so many deliveries is given to the priorities in turn. So one that has something ready gets at least one of
/// a hundred, and the most urgent at least nine of ten.
pub(super) const TURN_EVERY: u32 = 10;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    /// Deliveries since the last one that was given in turn.
    given: u32,
    /// How many places below the highest the next turn begins.
    begins: usize,
}

impl Turns {
    /// In which order lanes are asked for the next delivery.
    pub(super) fn order(self) -> impl Iterator<Item = Priority> {
        let begins = if self.in_turn() { self.begins } else { 0 };
        let highest_first = Priority::all().rev();
        highest_first.cycle().skip(begins).take(PRIORITIES)
    }

    /// The next delivery came from there.
    pub(super) fn given(&mut self, to: Priority) {
        if self.in_turn() {
            self.begins = (PRIORITIES - to.index()) % PRIORITIES;
            self.given = 0;
        } else {
            self.given += 1;
        }
    }

    const fn in_turn(self) -> bool {
        self.given + 1 == TURN_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a thousand deliveries each priority gets when these have more than enough.
    fn shares(busy: &[u8]) -> Vec<u32> {
        let mut turns = Turns::default();
        let mut shares = vec![0; PRIORITIES];
        for _ in 0..1_000 {
            let lane = turns.order().find(|lane| busy.contains(&lane.number())).expect("somebody is busy");
            turns.given(lane);
            shares[lane.index()] += 1;
        }
        shares
    }

    #[test]
    fn the_most_urgent_goes_first_and_nobody_starves() {
        assert_eq!(shares(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), [10, 10, 10, 10, 10, 10, 10, 10, 10, 910]);
        assert_eq!(shares(&[0, 9]), [50, 0, 0, 0, 0, 0, 0, 0, 0, 950]);
        assert_eq!(shares(&[2, 5, 7]), [0, 0, 33, 0, 0, 33, 0, 934, 0, 0]);
        assert_eq!(shares(&[4]), [0, 0, 0, 0, 1_000, 0, 0, 0, 0, 0]);
    }
}
