//! Which deliveries of a consumer wait for which: those of one key go one after the other.
//!
//! A consumer with an order looks at its log through a window: the keys of messages from its floor on, at most
//! [`crate::limits::ORDER_WINDOW_MAX`]. Of each key it knows all deliveries that are not settled, wherever they rest: in the window, off
//! the log, in flight, or in quarantine when policy holds what is behind. Only the first of them may be leased. When one
//! lease takes a whole run, followers of a key may come with it, because a run is tried and settled in order.

use std::collections::{BTreeMap, BTreeSet};

use super::consumer::Ready;
use crate::{
    name::{KeyHash, Sequence},
    time::Timestamp,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Sequencing {
    keys: BTreeMap<KeyHash, Key>,
    /// Messages of the log that were looked at and are not leased, with what they are ordered by.
    window: BTreeMap<Sequence, Option<KeyHash>>,
    /// Those of the window that may be leased.
    ready: BTreeSet<Sequence>,
    /// Followers that became ready only for the run that is being leased.
    chained: Vec<Sequence>,
    /// Keys that may go on at a time, when nothing else will tell.
    gates: BTreeSet<(Timestamp, KeyHash)>,
    /// Where a read begins that was asked for and not answered.
    pub(super) reading: Option<Sequence>,
}

#[derive(Clone, Debug, Default)]
struct Key {
    /// Deliveries that are not settled, wherever they rest.
    unsettled: BTreeSet<Sequence>,
    in_flight: u32,
    /// The one off the log that may be leased.
    promoted: Option<(Timestamp, Sequence)>,
    /// Nothing of this key is leased before.
    gate: Timestamp,
}

/// What changes when another delivery of a key becomes the first.
#[derive(Debug, Default)]
pub(super) struct Promotion {
    /// It may be leased once it is due.
    pub(super) due: Option<(Timestamp, Sequence)>,
    /// It may not be leased any more.
    pub(super) withdrawn: Option<(Timestamp, Sequence)>,
}

impl Sequencing {
    /// How many messages of the log are in the window.
    pub(super) fn window_len(&self) -> usize {
        self.window.len()
    }

    /// A message of the log comes into the window.
    pub(super) fn see(&mut self, sequence: Sequence, hash: Option<KeyHash>) {
        self.window.insert(sequence, hash);
        match hash {
            None => drop(self.ready.insert(sequence)),
            Some(hash) => {
                let key = self.keys.entry(hash).or_default();
                key.unsettled.insert(sequence);
                // One off the log that comes later may be known already.
                if key.unsettled.first() == Some(&sequence) && key.in_flight == 0 && key.gate == Timestamp(0) {
                    self.ready.insert(sequence);
                }
            }
        }
    }

    /// Take the first message of the window that may be leased.
    pub(super) fn take_ready(&mut self, suspects: &BTreeSet<Sequence>) -> Option<Ready> {
        let sequence = self.ready.iter().find(|sequence| !suspects.contains(sequence)).copied()?;
        let hash = self.take_this(sequence);
        let follower = hash.and_then(|hash| self.follower(hash, sequence));
        if let Some(follower) = follower.filter(|follower| !suspects.contains(follower)) {
            self.ready.insert(follower);
            self.chained.push(follower);
        }
        Some(Ready::Log { sequence, hash })
    }

    /// The next delivery of the key, if it is in the window.
    fn follower(&self, hash: KeyHash, sequence: Sequence) -> Option<Sequence> {
        let next = self.keys.get(&hash)?.unsettled.range(sequence.next()..).next()?;
        self.window.contains_key(next).then_some(*next)
    }

    /// The run that was being leased is complete: followers that it did not take wait again.
    pub(super) fn end_run(&mut self) {
        for sequence in std::mem::take(&mut self.chained) {
            self.ready.remove(&sequence);
        }
    }

    /// Take this message out of the window, whether it may be leased or not.
    pub(super) fn take_this(&mut self, sequence: Sequence) -> Option<KeyHash> {
        self.ready.remove(&sequence);
        self.window.remove(&sequence).flatten()
    }

    pub(super) fn is_ready(&self, sequence: Sequence) -> bool {
        self.ready.contains(&sequence)
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn leased(&mut self, hash: KeyHash) {
        self.keys.entry(hash).or_default().in_flight += 1;
    }

    /// A lease of this key is over.
    pub(super) fn returned(&mut self, hash: KeyHash) {
        if let Some(key) = self.keys.get_mut(&hash) {
            key.in_flight = key.in_flight.saturating_sub(1);
        }
    }

    /// A message of the log comes back into the window.
    pub(super) fn give_back(&mut self, sequence: Sequence, hash: Option<KeyHash>) {
        self.window.insert(sequence, hash);
        if hash.is_none() {
            self.ready.insert(sequence);
        }
    }

    /// A delivery of this key is not settled.
    pub(super) fn enter(&mut self, hash: KeyHash, sequence: Sequence) {
        self.keys.entry(hash).or_default().unsettled.insert(sequence);
    }

    /// A delivery of this key is settled, or holds nothing any more.
    pub(super) fn leave(&mut self, hash: KeyHash, sequence: Sequence) {
        if let Some(key) = self.keys.get_mut(&hash) {
            key.unsettled.remove(&sequence);
        }
    }

    /// What a message of the window is ordered by; none when it is not in the window or waits for nobody.
    pub(super) fn ordered_by(&self, sequence: Sequence) -> Option<KeyHash> {
        self.window.get(&sequence).copied().flatten()
    }

    /// The delivery of this key that must be settled before the others.
    pub(super) fn first_of(&self, hash: KeyHash) -> Option<Sequence> {
        self.keys.get(&hash).and_then(|key| key.unsettled.first()).copied()
    }

    pub(super) fn is_first(&self, hash: KeyHash, sequence: Sequence) -> bool {
        self.keys.get(&hash).is_some_and(|key| key.unsettled.first() == Some(&sequence))
    }

    /// Whether it would be the first once these are settled.
    pub(super) fn is_first_after(&self, hash: KeyHash, sequence: Sequence, settled: &BTreeSet<Sequence>) -> bool {
        let unsettled = self.keys.get(&hash).map(|key| key.unsettled.iter());
        unsettled.and_then(|mut keys| keys.find(|key| !settled.contains(key))) == Some(&sequence)
    }

    /// Nothing of this key is leased before `until`.
    pub(super) fn close(&mut self, hash: KeyHash, until: Timestamp) {
        let key = self.keys.entry(hash).or_default();
        if until > key.gate {
            self.gates.remove(&(key.gate, hash));
            key.gate = until;
            self.gates.insert((until, hash));
        }
    }

    /// Keys whose time has come.
    pub(super) fn open_gates(&mut self, now: Timestamp) -> Vec<KeyHash> {
        let mut open = Vec::new();
        while let Some((_, hash)) = self.gates.first().copied().filter(|(at, _)| *at <= now) {
            self.gates.pop_first();
            if let Some(key) = self.keys.get_mut(&hash) {
                key.gate = Timestamp(0);
            }
            open.push(hash);
        }
        open
    }

    pub(super) fn next_gate(&self) -> Option<Timestamp> {
        self.gates.first().map(|(at, _)| *at)
    }

    /// Let the first delivery of the key be leased, and no other. `due` knows those off the log.
    pub(super) fn promote(
        &mut self,
        hash: KeyHash,
        now: Timestamp,
        due: impl Fn(Sequence) -> Option<Timestamp>,
    ) -> Promotion {
        let Some(key) = self.keys.get_mut(&hash) else { return Promotion::default() };
        let withdrawn = key.promoted.take();
        let Some(first) = key.unsettled.first().copied() else {
            if key.in_flight == 0 && key.gate <= now {
                self.gates.remove(&(key.gate, hash));
                self.keys.remove(&hash);
            }
            return Promotion { due: None, withdrawn };
        };
        // Whatever was ready before and is not the first waits again.
        if let Some(second) = key.unsettled.range(first.next()..).next() {
            self.ready.remove(second);
        }
        if key.in_flight > 0 || key.gate > now {
            self.ready.remove(&first);
            return Promotion { due: None, withdrawn };
        }
        if self.window.contains_key(&first) {
            self.ready.insert(first);
            return Promotion { due: None, withdrawn };
        }
        key.promoted = due(first).map(|due| (due, first));
        Promotion { due: key.promoted, withdrawn }
    }

    /// The first message of the window that waits for one that is not in it.
    pub(super) fn first_stuck(&self) -> Option<Sequence> {
        self.window.keys().find(|sequence| self.is_stuck(**sequence)).copied()
    }

    /// Whether a message of the window waits for one that is off the log or in quarantine.
    pub(super) fn is_stuck(&self, sequence: Sequence) -> bool {
        let Some(Some(hash)) = self.window.get(&sequence) else { return false };
        let first = self.keys.get(hash).filter(|key| key.in_flight == 0).and_then(|key| key.unsettled.first());
        first.is_some_and(|first| *first != sequence && !self.window.contains_key(first))
    }
}
