//! What is published.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    limits::{HEADERS_BYTES_MAX, HEADERS_MAX, NAME_BYTES_MAX},
    name::{KeyHash, MessageId, MessageKey, NameError, QuarantineId, holds_control},
    priority::Priority,
    time::Timestamp,
    topic::Topic,
};

/// The header that says how urgent a message is: 0, which is meant when there is none, to 9.
pub const PRIORITY_HEADER: &str = "priority";

/// What was published. Immutable, and shared behind an `Arc` by everything that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Chosen by the publisher, or by the host when the publisher gave none.
    pub id: MessageId,
    /// Where it was published to.
    pub topic: Topic,
    /// Messages with the same key belong together.
    pub key: Option<MessageKey>,
    /// The media type of `data`.
    pub content_type: Option<String>,
    /// In the order given; names are lower case and may repeat.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub data: Bytes,
    /// When the host accepted it.
    pub published_at: Timestamp,
    /// When it is of no use any more: a consumer that comes to it later does not run it.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Where it comes from.
    pub lineage: Lineage,
}

/// What caused a message, kept by the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// How many messages stand between this one and the one that came from outside.
    pub hops: u16,
    /// The message whose delivery published this one.
    pub cause: Option<MessageId>,
    /// The message from outside that began the chain; none when this is it.
    #[serde(default)]
    pub correlation: Option<MessageId>,
    /// The message that this one repeats, and the quarantine record it was taken from.
    pub redrive_of: Option<(MessageId, QuarantineId)>,
}

impl Message {
    /// What stands for its key.
    #[must_use]
    pub fn key_hash(&self) -> Option<KeyHash> {
        self.key.as_ref().map(KeyHash::of)
    }

    /// How urgent it is, as its header `priority` says.
    #[must_use]
    pub fn priority(&self) -> Priority {
        priority_of(&self.headers).unwrap_or_default()
    }

    /// Whether it is of no use at that time.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// What this message counts against limits in bytes: data, headers and names, not the encoding.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let names = self.id.as_str().len()
            + self.topic.as_str().len()
            + self.key.as_ref().map_or(0, |key| key.as_str().len())
            + self.content_type.as_ref().map_or(0, String::len);
        (self.data.len() + headers + names) as u64
    }
}

/// Check the headers of a message and put their names in lower case.
///
/// # Errors
/// When there are too many, they are too large, or one cannot be carried by the protocols that carry messages.
pub fn check_headers(headers: &mut [(String, String)]) -> Result<(), NameError> {
    let refuse = |given: &str, problem: String| Err(NameError::new("header", given, problem));
    if headers.len() > HEADERS_MAX {
        return refuse("", format!("count is {}; at most {HEADERS_MAX} fit a message", headers.len()));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > HEADERS_BYTES_MAX {
        return refuse("", format!("sizes add up to {bytes} bytes; at most {HEADERS_BYTES_MAX} fit a message"));
    }
    for (name, value) in &mut *headers {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return refuse(name, "has a name that is not an HTTP token (RFC 9110 section 5.6.2)".to_owned());
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return refuse(name, "has a value with a control character".to_owned());
        }
        name.make_ascii_lowercase();
    }
    priority_of(headers).map(drop)
}

/// What the header `priority` says: 0, when there is none.
///
/// # Errors
/// When it is not a whole number from 0 to 9.
pub fn priority_of(headers: &[(String, String)]) -> Result<Priority, NameError> {
    let given = headers.iter().find(|(name, _)| name == PRIORITY_HEADER);
    given.map_or(Ok(Priority::LOWEST), |(_, value)| value.parse())
}

/// Check a media type.
///
/// # Errors
/// When it is empty, too long, or holds what no header can carry.
pub fn check_content_type(given: &str) -> Result<(), NameError> {
    if given.is_empty() || given.len() > NAME_BYTES_MAX || holds_control(given) {
        return Err(NameError::new(
            "content type",
            given,
            "is empty, longer than 255 bytes or holds a control character",
        ));
    }
    Ok(())
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
