//! The entries of a range: those of the tree, and over them what is committed and not yet there.

use std::iter::Peekable;

use sled::IVec;

use crate::{
    database::Database,
    error::StoreError,
    key::{self, Key, KeyRange},
    memtable::Newest,
};

/// From which end a range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forward,
    Backward,
}

type Tree = Peekable<Box<dyn Iterator<Item = sled::Result<(IVec, IVec)>>>>;

/// Entries as they are when each is asked for: see [`Database::follow`].
pub(crate) struct Entries<'a> {
    database: &'a Database,
    way: Way,
    /// What was not yet answered.
    rest: KeyRange,
    /// The tree's entries of it, as they were at some time since [`crate::memtable::Layers::generation`] was this.
    tree: Tree,
    generation: u64,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(database: &'a Database, range: KeyRange, way: Way) -> Self {
        let generation = database.memtable.read().generation();
        let tree = way.entries(database.tree(&range));
        Self { database, way, rest: range, tree, generation }
    }

    /// The next entry with its value, none when it was deleted lately. Some that were are left out when `passes_deleted`.
    pub(crate) fn step(&mut self, passes_deleted: bool) -> Result<Option<(IVec, Newest)>, StoreError> {
        loop {
            // This may wait for the disk, and nobody waits for it.
            let in_tree = match self.tree.peek() {
                Some(Err(error)) => return Err(self.database.failed("read", error)),
                Some(Ok((key, _))) => Some(key),
                None => None,
            };
            let layers = self.database.memtable.read();
            if layers.generation() != self.generation {
                self.generation = layers.generation();
                drop(layers);
                self.tree = self.way.entries(self.database.tree(&self.rest));
                continue;
            }
            let is_before_tree = |key: &Key| in_tree.is_none_or(|in_tree| self.way.is_before(key, in_tree));
            let passes = |key: &Key, newest: &Newest| passes_deleted && newest.is_none() && is_before_tree(key);
            let newer = layers.next(&self.rest, self.way, passes);
            let newer = newer.filter(|(key, _)| in_tree.is_none_or(|in_tree| !self.way.is_before(in_tree, key)));
            let found = match newer {
                Some((key, value)) => {
                    let key = IVec::from(key.as_slice());
                    let found = (key.clone(), value.clone());
                    drop(layers);
                    self.tree.next_if(|in_tree| in_tree.as_ref().is_ok_and(|(in_tree, _)| *in_tree == key));
                    found
                }
                None => match self.tree.next().transpose().map_err(|error| self.database.failed("read", &error))? {
                    Some((key, value)) => (key, Some(value)),
                    None => return Ok(None),
                },
            };
            self.way.pass(&mut self.rest, &found.0);
            return Ok(Some(found));
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(IVec, IVec), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step(true).transpose()? {
                Ok((_, None)) => {}
                Ok((key, Some(value))) => return Some(Ok((key, value))),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Way {
    fn entries(self, tree: sled::Iter) -> Tree {
        let entries: Box<dyn Iterator<Item = _>> = match self {
            Self::Forward => Box::new(tree),
            Self::Backward => Box::new(tree.rev()),
        };
        entries.peekable()
    }

    /// Whether this key is answered before the other.
    pub(crate) fn is_before(self, key: &[u8], other: &[u8]) -> bool {
        match self {
            Self::Forward => key < other,
            Self::Backward => key > other,
        }
    }

    /// What is behind a key.
    fn pass(self, rest: &mut KeyRange, key: &[u8]) {
        match self {
            Self::Forward => rest.start = key::successor(key),
            Self::Backward => rest.end = key.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::{database::Changes, memtable::Layer, options::StoreOptions};

    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            (self.0 >> 33) % end
        }
    }

    /// The thread that flushes, one step at a time. Answers whether a layer is in the tree now.
    fn flush_a_little(database: &Database, frozen: &mut Option<Arc<Layer>>, is_applied: &mut bool) -> bool {
        let mut is_thawed = false;
        match frozen {
            None => *frozen = database.memtable.freeze().expect("none is stuck"),
            Some(layer) if !*is_applied => {
                layer.apply(database).expect("applies");
                *is_applied = true;
            }
            Some(_) => {
                database.memtable.thaw();
                (*frozen, *is_applied) = (None, false);
                is_thawed = true;
            }
        }
        is_thawed
    }

    /// Entries come, change and go in all layers, and while they are read they move from one to the next.
    #[test]
    fn all_layers_are_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(folder.path(), &StoreOptions::default()).expect("opens");
        let mut random = Random(7);
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let (mut frozen, mut is_applied) = (None, false);
        let mut moved = 0;
        for number in 1..2_000_u64 {
            let others: Vec<_> = (0..random.below(4))
                .map(|_| {
                    let key = vec![b's', u8::try_from(random.below(40)).expect("small")];
                    let value = (random.below(3) > 0).then(|| number.to_le_bytes().to_vec());
                    match &value {
                        Some(value) => drop(model.insert(key.clone(), value.clone())),
                        None => drop(model.remove(&key)),
                    }
                    (key, value)
                })
                .collect();
            database.memtable.put(Changes { made: Vec::new(), others }, number);
            if random.below(3) == 0 {
                flush_a_little(&database, &mut frozen, &mut is_applied);
            }
            let [start, end] = [(); 2].map(|()| vec![b's', u8::try_from(random.below(42)).expect("small")]);
            let range = KeyRange { start, end };
            let mut expected: Vec<_> = match range.is_empty() {
                true => Vec::new(),
                false => model.range(range.start.clone()..range.end.clone()).collect(),
            };
            let way = [Way::Forward, Way::Backward][usize::try_from(random.below(2)).expect("small")];
            if way == Way::Backward {
                expected.reverse();
            }
            let mut found = Vec::new();
            for entry in Entries::new(&database, range, way) {
                let (key, value) = entry.expect("reads");
                found.push((key.to_vec(), value.to_vec()));
                if random.below(4) == 0 {
                    moved += u32::from(flush_a_little(&database, &mut frozen, &mut is_applied));
                }
            }
            let expected: Vec<_> = expected.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            assert_eq!(found, expected, "commit {number}, {way:?}");
            let key = vec![b's', u8::try_from(random.below(40)).expect("small")];
            let one: Newest = database.find_as_it_is(&key).expect("reads");
            assert_eq!(one.as_deref(), model.get(&key).map(Vec::as_slice));
        }
        assert!(moved > 300, "{moved} layers went to the tree while they were read");
    }
}
