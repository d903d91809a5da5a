//! From one line to a draft.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wasmill_runtime::Draft;

use super::pointer::Pointer;
use crate::{
    forms::Headers,
    http::{cloudevents::from_base64, extract::from_json, problem::Problem, publish::Target, timing::LineTimes},
};

/// The media type of what a line holds, when it says none.
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// What a line is.
pub(in crate::http) enum Format {
    /// A JSON object that holds the data and says what else there is to say.
    Enveloped(Target),
    /// The data itself.
    Raw {
        /// Where all of it goes.
        target: Target,
        /// What all of it is.
        content_type: String,
        /// Where each line's id is.
        id: Option<Pointer>,
    },
}

impl Format {
    /// Lines that are the data.
    pub(in crate::http) fn raw(
        target: Target,
        content_type: Option<String>,
        id_pointer: Option<String>,
    ) -> Result<Self, Problem> {
        let id = id_pointer.map(|text| Pointer::new(&text)).transpose()?;
        Ok(Self::Raw { target, content_type: content_type.unwrap_or_else(|| JSON.to_owned()), id })
    }

    /// What the line says. The data is copied out of it: a slice would keep the buffer that it was read into for as
    /// long as the message lives.
    pub(super) fn draft(&self, line: &[u8]) -> Result<Draft, Problem> {
        match self {
            Self::Enveloped(target) => from_json::<Envelope<'_>>(line)?.into_draft(target),
            Self::Raw { target, content_type, id } => Ok(Draft {
                id: id.as_ref().and_then(|pointer| pointer.find(line)),
                content_type: Some(content_type.clone()),
                data: Bytes::copy_from_slice(line),
                ..target.draft(None)?
            }),
        }
    }
}

/// A line with an envelope.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    topic: Option<String>,
    id: Option<String>,
    key: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    headers: Headers,
    #[serde(borrow, default, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    data_text: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    data_base64: Option<Text<'a>>,
    delay_ms: Option<u64>,
    deliver_at: Option<String>,
    expires_after_ms: Option<u64>,
    expires_at: Option<String>,
}

/// A string that is borrowed when nothing in it is escaped.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// `null` is data, not the lack of it.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Envelope<'_> {
    fn into_draft(self, target: &Target) -> Result<Draft, Problem> {
        let (data, content_type) = match (self.data, self.data_text, self.data_base64) {
            (Some(json), None, None) => (Bytes::copy_from_slice(json.get().as_bytes()), Some(JSON)),
            (None, Some(Text(text)), None) => (text.into_owned().into(), Some(TEXT)),
            (None, None, Some(Text(text))) => (from_base64("data_base64", &text)?, None),
            (None, None, None) => return Err(data_problem("no data")),
            (Some(_), _, _) | (None, Some(_), Some(_)) => return Err(data_problem("data more than once")),
        };
        let mut draft = Draft {
            id: self.id,
            key: self.key,
            content_type: self.content_type.or_else(|| content_type.map(ToOwned::to_owned)),
            headers: self.headers.0,
            data,
            ..target.draft(self.topic)?
        };
        let Self { delay_ms, deliver_at, expires_after_ms, expires_at, .. } = self;
        LineTimes { delay_ms, deliver_at, expires_after_ms, expires_at }.put_into(&mut draft)?;
        Ok(draft)
    }
}

fn data_problem(what: &str) -> Problem {
    Problem::invalid("invalid-value", format!("the line has {what}; give one of data, data_text and data_base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(line: &str) -> Result<Draft, Problem> {
        Format::Enveloped(Target::Named).draft(line.as_bytes())
    }

    #[test]
    fn lines_become_drafts() {
        for (line, content_type, data) in [
            (r#"{"topic":"t","data": {"a" : 1e3 } }"#, Some("application/json"), r#"{"a" : 1e3 }"#),
            (r#"{"topic":"t","data":null}"#, Some("application/json"), "null"),
            (r#"{"topic":"t","data":"é"}"#, Some("application/json"), "\"é\""),
            (r#"{"topic":"t","data_text":"a\nb"}"#, Some("text/plain"), "a\nb"),
            (r#"{"topic":"t","data_base64":"aGk="}"#, None, "hi"),
            (r#"{"topic":"t","data":[],"content_type":"x/y","id":null}"#, Some("x/y"), "[]"),
        ] {
            let draft = draft(line).expect(line);
            assert_eq!((draft.content_type.as_deref(), &draft.data[..]), (content_type, data.as_bytes()), "{line}");
        }
        let pairs = [("a", "1"), ("b", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        for headers in [r#"{"a":"1","b":"2"}"#, r#"[["a","1"],["b","2"]]"#] {
            let draft =
                draft(&format!(r#"{{"topic":"t","id":"i","key":"k","headers":{headers},"data":1}}"#)).expect(headers);
            assert_eq!((draft.id.as_deref(), draft.key.as_deref()), (Some("i"), Some("k")));
            assert_eq!(draft.headers, pairs);
        }
    }

    #[test]
    fn bad_lines_are_refused_with_the_reason() {
        for (line, code, words) in [
            (r#"{"topic":"t","dta":1}"#, "unknown-field", "did you mean `data`?"),
            (r#"{"topic":"t"}"#, "invalid-value", "no data"),
            (r#"{"topic":"t","data":1,"data_text":"x"}"#, "invalid-value", "more than once"),
            (r#"{"data":1}"#, "missing-topic", "names no topic"),
            (r#"{"topic":"t","data":1"#, "invalid-json", "EOF"),
            (r#"{"topic":"t","data":1,"headers":3}"#, "invalid-value", "headers as"),
            (r#"{"topic":"t","data_base64":"?"}"#, "invalid-base64", "data_base64"),
            ("[]", "invalid-value", "at byte"),
        ] {
            let problem = draft(line).expect_err(line);
            assert_eq!(problem.code, code, "{line}: {}", problem.detail);
            assert!(problem.detail.contains(words), "{line}: {}", problem.detail);
        }
        let not_utf8 = b"{\"topic\":\"t\",\"data\":\"\xff\"}";
        let problem = Format::Enveloped(Target::Named).draft(not_utf8).expect_err("not UTF-8");
        assert_eq!(problem.code, "invalid-json");
    }

    #[test]
    fn raw_lines_are_data_whatever_they_are() {
        let raw = |pointer: Option<&str>| {
            Format::raw(Target::Topic("t".to_owned()), None, pointer.map(ToOwned::to_owned)).expect("a format")
        };
        for (line, id) in [(r#"{"id":"a"}"#, Some("a")), (r#"{"id":7}"#, Some("7")), ("not json", None), ("{}", None)] {
            let draft = raw(Some("/id")).draft(line.as_bytes()).expect(line);
            assert_eq!((draft.id.as_deref(), &draft.data[..]), (id, line.as_bytes()));
            assert_eq!(raw(None).draft(line.as_bytes()).expect(line).id, None);
        }
    }
}
