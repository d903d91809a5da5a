//! What is written the same way in the configuration, the API and on the command line: times, headers, bindings, where
//! a consumer begins, the wait between attempts.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use wasmill_delivery::{
    limits::BINDING_HEADERS_MAX,
    message::check_headers,
    name::{NameError, Sequence},
    policy::Backoff,
    record::{Binding, HeaderMatch, MatchMode, Start},
    time::Timestamp,
    topic::TopicPattern,
};

/// Read a time by RFC 3339. What is before 1970 is taken for 1970, which is as long over.
///
/// # Errors
/// When it is not one, in words for whoever wrote it.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(Timestamp(u64::try_from(time.as_millisecond()).unwrap_or(0))),
        Err(_) => Err(format!(
            "{text:?} is not a time; write it with its offset as RFC 3339 has it, for example \"2026-07-01T12:00:00Z\""
        )),
    }
}

/// A time as RFC 3339 writes it, in UTC; the number when it is beyond the calendar.
#[must_use]
pub fn time_text(time: Timestamp) -> String {
    let stamp = i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| time.0.to_string(), |stamp| stamp.to_string())
}

/// A time as text, by RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time_text(self.0))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_time(&text).map(Self).map_err(D::Error::custom)
    }
}

/// Where a new consumer begins: `"beginning"`, `"end"`, `{"sequence": 7}`, `{"time": "2026-07-01T12:00:00Z"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartForm {
    /// With the oldest message.
    Beginning,
    /// With the next message.
    End,
    /// With the message at that place.
    Sequence(u64),
    /// With the first message since that time.
    Time(Time),
}

impl From<StartForm> for Start {
    fn from(form: StartForm) -> Self {
        match form {
            StartForm::Beginning => Self::Beginning,
            StartForm::End => Self::End,
            StartForm::Sequence(at) => Self::Sequence(Sequence(at)),
            StartForm::Time(Time(at)) => Self::Time(at),
        }
    }
}

impl From<Start> for StartForm {
    fn from(start: Start) -> Self {
        match start {
            Start::Beginning => Self::Beginning,
            Start::End => Self::End,
            Start::Sequence(Sequence(at)) => Self::Sequence(at),
            Start::Time(at) => Self::Time(Time(at)),
        }
    }
}

/// As the command line writes it: `beginning`, `end`, a sequence, a time.
impl FromStr for StartForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("beginning", _) => Ok(Self::Beginning),
            ("end", _) => Ok(Self::End),
            (_, Ok(sequence)) => Ok(Self::Sequence(sequence)),
            (_, Err(_)) => parse_time(text).map(|at| Self::Time(Time(at))).map_err(|_| {
                format!(
                    "{text:?} is no start; write beginning, end, a sequence, or a time such as 2026-07-01T12:00:00Z"
                )
            }),
        }
    }
}

impl fmt::Display for StartForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("beginning"),
            Self::End => f.write_str("end"),
            Self::Sequence(at) => write!(f, "sequence {at}"),
            Self::Time(Time(at)) => f.write_str(&time_text(*at)),
        }
    }
}

/// Read a percentage, with or without its sign.
///
/// # Errors
/// When it is not one, in words for whoever wrote it.
pub fn parse_percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let percent = number.parse().ok().filter(|percent| *percent <= 100);
    percent
        .ok_or_else(|| format!("{text:?} is not a percentage; write a whole number from 0 to 100, for example \"10%\""))
}

/// Headers as `{name: value}`, or `[[name, value]]` when names repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(headers) = self;
        let repeats =
            |(at, (name, _)): (usize, &(String, String))| headers[..at].iter().any(|(other, _)| other == name);
        if headers.iter().enumerate().any(repeats) {
            return serializer.collect_seq(headers);
        }
        serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers as {name: value} or [[name, value]]")
    }

    fn visit_unit<E>(self) -> Result<Headers, E> {
        Ok(Headers::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut headers = Vec::new();
        while let Some(header) = map.next_entry()? {
            headers.push(header);
        }
        Ok(Headers(headers))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Headers, A::Error> {
        let mut headers = Vec::new();
        while let Some(header) = seq.next_element()? {
            headers.push(header);
        }
        Ok(Headers(headers))
    }
}

/// A binding: a topic pattern, or `{"topic": "orders.#", "headers": {"region": "eu"}, "match": "any"}`. The names in
/// it are not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingForm {
    topic: String,
    headers: Headers,
    mode: MatchMode,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullBinding {
    topic: String,
    #[serde(default)]
    headers: Headers,
    r#match: Option<MatchMode>,
}

impl BindingForm {
    fn new(topic: String, headers: Headers, mode: Option<MatchMode>) -> Result<Self, String> {
        if headers.0.len() > BINDING_HEADERS_MAX {
            return Err(format!("a binding names {} headers; at most {BINDING_HEADERS_MAX}", headers.0.len()));
        }
        if headers.0.is_empty() && mode.is_some() {
            return Err("a binding says how headers match and names none; give headers, or leave match out".to_owned());
        }
        Ok(Self { topic, headers, mode: mode.unwrap_or_default() })
    }

    /// Check the names in it, and make those of headers lower case.
    ///
    /// # Errors
    /// When a name breaks its rule.
    pub fn binding(self) -> Result<Binding, NameError> {
        let Self { topic, headers: Headers(mut headers), mode } = self;
        check_headers(&mut headers)?;
        let headers = (!headers.is_empty()).then_some(HeaderMatch { mode, headers });
        Ok(Binding { topic: TopicPattern::new(topic)?, headers })
    }
}

impl From<Binding> for BindingForm {
    fn from(binding: Binding) -> Self {
        let HeaderMatch { mode, headers } =
            binding.headers.unwrap_or(HeaderMatch { mode: MatchMode::All, headers: Vec::new() });
        Self { topic: binding.topic.into(), headers: Headers(headers), mode }
    }
}

impl Serialize for BindingForm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.headers.0.is_empty() {
            return serializer.serialize_str(&self.topic);
        }
        let Self { topic, headers, mode } = self.clone();
        FullBinding { topic, headers, r#match: Some(mode) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BindingForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BindingVisitor)
    }
}

