//! What the engine does by itself is told as messages on `$sys.` topics, which handlers can consume like any other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Engine, tick::Tick};
use crate::{
    message::{Lineage, Message},
    name::{ConsumerId, MessageId, MessageKey},
    record::{PauseReason, QuarantineRecord},
    topic::Topic,
};

/// Something that a handler may want to know.
#[derive(Clone, Debug)]
pub(super) struct News {
    /// The word after `$sys.`
    word: &'static str,
    key: Option<MessageKey>,
    data: Value,
}

impl Engine {
    /// A delivery was put in quarantine. Not told of what the host itself told, or telling would never end.
    pub(super) fn tell_quarantined(tick: &mut Tick, record: &QuarantineRecord) {
        if record.message.topic.is_system() {
            return;
        }
        let data = json!({
            "quarantine": record.id,
            "queue": record.queue,
            "consumer": record.consumer,
            "handler": record.handler,
            "reason": record.reason.name(),
            "fingerprint": record.attempts.last().map(|attempt| attempt.outcome.fingerprint()),
            "message": record.message.id,
            "topic": record.message.topic,
            "sequence": record.sequence.original(),
            "attempts": record.attempts_made,
        });
        tick.news.push(News { word: "quarantined", key: record.message.key.clone(), data });
    }

    pub(super) fn tell_paused(&self, tick: &mut Tick, id: ConsumerId, reason: &PauseReason) {
        self.tell_of_consumer(tick, "paused", id, reason);
    }

    pub(super) fn tell_resumed(&self, tick: &mut Tick, id: ConsumerId, reason: &PauseReason) {
        self.tell_of_consumer(tick, "resumed", id, reason);
    }

    fn tell_of_consumer(&self, tick: &mut Tick, word: &'static str, id: ConsumerId, reason: &PauseReason) {
        let Some(consumer) = self.consumers.get(&id) else { return };
        let Some(queue) = self.queue_name(consumer.record.queue) else { return };
        let data = json!({ "queue": queue, "consumer": consumer.record.name, "reason": reason });
        tick.news.push(News { word, key: None, data });
    }

    pub(super) fn tell_handler(tick: &mut Tick, data: Value) {
        tick.news.push(News { word: "handler-replaced", key: None, data });
    }

    pub(super) fn tell_limit(tick: &mut Tick, data: Value) {
        tick.news.push(News { word: "limit-reached", key: None, data });
    }

    /// Publish what is to be told, to queues that bind it and have room; nobody else wants it.
    pub(super) fn publish_news(&mut self, tick: &mut Tick) {
        for (ordinal, News { word, key, data }) in std::mem::take(&mut tick.news).into_iter().enumerate() {
            let Ok(topic) = Topic::new(format!("$sys.{word}")) else { continue };
            // A revision is unique only within one run of the host, and time only within one host: together they are.
            let Ok(id) = MessageId::new(format!("sys-{}-{}-{ordinal}", tick.now.0, tick.revision.0)) else { continue };
            let message = Arc::new(Message {
                id,
                topic,
                key,
                content_type: Some("application/json".to_owned()),
                headers: Vec::new(),
                data: data.to_string().into(),
                published_at: tick.now,
                expires_at: None,
                lineage: Lineage::default(),
            });
            let queues = self.bound(tick, &message);
            if self.check_rooms(&queues, message.size_bytes()).is_ok() {
                self.append_to(tick, &queues, &message);
            }
        }
    }
}
