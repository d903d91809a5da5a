//! The host of a component: its imports.

use crate::{
    Outgoing,
    glue::bindings::{
        wasi::config::store,
        wasmill::handler::{
            producer::{self, PublishError},
            state::{self, KeyPage, StateError},
        },
    },
};

/// The imports. There is only one host, so there is nothing to keep.
#[derive(Clone, Debug)]
pub(crate) struct Host;

#[allow(clippy::unused_self, reason = "the stand-in for tests has the same functions, and needs itself")]
impl Host {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) fn publish(&self, outgoing: &Outgoing) -> Result<String, PublishError> {
        producer::publish(outgoing)
    }

    pub(crate) fn config(&self, name: &str) -> Result<Option<String>, String> {
        store::get(name).map_err(|error| error.to_string())
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        state::get(key)
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), StateError> {
        state::set(key, value)
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), StateError> {
        state::delete(key)
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, StateError> {
        state::exists(key)
    }

    pub(crate) fn increment(&self, key: &str, delta: i64) -> Result<(), StateError> {
        state::increment(key, delta)
    }

    pub(crate) fn list_keys(&self, prefix: &str, after: Option<&str>) -> Result<KeyPage, StateError> {
        state::list_keys(prefix, after)
    }
}