struct BindingVisitor;

impl<'de> Visitor<'de> for BindingVisitor {
    type Value = BindingForm;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a topic pattern, or topic, headers and match")
    }

    fn visit_str<E: Error>(self, topic: &str) -> Result<BindingForm, E> {
        BindingForm::new(topic.to_owned(), Headers::default(), None).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BindingForm, A::Error> {
        let FullBinding { topic, headers, r#match } = Deserialize::deserialize(MapAccessDeserializer::new(map))?;
        BindingForm::new(topic, headers, r#match).map_err(A::Error::custom)
    }
}

/// As the command line writes it: a pattern, and behind it the headers, `orders.# region=eu tier=1`. With `any` between
/// them one of the headers is enough.
impl FromStr for BindingForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace().peekable();
        let topic = words.next().unwrap_or_default().to_owned();
        let mode = match words.peek() {
            Some(&"all") => Some(MatchMode::All),
            Some(&"any") => Some(MatchMode::Any),
            Some(_) | None => None,
        };
        let headers = words.skip(usize::from(mode.is_some())).map(|word| match word.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("{word:?} is no header; write NAME=VALUE, for example \"orders.# region=eu\"")),
        });
        let headers: Result<_, String> = headers.collect();
        Self::new(topic, Headers(headers?), mode)
    }
}

impl fmt::Display for BindingForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.topic)?;
        if self.mode == MatchMode::Any {
            f.write_str(" any")?;
        }
        self.headers.0.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

/// A backoff of which any part may be left out: `initial_ms`, `factor` and `cap_ms`, or `fixed_ms`, or `delays_ms`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackoffForm {
    /// The first wait, in milliseconds.
    pub initial_ms: Option<u64>,
    /// By how much each wait is longer than the one before.
    pub factor: Option<u32>,
    /// The longest wait, in milliseconds.
    pub cap_ms: Option<u64>,
    /// Every wait, in milliseconds.
    pub fixed_ms: Option<u64>,
    /// One wait after the other, in milliseconds.
    pub delays_ms: Option<Vec<u64>>,
    /// Unless it is said, an exponential wait has jitter; one that is given exactly is exact.
    pub jitter: Option<bool>,
}

impl BackoffForm {
    /// With defaults for what was left out.
    ///
    /// # Errors
    /// When it is of several kinds at once.
    pub fn backoff(self) -> Result<Backoff, String> {
        let Self { initial_ms, factor, cap_ms, fixed_ms, delays_ms, jitter } = self;
        let exponential = initial_ms.is_some() || factor.is_some() || cap_ms.is_some();
        match (exponential, fixed_ms, delays_ms) {
            (_, None, None) => Ok(Backoff::Exponential {
                initial_ms: initial_ms.unwrap_or(100),
                factor: factor.unwrap_or(2),
                cap_ms: cap_ms.unwrap_or(60_000),
                jitter: jitter.unwrap_or(true),
            }),
            (false, Some(fixed_ms), None) => Ok(Backoff::Fixed { fixed_ms, jitter: jitter.unwrap_or(false) }),
            (false, None, Some(delays_ms)) if delays_ms.is_empty() => {
                Err("the list of delays is empty; give at least one, or leave it out".to_owned())
            }
            (false, None, Some(delays_ms)) => Ok(Backoff::List { delays_ms, jitter: jitter.unwrap_or(false) }),
            (true, _, _) | (false, Some(_), Some(_)) => {
                Err("a backoff grows (initial, factor, cap), or is fixed, or is a list of delays; leave out the others"
                    .to_owned())
            }
        }
    }
}

