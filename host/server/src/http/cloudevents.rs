//! CloudEvents 1.0 over HTTP: binary mode, structured mode, and batches.
//!
//! An event becomes a message so: `id` is its id, `source` is what the id is unique in, `partitionkey` is its key,
//! `datacontenttype` its content type, `expirytime` its expiry. All attributes but the content type stay as headers
//! `ce-…`, and the trace that an event brings stays as `traceparent` and `tracestate` too.

use axum::{
    http::{HeaderMap, header},
    response::Response,
};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use wasmill_delivery::{message::PRIORITY_HEADER, trace_context::CORRELATION_ID};
use wasmill_runtime::Draft;

use super::{
    App,
    extract::{from_json as parse, json_problem},
    message::is_json,
    ndjson::{Batch, answer_lines},
    problem::Problem,
    publish::{Target, header_text},
    timing::time,
};

/// The version of CloudEvents that is understood.
const SPEC_VERSION: &str = "1.0";
const HEADER_PREFIX: &str = "ce-";
/// Events of one batch. Longer streams of messages are what `application/x-ndjson` is for.
const BATCH_EVENTS_MAX: usize = 10_000;
/// Extensions that carry a trace (CloudEvents Distributed Tracing extension), and the chain that an event belongs to
/// (Correlation extension).
const TRACE_ATTRIBUTES: [&str; 3] = ["traceparent", "tracestate", CORRELATION_ID];
/// The extension that says when an event is of no use any more (CloudEvents Expiry Time extension).
const EXPIRY_ATTRIBUTE: &str = "expirytime";

/// Whether the headers hold an event in binary mode.
pub(super) fn is_binary(headers: &HeaderMap) -> bool {
    ["ce-specversion", "ce-id", "ce-source", "ce-type"].iter().any(|name| headers.contains_key(*name))
}

/// An event in binary mode: its attributes are headers, the body is its data.
pub(super) fn from_headers(headers: &HeaderMap, data: Bytes, target: &Target) -> Result<Draft, Problem> {
    let mut event = Event { data, ..Event::default() };
    for (name, value) in headers {
        if let Some(attribute) = name.as_str().strip_prefix(HEADER_PREFIX) {
            event.set(attribute, decode(attribute, &header_text(name.as_str(), value)?)?)?;
        }
    }
    event.content_type =
        headers.get(header::CONTENT_TYPE).map(|value| header_text(header::CONTENT_TYPE.as_str(), value)).transpose()?;
    event.into_draft(target)
}

/// An event in structured mode: one JSON object.
pub(super) fn from_json(json: &[u8], target: &Target) -> Result<Draft, Problem> {
    let mut event = Event::default();
    let mut data = None;
    for (name, value) in parse::<BTreeMap<String, &RawValue>>(json)? {
        match name.as_str() {
            "data" => data = Some(Data::Json(value)),
            "data_base64" => data = Some(Data::Base64(member(&name, value)?)),
            "datacontenttype" => event.content_type = member(&name, value)?,
            _ => {
                if let Some(text) = attribute_text(&name, value)? {
                    event.set(&name, text)?;
                }
            }
        }
    }
    if let Some(data) = data {
        event.take(data)?;
    }
    event.into_draft(target)
}

/// Publish a JSON array of events. A bad one stops none of the others.
pub(super) async fn publish_batch(app: &App, target: &Target, json: &[u8]) -> Result<Response, Problem> {
    let mut batches = vec![Batch::default()];
    let events: Vec<&RawValue> = parse(json)?;
    if events.len() > BATCH_EVENTS_MAX {
        let detail = format!("{} events in one batch; at most {BATCH_EVENTS_MAX}, send the rest apart", events.len());
        return Err(Problem::too_large(detail));
    }
    for (number, event) in (1..).zip(events) {
        if batches.last().is_some_and(Batch::is_full) {
            batches.push(Batch::default());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(number, from_json(event.get().as_bytes(), target));
        }
    }
    let mut answers = Vec::new();
    for batch in batches {
        answers.extend_from_slice(&batch.publish(&app.host).await);
    }
    Ok(answer_lines(answers.into()))
}

