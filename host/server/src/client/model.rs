//! What the HTTP API answers, as far as people are shown it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use wasmill_delivery::canary::{CanaryPolicy, Counts};

use crate::forms::{BindingForm, StartForm};

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
    pub(crate) delayed_until_ms: Option<u64>,
    pub(crate) delayed_id: Option<String>,
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
    pub(crate) bindings: Vec<BindingForm>,
    pub(crate) messages_max: u64,
    pub(crate) bytes_max: u64,
    pub(crate) overflow: Overflow,
    pub(crate) retention: Option<Retention>,
    #[serde(default)]
    pub(crate) messages_by_priority: Vec<u64>,
    pub(crate) first_sequence: u64,
    pub(crate) needed_sequence: u64,
    pub(crate) next_sequence: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest_message_age_ms: Option<u64>,
    pub(crate) consumers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Overflow {
    Refuse,
    DropOldest,
    #[serde(rename = "wait_ms")]
    WaitMs(u64),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Retention {
    pub(crate) messages: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) age_ms: Option<u64>,
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
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) sequence: Option<u64>,
    pub(crate) data: Option<Value>,
    pub(crate) data_text: Option<String>,
    pub(crate) data_base64: Option<String>,
    #[serde(default)]
    pub(crate) hops: u16,
    pub(crate) cause: Option<String>,
    pub(crate) correlation: Option<String>,
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
    /// None when programs outside pull its deliveries.
    pub(crate) handler: Option<String>,
    pub(crate) concurrency: u32,
    pub(crate) in_flight_max: u32,
    pub(crate) attempts: u32,
    pub(crate) backoff: Backoff,
    pub(crate) start: StartForm,
    pub(crate) order: String,
    pub(crate) poison: String,
    pub(crate) deterministic: bool,
    pub(crate) storm: Storm,
    pub(crate) rate_per_second: Option<u32>,
    pub(crate) key_rate_per_second: Option<u32>,
    pub(crate) retry_share: u32,
    pub(crate) expired: String,
    pub(crate) lease_ms: u64,
    pub(crate) paused: Option<Paused>,
    pub(crate) floor: u64,
    pub(crate) lag: u64,
    pub(crate) in_flight: u64,
    pub(crate) pending: u64,
    pub(crate) pending_max: u64,
    pub(crate) full: bool,
    pub(crate) suspects: u64,
    pub(crate) quarantined: u64,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Backoff {
    Exponential { initial_ms: u64, factor: u32, cap_ms: u64, jitter: bool },
    Fixed { fixed_ms: u64, jitter: bool },
    List { delays_ms: Vec<u64>, jitter: bool },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Storm {
    pub(crate) deliveries: u32,
    pub(crate) percent: u32,
    pub(crate) probe_ms: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Paused {
    pub(crate) kind: String,
    pub(crate) detail: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) quarantine: Option<u64>,
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
    #[serde(default)]
    pub(crate) imports_not_granted: Vec<String>,
    pub(crate) limits: BTreeMap<String, u64>,
    pub(crate) config: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) grants: HandlerGrants,
    /// Where each comes from: `{"env": "API_KEY"}`.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) signed_by: Option<String>,
    #[serde(default)]
    pub(crate) grants_unused: Vec<String>,
    pub(crate) problem: Option<String>,
    #[serde(default)]
    pub(crate) retries: String,
    pub(crate) candidate: Option<Candidate>,
    pub(crate) sample: Option<Value>,
}

/// A version that is tried.
#[derive(Debug, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) digest: String,
    pub(crate) began_at_ms: u64,
    pub(crate) policy: CanaryPolicy,
    pub(crate) counts: Counts,
}

