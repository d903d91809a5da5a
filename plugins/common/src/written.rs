//! JSON with its numbers as they are written. Read as 64-bit floats, two large ones may be the same number, and another one than
//! was written. (To have `serde_json` keep them all would do so for the whole workspace, the host included.)

use std::collections::BTreeMap;

use serde_json::{Result, Value, value::RawValue};
use serde_json_path::{NormalizedPath, PathElement};

/// Whether a number in it may not be the one that was written.
pub(crate) fn has_floats(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => false,
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_floats),
        Value::Object(members) => members.values().any(has_floats),
    }
}

/// What stands at that place of the JSON.
pub(crate) fn at<'a>(json: &'a [u8], place: &NormalizedPath<'_>) -> Result<Option<&'a RawValue>> {
    let mut found: Option<&RawValue> = Some(serde_json::from_slice(json)?);
    for step in place.iter() {
        let Some(outer) = found else { break };
        found = match step {
            PathElement::Name(name) => members(outer)?.remove(*name),
            PathElement::Index(index) => items(outer)?.get(*index).copied(),
        };
    }
    Ok(found)
}

/// Compact and with sorted members, as [`Value`] is written.
pub(crate) fn compact(raw: &RawValue) -> Result<String> {
    Ok(match raw.get().bytes().next() {
        Some(b'{') => {
            let member = |(name, value)| Ok(format!("{}:{}", Value::String(name), compact(value)?));
            let members: Vec<String> = members(raw)?.into_iter().map(member).collect::<Result<_>>()?;
            format!("{{{}}}", members.join(","))
        }
        Some(b'[') => {
            let items: Vec<String> = items(raw)?.into_iter().map(compact).collect::<Result<_>>()?;
            format!("[{}]", items.join(","))
        }
        Some(b'"') => serde_json::from_str::<Value>(raw.get())?.to_string(),
        _ => raw.get().to_owned(),
    })
}

pub(crate) fn items(raw: &RawValue) -> Result<Vec<&RawValue>> {
    serde_json::from_str(raw.get())
}

fn members(raw: &RawValue) -> Result<BTreeMap<String, &RawValue>> {
    serde_json::from_str(raw.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compact_is_as_a_value_is_written_but_for_its_numbers() {
        for (text, written) in [
            (r#" { "b" : [ 1 , "\u0041\n" , null ], "a":{ }, "b2":true } "#, None),
            (r#"{"b": 1, "a": [], "b": 2}"#, None),
            ("[1.50, 12345678901234567890123, 1E400]", Some("[1.50,12345678901234567890123,1E400]")),
        ] {
            let raw: &RawValue = serde_json::from_str(text).expect(text);
            let value = serde_json::from_str::<Value>(text).map(|value| value.to_string());
            let expected = written.map_or_else(|| value.expect(text), ToOwned::to_owned);
            assert_eq!(compact(raw).expect(text), expected, "{text}");
        }
    }
}
