//! What a run has changed of its handler's state and is not durable yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use bytes::Bytes;

use crate::sum::Sum;

/// State writes of earlier successful deliveries of the same run. Later ones read through it, so that one worker's
/// deliveries follow each other without waiting for the commit; if the commit refuses one, those after it that
/// depend on it go back with it.
#[derive(Clone, Debug, Default)]
pub struct StagedState(pub(crate) Overlay);

/// Changes of keys, over values that are somewhere below.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay(BTreeMap<String, Change>);

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It has this value.
    Put(Bytes),
    /// It is no more.
    Deleted,
    /// It has the value from below and this on top.
    Added(Sum),
}

impl Change {
    const fn leaves_it_present(&self) -> bool {
        match self {
            Self::Put(_) | Self::Added(_) => true,
            Self::Deleted => false,
        }
    }
}

impl Overlay {
    pub(crate) fn get(&self, key: &str) -> Option<&Change> {
        self.0.get(key)
    }

    /// Whether the key is there as far as this overlay knows; none when it does not.
    pub(crate) fn has(&self, key: &str) -> Option<bool> {
        self.0.get(key).map(Change::leaves_it_present)
    }

    /// Apply a change on top of what is there.
    pub(crate) fn change(&mut self, key: String, change: Change) {
        let change = match (change, self.0.get(&key)) {
            (Change::Added(sum), Some(earlier)) => add(earlier, sum),
            (change @ Change::Added(_), None) | (change @ (Change::Put(_) | Change::Deleted), _) => change,
        };
        self.0.insert(key, change);
    }

    /// Apply all changes of `later` on top.
    pub(crate) fn absorb(&mut self, later: Self) {
        for (key, change) in later.0 {
            self.change(key, change);
        }
    }

    /// Add keys that are there, begin with `prefix` and lie in the range.
    pub(crate) fn collect_present(
        &self,
        prefix: &str,
        after: Option<&str>,
        until: Option<&str>,
        keys: &mut BTreeSet<String>,
    ) {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let range = self.0.range::<str, _>((from, Bound::Unbounded));
        let wanted = range
            .take_while(|(key, _)| key.starts_with(prefix) && until.is_none_or(|until| key.as_str() <= until))
            .filter(|(_, change)| change.leaves_it_present());
        keys.extend(wanted.map(|(key, _)| key.clone()));
    }
}

fn add(earlier: &Change, sum: Sum) -> Change {
    match earlier {
        // The value was checked to be an integer when the addition was made.
        Change::Put(value) => Change::Put(decimal(sum.apply(integer(value).unwrap_or(0)))),
        Change::Deleted => Change::Put(decimal(sum.apply(0))),
        Change::Added(earlier) => Change::Added(earlier.then(sum)),
    }
}

/// The decimal integer that a value holds.
pub(crate) fn integer(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A value that holds this integer.
pub(crate) fn decimal(number: i64) -> Bytes {
    number.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_a_key_follow_each_other() {
        let put = |text: &str| Change::Put(text.to_owned().into());
        let added = |delta| Change::Added(Sum::of(delta));
        for (changes, expected) in [
            (vec![put("5"), added(3)], put("8")),
            (vec![added(3), added(4)], Change::Added(Sum::of(3).then(Sum::of(4)))),
            (vec![Change::Deleted, added(2)], put("2")),
            (vec![added(2), put("x")], put("x")),
            (vec![put("x"), Change::Deleted], Change::Deleted),
        ] {
            let mut one_by_one = Overlay::default();
            let mut in_layers = Overlay::default();
            for change in changes {
                one_by_one.change("k".to_owned(), change.clone());
                let mut layer = Overlay::default();
                layer.change("k".to_owned(), change);
                in_layers.absorb(layer);
            }
            assert_eq!(one_by_one.get("k"), Some(&expected));
            assert_eq!(in_layers.get("k"), Some(&expected));
        }
    }
}
