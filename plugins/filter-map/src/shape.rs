//! JSON made of a template and a message.

use serde_json::{Map, Value};
use serde_json_path::JsonPath;
use wasmill::{Result, reject};
use wasmill_plugin_common::misconfigured;

/// What stands where a path finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Null,
    Omit,
    Reject,
}

/// The template, with the values of the message where it has paths.
pub(crate) fn fill(template: &Value, message: &Value, missing: Missing) -> Result<Value> {
    Ok(filled(template, message, missing)?.unwrap_or(Value::Null))
}

/// None is left out.
fn filled(template: &Value, message: &Value, missing: Missing) -> Result<Option<Value>> {
    Ok(Some(match template {
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
        Value::String(text) => match text.strip_prefix('$') {
            None => template.clone(),
            Some(escaped) if escaped.starts_with('$') => escaped.into(),
            Some(_) => return selected(text, message, missing),
        },
        Value::Array(items) => {
            let items = items.iter().filter_map(|item| filled(item, message, missing).transpose());
            Value::Array(items.collect::<Result<_>>()?)
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                let value = filled(value, message, missing).transpose()?;
                Some(value.map(|value| (name.clone(), value)))
            };
            Value::Object(members.iter().filter_map(member).collect::<Result<Map<_, _>>>()?)
        }
    }))
}

/// A path that can only select one value stands for it, any other for the list of all that it selects.
fn selected(path: &str, message: &Value, missing: Missing) -> Result<Option<Value>> {
    let broken = |problem| misconfigured(format_args!("config template has the path {path:?}: {problem}"));
    let nodes = JsonPath::parse(path).map_err(broken)?.query(message).all();
    if !is_singular(path) {
        return Ok(Some(nodes.into_iter().cloned().collect()));
    }
    match (nodes.first(), missing) {
        (Some(value), _) => Ok(Some((*value).clone())),
        (None, Missing::Null) => Ok(Some(Value::Null)),
        (None, Missing::Omit) => Ok(None),
        (None, Missing::Reject) => Err(reject(format!("it has nothing at {path}"))),
    }
}

/// Only what RFC 9535 calls a singular query can be compared.
fn is_singular(path: &str) -> bool {
    JsonPath::parse(&format!("$[?{path}==0]")).is_ok()
}
