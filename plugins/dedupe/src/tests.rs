use wasmill::{Delivery, Failure, throttle};
use wasmill_plugin_common::MISCONFIGURED_WAIT;

use super::*;

fn at(ctx: &Context, published_at: u64, key: Option<&str>, data: &str) -> Context {
    let mut delivery = Delivery::for_test("events", data);
    delivery.message.published_at = published_at;
    delivery.message.key = key.map(str::to_owned);
    delivery.message.headers.push(("source".to_owned(), "shop".to_owned()));
    ctx.with_delivery(delivery)
}

fn by(by: &str) -> Context {
    Context::for_test().with_config("by", by).with_config("to", "unique").with_config("window", "10s")
}

fn topics(ctx: &Context) -> Vec<String> {
    ctx.published().into_iter().map(|outgoing| outgoing.topic).collect()
}

#[test]
fn the_first_of_each_value_passes_as_it_is() {
    let ctx = by("$.id");
    for (ms, data) in [(0, r#"{"id": 1}"#), (1, r#"{"id": 2}"#), (2, r#"{"id": 1, "again": true}"#)] {
        assert_eq!(dedupe(at(&ctx, ms, Some("k"), data)), Ok(()));
    }
    let published = ctx.published();
    assert_eq!(topics(&ctx), ["unique", "unique"]);
    assert_eq!((published[0].data.as_slice(), published[0].key.as_deref()), (br#"{"id": 1}"#.as_slice(), Some("k")));
    assert_eq!(published[0].headers, [("source".to_owned(), "shop".to_owned())]);
}

#[test]
fn the_window_begins_with_the_message_that_passed() {
    let ctx = by("key");
    for (ms, passed) in [(0, 1), (9_999, 1), (10_000, 2), (19_999, 2), (20_000, 3)] {
        assert_eq!(dedupe(at(&ctx, ms, Some("k"), "")), Ok(()));
        assert_eq!(ctx.published().len(), passed, "at {ms} ms");
    }
}

#[test]
fn each_way_to_tell_messages_apart() {
    for (pick, second_is_duplicate) in [("key", false), ("data", true), ("header:source", true), ("id", true)] {
        let ctx = by(pick);
        assert_eq!(dedupe(at(&ctx, 0, Some("a"), "same")), Ok(()));
        assert_eq!(dedupe(at(&ctx, 1, Some("b"), "same")), Ok(()));
        assert_eq!(ctx.published().len() == 1, second_is_duplicate, "{pick}");
    }
}

#[test]
fn a_message_without_the_value_is_nobodys_duplicate() {
    let ctx = by("key");
    for ms in 0..3 {
        assert_eq!(dedupe(at(&ctx, ms, None, "")), Ok(()));
    }
    assert_eq!(topics(&ctx), ["unique"; 3]);
    assert!(matches!(dedupe(at(&by("$.id"), 0, None, "no JSON")), Err(Failure::Reject(_))));
}

#[test]
fn duplicates_go_where_they_are_wanted() {
    let ctx = by("key").with_config("duplicates-to", "again.{key}");
    for ms in 0..2 {
        assert_eq!(dedupe(at(&ctx, ms, Some("k"), "")), Ok(()));
    }
    assert_eq!(topics(&ctx), ["unique", "again.k"]);
}

#[test]
fn without_a_topic_everything_waits() {
    let ctx = Context::for_test().with_config("by", "key");
    assert_eq!(dedupe(ctx), Err(throttle(MISCONFIGURED_WAIT)));
    assert_eq!(dedupe(by("colour")), Err(throttle(MISCONFIGURED_WAIT)));
}
