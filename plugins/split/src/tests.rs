use wasmill::{Delivery, Failure, throttle};
use wasmill_plugin_common::MISCONFIGURED_WAIT;

use super::*;

fn with(data: &str, content_type: &str, config: &[(&str, &str)]) -> Context {
    let mut delivery = Delivery::for_test("orders", data);
    delivery.sequence = 7;
    delivery.message.key = Some("k".to_owned());
    delivery.message.content_type = Some(content_type.to_owned());
    delivery.message.headers =
        vec![("source".to_owned(), "shop".to_owned()), ("split-id".to_owned(), "outer".to_owned())];
    let ctx = Context::for_delivery(delivery).with_config("to", "items");
    config.iter().fold(ctx, |ctx, (name, value)| ctx.with_config(*name, *value))
}

fn data(ctx: &Context) -> Vec<String> {
    ctx.published().into_iter().map(|item| String::from_utf8(item.data).expect("text")).collect()
}

fn rejected(ctx: Context) -> String {
    match split(ctx) {
        Err(Failure::Reject(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_item_of_an_array_is_a_message_that_says_where_it_belongs() {
    let ctx = with(r#"{"items": [{"n": 1, "who": "a"}, "two"]}"#, "application/json", &[("items", "$.items")]);
    assert_eq!(split(ctx.clone()), Ok(()));
    assert_eq!(data(&ctx), [r#"{"n":1,"who":"a"}"#, r#""two""#]);
    let second = &ctx.published()[1];
    assert_eq!((second.topic.as_str(), second.key.as_deref()), ("items", Some("k")));
    assert_eq!(second.content_type.as_deref(), Some("application/json"));
    let headers: Vec<(&str, &str)> =
        second.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let own = [("split-key", "k"), ("split-id", "test-queue/7"), ("split-index", "1"), ("split-count", "2")];
    assert_eq!(headers, [[("source", "shop")].as_slice(), own.as_slice()].concat());
}

#[test]
fn numbers_are_passed_on_as_they_are_written() {
    let text = r#"[12345678901234567890123, {"b": 0.10, "a": 1}]"#;
    for (data_text, config) in [(text.to_owned(), [].as_slice()), (format!("{{\"x\": {text}}}"), &[("items", "$.x")])] {
        let ctx = with(&data_text, "application/json", config);
        assert_eq!(split(ctx.clone()), Ok(()));
        assert_eq!(data(&ctx), ["12345678901234567890123", r#"{"a":1,"b":0.10}"#]);
    }
}

#[test]
fn keys_and_topics_come_from_the_items() {
    let ctx = with(
        r#"[{"id": 4, "kind": "a"}, {"kind": "b"}]"#,
        "application/json",
        &[("key", "$.id"), ("to", "items.{$.kind}")],
    );
    assert_eq!(split(ctx.clone()), Ok(()));
    let published = ctx.published();
    assert_eq!((published[0].topic.as_str(), published[0].key.as_deref()), ("items.a", Some("4")));
    assert_eq!((published[1].topic.as_str(), published[1].key.as_deref()), ("items.b", None));
}

#[test]
fn lines_are_items_as_they_are() {
    let text = "{\"a\":  1}\n\n[2]\r\n3";
    for (content_type, config) in [("application/x-ndjson", [].as_slice()), ("text/plain", &[("format", "ndjson")])] {
        let ctx = with(text, content_type, config);
        assert_eq!(split(ctx.clone()), Ok(()));
        assert_eq!(data(&ctx), ["{\"a\":  1}", "[2]", "3"]);
    }
    assert!(rejected(with("1\n\n{", "application/jsonl", &[])).starts_with("line 3 is not JSON"));
}

#[test]
fn an_empty_list_is_done_and_makes_nothing() {
    for (text, content_type) in [("[]", "application/json"), ("", "application/x-ndjson")] {
        let ctx = with(text, content_type, &[]);
        assert_eq!(split(ctx.clone()), Ok(()));
        assert!(ctx.published().is_empty());
    }
}

#[test]
fn what_cannot_be_split_is_rejected() {
    assert!(rejected(with("{", "application/json", &[])).contains("JSON"));
    assert!(rejected(with("{}", "application/json", &[])).contains("not a JSON array"));
    assert!(rejected(with("{}", "application/json", &[("items", "$.items")])).contains("nothing where"));
    let many = format!("[{}0]", "0,".repeat(ITEMS_MAX));
    assert!(rejected(with(&many, "application/json", &[])).contains("1001 items; at most 1000"));
    let ctx = with(&many, "application/json", &[("items-max", "2000")]);
    assert_eq!(split(ctx.clone()), Ok(()));
    assert_eq!(ctx.published().len(), ITEMS_MAX + 1);
}

#[test]
fn a_broken_configuration_makes_everything_wait() {
    for config in [("to", ""), ("format", "csv"), ("items", "items"), ("items-max", "-1")] {
        assert_eq!(split(with("[]", "application/json", &[config])), Err(throttle(MISCONFIGURED_WAIT)), "{config:?}");
    }
    let both = [("format", "ndjson"), ("items", "$.items")];
    assert_eq!(split(with("", "text/plain", &both)), Err(throttle(MISCONFIGURED_WAIT)));
}
