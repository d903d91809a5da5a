//! Cron expressions in time zones: the only place that knows calendars.
//!
//! A clock that is put forward or back is dealt with as Vixie cron does: a time of day that does not exist fires at the
//! first instant after the gap, a time of day that comes twice fires at the first of the two. Expressions that run
//! through the hours (`0 * * * *`, `*/5 * * * *`) follow the real time: they fire through the hour that comes twice, and
//! have nothing in the one that is left out.

use std::collections::VecDeque;

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Zoned, tz::TimeZone};
use wasmill_delivery::{limits::CRON_BYTES_MAX, time::Timestamp};

/// The fields of an expression of six; one of five has no seconds.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31, or L for the last"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of week", "0 to 7, or SUN to SAT"),
];
/// What cron calls by a name.
const NICKNAMES: [&str; 6] = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually"];
const EXAMPLE: &str =
    "for example \"*/15 * * * *\" (every 15 minutes), \"30 7 * * MON-FRI\" (7:30 on weekdays) or \"@hourly\"";

/// A schedule's times cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The expression cannot be read.
    #[error("cron expression {given:?}: {problem}; {EXAMPLE}")]
    Cron {
        /// What was given, cut when it is long.
        given: String,
        /// What is wrong, and in which field.
        problem: String,
    },
    /// There is no such time zone.
    #[error(
        "there is no time zone {given:?}; give its IANA name, for example \"Europe/Berlin\", \"America/New_York\" or \"UTC\""
    )]
    Zone {
        /// What was given, cut when it is long.
        given: String,
    },
    /// It can be read and has no time to come.
    #[error("cron expression {given:?} never comes: no day is like that; {EXAMPLE}")]
    Never {
        /// What was given.
        given: String,
    },
}

/// The times of a schedule.
#[derive(Clone, Debug)]
pub struct Calendar {
    cron: Cron,
    zone: TimeZone,
}

impl Calendar {
    /// Read an expression of five fields, or six with seconds in front, or a name such as `@hourly`, and the IANA name
    /// of the time zone that it means.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn new(cron: &str, timezone: &str) -> Result<Self, CalendarError> {
        let zone = TimeZone::get(timezone).map_err(|_| CalendarError::Zone { given: cut(timezone) })?;
        Ok(Self { cron: parse(cron)?, zone })
    }

    /// The first time after that one; none when there is no further one.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let time = jiff::Timestamp::from_millisecond(i64::try_from(time.0).ok()?).ok()?;
        let mut from = time.to_zoned(self.zone.clone());
        loop {
            let next: Zoned = self.cron.find_next_occurrence(&from, false).ok()?;
            // An hour that comes twice can be found from its second coming on; time must not go back.
            if next.timestamp() > time {
                return Some(Timestamp(u64::try_from(next.timestamp().as_millisecond()).ok()?));
            }
            from = from.checked_add(jiff::Span::new().minutes(1)).ok()?;
        }
    }

    /// The first of the last `max` times up to `until`, when `first` is one of the times.
    #[must_use]
    pub fn first_of_last(&self, first: Timestamp, until: Timestamp, max: u32) -> Timestamp {
        let max = max.max(1) as usize;
        // Look back over longer and longer stretches, so that a long rest of a frequent schedule costs little.
        let mut stretch_ms = 60_000;
        loop {
            let from = Timestamp(until.0.saturating_sub(stretch_ms)).max(first);
            let mut last: VecDeque<Timestamp> = (from == first).then_some(first).into_iter().collect();
            let mut at = from;
            while let Some(next) = self.next_after(at).filter(|next| *next <= until) {
                if last.len() == max {
                    last.pop_front();
                }
                last.push_back(next);
                at = next;
            }
            match last.front() {
                Some(oldest) if last.len() == max || from == first => return *oldest,
                Some(_) | None if from == first => return first,
                Some(_) | None => stretch_ms = stretch_ms.saturating_mul(2),
            }
        }
    }
}

