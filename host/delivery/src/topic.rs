//! Topics, and the patterns that queues bind to them.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    limits::TOPIC_BYTES_MAX,
    name::{NameError, checked_text},
};

/// Topics under this word are the host's own: it publishes them, others may only bind them.
pub const SYSTEM_WORD: &str = "$sys";
/// Topics under this word are of somebody who waits for a reply. No queue takes them.
pub const REPLY_WORD: &str = "$reply";

fn check_words(what: &'static str, given: &str, wildcards: bool) -> Result<(), NameError> {
    let refuse = |problem: &str| Err(NameError::new(what, given, problem));
    if given.is_empty() {
        return refuse("is empty; give words with dots between, for example orders.created");
    }
    if given.len() > TOPIC_BYTES_MAX {
        return refuse("is longer than 255 bytes");
    }
    let bytes = given.as_bytes();
    // Of ASCII text, which is nearly all, only bytes are looked at.
    let holds_blank = match given.is_ascii() {
        true => bytes.iter().any(|byte| *byte == b' ' || byte.is_ascii_control()),
        false => given.chars().any(|c| c.is_whitespace() || c.is_control()),
    };
    if holds_blank {
        return refuse("holds white space or a control character");
    }
    if bytes.starts_with(b".") || bytes.ends_with(b".") || bytes.windows(2).any(|pair| pair == b"..") {
        return refuse("has an empty word: a dot at an end, or two in a row");
    }
    if !bytes.iter().any(|byte| matches!(byte, b'*' | b'#')) {
        return Ok(());
    }
    for word in given.split('.') {
        if word.contains(['*', '#']) && !(wildcards && (word == "*" || word == "#")) {
            return refuse(if wildcards {
                "has '*' or '#' inside a word; a wildcard stands for whole words"
            } else {
                "has a wildcard; only queues bind patterns, messages name one topic"
            });
        }
    }
    Ok(())
}

fn check_topic(what: &'static str, given: &str) -> Result<(), NameError> {
    check_words(what, given, false)
}

fn check_pattern(what: &'static str, given: &str) -> Result<(), NameError> {
    check_words(what, given, true)
}

checked_text!(
    /// A dot-separated routing name, `orders.eu.created`.
    Topic, "topic", check_topic
);
checked_text!(
    /// What a queue binds: a topic in which `*` stands for one word and `#` for any number of words, also none.
    TopicPattern, "topic pattern", check_pattern
);

impl Topic {
    /// The words between the dots.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.as_str().split('.')
    }

    /// Whether it is one of the host's own.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.is_reserved() && self.words().next() == Some(SYSTEM_WORD)
    }

    /// Whether it is of somebody who waits for a reply.
    #[must_use]
    pub fn is_reply(&self) -> bool {
        self.is_reserved() && self.words().next() == Some(REPLY_WORD)
    }

    /// Whether its first word is one of those that no wildcard stands for.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.as_str().starts_with('$')
    }
}

impl TopicPattern {
    /// The words between the dots, wildcards among them.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.as_str().split('.')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_patterns_are_checked() {
        for good in ["a", "orders.eu.created", "Ünï.ço-de", "$sys.quarantined"] {
            assert!(Topic::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\u{7f}", "a\u{85}b", "ü\u{a0}b", "a.*", "#", "a.b*"]
        {
            assert!(Topic::new(bad).is_err(), "{bad}");
        }
        for good in ["*", "#", "a.*.b.#", "a"] {
            assert!(TopicPattern::new(good).is_ok(), "{good}");
        }
        for bad in ["a*", "a.#b", "", "a..#"] {
            assert!(TopicPattern::new(bad).is_err(), "{bad}");
        }
        assert!(Topic::new("x".repeat(TOPIC_BYTES_MAX)).is_ok());
        assert!(Topic::new("x".repeat(TOPIC_BYTES_MAX + 1)).is_err());
    }
}
