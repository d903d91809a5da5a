//! Deleting much in steps: what a trim, a removed queue or consumer, or forgotten ids leave behind is deleted a
//! bounded number of entries per commit. Until then readers pass over it. After a restart what a removed queue or
//! consumer left is found by having no owner; what a trim or forgotten ids left is asked for again by the engine.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use wasmill_delivery::{
    name::{ConsumerId, QueueId},
    time::Timestamp,
};

use crate::{
    error::StoreError,
    key::{self, Key, KeyRange},
    staging::Staging,
    value,
};

/// Entries that one commit sweeps, or those of one value when these are more. A delete takes some microseconds when its page is
/// in memory, and the read of the page when it is not: of some 32 KiB for a chunk.
const ENTRIES_PER_COMMIT_MAX: usize = 256;

/// What is still to be deleted. Belongs to the writer.
#[derive(Default)]
pub(crate) struct Sweep {
    /// By what the keys of their owner begin with.
    open: BTreeMap<Key, KeyRange>,
    /// How far each queue's log is swept, and the ids: the next sweep begins there, and not at entries that are long gone.
    fronts: BTreeMap<Key, Key>,
}

impl Sweep {
    /// Delete the chunks of one log, whose keys begin with `lane`, before the one with the key `end`.
    pub(crate) fn trim(&mut self, lane: Key, end: Key) {
        let start = self.start_of(&lane);
        self.extend(lane, KeyRange { start, end });
    }

    /// Where what is not swept of an owner begins.
    fn start_of(&self, owner: &Key) -> Key {
        let open = self.open.get(owner).map(|range| &range.start);
        open.or_else(|| self.fronts.get(owner)).unwrap_or(owner).clone()
    }

    /// Delete a queue's logs.
    pub(crate) fn remove_logs(&mut self, queue: QueueId) -> KeyRange {
        self.remove_all(&key::log_of(queue))
    }

    /// Delete a consumer's pending deliveries.
    pub(crate) fn remove_pending(&mut self, consumer: ConsumerId) -> KeyRange {
        self.remove_all(&key::pending_of(consumer))
    }

    /// Delete the ids that were published before a time.
    pub(crate) fn forget_ids(&mut self, before: Timestamp) -> KeyRange {
        let owner = vec![key::DEDUP];
        let (start, end) = (self.start_of(&owner), key::dedup_at(before));
        self.extend(owner.clone(), KeyRange { start, end: end.clone() });
        KeyRange { start: owner, end }
    }

    /// Ids of this time are there: they may be older than what is swept.
    pub(crate) fn has_ids(&mut self, at: Timestamp) {
        let owner = vec![key::DEDUP];
        if self.fronts.get(&owner).is_some_and(|front| key::dedup_at(at) < *front) {
            self.fronts.remove(&owner);
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn open_ranges(&self) -> Vec<KeyRange> {
        self.open.values().cloned().collect()
    }

    /// Delete the next entries.
    pub(crate) fn step(&mut self, staging: &mut Staging<'_>) -> Result<(), StoreError> {
        let mut budget = ENTRIES_PER_COMMIT_MAX;
        while budget > 0
            && let Some((owner, range)) = self.open.pop_first()
        {
            let rest = sweep_range(&range, staging, &mut budget)?;
            if rest.is_empty() {
                self.remember_front(owner, range.end);
            } else {
                self.open.insert(owner, rest);
            }
        }
        Ok(())
    }

    fn remove_all(&mut self, owner: &Key) -> KeyRange {
        let range = KeyRange::of_prefix(owner.clone());
        self.open.retain(|key, _| !key.starts_with(owner));
        self.fronts.retain(|key, _| !key.starts_with(owner));
        self.open.insert(owner.clone(), range.clone());
        range
    }

    fn extend(&mut self, owner: Key, mut range: KeyRange) {
        if let Some(open) = self.open.get(&owner) {
            range.end = range.end.max(open.end.clone());
        }
        if !range.is_empty() {
            self.open.insert(owner, range);
        }
    }

    /// Only what is swept again and again needs it; a log that is removed as a whole is not trimmed any more.
    fn remember_front(&mut self, owner: Key, end: Key) {
        if matches!(owner[0], key::LOG | key::DEDUP) && KeyRange::of_prefix(owner.clone()).end != end {
            self.fronts.insert(owner, end);
        }
    }
}

/// Delete entries of a range until it is empty or the budget used up, and return what is left of it.
fn sweep_range(range: &KeyRange, staging: &mut Staging<'_>, budget: &mut usize) -> Result<KeyRange, StoreError> {
    let mut rest = range.clone();
    for entry in staging.database().range(range) {
        if *budget == 0 {
            return Ok(rest);
        }
        let (key, value) = entry?;
        staging.delete_found(&key, &value);
        *budget = budget.saturating_sub(1 + usize::from(value::parts_of(&value)));
        rest.start = key::successor(&key);
    }
    Ok(KeyRange { start: range.end.clone(), end: range.end.clone() })
}

/// What is deleted for readers and not yet swept. Shared with them; empty nearly always.
#[derive(Default)]
pub(crate) struct Gone(RwLock<Vec<KeyRange>>);

impl Gone {
    pub(crate) fn add(&self, ranges: &[KeyRange]) {
        if !ranges.is_empty() {
            self.0.write().unwrap_or_else(PoisonError::into_inner).extend_from_slice(ranges);
        }
    }

    pub(crate) fn replace(&self, ranges: Vec<KeyRange>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ranges;
    }

    /// When the key is gone, the first key that may not be.
    pub(crate) fn end_at(&self, key: &[u8]) -> Option<Key> {
        let ranges = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ranges.iter().find(|range| range.contains(key)).map(|range| range.end.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There are more and more of them that are long gone.
    #[test]
    fn ids_are_swept_from_where_the_last_sweep_ended() {
        let mut sweep = Sweep::default();
        let start = |sweep: &Sweep| sweep.open[&vec![key::DEDUP]].start.clone();
        sweep.forget_ids(Timestamp(50));
        assert_eq!(start(&sweep), [key::DEDUP]);
        let (owner, range) = sweep.open.pop_first().expect("just begun");
        sweep.remember_front(owner, range.end);
        sweep.has_ids(Timestamp(50));
        let hidden = sweep.forget_ids(Timestamp(60));
        assert_eq!(start(&sweep), key::dedup_at(Timestamp(50)));
        assert_eq!(hidden.start, [key::DEDUP]);
        sweep.open.clear();
        // A clock that was set back.
        sweep.has_ids(Timestamp(49));
        sweep.forget_ids(Timestamp(70));
        assert_eq!(start(&sweep), [key::DEDUP]);
    }
}
