//! `[schedule.NAME]` as it is written.

use serde::Deserialize;
use wasmill_delivery::{
    limits::{SCHEDULE_MISSED_CEILING, SCHEDULE_MISSED_DEFAULT},
    message::check_headers,
    name::{MessageKey, NameError},
    schedule::Missed,
    topic::Topic,
};
use wasmill_runtime::{Calendar, ScheduleSettings};

use super::value::{Count, text};
use crate::forms::Headers;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSchedule {
    cron: CronText,
    #[serde(default)]
    timezone: ZoneText,
    topic: Topic,
    key: Option<MessageKey>,
    content_type: Option<String>,
    #[serde(default)]
    headers: RawHeaders,
    #[serde(default)]
    data: String,
    #[serde(default)]
    missed: RawMissed,
    #[serde(default = "missed_max_default")]
    missed_max: Count<1, { SCHEDULE_MISSED_CEILING as u64 }>,
    paused: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawMissed {
    Skip,
    #[default]
    Once,
    All,
}

fn missed_max_default() -> Count<1, { SCHEDULE_MISSED_CEILING as u64 }> {
    Count::new(SCHEDULE_MISSED_DEFAULT.into())
}

impl RawSchedule {
    pub(super) fn settings(self) -> ScheduleSettings {
        let missed = match self.missed {
            RawMissed::Skip => Missed::Skip,
            RawMissed::Once => Missed::Once,
            RawMissed::All => Missed::All { max: self.missed_max.get() },
        };
        ScheduleSettings {
            cron: self.cron.0,
            timezone: self.timezone.0,
            topic: self.topic.to_string(),
            key: self.key.map(String::from),
            content_type: self.content_type,
            headers: self.headers.0,
            data: self.data.into(),
            missed,
            paused: self.paused,
        }
    }
}

/// Headers that a message can have.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Headers")]
struct RawHeaders(Vec<(String, String)>);

impl TryFrom<Headers> for RawHeaders {
    type Error = NameError;

    fn try_from(Headers(mut headers): Headers) -> Result<Self, NameError> {
        check_headers(&mut headers)?;
        Ok(Self(headers))
    }
}

/// A cron expression that can be read.
#[derive(Debug)]
struct CronText(String);

impl<'de> Deserialize<'de> for CronText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |given: &str| match Calendar::new(given, "UTC") {
            Ok(_) => Ok(Self(given.to_owned())),
            Err(error) => Err(error.to_string()),
        };
        text(deserializer, "a cron expression as text, for example \"30 7 * * MON-FRI\"", check)
    }
}

/// A time zone that there is.
#[derive(Debug)]
struct ZoneText(String);

impl Default for ZoneText {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

impl<'de> Deserialize<'de> for ZoneText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |given: &str| match Calendar::new("@daily", given) {
            Ok(_) => Ok(Self(given.to_owned())),
            Err(error) => Err(error.to_string()),
        };
        text(deserializer, "a time zone as text, for example \"Europe/Berlin\"", check)
    }
}
