//! Increments that were not applied yet.

/// The sum of several saturating additions, as one function: `x -> clamp(x + delta, low, high)`. It gives what the
/// additions give one after the other, also where they stop at an end of the range, as the store will apply them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    delta: i128,
    low: i64,
    high: i64,
}

impl Sum {
    pub(crate) const fn of(delta: i64) -> Self {
        Self { delta: delta as i128, low: i64::MIN, high: i64::MAX }
    }

    /// This one, and then that one.
    pub(crate) fn then(self, next: Self) -> Self {
        Self { delta: self.delta + next.delta, low: next.apply(self.low), high: next.apply(self.high) }
    }

    pub(crate) fn apply(self, value: i64) -> i64 {
        let sum = i128::from(value) + self.delta;
        let clamped = sum.clamp(i128::from(self.low), i128::from(self.high));
        i64::try_from(clamped).expect("it is clamped between two of them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_one_after_the_other() {
        let interesting = [0, 1, -1, 7, i64::MAX, i64::MIN, i64::MAX - 3, i64::MIN + 3];
        for start in interesting {
            for first in interesting {
                for second in interesting {
                    for third in interesting {
                        let sum = Sum::of(first).then(Sum::of(second)).then(Sum::of(third));
                        let expected = start.saturating_add(first).saturating_add(second).saturating_add(third);
                        assert_eq!(sum.apply(start), expected, "{start} {first} {second} {third}");
                    }
                }
            }
        }
    }
}
