//! How urgent a message is, and the part of a queue's log that is for such messages.
//!
//! A queue with priorities has a log for each of them, a *lane*, so that an urgent message waits behind nothing that
//! is less urgent, however long the backlog is. The places of all lanes are of one kind: the priority is a part of the
//! number, so that a delivery keeps it wherever it rests.

use serde::{Deserialize, Serialize};

use crate::name::{NameError, Sequence};

/// How urgent a message is: 0, which nearly all are, to 9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

/// So many priorities there are.
pub const PRIORITIES: usize = 10;

/// The place of a priority in the number of a sequence: 48 bits are enough for 8 years of a million messages a second.
const SHIFT: u32 = 48;
const MASK: u64 = 0xF;

impl Priority {
    /// That of a message whose publisher said nothing.
    pub const LOWEST: Self = Self(0);

    /// All, from the lowest on.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + Clone {
        (0..=9).map(Self)
    }

    /// The number, 0 to 9.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The number as the place of a lane among the lanes of a queue.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Before every place of its lane, and after those of all lower ones.
    #[must_use]
    pub const fn lane_start(self) -> Sequence {
        Sequence((self.0 as u64) << SHIFT)
    }

    /// The last place that its lane could ever have.
    #[must_use]
    pub const fn last(self) -> Sequence {
        Sequence(((self.0 as u64 + 1) << SHIFT) - 1)
    }

    /// The place of the first message of its lane.
    #[must_use]
    pub const fn first(self) -> Sequence {
        self.lane_start().next()
    }

    /// The priority of what has this place. Imported places are of no lane.
    #[must_use]
    pub fn of(sequence: Sequence) -> Self {
        if sequence.is_imported() {
            return Self::LOWEST;
        }
        Self(u8::try_from(sequence.0 >> SHIFT & MASK).unwrap_or_default())
    }
}

impl TryFrom<u8> for Priority {
    type Error = NameError;

    fn try_from(given: u8) -> Result<Self, NameError> {
        if usize::from(given) < PRIORITIES {
            Ok(Self(given))
        } else {
            Err(NameError::new("priority", &given.to_string(), "is above 9; give 0 to 9"))
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Priority {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, NameError> {
        let number: Option<u8> = given.parse().ok();
        number
            .and_then(|number| Self::try_from(number).ok())
            .ok_or_else(|| NameError::new("priority", given, "is not a whole number from 0 to 9"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_lie_one_after_the_other_and_every_place_knows_its_own() {
        assert_eq!(Priority::LOWEST.first(), Sequence::FIRST);
        for priority in Priority::all() {
            let far = priority.last();
            assert_eq!((Priority::of(priority.first()), Priority::of(far)), (priority, priority));
            assert!(far.0 < 1 << 53, "JavaScript must be able to name it");
            assert_eq!(Priority::of(far.imported()), Priority::LOWEST);
        }
        assert_eq!(Priority::of(Priority(3).lane_start()), Priority(3));
    }

    #[test]
    fn only_one_digit_is_a_priority() {
        assert_eq!("9".parse(), Ok(Priority(9)));
        for bad in ["10", "-1", "", "x", "1.5"] {
            let error = bad.parse::<Priority>().expect_err(bad).to_string();
            assert!(error.contains("0 to 9"), "{error}");
        }
        assert!(serde_json::from_str::<Priority>("10").is_err());
    }
}
