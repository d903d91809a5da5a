//! A message as JSON.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;
use wasmill_delivery::{
    message::Message,
    name::{QuarantineId, Sequence},
};

/// A message for a person or a program that looks at it.
#[derive(Serialize)]
pub(super) struct MessageInfo<'a> {
    id: &'a str,
    topic: &'a str,
    key: Option<&'a str>,
    content_type: Option<&'a str>,
    headers: &'a [(String, String)],
    published_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
    hops: u16,
    cause: Option<&'a str>,
    /// The message from outside that began the chain, or what its publisher gave as such.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<&'a str>,
    redrive_of: Option<RedriveOf<'a>>,
}

/// The data in the most readable way that keeps every byte of it.
#[derive(Serialize)]
enum Data<'a> {
    #[serde(rename = "data")]
    Json(&'a RawValue),
    #[serde(rename = "data_text")]
    Text(&'a str),
    #[serde(rename = "data_base64")]
    Base64(String),
}

#[derive(Serialize)]
struct RedriveOf<'a> {
    message_id: &'a str,
    quarantine_id: QuarantineId,
}

impl<'a> MessageInfo<'a> {
    /// All of it.
    pub(super) fn new(message: &'a Message, sequence: Sequence) -> Self {
        Self { data: Some(Data::new(message)), ..Self::without_data(message, sequence) }
    }

    /// What there is to know besides the data.
    pub(super) fn without_data(message: &'a Message, sequence: Sequence) -> Self {
        let redrive_of = message.lineage.redrive_of.as_ref();
        Self {
            id: message.id.as_str(),
            topic: message.topic.as_str(),
            key: message.key.as_ref().map(wasmill_delivery::name::MessageKey::as_str),
            content_type: message.content_type.as_deref(),
            headers: &message.headers,
            published_at_ms: message.published_at.0,
            expires_at_ms: message.expires_at.map(|at| at.0),
            sequence: Some(sequence.0),
            data: None,
            hops: message.lineage.hops,
            cause: message.lineage.cause.as_ref().map(wasmill_delivery::name::MessageId::as_str),
            correlation: message.lineage.correlation.as_ref().map(wasmill_delivery::name::MessageId::as_str),
            redrive_of: redrive_of
                .map(|(id, quarantine_id)| RedriveOf { message_id: id.as_str(), quarantine_id: *quarantine_id }),
        }
    }
}

/// Data as messages are shown: an object with `data`, `data_text` or `data_base64`.
pub(super) fn data_fields(data: &[u8], content_type: Option<&str>) -> serde_json::Value {
    serde_json::to_value(Data::of(data, content_type)).unwrap_or_default()
}

impl<'a> Data<'a> {
    fn new(message: &'a Message) -> Self {
        Self::of(&message.data, message.content_type.as_deref())
    }

    fn of(data: &'a [u8], content_type: Option<&str>) -> Self {
        let Ok(text) = std::str::from_utf8(data) else {
            return Self::Base64(BASE64_STANDARD.encode(data));
        };
        let json = content_type.filter(|content_type| is_json(content_type));
        match json.and_then(|_| serde_json::from_str(text).ok()) {
            Some(json) => Self::Json(json),
            None => Self::Text(text),
        }
    }
}

/// Whether a media type is JSON: `application/json`, `text/json`, or with the suffix `+json` (RFC 6839).
pub(super) fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// A media type in lower case, without its parameters.
pub(super) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_that_are_json() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/geo+json", "text/json"] {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "text/plain", "application/x-ndjson", "application/jsonp"] {
            assert!(!is_json(other), "{other}");
        }
    }
}
