//! `wasmill:handler/producer`: what one attempt publishes. Nothing of it exists before its delivery commits.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use wasmill_delivery::{
    input::PublishEntry,
    limits::{DELAY_MS_MAX, HEADERS_MAX},
    message::{Lineage, Message, check_content_type, check_headers},
    name::{MessageId, MessageKey},
    record::HandlerLimits,
    time::Timestamp,
    topic::Topic,
    trace_context,
};

use crate::{
    attempt::Delivery,
    bindings::wasmill::handler::producer::{Host, Outgoing, PublishError},
    host_state::HostState,
    stop::Stop,
};

/// The messages of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: Vec<PublishEntry>,
    bytes: u64,
}

impl Outbox {
    pub(crate) fn into_entries(self) -> Vec<PublishEntry> {
        self.entries
    }

    fn make_room(&mut self, bytes: u64, limits: &HandlerLimits) -> Result<(), Stop> {
        if self.entries.len() as u64 >= u64::from(limits.published_max) {
            return Err(Stop::PublishLimit(format!("{} messages", limits.published_max)));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > limits.published_bytes_max {
            return Err(Stop::PublishLimit(format!("{} bytes", limits.published_bytes_max)));
        }
        Ok(())
    }
}

impl Host for HostState {
    async fn publish(&mut self, outgoing: Outgoing) -> wasmtime::Result<Result<String, PublishError>> {
        let (begun, bytes) = (Instant::now(), outgoing.data.len());
        let published = self.note_down(outgoing);
        self.current.breath.take(begun, bytes).await;
        published
    }
}

impl HostState {
    fn note_down(&mut self, outgoing: Outgoing) -> wasmtime::Result<Result<String, PublishError>> {
        let checked = match Checked::new(outgoing, self.context.data_bytes_max) {
            Ok(checked) => checked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let current = &mut self.current;
        current.outbox.make_room(checked.size_bytes(), &self.context.limits)?;
        let id = message_id(&current.delivery, current.batch, current.outbox.entries.len() as u64);
        let answer = id.as_str().to_owned();
        let entry = checked.into_entry(id, &current.delivery, self.context.clock().now());
        current.outbox.entries.push(entry);
        Ok(Ok(answer))
    }
}

/// An outgoing message that could be queued.
struct Checked {
    topic: Topic,
    key: Option<MessageKey>,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    data: Bytes,
    delay_ms: Option<u64>,
    expires_after_ms: Option<u64>,
}

impl Checked {
    fn new(outgoing: Outgoing, data_bytes_max: usize) -> Result<Self, PublishError> {
        let topic = check_topic(&outgoing.topic)?;
        let key = outgoing.key.map(MessageKey::new).transpose().map_err(invalid_message)?;
        if let Some(content_type) = &outgoing.content_type {
            check_content_type(content_type).map_err(invalid_message)?;
        }
        let mut headers = outgoing.headers;
        check_headers(&mut headers).map_err(invalid_message)?;
        if outgoing.data.len() > data_bytes_max {
            return Err(PublishError::TooLarge(data_bytes_max as u64));
        }
        Ok(Self {
            topic,
            key,
            content_type: outgoing.content_type,
            headers,
            data: outgoing.data.into(),
            delay_ms: outgoing.delay.map(|ms| ms.min(DELAY_MS_MAX)),
            expires_after_ms: outgoing.expires_after,
        })
    }

    fn size_bytes(&self) -> u64 {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        (self.data.len() + headers) as u64
    }

