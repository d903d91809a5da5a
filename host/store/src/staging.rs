//! The changes of one commit before they are applied, in the order they were asked for: a later one sees and
//! replaces an earlier one.

use std::collections::BTreeMap;

use bytes::Bytes;
use sled::IVec;

use crate::{
    database::{Changes, Database},
    error::StoreError,
    key::{self, Key, KeyRange},
    slots::Slots,
    value::{self, Payload},
};

pub(crate) struct Staging<'a> {
    database: &'a Database,
    /// By key what the entry will be; none when it is deleted.
    changes: BTreeMap<Key, Option<Vec<u8>>>,
}

impl<'a> Staging<'a> {
    pub(crate) fn new(database: &'a Database) -> Self {
        Self { database, changes: BTreeMap::new() }
    }

    pub(crate) fn database(&self) -> &'a Database {
        self.database
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The value as this commit would leave it.
    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        value::read(key, |key| self.find(key))
    }

    /// Set a value that may be there already.
    pub(crate) fn put(&mut self, key: Key, payload: Payload) -> Result<(), StoreError> {
        if let Some(old) = self.find(&key)? {
            self.delete_found(&key, &old);
        }
        self.add(key, payload);
        Ok(())
    }

    /// Set a value that is not there yet.
    pub(crate) fn add(&mut self, key: Key, payload: Payload) {
        self.changes.extend(payload.changes(key));
    }

    /// Delete a value if it is there.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        if let Some(old) = self.find(key)? {
            self.delete_found(key, &old);
        }
        Ok(())
    }

    /// Delete a value of which the first entry was found to be `old`.
    pub(crate) fn delete_found(&mut self, key: &[u8], old: &[u8]) {
        for number in 1..=value::parts_of(old) {
            self.changes.insert(key::part(key, number), None);
        }
        self.changes.insert(key.to_vec(), None);
    }

    /// Take back what this commit has set in a range.
    pub(crate) fn delete_staged(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        let staged = self.changes.range(range.start.clone()..range.end.clone());
        let staged: Vec<Key> = staged.filter(|(_, value)| value.is_some()).map(|(key, _)| key.clone()).collect();
        staged.iter().try_for_each(|key| self.delete(key))
    }

    pub(crate) fn into_changes(self, slots: &mut Slots) -> Result<Changes, StoreError> {
        slots.place(self.changes, self.database)
    }

    fn find(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        match self.changes.get(key) {
            Some(value) => Ok(value.as_deref().map(IVec::from)),
            None => self.database.find(key),
        }
    }
}
