use serde_json::{Value, from_slice};
use wasmill::{Delivery, Failure, throttle};
use wasmill_plugin_common::MISCONFIGURED_WAIT;

use super::*;

/// 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600_000;

fn configured(config: &[(&str, &str)]) -> Context {
    let ctx = Context::for_test().with_config("size", "1m").with_config("to", "totals").with_config("value", "$.n");
    config.iter().fold(ctx, |ctx, (name, value)| ctx.with_config(*name, *value))
}

/// A message so many seconds after the start.
fn at(ctx: &Context, seconds: u64, key: &str, data: &str) -> Result {
    let mut delivery = Delivery::for_test("readings", data);
    delivery.message.key = Some(key.to_owned());
    delivery.message.published_at = START + seconds * 1_000;
    window(ctx.with_delivery(delivery))
}

fn results(ctx: &Context) -> Vec<Value> {
    let published = ctx.published().into_iter().filter(|outgoing| outgoing.topic == "totals");
    published.map(|outgoing| from_slice(&outgoing.data).expect("JSON")).collect()
}

fn ticks(ctx: &Context) -> Vec<Outgoing> {
    ctx.published().into_iter().filter(|outgoing| outgoing.topic == "test-queue.tick").collect()
}

/// What the host does when the delay of a tick is over.
fn deliver(ctx: &Context, tick: &Outgoing) -> Result {
    window(ctx.with_delivery(Delivery::for_test(tick.topic.clone(), tick.data.clone())))
}

fn entries(ctx: &Context) -> Vec<String> {
    ctx.state().list_keys("key/", None).expect("state").keys
}

#[test]
fn a_window_is_published_when_a_later_message_of_its_key_shows_that_it_is_over() {
    let ctx = configured(&[]);
    for (seconds, n) in [(0, "4"), (30, "-1.5"), (59, "\"3.5\"")] {
        assert_eq!(at(&ctx, seconds, "a", &format!("{{\"n\": {n}}}")), Ok(()));
    }
    assert_eq!(at(&ctx, 61, "b", "{\"n\": 1}"), Ok(()));
    assert!(results(&ctx).is_empty(), "another key shows nothing");
    assert_eq!(at(&ctx, 60, "a", "{\"n\": 0}"), Ok(()));
    let expected = json!({
        "key": "a", "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:01:00Z",
        "count": 3, "sum": 6.0, "min": -1.5, "max": 4.0, "mean": 2.0,
    });
    assert_eq!(results(&ctx), [expected]);
    assert_eq!(ctx.published().last().and_then(|outgoing| outgoing.key.clone()).as_deref(), Some("a"));
}

#[test]
fn lateness_holds_a_window_open_and_what_is_later_still_is_counted_as_late() {
    let ctx = configured(&[("lateness", "30s"), ("time", "$.t"), ("late-to", "late")]);
    let event =
        |published: u64, t: u64| at(&ctx, published, "a", &format!("{{\"n\": 1, \"t\": {}}}", START + t * 1_000));
    for (published, t) in [(0, 10), (1, 75), (2, 40), (3, 89)] {
        assert_eq!(event(published, t), Ok(()));
        assert!(results(&ctx).is_empty(), "at {t} s the first window is open");
    }
    assert_eq!(event(4, 90), Ok(()));
    assert_eq!(results(&ctx)[0]["count"], 2);
    assert_eq!(event(5, 59), Ok(()));
    assert_eq!((ctx.state().get_int("late"), results(&ctx).len()), (Ok(1), 1));
    assert_eq!(ctx.published().last().map(|outgoing| outgoing.topic.clone()).as_deref(), Some("late"));
}

#[test]
fn a_message_that_skips_windows_publishes_all_that_are_over_in_order() {
    let ctx = configured(&[("lateness", "5m"), ("time", "$.t")]);
    let event = |t: &str| at(&ctx, 600, "a", &format!("{{\"n\": 1, \"t\": \"{t}\"}}"));
    for t in ["2026-01-01T00:00:30Z", "2026-01-01T01:01:30+01:00", "2026-01-01T00:02:00Z", "2026-01-01T00:08:00Z"] {
        assert_eq!(event(t), Ok(()));
    }
    let starts: Vec<Value> = results(&ctx).iter().map(|result| result["start"].clone()).collect();
    assert_eq!(starts, ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]);
}

#[test]
fn an_idle_key_is_closed_by_its_tick_and_then_forgotten() {
    let ctx = configured(&[]);
    assert_eq!(at(&ctx, 10, "a", "{\"n\": 1}"), Ok(()));
    let first = ticks(&ctx);
    assert_eq!((first.len(), first[0].delay), (1, Some(60_000)));
    assert_eq!(at(&ctx, 40, "a", "{\"n\": 1}"), Ok(()));
    assert_eq!(ticks(&ctx).len(), 1, "one is under way");

    assert_eq!(deliver(&ctx, &first[0]), Ok(()));
    assert!(results(&ctx).is_empty(), "something came 30 s ago");
    let second = ticks(&ctx).pop().expect("another tick");
    assert_eq!(second.delay, Some(30_000));
    assert_eq!(deliver(&ctx, &second), Ok(()));
    assert_eq!(results(&ctx)[0]["count"], 2);

    let last = ticks(&ctx).pop().expect("the tick that forgets");
    assert_eq!((last.delay, entries(&ctx).len()), (Some(86_400_000), 1));
    assert_eq!(at(&ctx, 50, "a", "{\"n\": 1}"), Ok(()));
    assert_eq!(ctx.state().get_int("late"), Ok(1), "it is still known that the window is closed");
    assert_eq!(deliver(&ctx, &last), Ok(()));
    assert!(entries(&ctx).is_empty());
    assert_eq!(deliver(&ctx, &last), Ok(()), "nothing is left to do");
}