/// An event on its way to become a message.
#[derive(Default)]
struct Event {
    attributes: Vec<(String, String)>,
    content_type: Option<String>,
    data: Bytes,
}

enum Data<'a> {
    Json(&'a RawValue),
    Base64(Option<String>),
}

impl Event {
    fn set(&mut self, name: &str, value: String) -> Result<(), Problem> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            let detail = format!("attribute {name:?} is not made of lower case ASCII letters and digits only");
            return Err(invalid(detail));
        }
        self.attributes.push((name.to_owned(), value));
        Ok(())
    }

    /// JSON data is kept as it is written. Data of another type is a JSON string around it.
    fn take(&mut self, data: Data<'_>) -> Result<(), Problem> {
        match data {
            Data::Json(raw) if raw.get() == "null" => {}
            Data::Json(raw) if self.content_type.as_deref().is_none_or(is_json) => {
                self.content_type.get_or_insert_with(|| "application/json".to_owned());
                self.data = Bytes::copy_from_slice(raw.get().as_bytes());
            }
            Data::Json(raw) => self.data = member::<String>("data", raw)?.into(),
            Data::Base64(None) => {}
            Data::Base64(Some(text)) => self.data = from_base64("data_base64", &text)?,
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, Problem> {
        let given = self.get(name).filter(|value| !value.is_empty());
        given.ok_or_else(|| {
            invalid(format!("the event has no {name}; CloudEvents need id, source, specversion and type"))
        })
    }

    fn into_draft(self, target: &Target) -> Result<Draft, Problem> {
        let version = self.required("specversion")?;
        if version != SPEC_VERSION {
            return Err(invalid(format!("specversion is {version}; this host understands {SPEC_VERSION}")));
        }
        let draft = Draft {
            id: Some(self.required("id")?.to_owned()),
            source: Some(self.required("source")?.to_owned()),
            key: self.get("partitionkey").map(ToOwned::to_owned),
            expires_at: self.get(EXPIRY_ATTRIBUTE).map(|text| time(EXPIRY_ATTRIBUTE, text)).transpose()?,
            ..target.draft_of_event(self.required("type")?)?
        };
        let meant = |name: &str| TRACE_ATTRIBUTES.contains(&name) || name == PRIORITY_HEADER;
        let as_headers = self.attributes.iter().filter(|(name, _)| meant(name)).cloned();
        let as_headers: Vec<_> = as_headers.collect();
        let kept = self.attributes.into_iter().filter(|(name, _)| name != CORRELATION_ID);
        let kept = kept.map(|(name, value)| (format!("{HEADER_PREFIX}{name}"), value));
        Ok(Draft {
            content_type: self.content_type,
            headers: kept.chain(as_headers).collect(),
            data: self.data,
            ..draft
        })
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::invalid("invalid-cloudevent", detail)
}

fn member<'a, T: Deserialize<'a>>(name: &str, value: &'a RawValue) -> Result<T, Problem> {
    serde_json::from_str(value.get()).map_err(|error| json_problem(&error).within(name))
}

/// Booleans and integers have a string form of their own (CloudEvents 1.0, "Type System"); null is as if left out.
fn attribute_text(name: &str, value: &RawValue) -> Result<Option<String>, Problem> {
    match member(name, value)? {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => Ok(Some(text)),
        serde_json::Value::Bool(given) => Ok(Some(given.to_string())),
        serde_json::Value::Number(given) => Ok(Some(given.to_string())),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            Err(invalid(format!("attribute {name} is an array or an object; put it into data")))
        }
    }
}

/// One round of percent-decoding (CloudEvents HTTP binding 1.0, section 3.1.3.2), after a pair of quotes is taken off.
fn decode(name: &str, value: &str) -> Result<String, Problem> {
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let value = quoted.map_or_else(|| value.to_owned(), unescape);
    match percent_decode_str(&value).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid(format!("attribute {name} is not UTF-8 when it is percent-decoded"))),
    }
}

