//! The host of a component: its imports.

use std::{collections::BTreeMap, time::SystemTime};

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

/// `wasi:random/random` as WASI 0.2 has it, whole, because it must be the one that the standard library brings: that has random
/// numbers and gives nobody any.
mod random {
    wit_bindgen::generate!({
        inline: "
            package wasi:random@0.2.0;
            interface random {
                get-random-bytes: func(len: u64) -> list<u8>;
                get-random-u64: func() -> u64;
            }
            world imports {
                import random;
            }
        ",
        world: "imports",
    });
}

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

    pub(crate) fn config_all(&self) -> Result<BTreeMap<String, String>, String> {
        store::get_all().map(BTreeMap::from_iter).map_err(|error| error.to_string())
    }

    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    pub(crate) fn random(&self, count: usize) -> Vec<u8> {
        random::wasi::random::random::get_random_bytes(count as u64)
    }

    #[cfg(feature = "http")]
    pub(crate) fn send(&self, request: &crate::http::Request) -> Result<crate::http::Response, crate::http::Error> {
        request.send()
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
