//! A file of cases as it is written, key by key.

use std::{collections::BTreeMap, marker::PhantomData};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use wasmill_delivery::record::Grants;
use wasmill_settings::{
    consumer::RawConsumer,
    forms::{Headers, Time},
    limits::RawHandlerLimits,
    nearest,
    value::{Count, DurationMs, ENDLESS, Size},
};

use crate::data::{Base64, DurationOrNone, JsonText, OrNone, Repeat, Written};

pub(crate) type Duration = DurationMs<0, ENDLESS>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RawFile {
    pub(crate) component: Option<String>,
    pub(crate) settings: RawSettings,
    pub(crate) case: Vec<RawCase>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RawSettings {
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) limits: RawHandlerLimits,
    pub(crate) grants: Option<Grants>,
    /// Only checked here: what a case says is put over what the file says, key by key.
    pub(crate) consumer: Option<Checked<RawConsumer>>,
    pub(crate) queue: Option<RawQueue>,
    pub(crate) starts_at: Option<Time>,
    pub(crate) dedup_window: Option<Duration>,
}

/// Something that was read, and is read again.
#[derive(Debug)]
pub(crate) struct Checked<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Checked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|_| Self(PhantomData))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RawQueue {
    pub(crate) bindings: Option<Vec<String>>,
    pub(crate) elsewhere: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawCase {
    pub(crate) name: String,
    pub(crate) component: Option<String>,
    #[serde(default)]
    pub(crate) settings: RawSettings,
    #[serde(default)]
    pub(crate) state: BTreeMap<String, RawValue>,
    #[serde(default)]
    pub(crate) publish: Vec<RawMessage>,
    pub(crate) capsule: Option<String>,
    #[serde(default)]
    pub(crate) http: Vec<RawAnswer>,
    pub(crate) run_for: Option<Duration>,
    pub(crate) faults: Option<RawFaults>,
    pub(crate) seed: Option<u64>,
    pub(crate) seeds: Option<Count<1, 100_000>>,
    #[serde(default)]
    pub(crate) expect: RawExpect,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RawFaults {
    pub(crate) duplicate: Option<Count<1, 1_000>>,
    pub(crate) reorder: bool,
    pub(crate) crash: Option<RawCrash>,
    pub(crate) seeds: Option<Count<1, 100_000>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawCrash {
    Each,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawMessage {
    pub(crate) topic: String,
    pub(crate) id: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) content_type: Option<OrNone>,
    #[serde(default)]
    pub(crate) headers: Option<Headers>,
    pub(crate) at: Option<Duration>,
    pub(crate) delay: Option<Duration>,
    pub(crate) expires_after: Option<Duration>,
    pub(crate) times: Option<Count<1, 1_000_000>>,
    text: Option<String>,
    json: Option<Value>,
    json_text: Option<JsonText>,
    base64: Option<Base64>,
    file: Option<String>,
    repeat: Option<Repeat>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawAnswer {
    pub(crate) method: Option<String>,
    pub(crate) url: String,
    pub(crate) status: Option<Count<100, 599>>,
    #[serde(default)]
    pub(crate) headers: Option<Headers>,
    pub(crate) after: Option<Duration>,
    pub(crate) fails: Option<RawFailure>,
    /// For so many requests; `"all"` for all that come.
    pub(crate) times: Option<RawTimes>,
    text: Option<String>,
    json: Option<Value>,
    json_text: Option<JsonText>,
    base64: Option<Base64>,
    file: Option<String>,
    repeat: Option<Repeat>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RawTimes(pub(crate) Option<u64>);

impl<'de> Deserialize<'de> for RawTimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a whole number, or \"all\"")]
        enum Form {
            Number(u64),
            Word(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(times) => Ok(Self(Some(times))),
            Form::Word(word) if word == "all" => Ok(Self(None)),
            Form::Word(_) => Err(D::Error::custom("times is a whole number, or \"all\"")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawFailure {
    ConnectionRefused,
    Timeout,
    ConnectionReset,
    Dns,
    TlsCertificate,
    NoAnswer,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RawExpect {
    pub(crate) outcomes: Option<Vec<OneOf>>,
    pub(crate) attempts: Option<u64>,
    pub(crate) published: Option<Vec<RawPublished>>,
    pub(crate) published_count: Option<u64>,
    pub(crate) published_differ: bool,
    pub(crate) in_any_order: bool,
    pub(crate) state: Option<BTreeMap<String, RawValue>>,
    pub(crate) state_has: BTreeMap<String, RawValue>,
    pub(crate) quarantined: Option<Vec<RawQuarantined>>,
    pub(crate) requests: Option<Vec<RawRequest>>,
    pub(crate) log_has: Vec<String>,
    pub(crate) log_lacks: Vec<String>,
    pub(crate) fuel_at_most: Option<u64>,
    pub(crate) memory_at_most: Option<Size<0, ENDLESS>>,
    pub(crate) elapsed: Option<Duration>,
    pub(crate) elapsed_at_least: Option<Duration>,
    pub(crate) elapsed_at_most: Option<Duration>,
    pub(crate) snapshot: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawPublished {
    pub(crate) topic: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) key: Option<OrNone>,
    pub(crate) content_type: Option<OrNone>,
    #[serde(default)]
    pub(crate) headers: Option<Headers>,
    pub(crate) delay: Option<DurationOrNone>,
    pub(crate) expires_after: Option<DurationOrNone>,
    pub(crate) text_has: Option<String>,
    text: Option<String>,
    json: Option<Value>,
    json_text: Option<JsonText>,
    base64: Option<Base64>,
    file: Option<String>,
    repeat: Option<Repeat>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawRequest {
    pub(crate) method: Option<String>,
    pub(crate) url: Option<String>,
    /// These must be there; others may be.
    #[serde(default)]
    pub(crate) headers: Option<Headers>,
    pub(crate) text_has: Option<String>,
    text: Option<String>,
    json: Option<Value>,
    json_text: Option<JsonText>,
    base64: Option<Base64>,
    file: Option<String>,
    repeat: Option<Repeat>,
}

macro_rules! written {
    ($($form:ident),*) => {$(
        impl $form {
            /// The ways to write data that it has.
            pub(crate) fn written(&self) -> Written {
                let Self { text, json, json_text, base64, file, repeat, .. } = self.clone();
                Written { text, json, json_text, base64, file, repeat }
            }
        }
    )*};
}
written!(RawMessage, RawAnswer, RawPublished, RawRequest);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RawQuarantined {
    pub(crate) outcome: Option<OneOf>,
    pub(crate) reason: Option<String>,
    pub(crate) reason_has: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) attempts: Option<u32>,
}

/// A value of the state: text, or `{ base64 = … }`, `{ json = … }`, `{ json-text = … }`, `{ repeat = … }`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawValue(pub(crate) Written);

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "text, or a table with one of text, json, json-text, base64, file, repeat")]
        enum Form {
            Text(String),
            Table(Table),
        }
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        struct Table {
            text: Option<String>,
            json: Option<Value>,
            json_text: Option<JsonText>,
            base64: Option<Base64>,
            file: Option<String>,
            repeat: Option<Repeat>,
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Text(text) => Written { text: Some(text), ..Written::default() },
            Form::Table(Table { text, json, json_text, base64, file, repeat }) => {
                Written { text, json, json_text, base64, file, repeat }
            }
        }))
    }
}

/// The outcomes that there are, by name.
const OUTCOMES: [&str; 17] = [
    "success",
    "retry",
    "defer",
    "throttle",
    "reject",
    "out-of-fuel",
    "out-of-memory",
    "timed-out",
    "stack-overflow",
    "publish-limit",
    "state-limit",
    "trapped",
    "exited",
    "unroutable",
    "never-fits",
    "expired",
    "host-fault",
];
/// Outcomes that there are in a host only.
const OUTCOMES_UNSEEN: [&str; 2] = ["lease-expired", "host-crash"];

/// One outcome of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OneOf(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for OneOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "an outcome, or a list of outcomes of which one must be true")]
        enum Form {
            One(String),
            Many(Vec<String>),
        }
        let names = match Form::deserialize(deserializer)? {
            Form::One(name) => vec![name],
            Form::Many(names) => names,
        };
        if let Some(name) = names.iter().find(|name| OUTCOMES_UNSEEN.contains(&name.as_str())) {
            return Err(D::Error::custom(format!(
                "the outcome {name:?} is never seen by a test: nobody leases from outside, and a host that dies once undoes \
                 its attempts"
            )));
        }
        match names.iter().find(|name| !OUTCOMES.contains(&name.as_str())) {
            None => Ok(Self(names)),
            Some(unknown) => Err(D::Error::custom(match nearest(unknown, &OUTCOMES) {
                Some(near) => format!("unknown outcome {unknown:?}; did you mean {near:?}?"),
                None => format!("unknown outcome {unknown:?}; there are {}", OUTCOMES.join(", ")),
            })),
        }
    }
}