fn unescape(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

/// What base64 stands for; without padding is fine too.
pub(super) fn from_base64(name: &str, text: &str) -> Result<Bytes, Problem> {
    use base64::{Engine as _, alphabet, engine};
    const LENIENT: engine::GeneralPurpose = engine::GeneralPurpose::new(
        &alphabet::STANDARD,
        engine::GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent),
    );
    let decoded =
        LENIENT.decode(text).map_err(|error| Problem::invalid("invalid-base64", format!("{name}: {error}")))?;
    Ok(decoded.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Result<Draft, Problem> {
        from_json(json.as_bytes(), &Target::Named)
    }

    fn with(members: &str) -> Result<Draft, Problem> {
        event(&format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#))
    }

    #[test]
    fn data_is_kept_as_its_type_says() {
        for (members, content_type, data) in [
            ("", None, ""),
            (r#","data":null"#, None, ""),
            (r#","data": { "a" : 1.0 }"#, Some("application/json"), r#"{ "a" : 1.0 }"#),
            (r#","data":"x","datacontenttype":"application/foo+json""#, Some("application/foo+json"), r#""x""#),
            (r#","data":"<x>","datacontenttype":"text/xml""#, Some("text/xml"), "<x>"),
            (r#","data_base64":"aGk=","datacontenttype":"text/plain""#, Some("text/plain"), "hi"),
            (r#","data_base64":"aGk""#, None, "hi"),
        ] {
            let draft = with(members).expect(members);
            assert_eq!((draft.content_type.as_deref(), &draft.data[..]), (content_type, data.as_bytes()), "{members}");
        }
    }

    #[test]
    fn attributes_become_headers() {
        let draft =
            with(r#","partitionkey":"k","n":7,"b":true,"gone":null,"traceparent":"00-a-b-01""#).expect("an event");
        assert_eq!((draft.id.as_deref(), draft.source.as_deref()), (Some("1"), Some("/s")));
        assert_eq!((draft.key.as_deref(), draft.topic.as_str()), (Some("k"), "t"));
        for (name, value) in [("ce-n", "7"), ("ce-b", "true"), ("ce-type", "t"), ("traceparent", "00-a-b-01")] {
            assert!(draft.headers.contains(&(name.to_owned(), value.to_owned())), "{name}: {:?}", draft.headers);
        }
        assert!(!draft.headers.iter().any(|(name, _)| name == "ce-gone"));
    }

    #[test]
    fn bad_events_are_refused_with_the_reason() {
        for (json, code, words) in [
            (r#"{"specversion":"1.0","source":"/s","type":"t"}"#, "invalid-cloudevent", "no id"),
            (r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#, "invalid-cloudevent", "0.3"),
            (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","Bad":"x"}"#, "invalid-cloudevent", "\"Bad\""),
            (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","x":{}}"#, "invalid-cloudevent", "object"),
            (
                r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"?"}"#,
                "invalid-base64",
                "data_base64",
            ),
            (r#"{"data":1,"datacontenttype":"text/plain"}"#, "invalid-value", "data: "),
            ("[]", "invalid-value", "invalid type"),
            ("{", "invalid-json", "EOF"),
        ] {
            let problem = event(json).expect_err(json);
            assert_eq!(problem.code, code, "{json}: {}", problem.detail);
            assert!(problem.detail.contains(words), "{json}: {}", problem.detail);
        }
    }

    #[test]
    fn header_values_are_decoded_once() {
        for (given, decoded) in [
            ("a%20b", "a b"),
            ("%2520", "%20"),
            ("\"q\\\"x\"", "q\"x"),
            ("Euro%20%E2%82%AC", "Euro €"),
            ("100%", "100%"),
        ] {
            assert_eq!(decode("subject", given).expect(given), decoded);
        }
        assert_eq!(decode("subject", "%FF").expect_err("not UTF-8").code, "invalid-cloudevent");
    }
}
