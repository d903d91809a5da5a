//! A queue as an operator declares it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{limits, message::Message, name::NameError, topic::TopicPattern};

/// A queue as an operator declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueConfig {
    /// The messages that it takes. With none, only publishing to the queue by name reaches it.
    pub bindings: Vec<Binding>,
    /// It holds at most so many messages that a consumer still needs.
    pub messages_max: u64,
    /// It holds at most so many bytes of such messages.
    pub bytes_max: u64,
    /// What happens to a message that finds it full.
    #[serde(default)]
    pub overflow: Overflow,
    /// How long it keeps messages that every consumer has settled; none lets them go at once.
    #[serde(default)]
    pub retention: Option<Retention>,
    /// Whether urgent messages go first. Such a queue keeps no order between messages of different priority, so its
    /// consumers have none, and it retains nothing.
    #[serde(default)]
    pub priorities: bool,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            bindings: Vec::new(),
            messages_max: limits::QUEUE_MESSAGES_MAX_DEFAULT,
            bytes_max: limits::QUEUE_BYTES_MAX_DEFAULT,
            overflow: Overflow::default(),
            retention: None,
            priorities: false,
        }
    }
}

/// What happens to a message that finds its queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// Its publisher is told so, and may try again later.
    #[default]
    Refuse,
    /// The oldest message makes room, settled or not.
    DropOldest,
    /// Its publisher waits for room up to so many milliseconds, and is told so then.
    Wait {
        /// How long, in milliseconds.
        wait_ms: u64,
    },
}

/// What a queue keeps of messages that every consumer has settled, so that a new consumer can replay them. What is
/// beyond any of the bounds goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The newest so many messages.
    #[serde(default)]
    pub messages: Option<u64>,
    /// The newest so many bytes.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The newest so many milliseconds.
    #[serde(default)]
    pub age_ms: Option<u64>,
}

/// Which messages a queue takes: by topic, and by headers if any are named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BindingForm", into = "BindingForm")]
pub struct Binding {
    /// The topics.
    pub topic: TopicPattern,
    /// The headers that a message must have besides.
    pub headers: Option<HeaderMatch>,
}

/// Headers that a message must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// All of them, or any.
    #[serde(default)]
    pub mode: MatchMode,
    /// Names in lower case, with the value that one header of that name must have.
    pub headers: Vec<(String, String)>,
}

/// How many of the named headers a message must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MatchMode {
    /// Each of them.
    #[default]
    All,
    /// At least one.
    Any,
}

impl HeaderMatch {
    /// Whether the message has what it must have.
    #[must_use]
    pub fn takes(&self, message: &Message) -> bool {
        let has = |wanted: &(String, String)| message.headers.contains(wanted);
        match self.mode {
            MatchMode::All => self.headers.iter().all(has),
            MatchMode::Any => self.headers.iter().any(has),
        }
    }
}

impl From<TopicPattern> for Binding {
    fn from(topic: TopicPattern) -> Self {
        Self { topic, headers: None }
    }
}

impl FromStr for Binding {
    type Err = NameError;

    /// A pattern, without headers.
    fn from_str(given: &str) -> Result<Self, NameError> {
        TopicPattern::new(given).map(Self::from)
    }
}

/// A binding as it is written: a pattern alone, or a pattern with headers.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum BindingForm {
    Pattern(TopicPattern),
    Full { topic: TopicPattern, headers: HeaderMatch },
}

impl From<BindingForm> for Binding {
    fn from(form: BindingForm) -> Self {
        match form {
            BindingForm::Pattern(topic) => topic.into(),
            BindingForm::Full { topic, headers } => Self { topic, headers: Some(headers) },
        }
    }
}

impl From<Binding> for BindingForm {
    fn from(binding: Binding) -> Self {
        match binding.headers {
            None => Self::Pattern(binding.topic),
            Some(headers) => Self::Full { topic: binding.topic, headers },
        }
    }
}
