//! Data as cases write it, and how it is compared.

use std::{fmt, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use wasmill_settings::value::parse_duration_ms;

use crate::error::HarnessError;

/// A text so many times.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    text: String,
    times: usize,
}

/// Bytes by their letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refuse = |error| D::Error::custom(format!("{text:?} is not base64: {error}"));
        STANDARD.decode(&text).map(Self).map_err(refuse)
    }
}

/// JSON that is written as JSON, which has a null.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonText(Value);

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map(Self).map_err(|error| D::Error::custom(format!("this is not JSON: {error}")))
    }
}

/// The ways to write data. One of them, or none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Written {
    pub(crate) text: Option<String>,
    pub(crate) json: Option<Value>,
    pub(crate) json_text: Option<JsonText>,
    pub(crate) base64: Option<Base64>,
    pub(crate) file: Option<String>,
    pub(crate) repeat: Option<Repeat>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Text(String),
    Json(Value),
    Bytes(Bytes),
}

impl Written {
    /// What was written, with files of this folder; none when nothing was.
    pub(crate) fn data(&self, folder: &Path) -> Result<Option<Data>, HarnessError> {
        let Self { text, json, json_text, base64, file, repeat } = self.clone();
        let given = [
            text.map(Data::Text),
            json.map(Data::Json),
            json_text.map(|JsonText(value)| Data::Json(value)),
            base64.map(|Base64(bytes)| Data::Bytes(bytes.into())),
            file.map(|file| read(&folder.join(file))).transpose()?,
            repeat.map(|Repeat { text, times }| Data::Text(text.repeat(times))),
        ];
        let mut given = given.into_iter().flatten();
        let first = given.next();
        if given.next().is_some() {
            return Err(HarnessError::Setting(
                "data is given in two ways; write one of text, json, json-text, base64, file, repeat".to_owned(),
            ));
        }
        Ok(first)
    }
}

fn read(path: &Path) -> Result<Data, HarnessError> {
    let bytes = std::fs::read(path).map_err(|problem| HarnessError::File { path: path.to_owned(), problem })?;
    Ok(Data::Bytes(bytes.into()))
}

impl Data {
    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::Json(value) => value.to_string().into(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }

    /// The media type that goes without saying.
    pub(crate) const fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::Text(_) => Some("text/plain"),
            Self::Json(_) => Some("application/json"),
            Self::Bytes(_) => None,
        }
    }

    /// Whether these bytes are this. JSON is compared as a value.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Json(value) => serde_json::from_slice(bytes).is_ok_and(|seen: Value| same_json(value, &seen)),
            Self::Text(_) | Self::Bytes(_) => self.bytes() == bytes,
        }
    }
}

/// Whether two values are the same, however their numbers are written.
pub(crate) fn same_json(one: &Value, other: &Value) -> bool {
    match (one, other) {
        // Whole numbers to the last digit, which a float does not have.
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_json(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| same_json(value, other)))
        }
        _ => one == other,
    }
}

/// The most of a text that is shown, in characters.
const SHOWN_MAX: usize = 400;

/// Bytes for people: text in quotes, or else how many there are.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.chars().count() <= SHOWN_MAX => write!(f, "{text:?}"),
            Ok(text) => {
                let start: String = text.chars().take(SHOWN_MAX).collect();
                write!(f, "{start:?}... ({} bytes)", text.len())
            }
            Err(_) if self.0.len() <= SHOWN_MAX => write!(f, "base64 {:?}", STANDARD.encode(self.0)),
            Err(_) => write!(f, "{} bytes that are no text", self.0.len()),
        }
    }
}

/// Text, or `false` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrNone(pub(crate) Option<String>);

impl<'de> Deserialize<'de> for OrNone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "text, or false for none")]
        enum Form {
            Text(String),
            Flag(bool),
        }
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self(Some(text))),
            Form::Flag(false) => Ok(Self(None)),
            Form::Flag(true) => Err(D::Error::custom("true says nothing here; write the text, or false for none")),
        }
    }
}

/// A duration in milliseconds, or `false` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurationOrNone(pub(crate) Option<u64>);

impl<'de> Deserialize<'de> for DurationOrNone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let OrNone(text) = OrNone::deserialize(deserializer)?;
        text.map(|text| parse_duration_ms(&text)).transpose().map(Self).map_err(D::Error::custom)
    }
}
