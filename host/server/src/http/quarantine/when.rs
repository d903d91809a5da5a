//! A moment as an operator gives it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use wasmill_delivery::time::Timestamp;

use crate::config::parse_duration_ms;

/// A time of day (RFC 3339), or an age such as `2h`: that long before now.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct When {
    /// As it was given.
    pub(super) text: String,
    pub(super) at: Timestamp,
}

impl TryFrom<String> for When {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let at = read(&text, now())?;
        Ok(Self { text, at })
    }
}

fn read(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(u64::try_from(time.as_millisecond()).unwrap_or_default()));
    }
    match parse_duration_ms(text) {
        Ok(age_ms) => Ok(Timestamp(now.0.saturating_sub(age_ms))),
        Err(_) => Err(format!(
            "{text:?} is neither a time nor an age; write for example \"2026-03-01T08:00:00Z\", \"2h\" or \"7d\""
        )),
    }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_read() {
        let now = Timestamp(1_000_000_000);
        for (text, at) in [
            ("1970-01-01T00:00:01Z", 1_000),
            ("1970-01-01T01:00:00.5+01:00", 500),
            ("2h", 1_000_000_000 - 7_200_000),
            ("7d", 1_000_000_000 - 604_800_000),
            ("100d", 0),
        ] {
            assert_eq!(read(text, now), Ok(Timestamp(at)), "{text}");
        }
        for bad in ["", "yesterday", "7", "2026-03-01"] {
            assert!(read(bad, now).is_err_and(|problem| problem.contains("nor an age")), "{bad}");
        }
    }
}
