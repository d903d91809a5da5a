//! The request that a message becomes.

use std::{collections::BTreeMap, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use wasmill::{Context, Result, http::Request, reject};
use wasmill_plugin_common::{Document, Template, duration, json, list, misconfigured, one_of, required};

use crate::signature::{signatures, webhook_id};

/// Less than the 30 s that an attempt may take unless its limits say otherwise.
const TIMEOUT: Duration = Duration::from_secs(20);
/// What a value may have in a URL as it is: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What every server should read of a URL (RFC 9110, section 4.1).
const URL_BYTES_MAX: usize = 8_000;

pub(crate) fn request(ctx: &Context, now_s: u64) -> Result<Request> {
    let url: Template = required(ctx, "url")?;
    let rest = url.text().strip_prefix("https://").or_else(|| url.text().strip_prefix("http://"));
    // A value could make a host that is none, or one that nobody granted, and it is not the operator who has to mend that.
    if rest.and_then(|rest| rest.split(['/', '?', '#']).next()).is_none_or(|host| host.contains('{')) {
        let wrong = "it must begin with https:// and a host without values in braces";
        return Err(misconfigured(format_args!("config url is {:?}; {wrong}", url.text())));
    }
    let method = one_of(ctx, "method", &[("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")])?.to_owned();
    let timeout = duration(ctx, "timeout", Some(TIMEOUT))?;
    let fixed: BTreeMap<String, String> = json(ctx, "headers")?.unwrap_or_default();

    let message = ctx.message();
    let url = url.fill(&Document::new(message), |value| utf8_percent_encode(value, ENCODED).to_string())?;
    if url.len() > URL_BYTES_MAX {
        return Err(reject(format!("with its values config url is longer than {URL_BYTES_MAX} bytes")));
    }
    let mut request = Request { method, ..Request::post(url, message.data.clone()) }.timeout(timeout);
    if let Some(content_type) = &message.content_type {
        request = with(request, "content-type", content_type)?;
    }
    for name in list(ctx, "forward-headers") {
        if let Some(value) = message.header(&name) {
            request = with(request, &name.to_ascii_lowercase(), value)?;
        }
    }
    for (name, value) in fixed {
        request = request.header(name, value);
    }
    let id = webhook_id(message);
    request = request.header("webhook-id", &id).header("webhook-timestamp", now_s.to_string());
    if let Some(secret) = ctx.config("SIGNING_KEY") {
        request = request.header("webhook-signature", signatures(&secret, &id, now_s, &message.data)?);
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

#[cfg(test)]
mod tests;