fn parse(given: &str) -> Result<Cron, CalendarError> {
    let refuse = |problem: String| Err(CalendarError::Cron { given: cut(given), problem });
    if given.len() > CRON_BYTES_MAX {
        return refuse(format!("it is {} bytes long; at most {CRON_BYTES_MAX} are read", given.len()));
    }
    let fields: Vec<&str> = given.split_whitespace().collect();
    if given.trim_start().starts_with('@') {
        if !NICKNAMES.iter().any(|name| name.eq_ignore_ascii_case(given.trim())) {
            return refuse(format!("no such name; there are {}", NICKNAMES.join(", ")));
        }
    } else if !(5..=6).contains(&fields.len()) {
        let count = fields.len();
        return refuse(format!(
            "it has {count} fields; write minute, hour, day of month, month and day of week, or six with the second in front"
        ));
    }
    match parser().parse(given) {
        Ok(cron) => Ok(cron),
        Err(error) => refuse(wrong_field(&fields).unwrap_or_else(|| error.to_string())),
    }
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build()
}

/// The first field that cannot be read when all others are `*`.
fn wrong_field(fields: &[&str]) -> Option<String> {
    let names = &FIELDS[FIELDS.len().checked_sub(fields.len())?..];
    for (index, (field, (name, range))) in fields.iter().zip(names).enumerate() {
        let mut alone = vec!["*"; fields.len()];
        alone[index] = field;
        if parser().parse(&alone.join(" ")).is_err() {
            let place = index + 1;
            return Some(format!(
                "field {place}, the {name}, is {field:?}; it holds {range}, `*`, lists, ranges and steps"
            ));
        }
    }
    None
}

