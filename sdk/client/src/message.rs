//! Messages, as they are published.

use std::time::Duration;

use bytes::Bytes;
use wasmill_wire as wire;

/// What a message takes in a frame besides what it says.
const ENVELOPE_BYTES: usize = 64;

/// A message to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing(pub(crate) wire::Outgoing);

impl Outgoing {
    /// To whatever queues bind that topic.
    pub fn new(topic: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self(wire::Outgoing { topic: Some(topic.into()), data: data.into(), ..wire::Outgoing::default() })
    }

    /// To that queue and no other, whatever it binds.
    pub fn to_queue(queue: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self(wire::Outgoing { queue: Some(queue.into()), data: data.into(), ..wire::Outgoing::default() })
    }

    /// Give it an id of your own, at most 255 bytes: publishing it again within the host's window adds nothing.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = Some(id.into());
        self
    }

    /// Messages with the same key belong together. At most 255 bytes.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    /// The media type of the data.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.0.content_type = Some(content_type.into());
        self
    }

    /// One more header; at most 64, 16 KiB together.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// Hold it back for so long, in whole milliseconds, at most 10 years.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.0.delay_ms = Some(ms(delay));
        self
    }

    /// It is of no use after so long, in whole milliseconds.
    #[must_use]
    pub fn expires_after(mut self, after: Duration) -> Self {
        self.0.expires_after_ms = Some(ms(after));
        self
    }

    /// What it takes in a frame, and rather too much.
    pub(crate) fn frame_bytes(&self) -> usize {
        let wire::Outgoing { topic, queue, id, source, key, content_type, headers, data, .. } = &self.0;
        let texts = [topic, queue, id, source, key, content_type].into_iter().flatten().map(|text| text.len() + 20);
        let headers = headers.iter().map(|(name, value)| name.len() + value.len() + 11);
        ENVELOPE_BYTES + texts.sum::<usize>() + headers.sum::<usize>() + data.len()
    }
}

/// A message is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Whether the same id was published lately, so that nothing was added now.
    pub duplicate: bool,
}

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