#[test]
fn a_key_that_comes_back_has_a_tick_of_its_own_again() {
    let ctx = configured(&[]);
    assert_eq!(at(&ctx, 10, "a", "{\"n\": 1}"), Ok(()));
    assert_eq!(deliver(&ctx, &ticks(&ctx)[0]), Ok(()));
    let forgets = ticks(&ctx)[1].clone();
    assert_eq!(at(&ctx, 200, "a", "{\"n\": 1}"), Ok(()));
    let back = ticks(&ctx)[2].clone();
    assert_eq!(back.delay, Some(60_000));
    assert_eq!(deliver(&ctx, &forgets), Ok(()));
    assert_eq!((ticks(&ctx).len(), entries(&ctx).len()), (3, 1), "the old one is nothing now");
    assert_eq!(deliver(&ctx, &back), Ok(()));
    assert_eq!(results(&ctx).len(), 2);
}

#[test]
fn a_tick_that_was_lost_is_made_up_for() {
    let ctx = configured(&[("lateness", "90m")]);
    assert_eq!(at(&ctx, 0, "a", "{\"n\": 1}"), Ok(()));
    assert_eq!(at(&ctx, 3 * 3_600, "a", "{\"n\": 1}"), Ok(()));
    assert_eq!(at(&ctx, 4 * 3_600, "a", "{\"n\": 1}"), Ok(()));
    assert_eq!(ticks(&ctx).len(), 2, "the first should have come after 91 minutes, and one more after that is late");
}

#[test]
fn a_result_goes_to_the_topic_of_its_own_key() {
    let ctx = configured(&[("key", "$.who"), ("to", "totals.{key}")]);
    for (seconds, who) in [(0, "a"), (0, "b"), (60, "a")] {
        assert_eq!(at(&ctx, seconds, "another", &format!("{{\"n\": 1, \"who\": \"{who}\"}}")), Ok(()));
    }
    assert_eq!(deliver(&ctx, &ticks(&ctx)[1]), Ok(()), "b is idle, and a tick is no message of b");
    let topics: Vec<String> = ctx.published().into_iter().map(|outgoing| outgoing.topic).collect();
    let results: Vec<&String> = topics.iter().filter(|topic| topic.starts_with("totals")).collect();
    assert_eq!(results, ["totals.a", "totals.b"]);
    for who in ["a b", "a.*", ""] {
        let outcome = at(&ctx, 0, "another", &format!("{{\"n\": 1, \"who\": \"{who}\"}}"));
        let Err(Failure::Reject(reason)) = outcome else { panic!("{who:?} could never be published") };
        assert!(reason.contains("totals."), "{reason}");
    }
}

#[test]
fn counting_needs_no_value() {
    let ctx = configured(&[("value", ""), ("key", "$.who")]);
    assert_eq!(at(&ctx, 0, "", "{\"who\": 7}"), Ok(()));
    assert_eq!(deliver(&ctx, &ticks(&ctx)[0]), Ok(()));
    let expected = json!({ "key": "7", "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:01:00Z", "count": 1 });
    assert_eq!(results(&ctx), [expected]);
}

#[test]
fn messages_that_cannot_be_counted_are_rejected_with_the_reason() {
    let ctx = configured(&[("time", "$.t")]);
    for (data, reason) in [
        ("{", "JSON"),
        (r#"{"t": "2026-01-01T00:00:00Z"}"#, "null; it must be a number"),
        (r#"{"t": "2026-01-01T00:00:00Z", "n": "many"}"#, "\"many\"; it must be a number"),
        (r#"{"n": 1}"#, "null; it must be RFC 3339"),
        (r#"{"n": 1, "t": "yesterday"}"#, "\"yesterday\"; it must be RFC 3339"),
        (r#"{"n": 1, "t": "2026-01-01T01:00:01Z"}"#, "2026-01-01T01:00:01Z is further ahead"),
    ] {
        let Err(Failure::Reject(found)) = at(&ctx, 0, "a", data) else { panic!("{data}") };
        assert!(found.contains(reason), "{found}");
    }
    assert_eq!(at(&ctx, 0, "a", r#"{"n": 1.7e308, "t": "2026-01-01T00:00:00Z"}"#), Ok(()));
    let Err(Failure::Reject(found)) = at(&ctx, 0, "a", r#"{"n": 1.7e308, "t": "2026-01-01T00:00:00Z"}"#) else {
        panic!("inf")
    };
    assert!(found.contains("too large"), "{found}");
}

#[test]
fn a_broken_configuration_makes_everything_wait() {
    for config in [
        ("to", ""),
        ("to", "totals.{$.n}"),
        ("to", "totals.{topic}"),
        ("size", ""),
        ("size", "0s"),
        ("lateness", "100m"),
        ("value", "n"),
        ("time", "t"),
        ("forget", "never"),
    ] {
        assert_eq!(at(&configured(&[config]), 0, "a", "{}"), Err(throttle(MISCONFIGURED_WAIT)), "{config:?}");
    }
}
