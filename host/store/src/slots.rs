//! Where large chunks of logs lie: in slots, entries whose keys stay when what they hold comes and goes.
//!
//! sled writes a page anew, some 16 values, whenever it splits, merges or has been changed ten times. With chunks for values that
//! is half a megabyte, and a log that grows at one end and shrinks at the other splits and merges for ever: each byte of a
//! message was written three to four times. A slot is made once, with small entries beside it that fill its page, so that
//! the page has one slot and never splits or merges again. The entry under the chunk's own key says which slot the
//! chunk lies in; such entries are small, and may be written anew as sled likes.
//!
//! | entry | what |
//! |---|---|
//! | under the key of a log's chunk or a part of it | a [`Pointer`]: which slot, and the checksum of what lies there |
//! | slot, filling 0 | that value, sealed under the key of the chunk; less than a value when the slot is free |
//! | slot, filling 1 to 8 | nothing |
//!
//! A slot is taken when an entry points to it. A host that ends in order writes down which are; after a kill all entries of logs are
//! read when the store is opened, which takes as long as reading their pointers and what lies in no slot.
//!
//! sled keeps what an entry held until its page is written anew, at its tenth change. Slots that are emptied and taken in turns
//! have that by themselves. When more are emptied than taken, or there is nothing else to do, those that were emptied first are changed
//! over and over until it happens: then they are small, and the space of what they held is free. What is not small yet when the
//! process ends keeps its space until it is taken again.
//!
//! Slots are never unmade. Each takes about 400 bytes of memory, because sled remembers where each page lies, and as many
//! on the disk when it is free. So a backlog takes as much memory as a hundredth of what it takes on the disk.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    database::{Change, Changes, Database},
    error::StoreError,
    key::{self, Key, KeyRange},
    value::{self, Payload, Pointer},
};

/// Smaller values stay under their own keys: a slot for each would take too much memory.
const VALUE_BYTES_MIN: usize = 4 * 1024;
/// The first slot that is used. The page of the one before it has entries of other kinds too, such as cursors, which change all the time.
const FIRST: u32 = 1;
/// Slots that are made at once.
const MADE_AT_ONCE: u32 = 32;
/// Slots that stay free, the last ones: their page splits when more are made, and would be written with what they hold.
const KEPT_FREE: usize = 2;
/// Entries beside each slot. sled cuts a page of 17 entries into 9 and 8, so that with nine entries a slot, made in
/// their order, each page has one slot.
const FILLINGS: u8 = 8;
/// After so many changes a page was written anew, and without what its slot held before: sled does so at the tenth, which may
/// have been the one that filled the slot, and one more emptied it.
const CHANGES_OF_A_PAGE: usize = 9;
/// Slots that are free and still have the space of what they held, which is at most 32 KiB for every second change.
/// There are more while more are emptied than a commit makes small.
const EMPTIED_MAX: usize = 128;
/// Slots that one commit gives back, at some 16 us each for the thread that flushes.
const GIVEN_BACK_MAX: usize = 64;
/// sled may move the page of a slot that is made small, with what it held.
pub(crate) const BYTES_MOVED_MAX: usize = 32 * 1024;
/// What stands for a slot that is taken.
const TAKEN: u8 = 1;

/// Which slots there are, and which are free. Belongs to the writer. Takes a byte for each slot, and 4 for each free one.
#[derive(Default)]
pub(crate) struct Slots {
    /// Of each slot that was made, whether an entry points to it.
    taken: Vec<bool>,
    /// Free and small. The last is taken first.
    free: Vec<u32>,
    /// Free, with the space of what they held. The last is taken before all these.
    emptied: VecDeque<u32>,
    /// Emptied by this commit; free for the next one.
    emptied_now: Vec<u32>,
    /// To be made small since somebody asked, and free.
    small: Vec<u32>,
}

