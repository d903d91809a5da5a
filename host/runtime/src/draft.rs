//! What a publisher gives, and how it becomes a message.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wasmill_delivery::{
    input::{Destination, PublishEntry},
    limits::DELAY_MS_MAX,
    message::{Lineage, Message, check_content_type, check_headers},
    name::{MessageId, MessageKey, NameError, QueueName},
    time::Timestamp,
    topic::Topic,
    trace_context::{self, CORRELATION_ID, TraceParent},
    write::DedupId,
};

use crate::error::PublishError;

/// A message that is not published yet.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Where to, by topic.
    pub topic: String,
    /// To this queue and no other, whatever it binds.
    pub queue: Option<String>,
    /// What to call it; the host makes a UUID of version 7 when there is none. Publishing the same id to the same
    /// topic again within the dedup window adds nothing.
    pub id: Option<String>,
    /// What the id is unique in, instead of the topic: the `source` of a CloudEvent.
    pub source: Option<String>,
    /// Messages with the same key belong together.
    pub key: Option<String>,
    /// The media type of the data.
    pub content_type: Option<String>,
    /// Names are made lower case. `correlationid` says which message began the chain that this one belongs to. A
    /// `traceparent` that breaks the rules of W3C Trace Context is replaced by the one of a new trace.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub data: Bytes,
    /// Hold it back until then; it goes to whatever takes it then.
    pub deliver_at: Option<Timestamp>,
    /// It is of no use after that: a consumer that comes to it later does not run it.
    pub expires_at: Option<Timestamp>,
}

impl Draft {
    /// A message for that topic.
    pub fn new(topic: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), data: data.into(), ..Self::default() }
    }

    /// Give it an id of your own, so that it can be published again without being doubled.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// Give it a key.
    #[must_use]
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Say what the data is.
    #[must_use]
    pub fn content_type(self, content_type: impl Into<String>) -> Self {
        Self { content_type: Some(content_type.into()), ..self }
    }

    /// Check it and make a message of it.
    pub(crate) fn into_entry(self, data_bytes_max: usize) -> Result<PublishEntry, PublishError> {
        self.into_entry_behind(None, now(), data_bytes_max)
    }

    /// As [`Self::into_entry`], at that time, and behind another one, whose topic is checked already.
    pub(crate) fn into_entry_behind(
        self,
        before: Option<&PublishEntry>,
        published_at: Timestamp,
        data_bytes_max: usize,
    ) -> Result<PublishEntry, PublishError> {
        let Self { topic, queue, id, source, key, content_type, mut headers, data, deliver_at, expires_at } = self;
        let topic = match before.map(|before| &before.message.topic).filter(|before| before.as_str() == topic) {
            Some(same) => same.clone(),
            None => check_topic(topic)?,
        };
        check_size(&data, data_bytes_max)?;
        if !headers.is_empty() {
            check_headers(&mut headers)?;
            trace_context::check(&mut headers, new_trace);
        }
        let correlation = take_correlation(&mut headers)?;
        content_type.as_deref().map(check_content_type).transpose()?;
        let to = match queue {
            Some(queue) => Destination::Queue(QueueName::new(queue)?),
            None => Destination::Topic,
        };
        let given_id = id.map(MessageId::new).transpose()?;
        let dedup = given_id.as_ref().map(|id| dedup_id(source.as_deref(), &topic, &to, id));
        let message = Message {
            id: given_id.map_or_else(new_id, Ok)?,
            topic,
            key: key.map(MessageKey::new).transpose()?,
            content_type,
            headers,
            data,
            published_at,
            expires_at,
            lineage: Lineage { correlation, ..Lineage::default() },
        };
        if let Some(at) = deliver_at.filter(|at| at.ms_since(message.published_at) > DELAY_MS_MAX) {
            return Err(PublishError::TooLate { deliver_at_ms: at.0 });
        }
        Ok(PublishEntry { message: Arc::new(message), to, dedup, deliver_at })
    }
}

fn check_topic(topic: String) -> Result<Topic, PublishError> {
    let topic = Topic::new(topic)?;
    match topic.is_system() {
        true => Err(PublishError::SystemTopic { topic: topic.to_string() }),
        false => Ok(topic),
    }
}

