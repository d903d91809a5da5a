//! Where the chunks of logs lie: in slots, entries whose keys stay when what they hold comes and goes.
//!
//! sled rewrites a page of some 16 values whenever it splits, merges or has been changed ten times. With chunks for values that is
//! half a megabyte, and a log that grows at one end and shrinks at the other splits and merges for ever: each byte of a
//! message was written 3 to 17 times, the more the longer the log. A slot is made once, with small entries beside it that fill
//! its page up, so that a page holds one or two chunks and never splits or merges again. The entry under the chunk's own key says
//! which slot it lies in; such entries are small, and may be rewritten as sled likes.
//!
//! | entry | what |
//! |---|---|
//! | under the key of a log's chunk or a part of it | `0xFF u8, slot u32, parts u16`, numbers little-endian; shorter than any value |
//! | slot, filling 0 | that value, sealed under the key of the chunk; empty when the slot is free |
//! | slot, filling 1 to 8 | nothing |
//! | map | a bit for each of 2,048 slots: whether it is taken |
//!
//! A slot that is free is taken again by later commits. Slots are never unmade: a free one takes some 40 bytes on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use sled::{Batch, IVec};

use crate::{
    database::Database,
    error::StoreError,
    key::{self, KeyRange},
    value::{self, Payload},
};

/// Smaller values stay under their own keys: rewriting them costs less than two entries.
const VALUE_BYTES_MIN: usize = 2 * 1024;
/// Slots that are made at once, when fewer than so many are free: one that is filled in the commit that makes it is written
/// again by the splits of that commit.
const MADE_AT_ONCE: u32 = 32;
/// Entries beside each slot. With eight, a page holds about one slot.
const FILLINGS: u8 = 8;
/// Slots of one map.
const MAP_SLOTS: u32 = 2_048;
const MARK: u8 = 0xFF;
const POINTER_BYTES: usize = 7;

/// Whether values under this key may lie in slots.
pub(crate) fn are_for(key: &[u8]) -> bool {
    let kind = if key[0] == key::PART { key.get(1) } else { key.first() };
    kind == Some(&key::LOG)
}

/// The slot that an entry says its value lies in. The number of parts is where it is in a value, see [`value::parts_of`].
pub(crate) fn slot_in(found: &[u8]) -> Option<u32> {
    match found {
        [MARK, a, b, c, d, _, _] => Some(u32::from_le_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

fn pointer(slot: u32, parts: u16) -> [u8; POINTER_BYTES] {
    let ([a, b, c, d], [e, f]) = (slot.to_le_bytes(), parts.to_le_bytes());
    [MARK, a, b, c, d, e, f]
}

/// Which slots there are, and which are free. Belongs to the writer.
#[derive(Default)]
pub(crate) struct Slots {
    made: u32,
    free: Vec<u32>,
    /// Given back by the commit that is put together; free for the next one.
    given_back: Vec<u32>,
    maps: BTreeMap<u32, Vec<u8>>,
    /// Maps that this commit changes.
    changed: BTreeSet<u32>,
}

impl Slots {
    /// Those of a store that is opened.
    pub(crate) fn open(database: &Database) -> Result<Self, StoreError> {
        let mut slots = Self::default();
        if let Some((last, _)) = database.range(&KeyRange::of_kind(key::SLOT)).next_back().transpose()? {
            slots.made = key::parse_slot(&last)? + 1;
        }
        for entry in database.range(&KeyRange::of_kind(key::SLOT_MAP)) {
            let (key, found) = entry?;
            let map = value::open(&key, found)?.payload;
            if map.len() != MAP_SLOTS as usize / 8 {
                let problem = format!("it has {} bytes; a map has {}", map.len(), MAP_SLOTS / 8);
                return Err(StoreError::damaged(key::describe(&key), problem));
            }
            slots.maps.insert(key::parse_owner(&key)?, map.to_vec());
        }
        // The first ones come first.
        slots.free = (0..slots.made).rev().filter(|slot| !slots.is_taken(*slot)).collect();
        Ok(slots)
    }

    /// Add a value to a batch, in a slot if it is for one.
    pub(crate) fn insert(&mut self, batch: &mut Batch, key: Vec<u8>, value: Vec<u8>) {
        if value.len() < VALUE_BYTES_MIN || !are_for(&key) {
            batch.insert(key, value);
            return;
        }
        let slot = self.take(batch);
        batch.insert(key, &pointer(slot, value::parts_of(&value)));
        batch.insert(key::slot(slot, 0), value);
    }

    /// Add the end of what a key holds to a batch.
    pub(crate) fn remove(&mut self, batch: &mut Batch, key: Vec<u8>, database: &Database) -> Result<(), StoreError> {
        if are_for(&key)
            && let Some(slot) = database.find_as_it_is(&key)?.and_then(|found| slot_in(&found))
        {
            batch.insert(key::slot(slot, 0), IVec::default());
            self.given_back.push(slot);
            self.set(slot, false);
        }
        batch.remove(key);
        Ok(())
    }

    /// Add what changed to the batch, which is complete then.
    pub(crate) fn finish(&mut self, batch: &mut Batch) {
        if !self.changed.is_empty() {
            self.make_ahead(batch);
        }
        for map in std::mem::take(&mut self.changed) {
            for (key, value) in Payload::of(&self.maps[&map]).seal(key::slot_map(map)) {
                batch.insert(key, value);
            }
        }
        self.free.append(&mut self.given_back);
    }

    fn make_ahead(&mut self, batch: &mut Batch) {
        if self.free.len() < MADE_AT_ONCE as usize {
            let made = self.make(batch);
            self.free.splice(0..0, made.rev());
        }
    }

    fn take(&mut self, batch: &mut Batch) -> u32 {
        if self.free.is_empty() {
            let made = self.make(batch);
            self.free.extend(made.rev());
        }
        let slot = self.free.pop().expect("some were just made");
        self.set(slot, true);
        slot
    }

    fn make(&mut self, batch: &mut Batch) -> Range<u32> {
        let made = self.made..self.made + MADE_AT_ONCE;
        self.made = made.end;
        for slot in made.clone() {
            for filling in 0..=FILLINGS {
                batch.insert(key::slot(slot, filling), IVec::default());
            }
        }
        made
    }

    fn is_taken(&self, slot: u32) -> bool {
        let (map, byte, bit) = place(slot);
        self.maps.get(&map).is_some_and(|map| map[byte] & bit != 0)
    }

    fn set(&mut self, slot: u32, taken: bool) {
        let (map, byte, bit) = place(slot);
        let bits = self.maps.entry(map).or_insert_with(|| vec![0; MAP_SLOTS as usize / 8]);
        if taken {
            bits[byte] |= bit;
        } else {
            bits[byte] &= !bit;
        }
        self.changed.insert(map);
    }
}

/// The map of a slot, and its bit there.
fn place(slot: u32) -> (u32, usize, u8) {
    let at = slot % MAP_SLOTS;
    (slot / MAP_SLOTS, at as usize / 8, 1 << (at % 8))
}
