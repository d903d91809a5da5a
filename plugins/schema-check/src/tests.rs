use wasmill::{Delivery, throttle};
use wasmill_plugin_common::MISCONFIGURED_WAIT;

use super::*;

const SCHEMA: &str = r##"{
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["id", "items"],
    "properties": {
        "id": { "type": "string", "format": "uuid" },
        "items": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/item" } }
    },
    "$defs": { "item": { "type": "object", "required": ["price"], "properties": { "price": { "minimum": 0 } } } }
}"##;

fn with(data: &str, config: &[(&str, &str)]) -> Context {
    let ctx = Context::for_delivery(Delivery::for_test("orders", data));
    let ctx = ctx.with_config("to", "good").with_config("schema", SCHEMA);
    config.iter().fold(ctx, |ctx, (name, value)| ctx.with_config(*name, *value))
}

fn reason(data: &str, config: &[(&str, &str)]) -> String {
    match schema_check(with(data, config)) {
        Err(Failure::Reject(reason)) => reason,
        other => panic!("{other:?} for {data}"),
    }
}

#[test]
fn what_fits_passes_as_it_is() {
    let ctx = with(r#"{"id": "x", "items": [{"price": 0}]}"#, &[]);
    assert_eq!(schema_check(ctx.clone()), Ok(()));
    assert_eq!(ctx.published(), [pass_on(ctx.message(), "good")]);
}

#[test]
fn the_reason_says_where_and_what() {
    let found = reason(r#"{"id": "x", "items": [{"price": 1}, {"price": -1}, {}]}"#, &[]);
    assert!(found.starts_with("/items/1/price: "), "{found}");
    assert!(found.contains("; /items/2: ") && found.contains("price"), "{found}");
    let found = reason("{}", &[]);
    assert!(found.starts_with("the message: ") && found.contains("id"), "{found}");
    assert!(reason("{", &[]).contains("JSON"));
}

#[test]
fn not_every_fault_of_many_is_told() {
    let items = [r#"{"price": -1}"#; 8].join(",");
    let found = reason(&format!(r#"{{"id": "x", "items": [{items}]}}"#), &[]);
    assert_eq!(found.matches("/items/").count(), FAULTS_MAX, "{found}");
    assert!(found.ends_with("; and 3 more"), "{found}");
}

#[test]
fn formats_are_checked_when_wanted() {
    let data = r#"{"id": "x", "items": [{"price": 0}]}"#;
    assert!(reason(data, &[("formats", "true")]).starts_with("/id: "));
    assert_eq!(schema_check(with(data, &[("formats", "false")])), Ok(()));
}

#[test]
fn what_does_not_fit_goes_where_it_is_wanted_with_the_reason() {
    for data in [r#"{"id": 1}"#, "{"] {
        let ctx = with(data, &[("invalid-to", "bad.{topic}")]);
        assert_eq!(schema_check(ctx.clone()), Ok(()));
        let outgoing = ctx.published().pop().expect("a message");
        assert_eq!((outgoing.topic.as_str(), outgoing.data.as_slice()), ("bad.orders", data.as_bytes()));
        let [(name, reason)] = outgoing.headers.as_slice() else { panic!("{:?}", outgoing.headers) };
        assert!(name == "schema-error" && !reason.is_empty());
    }
    let key = "k\u{7}".repeat(2_000);
    let ctx = with(&format!("{{\"id\": {}}}", serde_json::json!(key)), &[("invalid-to", "bad")]);
    assert_eq!(schema_check(ctx.clone()), Ok(()));
    let reason = &ctx.published()[0].headers[0].1;
    assert!(reason.chars().count() <= HEADER_CHARS_MAX && !reason.contains(char::is_control), "{reason}");
}

#[test]
fn another_schema_is_another_check() {
    let data = r#"{"id": "x", "items": []}"#;
    assert!(reason(data, &[]).starts_with("/items: "));
    assert_eq!(schema_check(with(data, &[("schema", "true")])), Ok(()));
    assert!(reason(data, &[("schema", r#"{"type": "array"}"#)]).starts_with("the message: "));
    let draft_4 = r#"{"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": true}"#;
    assert!(reason("3", &[("schema", draft_4)]).contains('3'));
}

#[test]
fn a_broken_configuration_makes_everything_wait() {
    for config in [
        ("to", ""),
        ("schema", ""),
        ("schema", "{"),
        ("schema", r#"{"type": "text"}"#),
        ("schema", r#"{"$ref": "https://example.com/schema.json"}"#),
        ("formats", "yes"),
        ("invalid-to", "a b"),
    ] {
        assert_eq!(schema_check(with("{}", &[config])), Err(throttle(MISCONFIGURED_WAIT)), "{config:?}");
    }
}
