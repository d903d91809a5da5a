//! A message and the values that are taken out of it.

use std::{cell::OnceCell, str::FromStr};

use jiff::Timestamp;
use serde_json::{Value, value::RawValue};
use serde_json_path::JsonPath;
use wasmill::{Message, Outgoing, Result, reject};

use crate::{digest, written};

/// What the contract allows.
const KEY_BYTES_MAX: usize = 255;

/// Which value of a message is meant. Written `key`, `id`, `topic`, `data` (a digest of the data), `header:NAME`, or as a
/// JSON path (RFC 9535) such as `$.order.id`, which must select one value at most.
#[derive(Clone, Debug, PartialEq)]
pub enum Pick {
    /// The message's key.
    Key,
    /// The message's id.
    Id,
    /// The message's topic.
    Topic,
    /// 128 bits of the SHA-256 of the data, as 32 hexadecimal digits.
    Data,
    /// The first header of that name.
    Header(String),
    /// A value of the data, which must be JSON.
    Path(JsonPath),
}

impl FromStr for Pick {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "key" => Ok(Self::Key),
            "id" => Ok(Self::Id),
            "topic" => Ok(Self::Topic),
            "data" => Ok(Self::Data),
            path if path.starts_with('$') => JsonPath::parse(path).map(Self::Path).map_err(|error| error.to_string()),
            other => match other.strip_prefix("header:") {
                Some(name) if !name.is_empty() => Ok(Self::Header(name.to_owned())),
                Some(_) | None => Err("it must be key, id, topic, data, header:NAME or a JSON path ($...)".to_owned()),
            },
        }
    }
}

/// A message whose data is read as JSON once, when somebody asks for it.
#[derive(Debug)]
pub struct Document<'a> {
    message: &'a Message,
    json: OnceCell<Value>,
}

impl<'a> Document<'a> {
    /// Reads nothing yet.
    #[must_use]
    pub const fn new(message: &'a Message) -> Self {
        Self { message, json: OnceCell::new() }
    }

    /// The message.
    #[must_use]
    pub const fn message(&self) -> &'a Message {
        self.message
    }

    /// The data as JSON.
    ///
    /// # Errors
    /// Rejects the delivery when it is not JSON.
    pub fn json(&self) -> Result<&Value> {
        if let Some(json) = self.json.get() {
            return Ok(json);
        }
        let json = self.message.json()?;
        Ok(self.json.get_or_init(|| json))
    }

    /// The value that is meant, as JSON; none when the message has none.
    ///
    /// # Errors
    /// Rejects the delivery when a path is asked for and the data is not JSON, or the path selects several values.
    pub fn value(&self, pick: &Pick) -> Result<Option<Value>> {
        let text = match pick {
            Pick::Key => self.message.key.clone(),
            Pick::Id => Some(self.message.id.clone()),
            Pick::Topic => Some(self.message.topic.clone()),
            Pick::Data => Some(format!("{:032x}", digest(&[&self.message.data]))),
            Pick::Header(name) => self.message.header(name).map(str::to_owned),
            Pick::Path(path) => {
                let selected = path.query(self.json()?).at_most_one();
                return selected.map(|value| value.cloned()).map_err(|problem| reject(format!("{path}: {problem}")));
            }
        };
        Ok(text.map(Value::String))
    }

    /// The value that is meant, as text: strings as they are, everything else as compact JSON with its numbers as they are
    /// written. None when there is none or it is `null`.
    ///
    /// # Errors
    /// As [`Document::value`].
    pub fn text(&self, pick: &Pick) -> Result<Option<String>> {
        Ok(match self.value(pick)? {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => Some(self.written(pick, &other, written::compact).unwrap_or_else(|| other.to_string())),
        })
    }

    /// The items of the array that is meant, as [`Document::text`] writes them; none when it is no array.
    ///
    /// # Errors
    /// As [`Document::value`].
    pub fn items(&self, pick: &Pick) -> Result<Option<Vec<String>>> {
        let Some(found) = self.value(pick)? else { return Ok(None) };
        let compact = |raw: &_| written::items(raw)?.into_iter().map(written::compact).collect();
        if let Some(items) = self.written(pick, &found, compact) {
            return Ok(Some(items));
        }
        Ok(found.as_array().map(|items| items.iter().map(Value::to_string).collect()))
    }

    /// What is made of it as it is written, when that may be something else than what was read.
    fn written<T>(&self, pick: &Pick, read: &Value, make: impl Fn(&RawValue) -> serde_json::Result<T>) -> Option<T> {
        let Pick::Path(path) = pick else { return None };
        if !written::has_floats(read) {
            return None;
        }
        let place = path.query_located(self.json().ok()?).at_most_one().ok()??.to_location();
        make(written::at(&self.message.data, &place).ok()??).ok()
    }
}

impl Document<'_> {
    /// A number, also one that is written as text.
    ///
    /// # Errors
    /// As [`Document::value`], and rejects the delivery when there is no number.
    pub fn number(&self, pick: &Pick, config: &str) -> Result<f64> {
        let found = self.value(pick)?.unwrap_or_default();
        let number = found.as_f64().or_else(|| found.as_str()?.parse().ok()).filter(|number| number.is_finite());
        number.ok_or_else(|| reject(format!("config {config} points to {found}; it must be a number")))
    }

    /// A time in milliseconds since 1970; it is written so, or as RFC 3339.
    ///
    /// # Errors
    /// As [`Document::value`], and rejects the delivery when there is no time.
    pub fn time_ms(&self, pick: &Pick, config: &str) -> Result<i64> {
        let found = self.value(pick)?.unwrap_or_default();
        let of_text = || found.as_str()?.parse().ok();
        let time: Option<Timestamp> = found.as_i64().map_or_else(of_text, |ms| Timestamp::from_millisecond(ms).ok());
        let wrong = "it must be RFC 3339 or milliseconds since 1970";
        let time = time.ok_or_else(|| reject(format!("config {config} points to {found}; {wrong}")))?;
        Ok(time.as_millisecond())
    }
}

