//! A quarantined delivery as one line of an export: everything that is known of it.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use wasmill_delivery::{
    message::{Lineage, Message},
    name::{ConsumerId, ConsumerName, HandlerName, MessageId, MessageKey, QuarantineId, QueueName, Sequence},
    record::{AttemptRecord, CapsuleKept, QuarantineReason, QuarantineRecord},
    time::Timestamp,
    topic::Topic,
};

use crate::http::{cloudevents::from_base64, problem::Problem};

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// Its number in the host that it comes from; another one gives it a number of its own.
    id: QuarantineId,
    queue: QueueName,
    consumer: ConsumerName,
    handler: Option<HandlerName>,
    sequence: Sequence,
    reason: QuarantineReason,
    attempts_made: u32,
    quarantined_at_ms: Timestamp,
    message: LineMessage,
    attempts: Vec<AttemptRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineMessage {
    id: MessageId,
    topic: Topic,
    key: Option<MessageKey>,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    data_base64: String,
    published_at_ms: Timestamp,
    expires_at_ms: Option<Timestamp>,
    hops: u16,
    cause: Option<MessageId>,
    correlation: Option<MessageId>,
    redrive_of: Option<LineRedriveOf>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineRedriveOf {
    message_id: MessageId,
    quarantine_id: QuarantineId,
}

impl From<QuarantineRecord> for Line {
    fn from(record: QuarantineRecord) -> Self {
        let message = &record.message;
        let lineage = message.lineage.clone();
        Self {
            id: record.id,
            queue: record.queue,
            consumer: record.consumer,
            handler: record.handler,
            sequence: record.sequence.original(),
            reason: record.reason,
            attempts_made: record.attempts_made,
            quarantined_at_ms: record.quarantined_at,
            message: LineMessage {
                id: message.id.clone(),
                topic: message.topic.clone(),
                key: message.key.clone(),
                content_type: message.content_type.clone(),
                headers: message.headers.clone(),
                data_base64: BASE64_STANDARD.encode(&message.data),
                published_at_ms: message.published_at,
                expires_at_ms: message.expires_at,
                hops: lineage.hops,
                cause: lineage.cause,
                correlation: lineage.correlation,
                redrive_of: lineage
                    .redrive_of
                    .map(|(message_id, quarantine_id)| LineRedriveOf { message_id, quarantine_id }),
            },
            attempts: record.attempts,
        }
    }
}

impl Line {
    /// The record that the line is of. The numbers of the host it comes from mean nothing here.
    pub(super) fn into_record(self) -> Result<QuarantineRecord, Problem> {
        let given = self.message;
        let message = Message {
            id: given.id,
            topic: given.topic,
            key: given.key,
            content_type: given.content_type,
            headers: given.headers,
            data: from_base64("data_base64", &given.data_base64)?,
            published_at: given.published_at_ms,
            expires_at: given.expires_at_ms,
            lineage: Lineage {
                hops: given.hops,
                cause: given.cause,
                correlation: given.correlation,
                redrive_of: given.redrive_of.map(|of| (of.message_id, of.quarantine_id)),
            },
        };
        Ok(QuarantineRecord {
            id: self.id,
            queue: self.queue,
            consumer_id: ConsumerId(0),
            consumer: self.consumer,
            handler: self.handler,
            sequence: self.sequence.original(),
            message: Arc::new(message),
            reason: self.reason,
            attempts: self.attempts,
            attempts_made: self.attempts_made,
            quarantined_at: self.quarantined_at_ms,
            capsule: CapsuleKept::None,
        })
    }
}
