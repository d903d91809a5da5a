//! `[handler.NAME.sample]`, `[handler.NAME.canary]` and `retries`, as they are written.

use serde::Deserialize;
use wasmill_delivery::{
    canary::CanaryPolicy,
    limits::{
        CANARY_DELIVERIES_CEILING, CANARY_DELIVERIES_DEFAULT, CANARY_DURATION_MS_DEFAULT, CANARY_DURATION_MS_MAX,
        CANARY_MARGIN_POINTS_DEFAULT, CANARY_SHARE_PERCENT_MAX,
    },
    message::check_headers,
    name::MessageKey,
    record::Sample,
    topic::Topic,
};

use super::value::{Count, DurationMs, FilePath, text};
use crate::forms::{Headers, parse_percent};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawCanary {
    share: Percent<{ CANARY_SHARE_PERCENT_MAX }>,
    deliveries: Count<1, CANARY_DELIVERIES_CEILING>,
    margin: Percent<100>,
    duration: DurationMs<1, CANARY_DURATION_MS_MAX>,
}

impl Default for RawCanary {
    fn default() -> Self {
        Self {
            share: Percent(0),
            deliveries: Count::new(CANARY_DELIVERIES_DEFAULT),
            margin: Percent(CANARY_MARGIN_POINTS_DEFAULT),
            duration: DurationMs(CANARY_DURATION_MS_DEFAULT),
        }
    }
}

impl RawCanary {
    pub(super) fn policy(&self) -> CanaryPolicy {
        CanaryPolicy {
            share_percent: self.share.0,
            deliveries: self.deliveries.get(),
            margin_points: self.margin.0,
            duration_ms: self.duration.0,
        }
    }
}

/// `10%`, at most `MAX`.
#[derive(Clone, Copy, Debug)]
struct Percent<const MAX: u32>(u32);

impl<'de, const MAX: u32> Deserialize<'de> for Percent<MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |given: &str| match parse_percent(given)? {
            percent if percent > MAX => Err(format!("{given:?} is too much; it must be at most {MAX}%")),
            percent => Ok(Self(percent)),
        };
        text(deserializer, "a percentage as text, for example \"10%\"", check)
    }
}

/// A sample message. Its data is in the file when there is one.
#[derive(Debug, Deserialize)]
#[serde(try_from = "SampleText")]
pub(super) struct RawSample {
    pub(super) sample: Sample,
    pub(super) file: Option<FilePath>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SampleText {
    topic: Topic,
    key: Option<MessageKey>,
    content_type: Option<String>,
    #[serde(default)]
    headers: Headers,
    data: Option<String>,
    file: Option<FilePath>,
}

impl TryFrom<SampleText> for RawSample {
    type Error = String;

    fn try_from(given: SampleText) -> Result<Self, String> {
        let SampleText { topic, key, content_type, headers: Headers(mut headers), data, file } = given;
        if data.is_some() && file.is_some() {
            return Err("data and file say the same thing; give one of them".to_owned());
        }
        check_headers(&mut headers).map_err(|error| error.to_string())?;
        let sample = Sample { topic, key, content_type, headers, data: data.unwrap_or_default().into() };
        sample.check().map_err(|error| error.to_string())?;
        Ok(Self { sample, file })
    }
}