/// What a retention without any bound is told.
pub const RETENTION_WITHOUT_BOUND: &str =
    "a retention without a bound keeps everything for ever; give messages, bytes or age, or leave retention out";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_rfc_3339() {
        assert_eq!(parse_time("1970-01-01T00:00:01.5Z"), Ok(Timestamp(1_500)));
        assert_eq!(parse_time("1970-01-01T02:00:00+02:00"), Ok(Timestamp(0)));
        assert_eq!(parse_time("1969-01-01T00:00:00Z"), Ok(Timestamp(0)));
        assert_eq!(time_text(Timestamp(1_500)), "1970-01-01T00:00:01.5Z");
        for bad in ["", "tomorrow", "2026-07-01", "2026-07-01T12:00:00", "1783000000"] {
            let refusal = parse_time(bad).expect_err(bad);
            assert!(refusal.contains("for example \"2026-07-01T12:00:00Z\""), "{refusal}");
        }
    }

    #[test]
    fn bindings_are_written_in_two_ways_and_come_back() {
        for (json, words, headers) in [
            (r##""orders.#""##, "orders.#", None),
            (
                r#"{"topic":"a.*","headers":{"region":"eu","tier":"1"},"match":"any"}"#,
                "a.* any region=eu tier=1",
                Some(MatchMode::Any),
            ),
            (r#"{"topic":"a","headers":[["x","1"],["x","2"]],"match":"all"}"#, "a x=1 x=2", Some(MatchMode::All)),
        ] {
            let form: BindingForm = serde_json::from_str(json).expect(json);
            assert_eq!(form.to_string(), words);
            assert_eq!(words.parse(), Ok(form.clone()));
            let binding = form.binding().expect(json);
            assert_eq!(binding.headers.as_ref().map(|headers| headers.mode), headers);
            assert_eq!(serde_json::to_string(&BindingForm::from(binding)).expect("JSON"), json);
        }
        let upper: BindingForm = serde_json::from_str(r#"{"topic":"a","headers":{"Region":"EU"}}"#).expect("a binding");
        let upper = upper.binding().expect("a binding").headers.expect("headers");
        assert_eq!(upper.headers, [("region".to_owned(), "EU".to_owned())], "names are lower case, values as they are");
    }

    #[test]
    fn bad_bindings_are_refused_with_the_reason() {
        let many: Vec<String> = (0..=BINDING_HEADERS_MAX).map(|n| format!(r#""h{n}":"1""#)).collect();
        for (json, words) in [
            (r#"{"topic":"a","match":"any"}"#, "names none"),
            (&*format!(r#"{{"topic":"a","headers":{{{}}}}}"#, many.join(",")), "17 headers; at most 16"),
            (r#"{"topic":"a","header":{}}"#, "unknown field `header`"),
            (r#"{"topic":"a","headers":3}"#, "headers as"),
            (r#"{"headers":{"a":"1"}}"#, "missing field `topic`"),
            ("3", "a topic pattern, or topic, headers and match"),
        ] {
            let refusal = serde_json::from_str::<BindingForm>(json).expect_err(json).to_string();
            assert!(refusal.contains(words), "{json}: {refusal}");
        }
        let bad: BindingForm = serde_json::from_str(r#"{"topic":"a","headers":{"b c":"1"}}"#).expect("not checked yet");
        assert!(bad.binding().expect_err("a bad name").to_string().contains("token"));
        assert!("a b".parse::<BindingForm>().expect_err("no header").contains("NAME=VALUE"));
    }

    #[test]
    fn starts_are_written_in_four_ways() {
        for (json, argument) in [
            (r#""beginning""#, "beginning"),
            (r#""end""#, "end"),
            (r#"{"sequence":7}"#, "7"),
            (r#"{"time":"2026-07-01T12:00:00Z"}"#, "2026-07-01T12:00:00Z"),
        ] {
            let form: StartForm = serde_json::from_str(json).expect(json);
            assert_eq!(argument.parse(), Ok(form));
            assert_eq!(StartForm::from(Start::from(form)), form);
            assert_eq!(serde_json::to_string(&form).expect("JSON"), json);
        }
        assert!("soon".parse::<StartForm>().expect_err("no start").contains("beginning, end, a sequence"));
    }

    #[test]
    fn a_backoff_is_of_one_kind() {
        let form = |json: &str| serde_json::from_str::<BackoffForm>(json).expect(json).backoff();
        assert_eq!(form("{}"), Ok(Backoff::default()));
        assert_eq!(form(r#"{"fixed_ms":5}"#), Ok(Backoff::Fixed { fixed_ms: 5, jitter: false }));
        let list = Backoff::List { delays_ms: vec![1, 2], jitter: true };
        assert_eq!(form(r#"{"delays_ms":[1,2],"jitter":true}"#), Ok(list));
        for json in [r#"{"fixed_ms":5,"cap_ms":6}"#, r#"{"fixed_ms":5,"delays_ms":[6]}"#, r#"{"delays_ms":[]}"#] {
            assert!(form(json).is_err(), "{json}");
        }
    }
}
