//! Queues as JSON: what declares one, and what shows one.

use serde::{Deserialize, Serialize};
use wasmill_delivery::{
    engine::{ConsumerView, QueueView},
    limits::{QUEUE_BYTES_MAX_DEFAULT, QUEUE_MESSAGES_MAX_DEFAULT},
    name::QueueName,
    record::{Overflow, QueueConfig, Retention},
};

use super::problem::Problem;
use crate::forms::{BindingForm, RETENTION_WITHOUT_BOUND};

/// What is left out has its default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueDeclaration {
    #[serde(default)]
    bindings: Vec<BindingForm>,
    messages_max: Option<u64>,
    bytes_max: Option<u64>,
    overflow: Option<OverflowForm>,
    retention: Option<Retention>,
    #[serde(default)]
    priorities: bool,
}

/// `"refuse"`, `"drop-oldest"`, `{"wait_ms": 2000}`.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OverflowForm {
    Refuse,
    DropOldest,
    #[serde(rename = "wait_ms")]
    WaitMs(u64),
}

impl QueueDeclaration {
    pub(super) fn config(self) -> Result<QueueConfig, Problem> {
        if self.retention == Some(Retention::default()) {
            return Err(Problem::invalid("contradiction", RETENTION_WITHOUT_BOUND));
        }
        Ok(QueueConfig {
            bindings: self.bindings.into_iter().map(|form| Ok(form.binding()?)).collect::<Result<_, Problem>>()?,
            messages_max: self.messages_max.unwrap_or(QUEUE_MESSAGES_MAX_DEFAULT),
            bytes_max: self.bytes_max.unwrap_or(QUEUE_BYTES_MAX_DEFAULT),
            overflow: self.overflow.map(Overflow::from).unwrap_or_default(),
            retention: self.retention,
            priorities: self.priorities,
        })
    }
}

impl From<OverflowForm> for Overflow {
    fn from(form: OverflowForm) -> Self {
        match form {
            OverflowForm::Refuse => Self::Refuse,
            OverflowForm::DropOldest => Self::DropOldest,
            OverflowForm::WaitMs(wait_ms) => Self::Wait { wait_ms },
        }
    }
}

impl From<Overflow> for OverflowForm {
    fn from(overflow: Overflow) -> Self {
        match overflow {
            Overflow::Refuse => Self::Refuse,
            Overflow::DropOldest => Self::DropOldest,
            Overflow::Wait { wait_ms } => Self::WaitMs(wait_ms),
        }
    }
}

/// A queue for a person or a program that looks at it.
#[derive(Serialize)]
pub(super) struct QueueInfo {
    name: QueueName,
    bindings: Vec<BindingForm>,
    messages_max: u64,
    bytes_max: u64,
    overflow: OverflowForm,
    retention: Option<Retention>,
    priorities: bool,
    /// Messages that a consumer still needs of each priority, from 0 on; left out when there are no priorities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages_by_priority: Vec<u64>,
    /// The oldest message that is kept.
    first_sequence: u64,
    /// The oldest message that a consumer still needs.
    needed_sequence: u64,
    next_sequence: u64,
    messages: u64,
    bytes: u64,
    oldest_message_age_ms: Option<u64>,
    consumers: Vec<String>,
}

impl QueueInfo {
    pub(super) fn new(view: QueueView, consumers: &[ConsumerView], oldest_message_age_ms: Option<u64>) -> Self {
        let id = view.record.id;
        let consumers = consumers.iter().filter(|consumer| consumer.record.queue == id);
        let config = view.record.config;
        Self {
            name: view.record.name,
            bindings: config.bindings.into_iter().map(BindingForm::from).collect(),
            messages_max: config.messages_max,
            bytes_max: config.bytes_max,
            overflow: config.overflow.into(),
            retention: config.retention,
            priorities: config.priorities,
            messages_by_priority: view.by_priority,
            first_sequence: view.first.0,
            needed_sequence: view.needed.0,
            next_sequence: view.next.0,
            messages: view.messages,
            bytes: view.bytes,
            oldest_message_age_ms,
            consumers: consumers.map(|consumer| consumer.record.name.to_string()).collect(),
        }
    }
}
