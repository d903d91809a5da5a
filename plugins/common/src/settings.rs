//! Config values: text that an operator wrote.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use serde::de::DeserializeOwned;
use wasmill::{Context, Failure, Result, throttle};

use crate::{Pick, Template};

/// How long a plugin that is not configured rightly waits before it looks again.
pub const MISCONFIGURED_WAIT: Duration = Duration::from_secs(30);

/// A line for the host's log and the record of the attempt.
#[allow(clippy::print_stderr, reason = "that is how a handler logs")]
pub fn log(line: impl Display) {
    eprintln!("{line}");
}

/// The operator's to mend, not the message's: the consumer waits (or the message's key, when it keeps an order by key) and looks
/// again every [`MISCONFIGURED_WAIT`]. No attempt is used up, nothing is put into quarantine, and the log says what to mend.
#[must_use]
pub fn misconfigured(problem: impl Display) -> Failure {
    let wait = MISCONFIGURED_WAIT.as_secs();
    log(format_args!("misconfigured: {problem}. Deliveries wait; the next look is in {wait} s"));
    throttle(MISCONFIGURED_WAIT)
}

/// A config value as whatever is read from text; none when it is absent or empty.
///
/// # Errors
/// [`misconfigured`], when it cannot be read.
pub fn optional<T: FromStr<Err: Display>>(ctx: &Context, name: &str) -> Result<Option<T>> {
    let Some(text) = text(ctx, name) else { return Ok(None) };
    let read = text.parse().map_err(|problem| misconfigured(format_args!("config {name} is {text:?}: {problem}")))?;
    Ok(Some(read))
}

/// As [`optional`], with a default.
///
/// # Errors
/// As [`optional`].
pub fn or<T: FromStr<Err: Display>>(ctx: &Context, name: &str, default: T) -> Result<T> {
    Ok(optional(ctx, name)?.unwrap_or(default))
}

/// As [`optional`], and it must be there.
///
/// # Errors
/// As [`optional`], and when it is missing.
pub fn required<T: FromStr<Err: Display>>(ctx: &Context, name: &str) -> Result<T> {
    optional(ctx, name)?.ok_or_else(|| misconfigured(format_args!("config {name} is missing")))
}

/// A config value that is JSON of that shape; none when it is absent or empty.
///
/// # Errors
/// [`misconfigured`], when it is not.
pub fn json<T: DeserializeOwned>(ctx: &Context, name: &str) -> Result<Option<T>> {
    let Some(text) = text(ctx, name) else { return Ok(None) };
    let broken = |problem| misconfigured(format_args!("config {name} is not the JSON wanted: {problem}"));
    serde_json::from_str(&text).map(Some).map_err(broken)
}

/// One of these words, and what it stands for; the first when it is absent or empty.
///
/// # Errors
/// [`misconfigured`], when it is another.
///
/// # Panics
/// When there are no words.
pub fn one_of<T: Copy>(ctx: &Context, name: &str, words: &[(&str, T)]) -> Result<T> {
    let Some(text) = text(ctx, name) else { return Ok(words[0].1) };
    let known = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
    known.ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).filter(|word| !word.is_empty()).collect();
        misconfigured(format_args!("config {name} is {text:?}; it must be one of {}", words.join(", ")))
    })
}

/// A length of time such as `500ms`, `30s`, `10m`, `1h` or `7d`.
///
/// # Errors
/// [`misconfigured`], when it is none, or is neither there nor has a default.
pub fn duration(ctx: &Context, name: &str, default: Option<Duration>) -> Result<Duration> {
    let Some(text) = text(ctx, name) else {
        return default.ok_or_else(|| misconfigured(format_args!("config {name} is missing")));
    };
    parse_duration(&text).ok_or_else(|| {
        misconfigured(format_args!("config {name} is {text:?}; it must be such as 500ms, 30s, 10m, 1h or 7d"))
    })
}

/// As [`duration`], in milliseconds.
///
/// # Errors
/// As [`duration`].
pub fn duration_ms(ctx: &Context, name: &str, default_ms: Option<i64>) -> Result<i64> {
    let default = default_ms.map(|ms| Duration::from_millis(ms.max(0).unsigned_abs()));
    Ok(i64::try_from(duration(ctx, name, default)?.as_millis()).unwrap_or(i64::MAX))
}

