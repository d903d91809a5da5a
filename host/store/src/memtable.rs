//! What is committed and not yet in the tree: of each entry the newest value. Who reads looks here first.
//!
//! Most of what a commit changes is changed again by one of the next: a cursor moves on, a message is handled and its chunk trimmed. So
//! commits gather here, and only what they leave goes to the tree. [`crate::flusher`] takes all of it at once, makes it in the tree
//! while commits gather anew, and then drops it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, btree_map::Range},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use sled::IVec;

use crate::{
    database::{Change, Changes, Database},
    error::StoreError,
    key::{self, Key, KeyRange},
    range::Way,
    slots, value,
    wal::{Number, Record},
};

/// After so many bytes there is a wait for the disk. sled's segments have 16 MiB.
const GIVEN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What an entry counts for besides its key and its value. For one of 10 bytes sled writes some 320, because it writes pages anew.
const ENTRY_BYTES: usize = 512;

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
    /// How often something was put.
    changes: u64,
}

/// Commits that go to the tree together.
#[derive(Default)]
pub(crate) struct Layer {
    /// Slots with what fills their pages. These must be made before anything lies in them, in the order of their keys.
    made: BTreeSet<Key>,
    entries: BTreeMap<Key, Newest>,
    /// Of entries, with [`ENTRY_BYTES`] for each.
    bytes: usize,
    /// Slots that are free and to be made small.
    emptied: BTreeSet<u32>,
    /// The last commit of the write-ahead log in it. None when it is in no log, so that the tree must get all of it or nothing.
    last: Option<Number>,
}

impl Memtable {
    /// A commit that is durable as this one of the write-ahead log. Answers how many entries have gathered.
    pub(crate) fn put(&self, changes: Changes, number: Number) -> usize {
        let changes = Prepared::new(changes);
        let mut layers = self.write();
        let layer = layers.changing();
        debug_assert!(layer.last.is_some() || layer.entries.is_empty(), "what is in no log is in the tree before");
        layer.put(changes);
        layer.last = Some(number);
        layer.entries.len()
    }

    /// A commit that is in no log. Answers how many bytes have gathered.
    pub(crate) fn put_unlogged(&self, changes: Changes) -> usize {
        let changes = Prepared::new(changes);
        let mut layers = self.write();
        let layer = layers.changing();
        debug_assert!(layer.last.is_none(), "what is in the log is in the tree before");
        layer.put(changes);
        layer.bytes
    }

    /// These slots are free. Answers how many have gathered.
    pub(crate) fn make_small(&self, slots: Vec<u32>) -> usize {
        let mut layers = self.write();
        let emptied = &mut layers.changing().emptied;
        emptied.extend(slots);
        emptied.len()
    }

