//! When a message is delivered, and when it is of no use any more, as publishers say it.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use wasmill_delivery::time::Timestamp;
use wasmill_runtime::Draft;

use super::{problem::Problem, publish::header_text};
use crate::{config::parse_duration_ms, forms};

const DELAY_HEADER: &str = "wasmill-delay";
const DELIVER_AT_HEADER: &str = "wasmill-deliver-at";
const EXPIRES_AFTER_HEADER: &str = "wasmill-expires-after";
const EXPIRES_AT_HEADER: &str = "wasmill-expires-at";

/// The fields of a line that say when. Times are by RFC 3339.
pub(super) struct LineTimes {
    pub(super) delay_ms: Option<u64>,
    pub(super) deliver_at: Option<String>,
    pub(super) expires_after_ms: Option<u64>,
    pub(super) expires_at: Option<String>,
}

impl LineTimes {
    pub(super) fn put_into(&self, draft: &mut Draft) -> Result<(), Problem> {
        let at = |field: &str, text: &Option<String>| text.as_deref().map(|text| time(field, text)).transpose();
        let deliver_at = at("deliver_at", &self.deliver_at)?;
        let expires_at = at("expires_at", &self.expires_at)?;
        draft.deliver_at = one_of(("delay_ms", self.delay_ms), ("deliver_at", deliver_at))?;
        draft.expires_at = one_of(("expires_after_ms", self.expires_after_ms), ("expires_at", expires_at))?;
        Ok(())
    }
}

/// What the headers of a request for one message say.
pub(super) fn put_headers(headers: &HeaderMap, draft: &mut Draft) -> Result<(), Problem> {
    let span = |name: &str| text(headers, name)?.map(|text| duration_ms(name, &text)).transpose();
    let at = |name: &str| text(headers, name)?.map(|text| time(name, &text)).transpose();
    let deliver = ((DELAY_HEADER, span(DELAY_HEADER)?), (DELIVER_AT_HEADER, at(DELIVER_AT_HEADER)?));
    let expires = ((EXPIRES_AFTER_HEADER, span(EXPIRES_AFTER_HEADER)?), (EXPIRES_AT_HEADER, at(EXPIRES_AT_HEADER)?));
    draft.deliver_at = one_of(deliver.0, deliver.1)?;
    match (draft.expires_at, one_of(expires.0, expires.1)?) {
        (Some(_), Some(_)) => return Err(twice("expirytime of the event", "an expiry of the request")),
        (None, given @ Some(_)) => draft.expires_at = given,
        (Some(_) | None, None) => {}
    }
    Ok(())
}

/// Requests for many messages say it of each of them, not in their headers.
pub(super) fn refuse_headers(headers: &HeaderMap) -> Result<(), Problem> {
    let names = [DELAY_HEADER, DELIVER_AT_HEADER, EXPIRES_AFTER_HEADER, EXPIRES_AT_HEADER];
    match names.iter().find(|name| headers.contains_key(**name)) {
        Some(name) => {
            let detail = format!(
                "header {name} is for a request with one message; of many, give delay_ms, deliver_at, \
                 expires_after_ms or expires_at in each line, or expirytime in each event"
            );
            Err(Problem::malformed("invalid-header", detail))
        }
        None => Ok(()),
    }
}

/// Read a time that a field or header gives.
pub(super) fn time(field: &str, text: &str) -> Result<Timestamp, Problem> {
    forms::parse_time(text).map_err(|problem| Problem::malformed("invalid-time", format!("{field}: {problem}")))
}

/// Read a duration that a field or header gives, in milliseconds.
pub(super) fn duration_ms(field: &str, text: &str) -> Result<u64, Problem> {
    parse_duration_ms(text).map_err(|problem| Problem::malformed("invalid-duration", format!("{field}: {problem}")))
}

/// The time now, in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// The time that is given, or what is so far from now.
fn one_of(after: (&str, Option<u64>), at: (&str, Option<Timestamp>)) -> Result<Option<Timestamp>, Problem> {
    match (after.1, at.1) {
        (Some(_), Some(_)) => Err(twice(after.0, at.0)),
        (Some(ms), None) => Ok(Some(Timestamp(now_ms()).plus_ms(ms))),
        (None, at) => Ok(at),
    }
}

fn twice(one: &str, other: &str) -> Problem {
    Problem::malformed("conflicting-times", format!("{one} and {other} are both given; leave one out"))
}

fn text(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    headers.get(name).map(|value| header_text(name, value)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_headers(headers: &[(&'static str, &'static str)]) -> Result<Draft, Problem> {
        let headers = headers.iter().map(|(name, value)| {
            (axum::http::HeaderName::from_static(name), axum::http::HeaderValue::from_static(value))
        });
        let mut draft = Draft::new("t", "");
        put_headers(&headers.collect(), &mut draft).map(|()| draft)
    }

    #[test]
    fn headers_say_when_by_a_duration_or_a_time() {
        let before = now_ms();
        let draft = of_headers(&[(DELAY_HEADER, "30s"), (EXPIRES_AT_HEADER, "1970-01-01T00:00:02Z")]).expect("good");
        let delay = draft.deliver_at.expect("a delay").0 - before;
        assert!((30_000..90_000).contains(&delay), "{delay}");
        assert_eq!(draft.expires_at, Some(Timestamp(2_000)));
        assert_eq!(of_headers(&[]).expect("good").deliver_at, None);
    }

    #[test]
    fn what_cannot_be_read_names_the_header_and_an_example() {
        for (headers, code, words) in [
            (&[(DELAY_HEADER, "30")][..], "invalid-duration", "wasmill-delay: \"30\" is not a duration"),
            (&[(DELIVER_AT_HEADER, "noon")], "invalid-time", "for example \"2026-07-01T12:00:00Z\""),
            (&[(EXPIRES_AFTER_HEADER, "-1s")], "invalid-duration", "wasmill-expires-after"),
            (
                &[(DELAY_HEADER, "1s"), (DELIVER_AT_HEADER, "2026-07-01T12:00:00Z")],
                "conflicting-times",
                "leave one out",
            ),
        ] {
            let problem = of_headers(headers).expect_err(words);
            assert_eq!((problem.status.as_u16(), problem.code), (400, code), "{}", problem.detail);
            assert!(problem.detail.contains(words), "{}", problem.detail);
        }
    }
}