/// Milliseconds since 1970 as people read them.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

/// With this key, if it can be one.
#[must_use]
pub fn keyed(outgoing: Outgoing, key: &str) -> Outgoing {
    if key.is_empty() || key.len() > KEY_BYTES_MAX { outgoing } else { outgoing.key(key) }
}

/// The message as it is, to another topic: same key, content type, headers and data.
pub fn pass_on(message: &Message, topic: impl Into<String>) -> Outgoing {
    let mut outgoing = Outgoing::bytes(topic, message.data.clone());
    outgoing.key.clone_from(&message.key);
    outgoing.content_type.clone_from(&message.content_type);
    outgoing.headers.clone_from(&message.headers);
    outgoing
}

#[cfg(test)]
mod tests {
    use wasmill::{Delivery, Failure};

    use super::*;

    fn message() -> Message {
        let mut message = Delivery::for_test("orders.eu", r#"{"id": 7, "to": {"city": "Suva"}, "n": null}"#).message;
        message.key = Some("k".to_owned());
        message.headers.push(("source".to_owned(), "shop".to_owned()));
        message
    }

    #[test]
    fn every_kind_of_value_is_picked() {
        let message = message();
        let document = Document::new(&message);
        for (pick, text) in [
            ("key", Some("k")),
            ("id", Some("test-message")),
            ("topic", Some("orders.eu")),
            ("header:Source", Some("shop")),
            ("header:other", None),
            ("$.id", Some("7")),
            ("$.to.city", Some("Suva")),
            ("$['to']", Some(r#"{"city":"Suva"}"#)),
            ("$.n", None),
            ("$.absent", None),
        ] {
            let picked = document.text(&pick.parse().expect(pick)).expect(pick);
            assert_eq!(picked.as_deref(), text, "{pick}");
        }
        let data = document.text(&Pick::Data).expect("a digest").expect("a digest");
        assert!(data.len() == 32 && data.bytes().all(|c| c.is_ascii_hexdigit()), "{data}");
    }

    #[test]
    fn numbers_are_text_as_they_are_written() {
        let data = r#"{"a": [{"id": 100000000000000000001}, {"id": 1e2}], "n": {"z": 1.50, "b": "x"}, "small": -7}"#;
        let message = Delivery::for_test("t", data).message;
        let document = Document::new(&message);
        let pick = |path: &str| Pick::from_str(path).expect("a path");
        for (path, text) in [
            ("$.a[0].id", "100000000000000000001"),
            ("$.a[-1].id", "1e2"),
            ("$['n']", r#"{"b":"x","z":1.50}"#),
            ("$.small", "-7"),
        ] {
            assert_eq!(document.text(&pick(path)).expect(path).as_deref(), Some(text), "{path}");
        }
        let items = [r#"{"id":100000000000000000001}"#.to_owned(), r#"{"id":1e2}"#.to_owned()];
        assert_eq!(document.items(&pick("$.a")), Ok(Some(items.to_vec())));
        assert_eq!((document.items(&pick("$.n")), document.items(&pick("$.none"))), (Ok(None), Ok(None)));
    }

    #[test]
    fn what_cannot_be_picked_is_the_messages_fault() {
        let message = message();
        let path = Pick::from_str("$.*").expect("a path");
        let Err(Failure::Reject(reason)) = Document::new(&message).value(&path) else { panic!("three values") };
        assert!(reason.starts_with("$.*: "), "{reason}");
        let broken = Delivery::for_test("t", "{").message;
        assert!(matches!(Document::new(&broken).value(&path), Err(Failure::Reject(_))));
    }

    #[test]
    fn a_mistyped_pick_is_told() {
        for text in ["", "keys", "header:", "$.[", "a.b"] {
            assert!(text.parse::<Pick>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_and_times_are_read_as_they_are_written() {
        let data =
            r#"{"n": 1.5, "text": "-2", "word": "x", "ms": 1000, "at": "1970-01-01T01:00:02+01:00", "far": 1e300}"#;
        let message = Delivery::for_test("t", data).message;
        let document = Document::new(&message);
        let pick = |name: &str| Pick::from_str(&format!("$.{name}")).expect("a path");
        for (name, number) in [("n", Some(1.5)), ("text", Some(-2.0)), ("word", None), ("absent", None)] {
            assert_eq!(document.number(&pick(name), "value").ok(), number, "{name}");
        }
        for (name, ms) in [("ms", Some(1_000)), ("at", Some(2_000)), ("n", None), ("word", None), ("far", None)] {
            assert_eq!(document.time_ms(&pick(name), "time").ok(), ms, "{name}");
        }
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(rfc3339(1_767_225_600_500), "2026-01-01T00:00:00.5Z");
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn what_can_be_no_key_is_none() {
        for (key, is_key) in [("k", true), ("", false), (&"k".repeat(255), true), (&"k".repeat(256), false)] {
            assert_eq!(keyed(Outgoing::text("t", ""), key).key.is_some(), is_key, "{} bytes", key.len());
        }
    }

    #[test]
    fn passing_on_changes_the_topic_only() {
        let message = message();
        let outgoing = pass_on(&message, "other");
        assert_eq!(
            (outgoing.topic.as_str(), &outgoing.key, &outgoing.content_type, &outgoing.headers, &outgoing.data),
            ("other", &message.key, &message.content_type, &message.headers, &message.data)
        );
    }
}
