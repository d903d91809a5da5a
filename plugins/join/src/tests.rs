use wasmill::{Delivery, Failure, throttle};
use wasmill_plugin_common::MISCONFIGURED_WAIT;

use super::*;

fn configured(config: &[(&str, &str)]) -> Context {
    let ctx = Context::for_test().with_config("to", "joined");
    config.iter().fold(ctx, |ctx, (name, value)| ctx.with_config(*name, *value))
}

fn part(ctx: &Context, id: &str, index: &str, count: &str, data: &str) -> Result {
    let mut delivery = Delivery::for_test("items", data);
    for (name, value) in [("split-id", id), ("split-index", index), ("split-count", count), ("split-key", "k")] {
        delivery.message.headers.push((name.to_owned(), value.to_owned()));
    }
    join(ctx.with_delivery(delivery))
}

fn on(ctx: &Context, topic: &str, key: &str, data: &str) -> Result {
    let mut delivery = Delivery::for_test(topic, data);
    delivery.message.key = Some(key.to_owned());
    join(ctx.with_delivery(delivery))
}

/// What was published to that topic, as text.
fn to(ctx: &Context, topic: &str) -> Vec<String> {
    let published = ctx.published().into_iter().filter(|outgoing| outgoing.topic == topic);
    published.map(|outgoing| String::from_utf8(outgoing.data).expect("text")).collect()
}

fn tick(ctx: &Context, data: &str) -> Result {
    join(ctx.with_delivery(Delivery::for_test("test-queue.tick", data)))
}

fn keys(ctx: &Context) -> Vec<String> {
    ctx.state().list_keys("", None).expect("state").keys
}

#[test]
fn parts_are_joined_in_order_whatever_order_they_come_in() {
    let ctx = configured(&[]);
    for (index, data) in [("2", "3"), ("0", "{\"a\": 1}"), ("1", "[2]")] {
        assert!(to(&ctx, "joined").is_empty());
        assert_eq!(part(&ctx, "x", index, "3", data), Ok(()));
    }
    assert_eq!(to(&ctx, "joined"), ["[{\"a\": 1},[2],3]"]);
    let joined = ctx.published().pop().expect("the joined one");
    assert_eq!((joined.key.as_deref(), joined.content_type.as_deref()), (Some("k"), Some("application/json")));
    assert_eq!(joined.headers, [("join-id".to_owned(), "x".to_owned())]);
}

#[test]
fn repeats_are_dropped_before_and_after_and_the_tick_leaves_nothing() {
    let ctx = configured(&[("timeout", "5m")]);
    for (index, data) in [("0", "1"), ("0", "9"), ("1", "2"), ("1", "2"), ("0", "1")] {
        assert_eq!(part(&ctx, "x", index, "2", data), Ok(()));
    }
    assert_eq!(to(&ctx, "joined"), ["[1,2]"]);
    let ticks = to(&ctx, "test-queue.tick");
    assert_eq!((ticks.len(), ctx.published()[0].delay), (1, Some(300_000)), "{ticks:?}");
    assert_eq!(keys(&ctx).len(), 1, "the group is remembered, its parts are not");
    assert_eq!(tick(&ctx, &ticks[0]), Ok(()));
    assert!(keys(&ctx).is_empty());
    assert_eq!(tick(&ctx, &ticks[0]), Ok(()), "nothing is left to do");
}

