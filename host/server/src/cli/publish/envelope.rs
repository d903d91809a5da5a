//! One line of NDJSON that says everything about a message.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;

use super::{PublishArguments, Times};

/// See the module.
#[derive(Serialize)]
pub(super) struct Envelope<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    content_type: String,
    headers: &'a [(String, String)],
    #[serde(flatten)]
    times: &'a Times,
    #[serde(flatten)]
    data: Data<'a>,
}

/// Text as text, and what is none as base64; either comes out byte for byte as it went in.
#[derive(Serialize)]
enum Data<'a> {
    #[serde(rename = "data_text")]
    Text(&'a str),
    #[serde(rename = "data_base64")]
    Base64(String),
}

impl<'a> Envelope<'a> {
    pub(super) fn new(arguments: &'a PublishArguments, data: &'a [u8]) -> Self {
        Self {
            topic: &arguments.topic,
            id: arguments.id.as_deref(),
            key: arguments.key.as_deref(),
            content_type: arguments.content_type(data),
            headers: &arguments.headers,
            times: &arguments.times,
            data: match std::str::from_utf8(data) {
                Ok(text) => Data::Text(text),
                Err(_) => Data::Base64(BASE64_STANDARD.encode(data)),
            },
        }
    }
}