    fn into_entry(self, id: MessageId, parent: &Delivery, published_at: Timestamp) -> PublishEntry {
        let cause = &parent.message;
        let lineage = Lineage {
            hops: cause.lineage.hops.saturating_add(1),
            cause: Some(cause.id.clone()),
            correlation: Some(cause.lineage.correlation.as_ref().unwrap_or(&cause.id).clone()),
            redrive_of: None,
        };
        let mut headers = self.headers;
        trace_context::inherit(&mut headers, &cause.headers, || span_id(&id));
        // The handler's own come first when there is not room for all.
        headers.truncate(HEADERS_MAX);
        let message = Message {
            id,
            topic: self.topic,
            key: self.key,
            content_type: self.content_type,
            headers,
            data: self.data,
            published_at,
            expires_at: self.expires_after_ms.map(|ms| published_at.plus_ms(ms)),
            lineage,
        };
        let deliver_at = self.delay_ms.map(|ms| published_at.plus_ms(ms));
        PublishEntry { deliver_at, ..PublishEntry::new(Arc::new(message)) }
    }
}

fn check_topic(given: &str) -> Result<Topic, PublishError> {
    let topic = Topic::new(given).map_err(|error| PublishError::InvalidTopic(error.to_string()))?;
    if topic.is_system() {
        let problem =
            format!("topic {given:?} is one of the host's own; publish to a topic that does not begin with $sys");
        return Err(PublishError::InvalidTopic(problem));
    }
    Ok(topic)
}

#[allow(clippy::needless_pass_by_value)] // It is an argument of map_err.
fn invalid_message(error: wasmill_delivery::name::NameError) -> PublishError {
    PublishError::InvalidMessage(error.to_string())
}

/// The id of the n-th message that this delivery publishes: the same in each attempt, so that a receiver outside
/// the host can drop doubles, and unlike that of any other delivery. It is a UUID of version 8, the one for ids
/// that are made in one's own way (RFC 9562 section 5.8).
fn message_id(delivery: &Delivery, batch: Option<[u8; 32]>, ordinal: u64) -> MessageId {
    let mut hash = Sha256::new();
    for part in [delivery.queue.as_str(), delivery.consumer.as_str(), delivery.message.id.as_str()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(delivery.sequence.0.to_be_bytes());
    hash.update(ordinal.to_be_bytes());
    if let Some(batch) = batch {
        hash.update(batch);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let mut bits = u128::from_be_bytes(hash[..16].try_into().expect("16 of 32 bytes"));
    bits = (bits & !(0xf << 76)) | (0x8 << 76);
    bits = (bits & !(0b11 << 62)) | (0b10 << 62);
    let digits = format!("{bits:032x}");
    let text = format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]);
    MessageId::new(text).expect("36 letters, digits and dashes are a message id")
}

/// The span of a message in its trace: as its id, the same in each attempt.
fn span_id(id: &MessageId) -> u64 {
    let hash: [u8; 32] = Sha256::digest(id.as_str()).into();
    u64::from_be_bytes(hash[..8].try_into().expect("8 of 32 bytes")).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use wasmill_delivery::name::Sequence;

    use super::*;

    fn delivery(queue: &str, consumer: &str, id: &str, sequence: u64, attempt: u32) -> Delivery {
        Delivery {
            message: Arc::new(Message {
                id: MessageId::new(id).unwrap(),
                topic: Topic::new("t").unwrap(),
                key: None,
                content_type: None,
                headers: Vec::new(),
                data: Bytes::new(),
                published_at: Timestamp(0),
                expires_at: None,
                lineage: Lineage::default(),
            }),
            queue: queue.parse().unwrap(),
            consumer: consumer.parse().unwrap(),
            sequence: Sequence(sequence),
            attempt,
            attempts_max: 5,
        }
    }

    #[test]
    fn ids_differ_by_everything_but_the_attempt() {
        let id = |delivery: Delivery, ordinal| message_id(&delivery, None, ordinal).as_str().to_owned();
        let first = id(delivery("q", "c", "m", 1, 1), 0);
        assert_eq!(first, id(delivery("q", "c", "m", 1, 2), 0));
        let others = [
            id(delivery("q", "c", "m", 1, 1), 1),
            id(delivery("q2", "c", "m", 1, 1), 0),
            id(delivery("q", "c2", "m", 1, 1), 0),
            id(delivery("q", "c", "m2", 1, 1), 0),
            id(delivery("q", "c", "m", 2, 1), 0),
            id(delivery("qc", "c", "m", 1, 1), 0),
        ];
        for (at, other) in others.iter().enumerate() {
            assert_ne!(&first, other);
            assert!(!others[at + 1..].contains(other));
        }
        let (version, variant) = (first.as_bytes()[14], first.as_bytes()[19]);
        assert_eq!(version, b'8');
        assert!(b"89ab".contains(&variant), "{first}");
    }
}