/// What stands between commas, without the blanks; none when it is absent.
#[must_use]
pub fn list(ctx: &Context, name: &str) -> Vec<String> {
    let text = text(ctx, name).unwrap_or_default();
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Numbers in that range, with commas between; none when it is absent.
///
/// # Errors
/// [`misconfigured`], when one is none.
pub fn numbers(ctx: &Context, name: &str, range: &RangeInclusive<u16>) -> Result<Vec<u16>> {
    let number = |text: String| text.parse().ok().filter(|number| range.contains(number));
    let (start, end) = (range.start(), range.end());
    let wrong =
        || misconfigured(format_args!("config {name} must be numbers from {start} to {end} with commas between"));
    list(ctx, name).into_iter().map(number).collect::<Option<_>>().ok_or_else(wrong)
}

/// A topic to publish to; it may have values of the message in braces.
///
/// # Errors
/// [`misconfigured`], when it is no topic.
pub fn topic(ctx: &Context, name: &str) -> Result<Option<Template>> {
    let Some(template) = optional::<Template>(ctx, name)? else { return Ok(None) };
    if is_topic(&template.with_each("x")) {
        return Ok(Some(template));
    }
    let problem = "it must be a topic: words with dots between, without wildcards, at most 255 bytes";
    Err(misconfigured(format_args!("config {name} is {:?}; {problem}", template.text())))
}

/// As [`topic`], and it must be there.
///
/// # Errors
/// As [`topic`], and when it is missing.
pub fn required_topic(ctx: &Context, name: &str) -> Result<Template> {
    topic(ctx, name)?.map_or_else(|| required(ctx, name), Ok)
}

/// A topic for what is made of many messages of a key, of which no other value is sure to be the same: it may have that key as `{key}`.
///
/// # Errors
/// As [`topic`], and when it has another value.
pub fn key_topic(ctx: &Context, name: &str) -> Result<Option<Template>> {
    match topic(ctx, name)? {
        Some(template) if !template.has_only(&Pick::Key) => Err(misconfigured(format_args!(
            "config {name} is {:?}; {{key}} is the only value that it may have",
            template.text()
        ))),
        template => Ok(template),
    }
}

/// As [`key_topic`], and it must be there.
///
/// # Errors
/// As [`key_topic`], and when it is missing.
pub fn required_key_topic(ctx: &Context, name: &str) -> Result<Template> {
    key_topic(ctx, name)?.map_or_else(|| required(ctx, name), Ok)
}

pub(crate) fn is_topic(text: &str) -> bool {
    text.len() <= 255
        && text.split('.').all(|word| !word.is_empty())
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '*' || c == '#')
        && text.split('.').next() != Some("$sys")
}

fn text(ctx: &Context, name: &str) -> Option<String> {
    ctx.config(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let ms_each = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(ms_each).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("1h", 3_600_000), ("7 d", 604_800_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "10", "1.5s", "-1s", "1w", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_operator_got_wrong_makes_deliveries_wait_and_quarantines_nothing() {
        let ctx = Context::for_test().with_config("n", "many").with_config("to", "a..b").with_config("blank", " ");
        let wait = throttle(MISCONFIGURED_WAIT);
        assert_eq!(optional::<u32>(&ctx, "n"), Err(wait.clone()));
        assert_eq!(or::<u32>(&ctx, "n", 1), Err(wait.clone()));
        assert_eq!(required::<u32>(&ctx, "absent"), Err(wait.clone()));
        assert_eq!(duration(&ctx, "n", None), Err(wait.clone()));
        assert_eq!(duration(&ctx, "absent", None), Err(wait.clone()));
        assert_eq!(duration_ms(&ctx, "absent", Some(7)), Ok(7));
        assert_eq!(topic(&ctx, "to").map(|_| ()), Err(wait));
        assert_eq!(optional::<u32>(&ctx, "blank"), Ok(None), "empty is absent");
        assert_eq!(or::<u32>(&ctx, "blank", 7), Ok(7));
    }

    #[test]
    fn words_and_json_are_read() {
        let words = [("null", 1), ("omit", 2)];
        for (text, meaning) in [("", Some(1)), ("null", Some(1)), ("omit", Some(2)), ("Omit", None)] {
            let read = one_of(&Context::for_test().with_config("missing", text), "missing", &words);
            assert_eq!(read.ok(), meaning, "{text}");
        }
        for (text, read) in [("", Ok(None)), ("[1]", Ok(Some(vec![1]))), ("[\"a\"]", Err(throttle(MISCONFIGURED_WAIT)))]
        {
            assert_eq!(json::<Vec<u8>>(&Context::for_test().with_config("l", text), "l"), read, "{text}");
        }
    }

    #[test]
    fn topics_are_checked_before_there_is_a_message() {
        for (text, good) in [
            ("alerts", true),
            ("alerts.{key}", true),
            ("{topic}.copy", true),
            ("alerts.*", false),
            ("a b", false),
            ("$sys.x", false),
            ("alerts.{", false),
            ("alerts.{nothing}", false),
        ] {
            let ctx = Context::for_test().with_config("to", text);
            assert_eq!(topic(&ctx, "to").is_ok(), good, "{text}");
        }
    }

    #[test]
    fn lists_have_no_blanks() {
        let ctx = Context::for_test().with_config("l", " a, b ,,c");
        assert_eq!(list(&ctx, "l"), ["a", "b", "c"]);
        assert!(list(&ctx, "absent").is_empty());
        assert_eq!(numbers(&ctx.clone().with_config("n", "1, 3"), "n", &(1..=3)), Ok(vec![1, 3]));
        for text in ["0", "4", "1,x", "-1"] {
            assert!(numbers(&ctx.clone().with_config("n", text), "n", &(1..=3)).is_err(), "{text}");
        }
    }
}
