//! What an attempt was given by the host, kept so that the attempt can be run again without that host.
//!
//! A guest is a function of its delivery and of what the host's functions answered. Most of these answers follow from
//! the component, its limits and its configuration. A [`Capsule`] holds the others, of one attempt: clocks, seeds of
//! random numbers, what was read of the state, the answers to HTTP requests, and what was ready when the guest asked.
//! A [`Tape`] takes them down while the attempt runs, at no cost for one that asks for nothing, and plays them back
//! in a replay. What is never in a capsule: the values of secrets (only their names and lengths, see [`mask`]), and
//! the headers and bodies of requests, which nobody needs to answer them again.
//!
//! Its bytes are MessagePack with field names, after one byte with the version of the form.

mod clocks;
mod exchange;
mod fault;
pub(crate) mod mask;
mod player;
mod readiness;
mod recorder;
mod seal;
mod tape;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wasmill_delivery::{
    name::{ConsumerName, Digest, HandlerName, QueueName, Sequence},
    record::{Grants, HandlerLimits},
};

pub(crate) use self::{
    clocks::{MonotonicClock, RandomNumbers, Security, WallClock},
    exchange::{Answer, Exchange, Part, Rest, note_failed, note_received, played},
    player::{PlayedAnswer, Player, StateOfCapsule},
    readiness::{add_to_linker, poll},
    recorder::Calls,
    seal::seal,
    tape::Tape,
};

/// The form of a capsule's bytes that is written. Older ones are read for ever, newer ones are refused.
pub const CAPSULE_VERSION: u8 = 1;
/// The wasmtime that this host runs, which decides what an instruction costs. A test holds it to `Cargo.lock`.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// One attempt's inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capsule {
    /// The wasmtime that ran it.
    pub wasmtime: String,
    /// The settings of the engine that an outcome may depend on, by name.
    pub engine: BTreeMap<String, u64>,
    /// The handler.
    pub handler: HandlerName,
    /// The component that ran.
    pub digest: Digest,
    /// What stopped it, or would have.
    pub limits: HandlerLimits,
    /// All of its configuration, with secrets masked.
    pub config: BTreeMap<String, String>,
    /// The names of its secrets and how long each is, in bytes. A replay puts other text of that length in their place.
    pub secrets: BTreeMap<String, u64>,
    /// What it might reach.
    pub grants: Grants,
    /// Data of one message that it publishes, in bytes.
    pub data_bytes_max: u64,
    /// Where the message came from.
    pub queue: QueueName,
    /// Whose delivery it was.
    pub consumer: ConsumerName,
    /// The message's place in the queue.
    pub sequence: Sequence,
    /// Which run it was.
    pub attempt: u32,
    /// How many the policy allowed.
    pub attempts_max: u32,
    /// Whether no earlier delivery ran in the same instance. When one did, what it left in the instance is not known.
    pub fresh: bool,
    /// What the host answered, in order.
    pub(crate) calls: Calls,
    /// Parts that were left out because the capsule would have been too large, by name.
    pub left_out: Vec<String>,
}

/// How much a capsule holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CapsuleContent {
    /// Readings of clocks.
    pub clock_readings: u64,
    /// Values that were read of the state.
    pub state_reads: u64,
    /// Pages of keys that were listed.
    pub key_pages: u64,
    /// HTTP requests.
    pub http_requests: u64,
    /// Answers of the host that did not fit any more.
    pub left_out: u64,
}

/// Bytes that are no capsule of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// A newer host wrote it.
    #[error(
        "the capsule is of version {found}, and this program knows versions up to {CAPSULE_VERSION}; use the one that wrote it"
    )]
    Newer {
        /// Its version.
        found: u8,
    },
    /// It is not what was written.
    #[error("the capsule is damaged: {detail}")]
    Damaged {
        /// What is wrong.
        detail: String,
    },
}

impl Capsule {
    /// Read what `Capsule::to_bytes` wrote.
    ///
    /// # Errors
    /// When it is damaged, or a newer version wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CapsuleError> {
        let damaged = |detail: &str| CapsuleError::Damaged { detail: detail.to_owned() };
        match bytes.split_first() {
            None => Err(damaged("it is empty")),
            Some((&found, _)) if found > CAPSULE_VERSION => Err(CapsuleError::Newer { found }),
            Some((_, rest)) => rmp_serde::from_slice(rest).map_err(|error| damaged(&error.to_string())),
        }
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut bytes = vec![CAPSULE_VERSION];
        let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
        self.serialize(&mut serializer).expect("it has no maps or numbers that MessagePack cannot hold");
        bytes.into()
    }

    /// How much it holds.
    #[must_use]
    pub fn content(&self) -> CapsuleContent {
        let count = |length: usize| length as u64;
        CapsuleContent {
            clock_readings: count(self.calls.wall_clock_ns.len() + self.calls.monotonic_ns.len()),
            state_reads: count(self.calls.state.len()),
            key_pages: count(self.calls.keys.len()),
            http_requests: count(self.calls.http.len()),
            left_out: self.calls.left_out,
        }
    }

    /// Whether everything that the host answered is in it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.calls.left_out == 0 && self.left_out.is_empty()
    }

    /// In what the engine that ran it differs from this one, in words.
    #[must_use]
    pub fn engine_differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        if self.wasmtime != WASMTIME_VERSION {
            differences.push(format!("it ran on wasmtime {}, and this is {WASMTIME_VERSION}", self.wasmtime));
        }
        for (name, here) in engine_settings() {
            match self.engine.get(&name) {
                Some(there) if *there == here => {}
                Some(there) => differences.push(format!("{name} was {there}, and is {here} here")),
                None => differences.push(format!("{name} is not known, and is {here} here")),
            }
        }
        differences
    }
}

/// The settings of this engine that an outcome may depend on.
fn engine_settings() -> BTreeMap<String, u64> {
    use crate::limits;
    [
        ("guest-stack-bytes", limits::GUEST_STACK_BYTES_MAX as u64),
        ("host-call-bytes-max", limits::HOST_CALL_BYTES_MAX as u64),
        ("handles-max", limits::HANDLES_MAX as u64),
        ("wasi-resources-max", limits::WASI_RESOURCES_MAX as u64),
        ("random-bytes-max", limits::RANDOM_BYTES_MAX),
        ("table-elements-max", limits::TABLE_ELEMENTS_MAX as u64),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A reader of state that holds what a capsule does.
pub(crate) fn state_of(player: &Arc<Player>) -> Arc<StateOfCapsule> {
    Arc::new(StateOfCapsule(Arc::clone(player)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_wasmtime_is_the_one_that_is_locked() {
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).expect("a lock");
        let locked = format!("name = \"wasmtime\"\nversion = \"{WASMTIME_VERSION}\"\n");
        assert!(lock.contains(&locked), "WASMTIME_VERSION is {WASMTIME_VERSION}, and Cargo.lock has another");
    }

    #[test]
    fn what_is_no_capsule_is_refused_with_the_reason() {
        let error = |bytes: &[u8]| Capsule::from_bytes(bytes).expect_err("no capsule").to_string();
        assert_eq!(error(b""), "the capsule is damaged: it is empty");
        assert!(error(&[CAPSULE_VERSION, 0xc1]).starts_with("the capsule is damaged: "));
        assert!(error(&[CAPSULE_VERSION + 1]).contains("is of version 2, and this program knows versions up to 1"));
    }
}
