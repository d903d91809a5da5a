//! What the HTTP API answers, as far as people are shown it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A problem by RFC 9457.
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    pub(crate) title: String,
    pub(crate) detail: Option<String>,
    pub(crate) code: Option<String>,
}

impl Problem {
    /// For a person.
    pub(crate) fn words(&self) -> String {
        let words = self.detail.as_ref().unwrap_or(&self.title);
        match &self.code {
            Some(code) => format!("{words} ({code})"),
            None => words.clone(),
        }
    }
}

/// The answer to one published message.
#[derive(Debug, Deserialize)]
pub(crate) struct Published {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) duplicate: bool,
    #[serde(default)]
    pub(crate) places: Vec<Place>,
}

/// Where a message went.
#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    pub(crate) queue: String,
    pub(crate) sequence: u64,
}

/// One line of the answer to many messages.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum LineAnswer {
    Refused { error: Problem },
    Published(Published),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Queues {
    pub(crate) queues: Vec<Queue>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) bindings: Vec<String>,
    pub(crate) messages_max: u64,
    pub(crate) bytes_max: u64,
    pub(crate) first_sequence: u64,
    pub(crate) next_sequence: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest_message_age_ms: Option<u64>,
    pub(crate) consumers: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Messages {
    pub(crate) messages: Vec<Message>,
    pub(crate) next: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) content_type: Option<String>,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) published_at_ms: u64,
    pub(crate) sequence: Option<u64>,
    pub(crate) data: Option<Value>,
    pub(crate) data_text: Option<String>,
    pub(crate) data_base64: Option<String>,
    #[serde(default)]
    pub(crate) hops: u16,
    pub(crate) cause: Option<String>,
    pub(crate) redrive_of: Option<RedriveOf>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RedriveOf {
    pub(crate) message_id: String,
    pub(crate) quarantine_id: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Consumers {
    pub(crate) consumers: Vec<Consumer>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Consumer {
    pub(crate) queue: String,
    pub(crate) name: String,
    pub(crate) handler: String,
    pub(crate) concurrency: u32,
    pub(crate) in_flight_max: u32,
    pub(crate) attempts: u32,
    pub(crate) backoff: Backoff,
    pub(crate) start: String,
    pub(crate) paused: Option<Paused>,
    pub(crate) floor: u64,
    pub(crate) lag: u64,
    pub(crate) in_flight: u64,
    pub(crate) pending: u64,
    pub(crate) quarantined: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Backoff {
    pub(crate) initial_ms: u64,
    pub(crate) factor: u32,
    pub(crate) cap_ms: u64,
    pub(crate) jitter: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Paused {
    pub(crate) kind: String,
    pub(crate) detail: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Handlers {
    pub(crate) handlers: Vec<Handler>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Handler {
    pub(crate) name: String,
    pub(crate) digest: Option<String>,
    pub(crate) loaded_at_ms: Option<u64>,
    #[serde(default)]
    pub(crate) imports: Vec<String>,
    pub(crate) limits: BTreeMap<String, u64>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) problem: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct HandlerLoaded {
    pub(crate) digest: String,
    pub(crate) imports: Vec<String>,
    pub(crate) changed: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StateKeys {
    pub(crate) keys: Vec<String>,
    pub(crate) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct QuarantinePage {
    /// Each is a [`Quarantined`].
    pub(crate) quarantined: Vec<Value>,
    pub(crate) next: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Quarantined {
    pub(crate) id: u64,
    pub(crate) queue: String,
    pub(crate) consumer: String,
    pub(crate) handler: String,
    pub(crate) sequence: u64,
    pub(crate) reason: String,
    pub(crate) attempts_made: u32,
    pub(crate) quarantined_at_ms: u64,
    pub(crate) message: Message,
    #[serde(default)]
    pub(crate) attempts: Vec<Attempt>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) attempt: u32,
    pub(crate) digest: Option<String>,
    pub(crate) started_at_ms: u64,
    pub(crate) duration_us: u64,
    pub(crate) outcome: String,
    pub(crate) detail: Option<String>,
    pub(crate) fuel_used: u64,
    pub(crate) memory_bytes_peak: u64,
    pub(crate) log: Option<String>,
    #[serde(default)]
    pub(crate) backtrace: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Redriven {
    pub(crate) redriven: Vec<RedrivenOne>,
    pub(crate) refused: Vec<RedriveRefused>,
    /// More match than are taken at once.
    #[serde(default)]
    pub(crate) more: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RedrivenOne {
    pub(crate) quarantine_id: u64,
    pub(crate) id: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RedriveRefused {
    pub(crate) quarantine_id: u64,
    pub(crate) error: Value,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Purged {
    pub(crate) purged: u64,
    /// More match than are taken at once.
    #[serde(default)]
    pub(crate) more: bool,
}
