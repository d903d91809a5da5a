//! What is committed and not yet in the tree: of each entry the newest value. Who reads looks here first.
//!
//! Most of what a commit changes is changed again by one of the next: a cursor moves on, a message is handled and its chunk trimmed. So
//! commits gather here, and only what they leave goes to the tree. [`crate::flusher`] takes all of it at once, makes it in the tree
//! while commits gather anew, and then drops it.

use std::{
    collections::{BTreeMap, btree_map::Range},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use sled::IVec;

use crate::{
    database::{Change, Changes, Database},
    error::StoreError,
    key::{self, Key, KeyRange},
    slots, value,
    wal::Number,
};

/// After so many bytes there is a wait for the disk. sled's segments have 16 MiB.
const GIVEN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What an entry will be in the tree; none when it is deleted.
pub(crate) type Newest = Option<IVec>;

#[derive(Default)]
pub(crate) struct Memtable(RwLock<Layers>);

#[derive(Default)]
pub(crate) struct Layers {
    /// What is committed now goes here.
    active: Layer,
    /// What is being made in the tree.
    frozen: Option<Arc<Layer>>,
    /// How often that was done. What was read in the tree before may be older than what was there.
    generation: u64,
}

/// Commits that go to the tree together.
#[derive(Default)]
pub(crate) struct Layer {
    /// Slots with what fills their pages, in the order in which these must be made.
    made: Vec<Key>,
    entries: BTreeMap<Key, Newest>,
    /// Of keys and values.
    bytes: usize,
    /// Slots that are free and to be made small.
    emptied: Vec<u32>,
    /// The last commit of the write-ahead log in it, unless it is in no log.
    last: Option<Number>,
    /// Whether something of it is in no log, so that the tree must get all of it or nothing.
    is_one: bool,
}

impl Memtable {
    /// A commit that is durable as this one of the write-ahead log.
    pub(crate) fn put(&self, changes: Changes, number: Number) {
        let entries = Entries::of(changes);
        let mut layers = self.write();
        layers.active.put(entries);
        layers.active.last = Some(number);
    }

    /// A commit that is in no log. Answers how many bytes have gathered.
    pub(crate) fn put_unlogged(&self, changes: Changes) -> usize {
        let entries = Entries::of(changes);
        let mut layers = self.write();
        layers.active.put(entries);
        layers.active.is_one = true;
        layers.active.bytes
    }

    /// These slots are free. Answers how many have gathered.
    pub(crate) fn make_small(&self, slots: Vec<u32>) -> usize {
        let mut layers = self.write();
        layers.active.emptied.extend(slots);
        layers.active.emptied.len()
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<Newest> {
        self.read().find(key).cloned()
    }

    /// While it is held nothing is committed.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Layers> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Layers> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has gathered, to be made in the tree; none when that is nothing, or when what was frozen before is not there yet.
    pub(crate) fn freeze(&self) -> Option<Arc<Layer>> {
        let mut layers = self.write();
        if layers.frozen.is_some() || layers.active.is_empty() {
            return None;
        }
        layers.frozen = Some(Arc::new(std::mem::take(&mut layers.active)));
        layers.frozen.clone()
    }

    /// What was frozen is in the tree.
    pub(crate) fn thaw(&self) {
        let mut layers = self.write();
        layers.generation += 1;
        let frozen = layers.frozen.take();
        drop(layers);
        drop(frozen);
    }
}

impl Layers {
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    fn find(&self, key: &[u8]) -> Option<&Newest> {
        self.active.entries.get(key).or_else(|| self.frozen.as_ref()?.entries.get(key))
    }

    /// The first entry of a range.
    pub(crate) fn first(&self, range: &KeyRange) -> Option<(&Key, &Newest)> {
        let [active, frozen] = self.ranges(range).map(|range| range?.next());
        match (active, frozen) {
            (Some(active), Some(frozen)) => Some(if frozen.0 < active.0 { frozen } else { active }),
            (active, frozen) => active.or(frozen),
        }
    }

    /// The last entry of a range.
    pub(crate) fn last(&self, range: &KeyRange) -> Option<(&Key, &Newest)> {
        let [active, frozen] = self.ranges(range).map(|range| range?.next_back());
        match (active, frozen) {
            (Some(active), Some(frozen)) => Some(if frozen.0 > active.0 { frozen } else { active }),
            (active, frozen) => active.or(frozen),
        }
    }

    /// The entries of a range in each layer, the newer first.
    fn ranges(&self, range: &KeyRange) -> [Option<Range<'_, Key, Newest>>; 2] {
        if range.is_empty() {
            return [None, None];
        }
        let bounds = (Bound::Included(&range.start), Bound::Excluded(&range.end));
        [Some(&self.active), self.frozen.as_deref()].map(|layer| Some(layer?.entries.range::<Key, _>(bounds)))
    }
}

/// Changes, ready to be put.
struct Entries {
    made: Vec<Key>,
    others: Vec<(Key, Newest)>,
}

impl Entries {
    /// Copies bytes, while nobody waits for it.
    fn of(changes: Changes) -> Self {
        let others = changes.others.into_iter().map(|(key, value)| (key, value.map(IVec::from))).collect();
        Self { made: changes.made.into_iter().map(|(key, _)| key).collect(), others }
    }
}

impl Layer {
    fn put(&mut self, entries: Entries) {
        for key in &entries.made {
            self.set(key.clone(), Some(IVec::default()));
        }
        self.made.extend(entries.made);
        for (key, value) in entries.others {
            self.set(key, value);
        }
    }

    fn set(&mut self, key: Key, value: Newest) {
        let length = |value: &Newest| value.as_ref().map_or(0, |value| value.len());
        let key_bytes = key.len();
        self.bytes += length(&value);
        match self.entries.insert(key, value) {
            Some(old) => self.bytes -= length(&old),
            None => self.bytes += key_bytes,
        }
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.emptied.is_empty()
    }

    /// Make it in the tree, durably. In a log or all of it at once, so that a crash in the midst of it loses and tears nothing.
    pub(crate) fn apply(&self, database: &Database) -> Result<(), StoreError> {
        let mut given = Given { database, bytes: 0 };
        // Those that nobody points to do no harm.
        self.made.iter().try_for_each(|key| given.set(key, IVec::default()))?;
        let is_there = |key, newest: &Newest| newest.as_deref() == Some(&[]) && self.made.binary_search(key).is_ok();
        let entries = self.entries.iter().filter(|(key, newest)| !is_there(*key, newest));
        let mark = self.last.into_iter().flat_map(mark).map(|(key, value)| (key, value.map(IVec::from)));
        if self.is_one {
            let entries = entries.map(|(key, newest)| (key.clone(), newest.clone()));
            database.apply_as_batch(entries.chain(mark))?;
        } else {
            for (key, newest) in entries {
                match newest {
                    Some(value) => given.set(key, value.clone())?,
                    None => database.remove(key)?,
                }
            }
            database.apply_in_order(mark)?;
        }
        for slot in self.emptied.iter().filter(|slot| !self.fills(**slot)) {
            slots::make_small(*slot, database)?;
            given.add(slots::BYTES_MOVED_MAX)?;
        }
        database.make_durable()
    }

    /// Whether something lies in the slot after it.
    fn fills(&self, slot: u32) -> bool {
        let newest = self.entries.get(&key::slot(slot));
        newest.is_some_and(|newest| newest.as_ref().is_some_and(|found| value::may_be_one(found)))
    }
}

/// What sled was given since a wait for the disk. It calls stable what the disk may not have, so that is little.
struct Given<'a> {
    database: &'a Database,
    bytes: usize,
}

impl Given<'_> {
    fn set(&mut self, key: &[u8], value: IVec) -> Result<(), StoreError> {
        let bytes = value.len();
        self.database.set(key, value)?;
        self.add(bytes)
    }

    fn add(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.bytes += bytes;
        if self.bytes < GIVEN_BYTES_MAX {
            return Ok(());
        }
        self.bytes = 0;
        self.database.make_durable()
    }
}

/// What says that all commits of the write-ahead log up to this one are in the tree, behind their changes.
pub(crate) fn mark(last: Number) -> impl Iterator<Item = Change> {
    value::Payload::of(&last.to_le_bytes()).changes(key::applied())
}
