//! `[queue.NAME]` as it is written, and what it becomes.

use std::collections::BTreeMap;

use serde::Deserialize;
use wasmill_delivery::{
    limits::PUBLISH_WAIT_MS_MAX,
    name::{ConsumerName, NameError},
    record::{Binding, Overflow, QueueConfig, Retention},
};

use super::{
    QueueDeclaration,
    value::{Count, DurationMs, Size},
};
use wasmill_settings::{consumer::RawConsumer, value::ENDLESS};

use crate::forms::{BindingForm, RETENTION_WITHOUT_BOUND};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawQueue {
    bindings: Vec<RawBinding>,
    messages_max: Count<1, ENDLESS>,
    bytes_max: Size<1, ENDLESS>,
    overflow: RawOverflow,
    retention: Option<RawRetention>,
    priorities: bool,
    consumer: BTreeMap<ConsumerName, RawConsumer>,
}

impl Default for RawQueue {
    fn default() -> Self {
        let queue = QueueConfig::default();
        Self {
            bindings: Vec::new(),
            messages_max: Count::new(queue.messages_max),
            bytes_max: Size(queue.bytes_max),
            overflow: RawOverflow::Refuse,
            retention: None,
            priorities: false,
            consumer: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "BindingForm")]
struct RawBinding(Binding);

impl TryFrom<BindingForm> for RawBinding {
    type Error = NameError;

    fn try_from(form: BindingForm) -> Result<Self, NameError> {
        form.binding().map(Self)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawOverflow {
    Refuse,
    DropOldest,
    Wait(DurationMs<1, PUBLISH_WAIT_MS_MAX>),
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "WrittenRetention")]
struct RawRetention(Retention);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct WrittenRetention {
    messages: Option<Count<0, ENDLESS>>,
    bytes: Option<Size<0, ENDLESS>>,
    age: Option<DurationMs<0, ENDLESS>>,
}

impl TryFrom<WrittenRetention> for RawRetention {
    type Error = &'static str;

    fn try_from(written: WrittenRetention) -> Result<Self, &'static str> {
        let retention = Retention {
            messages: written.messages.map(Count::get),
            bytes: written.bytes.map(|bytes| bytes.0),
            age_ms: written.age.map(|age| age.0),
        };
        if retention == Retention::default() { Err(RETENTION_WITHOUT_BOUND) } else { Ok(Self(retention)) }
    }
}

pub(super) fn check_queue(raw: RawQueue) -> QueueDeclaration {
    QueueDeclaration {
        config: QueueConfig {
            bindings: raw.bindings.into_iter().map(|RawBinding(binding)| binding).collect(),
            messages_max: raw.messages_max.get(),
            bytes_max: raw.bytes_max.0,
            overflow: match raw.overflow {
                RawOverflow::Refuse => Overflow::Refuse,
                RawOverflow::DropOldest => Overflow::DropOldest,
                RawOverflow::Wait(wait) => Overflow::Wait { wait_ms: wait.0 },
            },
            retention: raw.retention.map(|RawRetention(retention)| retention),
            priorities: raw.priorities,
        },
        consumers: raw
            .consumer
            .into_iter()
            .map(|(name, consumer)| {
                let config = consumer.config(&name);
                (name, config)
            })
            .collect(),
    }
}