/// A publisher outside may say which chain its message belongs to; it is kept as such, and not as a header too.
fn take_correlation(headers: &mut Vec<(String, String)>) -> Result<Option<MessageId>, NameError> {
    let Some(at) = headers.iter().position(|(name, _)| name == CORRELATION_ID) else { return Ok(None) };
    let (_, value) = headers.swap_remove(at);
    headers.retain(|(name, _)| name != CORRELATION_ID);
    MessageId::new(value).map(Some).map_err(|error| NameError { what: CORRELATION_ID, ..error })
}

fn new_trace() -> Option<TraceParent> {
    // The second half of such a UUID is random; its first half, the time, keeps traces apart still better.
    TraceParent::new(Uuid::now_v7().as_u128(), Uuid::now_v7().as_u64_pair().1)
}

pub(crate) fn check_size(data: &Bytes, bytes_max: usize) -> Result<(), PublishError> {
    if data.len() > bytes_max { Err(PublishError::TooLarge { bytes: data.len(), bytes_max }) } else { Ok(()) }
}

/// A fresh id.
pub(crate) fn new_id() -> Result<MessageId, NameError> {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    MessageId::new(Uuid::now_v7().hyphenated().encode_lower(&mut text))
}

/// The time of the clock on the wall, which is what messages and retries are told by.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

fn dedup_id(source: Option<&str>, topic: &Topic, to: &Destination, id: &MessageId) -> DedupId {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    match (source, to) {
        (Some(source), _) => ["source", source].map(&mut part),
        (None, Destination::Topic) => ["topic", topic.as_str()].map(&mut part),
        (None, Destination::Queue(queue)) => ["queue", queue.as_str()].map(&mut part),
    };
    part(id.as_str());
    let bytes: [u8; 32] = hash.finalize().into();
    let mut first = [0; 16];
    first.copy_from_slice(&bytes[..16]);
    DedupId(u128::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dedup_of(draft: Draft) -> Option<DedupId> {
        draft.into_entry(100).expect("a good draft").dedup
    }

    #[test]
    fn ids_are_told_apart_by_source_or_else_by_destination() {
        let draft = || Draft::new("t", "x").id("1");
        let from = |source: &str| Draft { source: Some(source.to_owned()), ..draft() };
        let to = |queue: &str| Draft { queue: Some(queue.to_owned()), ..draft() };
        let all =
            [draft(), Draft::new("t2", "x").id("1"), draft().id("2"), from("t"), from("u"), to("t")].map(dedup_of);
        for (index, one) in all.iter().enumerate() {
            assert!(one.is_some());
            assert!(!all[..index].contains(one), "draft {index} is taken for an earlier one");
        }
        assert_eq!(dedup_of(Draft { topic: "other".to_owned(), ..from("t") }), dedup_of(from("t")));
        assert_eq!(dedup_of(Draft::new("t", "x")), None, "an id that the host makes cannot come twice");
    }

    #[test]
    fn a_topic_is_checked_also_behind_a_good_one() {
        let behind =
            |before: Option<&PublishEntry>, topic| Draft::new(topic, "x").into_entry_behind(before, now(), 100);
        let first = behind(None, "a.b").expect("a good draft");
        for topic in ["a.b", "a", "a.b.c"] {
            assert_eq!(behind(Some(&first), topic).expect("a good draft").message.topic.as_str(), topic);
        }
        for bad in ["", "a..b", "$sys.x"] {
            behind(Some(&first), bad).expect_err("a bad topic");
        }
    }

    #[test]
    fn bad_drafts_are_refused_with_the_reason() {
        let refusal = |draft: Draft| draft.into_entry(100).expect_err("a bad draft").to_string();
        assert!(refusal(Draft::new("a..b", "")).contains("empty word"));
        assert!(refusal(Draft::new("a.*", "")).contains("wildcard"));
        assert!(refusal(Draft::new("$sys.x", "")).contains("the host's own"));
        assert!(refusal(Draft::new("t", vec![0; 101])).contains("101 bytes"));
        assert!(refusal(Draft::new("t", "").id("x".repeat(256))).contains("255 bytes"));
        let header = ("bad name".to_owned(), String::new());
        assert!(refusal(Draft { headers: vec![header], ..Draft::new("t", "") }).contains("token"));
        assert!(Draft::new("t", vec![0; 100]).into_entry(100).is_ok(), "the limit itself fits");
    }
}
