//! Messages, as people read them.

use super::output::{cut, indent, list, or_dash, time};
use crate::client::model::Message;

/// How much of the data a table shows.
const PREVIEW_CHARS: usize = 60;

/// The data, indented when it is JSON.
pub(super) fn data(message: &Message) -> String {
    if let Some(data) = &message.data {
        return serde_json::to_string_pretty(data).unwrap_or_default();
    }
    match (&message.data_text, &message.data_base64) {
        (Some(text), _) => text.clone(),
        (None, Some(base64)) => format!("(not text; as base64) {base64}"),
        (None, None) => String::new(),
    }
}

/// The data in one line.
pub(super) fn preview(message: &Message) -> String {
    match &message.data {
        Some(data) => cut(&data.to_string(), PREVIEW_CHARS),
        None => cut(&data(message), PREVIEW_CHARS),
    }
}

/// Everything but the data.
pub(super) fn facts(message: &Message) -> Vec<(&'static str, String)> {
    let headers: Vec<String> = message.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let mut facts = vec![
        ("message", message.id.clone()),
        ("topic", message.topic.clone()),
        ("key", or_dash(message.key.as_ref())),
        ("content type", or_dash(message.content_type.as_ref())),
        ("headers", list(&headers)),
        ("published", time(message.published_at_ms)),
    ];
    if let Some(expires_at_ms) = message.expires_at_ms {
        facts.push(("expires", time(expires_at_ms)));
    }
    if let Some(cause) = &message.cause {
        facts.push(("caused by", format!("{cause} (hops from outside: {})", message.hops)));
    }
    if let Some(correlation) = &message.correlation {
        facts.push(("began with", correlation.clone()));
    }
    if let Some(origin) = &message.redrive_of {
        facts.push(("redrive of", format!("{}, quarantined as {}", origin.message_id, origin.quarantine_id)));
    }
    facts
}

/// The data under a heading.
pub(super) fn data_block(message: &Message) -> String {
    format!("data\n{}", indent(&data(message), "    "))
}