impl Slots {
    /// Those of a store that is opened.
    pub(crate) fn open(database: &Database) -> Result<Self, StoreError> {
        let mut slots = Self::default();
        if let Some((last, _)) = database.last(&KeyRange::of_kind(key::SLOT))? {
            let (slot, filling) = key::parse_slot(&last)?;
            // The process may have ended while it made one.
            let made = if filling == FILLINGS { slot + 1 } else { slot };
            slots.taken.resize(made as usize, false);
        }
        match slots.written_down(database) {
            Some(taken) => slots.taken = taken,
            None => slots.find_taken(database),
        }
        // The first ones come first.
        slots.free = (FIRST..slots.made()).rev().filter(|slot| !slots.is_taken(*slot)).collect();
        Ok(slots)
    }

    /// Which slots are taken, when the last host ended in order; none when it is not known, or not of these slots.
    fn written_down(&self, database: &Database) -> Option<Vec<bool>> {
        let written = database.read(&key::taken()).ok().flatten()?;
        let taken: Vec<bool> = written.iter().map(|taken| *taken == TAKEN).collect();
        (taken.len() == self.taken.len()).then_some(taken)
    }

    /// What the next host reads first, if nothing is written after it.
    pub(crate) fn write_down(&self) -> Vec<Change> {
        let written: Vec<u8> = self.taken.iter().map(|taken| if *taken { TAKEN } else { 0 }).collect();
        Payload::of(&written).changes(key::taken()).collect()
    }

    /// Before anything is written.
    pub(crate) fn forget_written_down(database: &Database) -> Result<(), StoreError> {
        let kinds = [KeyRange::of_kind(key::TAKEN), KeyRange::of_prefix(vec![key::PART, key::TAKEN])];
        let entries =
            kinds.iter().flat_map(|kind| database.range(kind)).map(|entry| Ok((entry?.0.to_vec(), None::<Vec<u8>>)));
        database.apply_in_order(entries.collect::<Result<Vec<_>, StoreError>>()?)
    }

    /// Follow all pointers. Behind one that cannot be read there may be more, whose slots look free then; what is not empty is not
    /// filled, so they stay as they are.
    fn find_taken(&mut self, database: &Database) {
        for kind in [KeyRange::of_kind(key::LOG), KeyRange::of_prefix(vec![key::PART, key::LOG])] {
            for entry in database.range(&kind) {
                let (key, found) = match entry {
                    Ok(entry) => entry,
                    Err(error) => {
                        tracing::error!(%error, "not all entries of logs can be read; the slots of the others are not used again");
                        break;
                    }
                };
                if let Ok(Some(pointer)) = Pointer::open(&key, &found) {
                    self.set(pointer.slot, true);
                }
            }
        }
    }

    /// The changes of entries that make these, by key what the value will be; a key of a log that has a value now is not set. Whatever
    /// they change in slots was read before: a page that cannot be read in their midst would end the host, and the start of the next.
    pub(crate) fn place(
        &mut self,
        values: BTreeMap<Key, Option<Vec<u8>>>,
        database: &Database,
    ) -> Result<Changes, StoreError> {
        self.emptied.extend(self.emptied_now.drain(..));
        let mut changes = Changes::default();
        for (key, value) in values {
            match value {
                Some(value) if is_for(&key, &value) => {
                    let slot = self.take(&mut changes.made, database)?;
                    let pointer = Pointer::new(slot, &value).seal(&key, &value);
                    changes.others.extend([(key::slot(slot), Some(value)), (key, Some(pointer))]);
                }
                Some(value) => changes.others.push((key, Some(value))),
                None => {
                    if may_lie_in_one(&key) {
                        let slot = self.empty(&key, database)?;
                        changes.others.extend(slot.map(|slot| (slot, Some(Vec::new()))));
                    }
                    changes.others.push((key, None));
                }
            }
        }
        self.give_back(EMPTIED_MAX);
        Ok(changes)
    }

    /// Whether free slots still have the space of what they held.
    pub(crate) fn are_small(&self) -> bool {
        self.emptied.is_empty() && self.emptied_now.is_empty()
    }

