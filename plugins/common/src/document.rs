//! A message and the values that are taken out of it.

use std::{cell::OnceCell, str::FromStr};

use serde_json::Value;
use serde_json_path::JsonPath;
use wasmill::{Message, Outgoing, Result, reject};

use crate::digest;

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

    /// The value that is meant, as text: strings as they are, everything else as JSON. None when there is none or it is `null`.
    ///
    /// # Errors
    /// As [`Document::value`].
    pub fn text(&self, pick: &Pick) -> Result<Option<String>> {
        Ok(match self.value(pick)? {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => Some(other.to_string()),
        })
    }
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
    fn passing_on_changes_the_topic_only() {
        let message = message();
        let outgoing = pass_on(&message, "other");
        assert_eq!(
            (outgoing.topic.as_str(), &outgoing.key, &outgoing.content_type, &outgoing.headers, &outgoing.data),
            ("other", &message.key, &message.content_type, &message.headers, &message.data)
        );
    }
}
