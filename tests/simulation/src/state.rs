//! What handlers stored: a plain map, with the rules of `AddState`.

use std::collections::BTreeMap;

use bytes::Bytes;
use wasmill_delivery::{input::StateWrite, name::HandlerName};

/// Keys and values of all handlers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    values: BTreeMap<(HandlerName, String), Bytes>,
}

/// The decimal integer of a value, 0 when it is missing; none when it is something else.
#[must_use]
pub fn integer(value: Option<&Bytes>) -> Option<i64> {
    value.map_or(Some(0), |value| std::str::from_utf8(value).ok()?.parse().ok())
}

impl State {
    /// A value.
    #[must_use]
    pub fn get(&self, handler: &HandlerName, key: &str) -> Option<Bytes> {
        self.values.get(&(handler.clone(), key.to_owned())).cloned()
    }

    /// The keys of one handler, ascending.
    #[must_use]
    pub fn keys(&self, handler: &HandlerName) -> Vec<String> {
        self.values.keys().filter(|(of, _)| of == handler).map(|(_, key)| key.clone()).collect()
    }

    /// Replace a value.
    pub fn set(&mut self, handler: &HandlerName, key: &str, value: Bytes) {
        self.values.insert((handler.clone(), key.to_owned()), value);
    }

    /// Remove a value.
    pub fn delete(&mut self, handler: &HandlerName, key: &str) {
        self.values.remove(&(handler.clone(), key.to_owned()));
    }

    /// Add to a decimal integer; sums stop at the ends of the range. What is no integer stays as it is.
    pub fn add(&mut self, handler: &HandlerName, key: &str, delta: i64) {
        if let Some(old) = integer(self.get(handler, key).as_ref()) {
            self.set(handler, key, Bytes::from(old.saturating_add(delta).to_string()));
        }
    }

    /// Carry out one write of a handler.
    pub fn write(&mut self, handler: &HandlerName, write: &StateWrite) {
        match write {
            StateWrite::Set { key, value } => self.set(handler, key, value.clone()),
            StateWrite::Delete { key } => self.delete(handler, key),
            StateWrite::Add { key, delta } => self.add(handler, key, *delta),
        }
    }

    /// The first difference to another state, in words.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let keys = self.values.keys().chain(other.values.keys());
        let different = |key: &&(HandlerName, String)| self.values.get(*key) != other.values.get(*key);
        let found = keys.into_iter().find(different)?;
        Some(format!("{}/{}: {:?} and {:?}", found.0, found.1, self.values.get(found), other.values.get(found)))
    }
}
