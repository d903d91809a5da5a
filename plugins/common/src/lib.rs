//! What the plugins share, so that they read configuration, take values out of a message and forget in one way.
//!
//! One rule above all: a mistake in the configuration is not the message's fault, so it never puts a message into
//! quarantine ([`misconfigured`]).

mod document;
mod recent;
mod settings;
mod template;

pub use crate::{
    document::{Document, Pick, pass_on},
    recent::Recent,
    settings::{MISCONFIGURED_WAIT, duration, list, log, misconfigured, optional, or, required, required_topic, topic},
    template::Template,
};

/// 128 bits of the SHA-256 of these parts. Each counts with its length, so that no two lists of parts are the same text.
#[must_use]
pub fn digest(parts: &[&[u8]]) -> u128 {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
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
