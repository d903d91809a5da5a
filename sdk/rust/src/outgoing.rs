//! What a handler publishes.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    Failure, Outgoing, failure::whole_ms, glue::bindings::wasmill::handler::producer::PublishError as WitPublishError,
    reject,
};

impl Outgoing {
    /// A message with nothing but data, which may be empty: no key, no content type, no headers.
    ///
    /// ```
    /// let outgoing = wasmill::Outgoing::new("ticks", "");
    /// assert_eq!((outgoing.content_type, outgoing.data.len()), (None, 0));
    /// ```
    #[must_use]
    pub fn new(topic: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.into(),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: data.into(),
            delay: None,
            expires_after: None,
        }
    }

    /// A message whose data is a value as JSON, content type `application/json`.
    ///
    /// # Errors
    /// When the value has no JSON, such as a map whose keys are not strings.
    ///
    /// ```
    /// let outgoing = wasmill::Outgoing::json("alerts", &[1, 2])?.key("CA").header("severity", "high");
    /// assert_eq!(outgoing.data, b"[1,2]");
    /// assert_eq!(outgoing.key.as_deref(), Some("CA"));
    /// # Ok::<(), wasmill::PublishError>(())
    /// ```
    pub fn json<T: Serialize + ?Sized>(topic: impl Into<String>, value: &T) -> Result<Self, PublishError> {
        let topic = topic.into();
        match serde_json::to_vec(value) {
            Ok(data) => Ok(Self::new(topic, data).content_type("application/json")),
            Err(problem) => Err(PublishError::NotJson { topic, problem: problem.to_string() }),
        }
    }

    /// A message whose data is text, content type `text/plain; charset=utf-8`.
    ///
    /// ```
    /// assert_eq!(wasmill::Outgoing::text("notes", "hello").data, b"hello");
    /// ```
    #[must_use]
    pub fn text(topic: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(topic, text.into()).content_type("text/plain; charset=utf-8")
    }

    /// A message whose data is any bytes, content type `application/octet-stream` unless you say
    /// [better](Outgoing::content_type).
    ///
    /// ```
    /// let outgoing = wasmill::Outgoing::bytes("images", vec![0x89, b'P']);
    /// assert_eq!(outgoing.content_type.as_deref(), Some("application/octet-stream"));
    /// ```
    #[must_use]
    pub fn bytes(topic: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self::new(topic, data).content_type("application/octet-stream")
    }

    /// Say what the data is.
    ///
    /// ```
    /// let outgoing = wasmill::Outgoing::bytes("tables", "a,b").content_type("text/csv");
    /// assert_eq!(outgoing.content_type.as_deref(), Some("text/csv"));
    /// ```
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Give it a key: messages with the same key belong together. At most 255 bytes.
    ///
    /// ```
    /// assert_eq!(wasmill::Outgoing::text("orders", "").key("customer-7").key.as_deref(), Some("customer-7"));
    /// ```
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Add a header. Names are made lower case and may repeat. At most 64, 16 KiB together.
    ///
    /// ```
    /// let outgoing = wasmill::Outgoing::text("orders", "").header("tag", "new").header("tag", "large");
    /// assert_eq!(outgoing.headers.len(), 2);
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Hold it back for so long, at most 10 years; it goes to whatever takes its topic then.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let reminder = wasmill::Outgoing::text("reminders", "pay me").delay(Duration::from_secs(3_600));
    /// assert_eq!(reminder.delay, Some(3_600_000));
    /// ```
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(whole_ms(delay));
        self
    }

    /// It is of no use after so long: a consumer that comes to it later does not run it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let offer = wasmill::Outgoing::text("offers", "today only").expires_after(Duration::from_secs(86_400));
    /// assert_eq!(offer.expires_after, Some(86_400_000));
    /// ```
    #[must_use]
    pub fn expires_after(mut self, time: Duration) -> Self {
        self.expires_after = Some(whole_ms(time));
        self
    }

    /// How urgent it is, from 0, which is meant without it, to 9: queues with priorities deliver urgent messages first.
    /// It is the header `priority`; the host refuses numbers above 9.
    ///
    /// ```
    /// let alarm = wasmill::Outgoing::text("alarms", "fire").priority(9);
    /// assert_eq!(alarm.headers, [("priority".to_owned(), "9".to_owned())]);
    /// ```
    #[must_use]
    pub fn priority(self, priority: u8) -> Self {
        self.header("priority", priority.to_string())
    }
}

/// The message is not one that the host could ever queue. The handler may go on.
///
/// It is no [`std::error::Error`], so that `?` on it is a [`reject`](fn@crate::reject): trying again would fail again.
///
/// ```
/// use wasmill::{Context, Failure, Outgoing, PublishError};
///
/// let Err(error) = Context::for_test().publish(Outgoing::text("a..b", "")) else { panic!("an empty word") };
/// assert!(matches!(error, PublishError::InvalidTopic { .. }));
/// assert!(matches!(Failure::from(error), Failure::Reject(_)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The topic is not one.
    InvalidTopic {
        /// The topic given.
        topic: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The key, the content type or the headers are not allowed.
    InvalidMessage {
        /// Where it was to go.
        topic: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The data is too large.
    TooLarge {
        /// Where it was to go.
        topic: String,
        /// The most that the host takes.
        data_bytes_max: u64,
    },
    /// The value given has no JSON.
    NotJson {
        /// Where it was to go.
        topic: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl PublishError {
    /// The contract's error names the problem only; the topic says where in the handler to look.
    pub(crate) fn from_contract(topic: &str, error: WitPublishError) -> Self {
        let topic = topic.to_owned();
        match error {
            WitPublishError::InvalidTopic(problem) => Self::InvalidTopic { topic, problem },
            WitPublishError::InvalidMessage(problem) => Self::InvalidMessage { topic, problem },
            WitPublishError::TooLarge(data_bytes_max) => Self::TooLarge { topic, data_bytes_max },
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidTopic { topic, problem } => write!(f, "cannot publish to topic {topic:?}: {problem}"),
            Self::InvalidMessage { topic, problem } => write!(f, "cannot publish this message to {topic}: {problem}"),
            Self::TooLarge { topic, data_bytes_max } => {
                write!(f, "cannot publish to {topic}: the data is larger than {data_bytes_max} bytes")
            }
            Self::NotJson { topic, problem } => {
                write!(f, "cannot publish to {topic}: the value has no JSON: {problem}")
            }
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        reject(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_value_without_json_is_refused_and_question_mark_rejects() {
        fn publish() -> crate::Result {
            Outgoing::json("alerts", &BTreeMap::from([((1, 2), 3)]))?;
            Ok(())
        }
        let Err(Failure::Reject(reason)) = publish() else { panic!("a map with pairs as keys has no JSON") };
        assert!(reason.contains("alerts") && reason.contains("key must be a string"), "{reason}");
    }

    #[test]
    fn the_error_names_the_topic() {
        let error = PublishError::from_contract("a..b", WitPublishError::InvalidTopic("has an empty word".to_owned()));
        assert_eq!(error.to_string(), "cannot publish to topic \"a..b\": has an empty word");
        let error = PublishError::from_contract("alerts", WitPublishError::TooLarge(1_048_576));
        assert_eq!(error.to_string(), "cannot publish to alerts: the data is larger than 1048576 bytes");
    }
}