    /// How often something was put.
    pub(crate) fn changes(&self) -> u64 {
        self.read().changes
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

    /// What has gathered, to be made in the tree; none when that is nothing.
    ///
    /// # Errors
    /// When what was frozen before is not there yet: a flush has failed.
    pub(crate) fn freeze(&self) -> Result<Option<Arc<Layer>>, StoreError> {
        let mut layers = self.write();
        if layers.frozen.is_some() {
            return Err(StoreError::Poisoned { first: "a flush has failed".to_owned() });
        }
        if layers.active.is_empty() {
            return Ok(None);
        }
        layers.frozen = Some(Arc::new(std::mem::take(&mut layers.active)));
        Ok(layers.frozen.clone())
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

    const fn changing(&mut self) -> &mut Layer {
        self.changes += 1;
        &mut self.active
    }

    fn find(&self, key: &[u8]) -> Option<&Newest> {
        self.active.entries.get(key).or_else(|| self.frozen.as_ref()?.entries.get(key))
    }

    /// The next entry of a range that is not passed over.
    pub(crate) fn next(
        &self,
        range: &KeyRange,
        way: Way,
        passes: impl Fn(&Key, &Newest) -> bool,
    ) -> Option<(&Key, &Newest)> {
        let [active, frozen] = self.ranges(range).map(|range| range.into_iter().flatten());
        match way {
            Way::Forward => next_of(active, frozen, way, passes),
            Way::Backward => next_of(active.rev(), frozen.rev(), way, passes),
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

/// The next entry of two layers that is not passed over.
fn next_of<'a>(
    newer: impl Iterator<Item = (&'a Key, &'a Newest)>,
    older: impl Iterator<Item = (&'a Key, &'a Newest)>,
    way: Way,
    passes: impl Fn(&Key, &Newest) -> bool,
) -> Option<(&'a Key, &'a Newest)> {
    let (mut newer, mut older) = (newer.peekable(), older.peekable());
    loop {
        let next = match (newer.peek(), older.peek()) {
            (Some((key, _)), Some((old, _))) if way.is_before(old, key) => older.next(),
            (None, _) => older.next(),
            (Some((key, _)), _) => {
                older.next_if(|(old, _)| old == key);
                newer.next()
            }
        };
        let (key, newest) = next?;
        if !passes(key, newest) {
            return Some((key, newest));
        }
    }
}

/// Changes, ready to be put.
struct Prepared {
    made: Vec<Key>,
    others: Vec<(Key, Newest)>,
}

impl Prepared {
    /// Copies bytes, while nobody waits for it.
    fn new(changes: Changes) -> Self {
        let others = changes.others.into_iter().map(|(key, value)| (key, value.map(IVec::from))).collect();
        Self { made: changes.made.into_iter().map(|(key, _)| key).collect(), others }
    }
}

impl Layer {
    /// Commits that the tree may have in part, in their order.
    pub(crate) fn again(records: Vec<Record>) -> Self {
        let mut layer = Self::default();
        for record in records {
            // An empty slot was made, or is emptied, which is no harm either when it is done first.
            let made = record.changes.iter().filter(|(key, value)| key::is_slot(key) && value.as_deref() == Some(&[]));
            layer.made.extend(made.map(|(key, _)| key.clone()));
            record.changes.into_iter().for_each(|(key, value)| layer.set(key, value.map(IVec::from)));
            layer.last = Some(record.number);
        }
        layer
    }

    fn put(&mut self, changes: Prepared) {
        for key in &changes.made {
            self.set(key.clone(), Some(IVec::default()));
        }
        self.made.extend(changes.made);
        for (key, value) in changes.others {
            self.set(key, value);
        }
    }

    fn set(&mut self, key: Key, value: Newest) {
        let length = |value: &Newest| value.as_ref().map_or(0, |value| value.len());
        let entry_bytes = key.len() + ENTRY_BYTES;
        self.bytes += length(&value);
        match self.entries.insert(key, value) {
            Some(old) => self.bytes -= length(&old),
            None => self.bytes += entry_bytes,
        }
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.emptied.is_empty()
    }

    /// Make it in the tree, durably. It is in a log, or made at once, so that a crash in the midst of it loses and tears nothing.
    pub(crate) fn apply(&self, database: &Database) -> Result<(), StoreError> {
        let mut given = Given { database, bytes: 0 };
        if self.last.is_some() {
            self.in_order().try_for_each(|(key, newest)| given.change(&key, newest))?;
        } else {
            // Slots that nobody points to do no harm.
            self.made.iter().try_for_each(|key| given.change(key, Some(IVec::default())))?;
            database.apply_as_batch(self.entries.iter().map(|(key, newest)| (key.clone(), newest.clone())))?;
        }
        for slot in self.emptied.iter().filter(|slot| !self.fills(**slot)) {
            slots::make_small(*slot, database)?;
            given.add(slots::BYTES_MOVED_MAX)?;
        }
        database.make_durable()
    }

    /// The changes that make it, and at last the one that says so.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (Cow<'_, Key>, Newest)> {
        let made = self.made.iter().map(|key| (Cow::Borrowed(key), Some(IVec::default())));
        let is_there = |key, newest: &Newest| newest.as_deref() == Some(&[]) && self.made.contains(key);
        let entries = self.entries.iter().filter(move |(key, newest)| !is_there(*key, newest));
        let entries = entries.map(|(key, newest)| (Cow::Borrowed(key), newest.clone()));
        let mark = self.last.into_iter().flat_map(mark).map(|(key, value)| (Cow::Owned(key), value.map(IVec::from)));
        made.chain(entries).chain(mark)
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
    fn change(&mut self, key: &[u8], newest: Newest) -> Result<(), StoreError> {
        let bytes = key.len() + newest.as_ref().map_or(0, |value| value.len()) + ENTRY_BYTES;
        match newest {
            Some(value) => self.database.set(key, value)?,
            None => self.database.remove(key)?,
        }
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
fn mark(last: Number) -> impl Iterator<Item = Change> {
    value::Payload::of(&last.to_le_bytes()).changes(key::applied())
}
