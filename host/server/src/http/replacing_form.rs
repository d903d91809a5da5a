//! How a handler is replaced, as JSON: its sample message, its retries, and how new versions are tried.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json, value::RawValue};
use wasmill_delivery::{canary::CanaryPolicy, message::check_headers, name::MessageKey, record::Sample, topic::Topic};

use super::{message::data_fields, problem::Problem};
use crate::forms::Headers;

/// What is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CanaryDeclaration {
    share_percent: Option<u32>,
    deliveries: Option<u64>,
    margin_points: Option<u32>,
    duration_ms: Option<u64>,
}

impl CanaryDeclaration {
    pub(super) fn over(self, before: CanaryPolicy) -> CanaryPolicy {
        CanaryPolicy {
            share_percent: self.share_percent.unwrap_or(before.share_percent),
            deliveries: self.deliveries.unwrap_or(before.deliveries),
            margin_points: self.margin_points.unwrap_or(before.margin_points),
            duration_ms: self.duration_ms.unwrap_or(before.duration_ms),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SampleDeclaration {
    topic: String,
    key: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    headers: Headers,
    /// Any JSON, kept as it is written.
    data: Option<Box<RawValue>>,
    data_text: Option<String>,
    data_base64: Option<String>,
}

/// Tells `null`, which removes the sample, from nothing said.
pub(super) fn if_given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<SampleDeclaration>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl SampleDeclaration {
    pub(super) fn sample(self) -> Result<Sample, Problem> {
        let (data, implied) = match (self.data, self.data_text, self.data_base64) {
            (None, None, None) => (Bytes::new(), None),
            (Some(json), None, None) => (Bytes::from(json.get().to_owned()), Some("application/json")),
            (None, Some(text), None) => (Bytes::from(text), None),
            (None, None, Some(base64)) => {
                let refuse = |error| Problem::invalid("invalid-value", format!("data_base64 is not base64: {error}"));
                (STANDARD.decode(&base64).map_err(refuse)?.into(), None)
            }
            _ => {
                let detail = "data, data_text and data_base64 say the same thing; give one of them";
                return Err(Problem::invalid("invalid-value", detail));
            }
        };
        let Headers(mut headers) = self.headers;
        check_headers(&mut headers)?;
        Ok(Sample {
            topic: Topic::new(self.topic)?,
            key: self.key.map(MessageKey::new).transpose()?,
            content_type: self.content_type.or_else(|| implied.map(str::to_owned)),
            headers,
            data,
        })
    }
}

/// A sample as messages are shown.
pub(super) fn sample_info(sample: &Sample) -> Value {
    let mut info = json!({
        "topic": sample.topic, "key": sample.key, "content_type": sample.content_type,
        "headers": Headers(sample.headers.clone()),
    });
    let data = data_fields(&sample.data, sample.content_type.as_deref());
    if let (Some(info), Value::Object(data)) = (info.as_object_mut(), data) {
        info.extend(data);
    }
    info
}
