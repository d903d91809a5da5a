//! What the plugins share, so that they read configuration, take values out of a message and forget in one way.
//!
//! One rule above all: a mistake in the configuration is not the message's fault, so it never puts a message into
//! quarantine ([`misconfigured`]).

mod document;
mod recent;
mod settings;
mod template;
mod tick;
mod written;

pub use crate::{
    document::{Document, Pick, keyed, pass_on, rfc3339},
    recent::Recent,
    settings::{
        MISCONFIGURED_WAIT, duration, duration_ms, json, key_topic, list, log, misconfigured, numbers, one_of,
        optional, or, required, required_key_topic, required_topic, topic,
    },
    template::Template,
    tick::{is_tick, now_ms, publish_tick},
};

/// 128 bits of the SHA-256 of these parts. Each counts with its length, so that no two lists of parts are the same text.
#[must_use]
pub fn digest(parts: &[&[u8]]) -> u128 {
    let mut hash = hmac_sha256::Hash::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).fold(0, |half, byte| half << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"a"]), digest(&[b"a", b""]));
        assert_eq!(digest(&[b"a"]), digest(&[b"a"]));
    }
}
