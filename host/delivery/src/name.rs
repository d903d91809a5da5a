//! Names that were checked once and are cheap to clone.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{fnv, limits::NAME_BYTES_MAX};

/// A name that cannot be used, with the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} {problem}")]
pub struct NameError {
    /// What kind of name it was to be, for example `queue name`.
    pub what: &'static str,
    /// What was given, cut when it is long.
    pub given: String,
    /// The rule it breaks and how to mend it.
    pub problem: String,
}

impl NameError {
    pub(crate) fn new(what: &'static str, given: &str, problem: impl Into<String>) -> Self {
        Self { what, given: given.chars().take(80).collect(), problem: problem.into() }
    }
}

pub(crate) fn check_name(what: &'static str, given: &str) -> Result<(), NameError> {
    let refuse = |problem: &str| Err(NameError::new(what, given, problem));
    if given.is_empty() {
        return refuse("is empty; give at least one character");
    }
    if given.len() > NAME_BYTES_MAX {
        return refuse("is longer than 255 bytes");
    }
    if !given.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return refuse("may hold only ASCII letters, digits, '-', '_' and '.'");
    }
    if !given.as_bytes()[0].is_ascii_alphanumeric() {
        return refuse("must begin with a letter or a digit");
    }
    Ok(())
}

fn check_text(what: &'static str, given: &str) -> Result<(), NameError> {
    if given.is_empty() {
        return Err(NameError::new(what, given, "is empty; leave it out instead"));
    }
    if given.len() > NAME_BYTES_MAX {
        return Err(NameError::new(what, given, "is longer than 255 bytes"));
    }
    if holds_control(given) {
        return Err(NameError::new(what, given, "holds a control character"));
    }
    Ok(())
}

/// Whether a character is a control character. Of ASCII text, which is nearly all, only bytes are looked at.
pub(crate) fn holds_control(text: &str) -> bool {
    if text.is_ascii() { text.bytes().any(|byte| byte.is_ascii_control()) } else { text.chars().any(char::is_control) }
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Check and keep it.
            ///
            /// # Errors
            /// When it breaks the rule for such names; the error says which and how to mend it.
            pub fn new(given: impl AsRef<str>) -> Result<Self, NameError> {
                let given = given.as_ref();
                $check($what, given)?;
                Ok(Self(given.into()))
            }

            /// A copy that shares nothing: threads that clone a shared name all the time wait for each other's caches.
            #[must_use]
            pub fn unshared(&self) -> Self {
                Self(self.as_str().into())
            }

            /// The name as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(given: &str) -> Result<Self, NameError> {
                Self::new(given)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(given: String) -> Result<Self, NameError> {
                Self::new(given)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
    };
}
pub(crate) use checked_text;

/// What is kept and configured as the text that it is shown as.
macro_rules! kept_as_text {
    ($name:ty) => {
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(given: String) -> Result<Self, NameError> {
                given.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}
pub(crate) use kept_as_text;

checked_text!(
    /// The name of a queue.
    QueueName, "queue name", check_name
);
checked_text!(
    /// The name of a consumer, unique on its queue.
    ConsumerName, "consumer name", check_name
);
checked_text!(
    /// The name of a handler. It stays when the component behind it is replaced.
    HandlerName, "handler name", check_name
);
checked_text!(
    /// What the publisher or the host called a message.
    MessageId, "message id", check_text
);
checked_text!(
    /// Messages with the same key belong together.
    MessageKey, "message key", check_text
);

/// The number behind a queue's name. It is never used again after the queue is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueId(pub u32);

/// The number behind a consumer. It is never used again after the consumer is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConsumerId(pub u32);

/// The number of a quarantined delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuarantineId(pub u64);

impl fmt::Display for QuarantineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What stands for a message key where many keys are held: the same for equal keys, and by chance for a few others,
/// which then only wait for each other without need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// It must stay the same for ever, because it is stored.
    #[must_use]
    pub fn of(key: &MessageKey) -> Self {
        Self(fnv::of(key.as_str().as_bytes()))
    }
}

/// A message's place in a queue, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The place of a queue's first message.
    pub const FIRST: Self = Self(1);

    /// Set in the place of a delivery that was imported into quarantine: its number is of the host it comes from, and
    /// must not be taken for a place in a log of this one. No log gets so far.
    const IMPORTED: u64 = 1 << 63;

    /// The same place, of another host's log.
    #[must_use]
    pub const fn imported(self) -> Self {
        Self(self.0 | Self::IMPORTED)
    }

    /// Whether it is a place in another host's log.
    #[must_use]
    pub const fn is_imported(self) -> bool {
        self.0 & Self::IMPORTED != 0
    }

    /// The number in the log that it comes from.
    #[must_use]
    pub const fn original(self) -> Self {
        Self(self.0 & !Self::IMPORTED)
    }

    /// The place `count` further on.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// The next place.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }
}

/// The right that a lease gives. Numbers only grow, so a late settle is known by its old fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// The SHA-256 of a component: the version of a handler.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NameError;
    fn from_str(given: &str) -> Result<Self, NameError> {
        let refuse = || NameError::new("digest", given, "is not 64 hexadecimal digits");
        if given.len() != 64 || !given.is_ascii() {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(given.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

kept_as_text!(Digest);
