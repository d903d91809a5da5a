//! A map that is read all the time and changed when a new name comes.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{PoisonError, RwLock},
};

use rustc_hash::FxBuildHasher;

/// Values by name; a name that is asked for is there.
#[derive(Debug)]
pub(super) struct Labelled<K, V> {
    /// Operators choose the names, so the hash need not withstand anybody.
    values: RwLock<HashMap<K, V, FxBuildHasher>>,
}

impl<K, V> Default for Labelled<K, V> {
    fn default() -> Self {
        Self { values: RwLock::default() }
    }
}

impl<K: Eq + Hash + Clone, V: Default> Labelled<K, V> {
    /// Do something with the value of a name.
    pub(super) fn with<T>(&self, name: &K, act: impl FnOnce(&V) -> T) -> T {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = values.get(name) {
            return act(value);
        }
        drop(values);
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        act(values.entry(name.clone()).or_default())
    }

    /// Keep only some names.
    pub(super) fn retain(&self, keep: impl Fn(&K) -> bool) {
        let surplus = self.values.read().unwrap_or_else(PoisonError::into_inner).keys().any(|name| !keep(name));
        if surplus {
            self.values.write().unwrap_or_else(PoisonError::into_inner).retain(|name, _| keep(name));
        }
    }
}

impl<K: Ord, V> Labelled<K, V> {
    /// Look at all, in the order of their names.
    pub(super) fn each<E>(&self, mut look: impl FnMut(&K, &V) -> Result<(), E>) -> Result<(), E> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<(&K, &V)> = values.iter().collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        sorted.into_iter().try_for_each(|(name, value)| look(name, value))
    }
}