    /// Slots that are to be made small, behind what was committed before.
    pub(crate) fn take_small(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.small)
    }

    /// Go on to give back the space of what was emptied, when there is no commit.
    pub(crate) fn idle(&mut self) {
        self.emptied.extend(self.emptied_now.drain(..));
        self.give_back(0);
    }

    /// Give back the space of what was emptied first, except of so many.
    fn give_back(&mut self, except: usize) {
        let count = self.emptied.len().saturating_sub(except).min(GIVEN_BACK_MAX);
        for slot in self.emptied.drain(..count) {
            self.small.push(slot);
            self.free.push(slot);
        }
    }

    /// A slot to fill: one that is free and empty, and not free any more. When there is none, some are `made`.
    fn take(&mut self, made: &mut Vec<Change>, database: &Database) -> Result<u32, StoreError> {
        loop {
            if self.emptied.is_empty() && self.free.len() <= KEPT_FREE {
                made.extend(self.make());
            }
            let slot = self.emptied.pop_back().or_else(|| self.free.pop()).expect("more than some are free");
            let is_new = made.first().is_some_and(|(first, _)| key::slot(slot) >= *first);
            if is_new || database.find_as_it_is(&key::slot(slot))?.is_some_and(|found| !value::may_be_one(&found)) {
                self.set(slot, true);
                return Ok(slot);
            }
            tracing::warn!(slot, "a free slot is missing or not empty; it is left as it is, and not used any more");
        }
    }

    /// Some more, which are free.
    fn make(&mut self) -> impl Iterator<Item = Change> + use<> {
        let made = self.made()..self.made() + MADE_AT_ONCE;
        self.taken.resize(made.end as usize, false);
        self.free.splice(0..0, made.clone().rev().filter(|slot| *slot >= FIRST));
        made.flat_map(|slot| (0..=FILLINGS).map(move |filling| (key::filling(slot, filling), Some(Vec::new()))))
    }

    /// The slot to be emptied when a key is deleted: the one in which its value lies, unless something else lies there.
    fn empty(&mut self, key: &[u8], database: &Database) -> Result<Option<Key>, StoreError> {
        let Some(found) = database.find_as_it_is(key)? else { return Ok(None) };
        // What is damaged can be deleted; its slot is lost.
        let Ok(Some(pointer)) = Pointer::open(key, &found) else { return Ok(None) };
        let slot = key::slot(pointer.slot);
        if !database.find_as_it_is(&slot)?.is_some_and(|value| pointer.is_to(&value)) {
            return Ok(None);
        }
        // Two entries may point to it when one is damaged, and nobody may be given it twice.
        if self.is_taken(pointer.slot) {
            self.set(pointer.slot, false);
            self.emptied_now.push(pointer.slot);
        }
        Ok(Some(slot))
    }

    fn made(&self) -> u32 {
        u32::try_from(self.taken.len()).expect("a slot's number has 32 bits")
    }

    fn is_taken(&self, slot: u32) -> bool {
        self.taken.get(slot as usize).is_some_and(|taken| *taken)
    }

    /// A slot that was never made cannot be taken.
    fn set(&mut self, slot: u32, is_taken: bool) {
        if let Some(taken) = self.taken.get_mut(slot as usize) {
            *taken = is_taken;
        }
    }
}

/// Change the page of a free slot in the tree until it is written anew.
pub(crate) fn make_small(slot: u32, database: &Database) -> Result<(), StoreError> {
    (1..=CHANGES_OF_A_PAGE).try_for_each(|change| {
        // A change to what is there already would be none.
        let value: &[u8] = if change % 2 == 1 { &[0] } else { &[] };
        database.set(&key::slot(slot), value)
    })
}

fn is_for(key: &[u8], value: &[u8]) -> bool {
    value.len() >= VALUE_BYTES_MIN && may_lie_in_one(key)
}

fn may_lie_in_one(key: &[u8]) -> bool {
    let kind = if key[0] == key::PART { key.get(1) } else { key.first() };
    kind == Some(&key::LOG)
}
