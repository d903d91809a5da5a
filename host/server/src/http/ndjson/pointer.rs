//! Finding one value in JSON by its pointer (RFC 6901), without building the rest.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::http::problem::Problem;

/// A checked JSON pointer.
pub(in crate::http) struct Pointer {
    tokens: Vec<String>,
}

impl Pointer {
    /// Check a pointer: empty, or tokens that each begin with a slash.
    pub(in crate::http) fn new(text: &str) -> Result<Self, Problem> {
        let Some(rest) = text.strip_prefix('/') else {
            let detail = format!("id-pointer is {text:?}; it must be a JSON pointer such as /id (RFC 6901)");
            return Err(Problem::invalid("invalid-query", detail));
        };
        Ok(Self { tokens: rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect() })
    }

    /// The string or number there; none when there is something else, nothing, or no JSON at all.
    pub(super) fn find(&self, json: &[u8]) -> Option<String> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let found = Step(&self.tokens).deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        found
    }
}

/// What is left of the way.
#[derive(Clone, Copy)]
struct Step<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Step<'_> {
    fn arrived<T: ToString + ?Sized>(self, value: &T) -> Option<String> {
        self.0.is_empty().then(|| value.to_string())
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.arrived(&value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.arrived(&value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.arrived(&value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.arrived(&value))
    }

    fn visit_bool<E: Error>(self, _value: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match self.0.split_first() {
                Some((token, rest)) if *token == name => found = map.next_value_seed(Step(rest))?,
                Some(_) | None => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let wanted = self.0.split_first().and_then(|(token, rest)| Some((token.parse::<usize>().ok()?, rest)));
        let mut found = None;
        for index in 0.. {
            match wanted {
                Some((at, rest)) if at == index => match seq.next_element_seed(Step(rest))? {
                    Some(value) => found = value,
                    None => break,
                },
                Some(_) | None => {
                    if seq.next_element::<IgnoredAny>()?.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_pointer() {
        for (pointer, json, found) in [
            ("/id", r#"{"a":[1,{"id":0}],"id":"x","z":{}}"#, Some("x")),
            ("/a/1/id", r#"{"a":[1,{"id":-5}]}"#, Some("-5")),
            ("/a~1b/~0", r#"{"a/b":{"~":"y"}}"#, Some("y")),
            ("/", r#"{"":1}"#, Some("1")),
            ("/n", r#"{"n":1.5}"#, Some("1.5")),
            ("/id", r#"{"id":{"id":1}}"#, None),
            ("/id/x", r#"{"id":"x"}"#, None),
            ("/id", r#"{"id":null}"#, None),
            ("/2", "[1,2]", None),
            ("/id", r#"{"id":"x"} trailing"#, None),
            ("/id", "nonsense", None),
        ] {
            let pointer = Pointer::new(pointer).expect("a pointer");
            assert_eq!(pointer.find(json.as_bytes()).as_deref(), found, "{json}");
        }
        assert_eq!(Pointer::new("id").err().expect("no slash").code, "invalid-query");
    }
}