fn cut(given: &str) -> String {
    given.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        let time: jiff::Timestamp = time.parse().expect("a time");
        Timestamp(u64::try_from(time.as_millisecond()).expect("since 1970"))
    }

    fn next(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let calendar = Calendar::new(cron, zone).expect("a good schedule");
        let times = std::iter::successors(calendar.next_after(at(after)), |last| calendar.next_after(*last));
        times.take(count).map(show).collect()
    }

    fn assert_fires(cron: &str, zone: &str, after: &str, times: &[&str]) {
        assert_eq!(next(cron, zone, after, times.len()), times, "{cron} in {zone}");
    }

    fn show(time: Timestamp) -> String {
        jiff::Timestamp::from_millisecond(i64::try_from(time.0).expect("soon")).expect("a time").to_string()
    }

    #[test]
    fn expressions_say_when() {
        for (cron, zone, after, times) in [
            ("*/15 * * * *", "UTC", "2026-01-01T00:00:00Z", ["2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"]),
            ("*/20 * * * * *", "UTC", "2026-01-01T00:00:39.5Z", ["2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z"]),
            ("@hourly", "Asia/Kolkata", "2026-01-01T00:00:00Z", ["2026-01-01T00:30:00Z", "2026-01-01T01:30:00Z"]),
            ("@DAILY", "Europe/Berlin", "2026-01-01T00:00:00Z", ["2026-01-01T23:00:00Z", "2026-01-02T23:00:00Z"]),
            ("30 7 * * mon-FRI", "UTC", "2026-01-02T08:00:00Z", ["2026-01-05T07:30:00Z", "2026-01-06T07:30:00Z"]),
            ("0 0 L feb *", "UTC", "2026-01-01T00:00:00Z", ["2026-02-28T00:00:00Z", "2027-02-28T00:00:00Z"]),
            ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            ("0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", ["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"]),
        ] {
            assert_fires(cron, zone, after, &times);
        }
    }

    /// Berlin: 2026-03-29 02:00 +01:00 becomes 03:00 +02:00. New York: 2026-03-08 02:00 -05:00 becomes 03:00 -04:00.
    #[test]
    fn a_time_of_day_that_does_not_exist_fires_once_at_the_next_instant() {
        for (cron, zone, after, times) in [
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-27T12:00:00Z",
                ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
            ),
            (
                "30 2 * * *",
                "America/New_York",
                "2026-03-06T12:00:00Z",
                ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
            ),
            (
                "30 * * * *",
                "Europe/Berlin",
                "2026-03-29T00:00:00Z",
                ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"],
            ),
        ] {
            assert_fires(cron, zone, after, &times);
        }
    }

    /// Berlin: 2026-10-25 03:00 +02:00 becomes 02:00 +01:00. New York: 2026-11-01 02:00 -04:00 becomes 01:00 -05:00.
    #[test]
    fn a_time_of_day_that_comes_twice_fires_once() {
        for (cron, zone, after, times) in [
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-23T12:00:00Z",
                ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
            ),
            (
                "30 1 * * *",
                "America/New_York",
                "2026-10-30T12:00:00Z",
                ["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
            ),
            (
                "0 30 1 * * *",
                "America/New_York",
                "2026-11-01T05:45:00Z",
                ["2026-11-02T06:30:00Z", "2026-11-03T06:30:00Z", "2026-11-04T06:30:00Z"],
            ),
        ] {
            assert_fires(cron, zone, after, &times);
        }
    }

    /// Whatever the zone does, times only grow, and a schedule through the hours never stands still.
    #[test]
    fn times_only_grow_over_two_years_of_changes() {
        for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"] {
            let calendar = Calendar::new("*/10 * * * *", zone).expect("a good schedule");
            let (mut time, end) = (at("2026-01-01T00:00:00Z"), at("2028-01-01T00:00:00Z"));
            while time < end {
                let next = calendar.next_after(time).expect("a next one");
                assert!(next > time && next.0 - time.0 <= 2 * 3_600_000, "{zone}: {} to {}", show(time), show(next));
                time = next;
            }
        }
    }

    #[test]
    fn the_last_times_are_counted_back_from_the_end() {
        let calendar = Calendar::new("* * * * * *", "UTC").expect("a good schedule");
        let (first, until) = (at("2020-01-01T00:00:00Z"), at("2026-01-01T00:00:00.5Z"));
        assert_eq!(show(calendar.first_of_last(first, until, 1_000)), "2025-12-31T23:43:21Z");
        assert_eq!(calendar.first_of_last(first, Timestamp(first.0 + 5_000), 1_000), first);
        assert_eq!(show(calendar.first_of_last(first, Timestamp(first.0 + 5_000), 3)), "2020-01-01T00:00:03Z");
        assert_eq!(calendar.first_of_last(first, first, 3), first);
        let yearly = Calendar::new("@yearly", "UTC").expect("a good schedule");
        assert_eq!(show(yearly.first_of_last(first, until, 2)), "2025-01-01T00:00:00Z");
        assert_eq!(yearly.first_of_last(first, until, 100), first);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_field_and_an_example() {
        for (cron, words) in [
            ("61 * * * *", "field 1, the minute, is \"61\"; it holds 0 to 59"),
            ("0 0 32 * *", "field 3, the day of month, is \"32\""),
            ("* * 24 * * *", "field 3, the hour, is \"24\""),
            ("0 0 * FOO *", "field 4, the month, is \"FOO\""),
            ("0 0 * * MOO", "field 5, the day of week"),
            ("* * * *", "it has 4 fields"),
            ("* * * * * * 2027", "it has 7 fields"),
            ("", "it has 0 fields"),
            ("@often", "there are @hourly"),
        ] {
            let error = Calendar::new(cron, "UTC").expect_err(cron).to_string();
            assert!(error.contains(words) && error.contains("for example \"*/15 * * * *\""), "{error}");
        }
        let long = Calendar::new(&"1,".repeat(CRON_BYTES_MAX), "UTC").expect_err("too long").to_string();
        assert!(long.contains("at most 255"), "{long}");
        let zone = Calendar::new("@daily", "Europe/Potsdam").expect_err("no such zone").to_string();
        assert!(zone.contains("no time zone \"Europe/Potsdam\"") && zone.contains("Europe/Berlin"), "{zone}");
        let never = Calendar::new("0 0 30 2 *", "UTC").expect("well formed");
        assert_eq!(never.next_after(at("2026-01-01T00:00:00Z")), None);
    }
}
