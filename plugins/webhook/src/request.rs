//! The request that a message becomes.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use wasmill::{Context, Result, http::Request, reject};
use wasmill_plugin_common::{Document, Template, duration, list, misconfigured, optional, or, required};

use crate::signature::{Keys, webhook_id};

/// Less than the 30 s that an attempt may take unless its limits say otherwise.
const TIMEOUT: Duration = Duration::from_secs(20);
/// What a value may have in a URL as it is: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) fn request(ctx: &Context, now_s: u64) -> Result<Request> {
    let url: Template = required(ctx, "url")?;
    if !(url.text().starts_with("https://") || url.text().starts_with("http://")) {
        return Err(misconfigured(format_args!("config url is {:?}; it must begin with https://", url.text())));
    }
    let method = or(ctx, "method", "POST".to_owned())?;
    if !["POST", "PUT", "PATCH"].contains(&method.as_str()) {
        return Err(misconfigured(format_args!("config method is {method:?}; it must be POST, PUT or PATCH")));
    }
    let timeout = duration(ctx, "timeout", Some(TIMEOUT))?;
    let fixed: Option<Value> = optional(ctx, "headers")?;
    let keys: Option<Keys> = Keys::read(ctx.config("SIGNING_KEY").as_deref())?;

    let message = ctx.message();
    let url = url.fill(&Document::new(message), |value| utf8_percent_encode(value, ENCODED).to_string())?;
    let mut request = Request { method, ..Request::post(url, message.data.clone()) }.timeout(timeout);
    if let Some(content_type) = &message.content_type {
        request = with(request, "content-type", content_type)?;
    }
    for name in list(ctx, "forward-headers") {
        if let Some(value) = message.header(&name) {
            request = with(request, &name.to_ascii_lowercase(), value)?;
        }
    }
    for (name, value) in fixed.map(members).transpose()?.unwrap_or_default() {
        request = request.header(name, value);
    }
    let id = webhook_id(message);
    request = request.header("webhook-id", &id).header("webhook-timestamp", now_s.to_string());
    if let Some(keys) = keys {
        request = request.header("webhook-signature", keys.signatures(&id, now_s, &message.data));
    }
    Ok(request)
}

/// With a header whose value is the message's.
fn with(request: Request, name: &str, value: &str) -> Result<Request> {
    if value.chars().any(char::is_control) {
        return Err(reject(format!("header {name} has a control character and cannot be sent")));
    }
    Ok(request.header(name, value))
}

/// The config value `headers`: an object of text.
fn members(headers: Value) -> Result<Vec<(String, String)>> {
    let wrong = || misconfigured("config headers must be a JSON object of texts, such as {\"x-tenant\": \"a\"}");
    let Value::Object(headers) = headers else { return Err(wrong()) };
    let text = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
    Map::into_iter(headers).map(text).collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