#[derive(Debug, Deserialize)]
pub(crate) struct HandlerHistory {
    pub(crate) candidate: Option<Candidate>,
    pub(crate) versions: Vec<HandlerVersion>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct HandlerVersion {
    pub(crate) digest: String,
    pub(crate) at_ms: u64,
    pub(crate) change: String,
    pub(crate) why: Option<String>,
    pub(crate) counts: Option<Counts>,
    pub(crate) current: bool,
    pub(crate) given_up: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct HandlerGrants {
    #[serde(default)]
    pub(crate) http: Vec<String>,
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct HandlerLoaded {
    pub(crate) digest: String,
    pub(crate) imports: Vec<String>,
    #[serde(default)]
    pub(crate) signed_by: Option<String>,
    pub(crate) changed: bool,
    pub(crate) canary_share_percent: Option<u32>,
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
    pub(crate) handler: Option<String>,
    pub(crate) sequence: u64,
    #[serde(default)]
    pub(crate) imported: bool,
    pub(crate) reason: String,
    pub(crate) fingerprint: Option<String>,
    pub(crate) attempts_made: u32,
    pub(crate) quarantined_at_ms: u64,
    #[serde(default)]
    pub(crate) capsule: CapsuleKept,
    pub(crate) message: Message,
    #[serde(default)]
    pub(crate) attempts: Vec<Attempt>,
}

/// Whether a last attempt can be run again elsewhere.
#[derive(Debug, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum CapsuleKept {
    #[default]
    None,
    Kept {
        bytes: u64,
    },
    NoRoom,
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

/// Quarantined deliveries by what they have in common.
#[derive(Debug, Deserialize)]
pub(crate) struct QuarantineSummary {
    pub(crate) quarantined: u64,
    pub(crate) groups: Vec<QuarantineGroup>,
    pub(crate) ungrouped: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct QuarantineGroup {
    pub(crate) handler: Option<String>,
    pub(crate) reason: String,
    pub(crate) fingerprint: Option<String>,
    pub(crate) count: u64,
    pub(crate) oldest_at_ms: u64,
    pub(crate) newest_at_ms: u64,
    pub(crate) example: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Redrives {
    pub(crate) redrives: Vec<RedriveInBackground>,
    pub(crate) note: String,
}

/// A redrive at a rate.
#[derive(Debug, Deserialize)]
pub(crate) struct RedriveInBackground {
    pub(crate) id: u64,
    pub(crate) meant: String,
    pub(crate) rate_per_second: u32,
    pub(crate) state: String,
    pub(crate) started_at_ms: u64,
    pub(crate) total: u64,
    pub(crate) redriven: u64,
    pub(crate) skipped: u64,
    pub(crate) refused: u64,
    #[serde(default)]
    pub(crate) more: bool,
}

/// One line of the answer to an import.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum ImportAnswer {
    Refused { line: u64, error: Problem },
    Taken { duplicate: bool },
}

/// What became of a message.
#[derive(Debug, Deserialize)]
pub(crate) struct Why {
    pub(crate) id: String,
    pub(crate) complete: bool,
    pub(crate) incomplete_because: Vec<String>,
    pub(crate) causes: Vec<WhyNode>,
    pub(crate) message: WhyNode,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WhyNode {
    pub(crate) id: String,
    pub(crate) kept: bool,
    pub(crate) topic: Option<String>,
    pub(crate) published_at_ms: Option<u64>,
    pub(crate) redrive_of: Option<u64>,
    pub(crate) places: Vec<WhyPlace>,
    pub(crate) caused: Vec<Self>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum WhyPlace {
    Queue { queue: String, sequence: u64, consumers: Vec<WhyStep> },
    Delayed { due_at_ms: u64 },
}

#[derive(Debug, Deserialize)]
pub(crate) struct WhyStep {
    pub(crate) consumer: String,
    pub(crate) state: String,
    pub(crate) attempt: Option<u32>,
    pub(crate) due_at_ms: Option<u64>,
    pub(crate) behind_sequence: Option<u64>,
    pub(crate) quarantine_id: Option<u64>,
    pub(crate) reason: Option<String>,
    pub(crate) attempts: Vec<WhyAttempt>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WhyAttempt {
    pub(crate) attempt: u32,
    pub(crate) detail: String,
    pub(crate) started_at_ms: u64,
    pub(crate) duration_us: u64,
}