#[test]
fn one_message_of_each_topic_is_joined_by_key() {
    let ctx = configured(&[("topics", "orders, payments")]);
    for (topic, key, data) in [("payments", "1", "20"), ("orders", "2", "null"), ("orders", "1", "\"book\"")] {
        assert_eq!(on(&ctx, topic, key, data), Ok(()));
    }
    assert_eq!(to(&ctx, "joined"), [r#"{"orders":"book","payments":20}"#]);
    let Err(Failure::Reject(reason)) = on(&ctx, "refunds", "1", "1") else { panic!("not a topic of ours") };
    assert!(reason.contains("refunds"), "{reason}");
}

#[test]
fn what_is_joined_goes_to_the_topic_of_its_key() {
    let ctx = configured(&[("to", "joined.{key}"), ("incomplete-to", "incomplete.{key}")]);
    for (id, index) in [("x", "0"), ("x", "1"), ("y", "0")] {
        assert_eq!(part(&ctx, id, index, "2", "1"), Ok(()));
    }
    assert_eq!(to(&ctx, "joined.k"), ["[1,1]"]);
    assert_eq!(tick(&ctx, &to(&ctx, "test-queue.tick")[1]), Ok(()));
    assert_eq!(to(&ctx, "incomplete.k"), ["[1]"]);
    let ctx = ctx.with_config("topics", "orders,payments");
    let Err(Failure::Reject(reason)) = on(&ctx, "orders", "a b", "1") else { panic!("no topic") };
    assert!(reason.contains("joined.a b"), "{reason}");
}

#[test]
fn what_stays_incomplete_is_kept_for_an_operator_or_sent_where_it_is_wanted() {
    let ctx = configured(&[]);
    assert_eq!(part(&ctx, "x", "1", "3", "\"b\""), Ok(()));
    let ticks = to(&ctx, "test-queue.tick");
    let Err(Failure::Reject(reason)) = tick(&ctx, &ticks[0]) else { panic!("two are missing") };
    assert_eq!(reason, "1 of 3 parts of x came in time; missing: [0, 2]");
    assert_eq!(keys(&ctx).len(), 2, "nothing is lost");

    let ctx = ctx.with_config("incomplete-to", "incomplete");
    assert_eq!(tick(&ctx, &ticks[0]), Ok(()));
    assert_eq!(to(&ctx, "incomplete"), ["[\"b\"]"]);
    let sent = ctx.published().pop().expect("the incomplete one");
    assert!(sent.headers.contains(&("join-missing".to_owned(), "0,2".to_owned())), "{:?}", sent.headers);
    assert!(keys(&ctx).is_empty());
}

#[test]
fn what_a_late_part_completes_leaves_nothing_and_its_id_can_be_joined_again() {
    let ctx = configured(&[("timeout", "5m")]);
    for joins in 1..=2 {
        assert_eq!(part(&ctx, "x", "0", "2", "1"), Ok(()));
        let tick_data = to(&ctx, "test-queue.tick").pop().expect("a tick");
        let ctx = ctx.clone().with_time(ctx.now() + Duration::from_secs(300));
        assert!(matches!(tick(&ctx, &tick_data), Err(Failure::Reject(_))), "one is missing");
        assert_eq!(part(&ctx, "x", "1", "2", "2"), Ok(()));
        assert_eq!(to(&ctx, "joined").len(), joins, "no tick is left that would delete what is kept");
        assert!(keys(&ctx).is_empty());
        assert_eq!(tick(&ctx, &tick_data), Ok(()), "redriven, it finds nothing to do");
    }
}

#[test]
fn a_tick_of_an_earlier_group_of_that_name_is_nothing() {
    let ctx = configured(&[]);
    assert_eq!(part(&ctx, "x", "0", "2", "1"), Ok(()));
    let stale = to(&ctx, "test-queue.tick")[0].replace(",0]", ",5]");
    assert_eq!(tick(&ctx, &stale), Ok(()));
    assert_eq!(keys(&ctx).len(), 2);
}

#[test]
fn parts_that_cannot_be_joined_are_rejected() {
    let ctx = configured(&[]);
    assert_eq!(part(&ctx, "x", "0", "2", "1"), Ok(()));
    for (id, index, count, data, reason) in [
        ("x", "1", "3", "1", "another said 2"),
        ("x", "2", "2", "1", "split-index"),
        ("x", "", "2", "1", "split-index"),
        ("x", "0", "1001", "1", "at most 1000"),
        ("", "1", "2", "1", "where it belongs"),
        ("x", "1", "2", "{", "JSON"),
    ] {
        let Err(Failure::Reject(found)) = part(&ctx, id, index, count, data) else { panic!("{reason}") };
        assert!(found.contains(reason), "{found}");
    }
    let large = format!("\"{}\"", "x".repeat(1_048_575));
    let Err(Failure::Reject(reason)) = part(&ctx, "y", "0", "2", &large) else { panic!("too large") };
    assert!(reason.contains("larger than 1048576 bytes"), "{reason}");
}

#[test]
fn a_broken_configuration_makes_everything_wait() {
    for config in [
        ("to", ""),
        ("to", "a.{$.x}"),
        ("incomplete-to", "a..b"),
        ("incomplete-to", "{topic}.late"),
        ("by", "colour"),
        ("timeout", "soon"),
    ] {
        assert_eq!(part(&configured(&[config]), "x", "0", "2", "1"), Err(throttle(MISCONFIGURED_WAIT)), "{config:?}");
    }
}
