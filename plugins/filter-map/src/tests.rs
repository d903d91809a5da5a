use serde_json::json;
use wasmill::{Delivery, Failure, throttle};
use wasmill_plugin_common::MISCONFIGURED_WAIT;

use super::*;

const QUAKE: &str = r#"{"id": "ci1", "mag": 6.1, "place": {"name": "Hualien", "tags": ["sea", "deep"]}, "felt": null}"#;

fn with(data: &str, config: &[(&str, &str)]) -> Context {
    let mut delivery = Delivery::for_test("quakes", data);
    delivery.message.key = Some("k".to_owned());
    delivery.message.content_type = Some("application/geo+json".to_owned());
    delivery.message.headers.push(("source".to_owned(), "usgs".to_owned()));
    let ctx = Context::for_delivery(delivery).with_config("to", "out");
    config.iter().fold(ctx, |ctx, (name, value)| ctx.with_config(*name, *value))
}

fn reshaped(template: &str, missing: &str) -> Value {
    let ctx = with(QUAKE, &[("template", template), ("missing", missing)]);
    assert_eq!(filter_map(ctx.clone()), Ok(()), "{template}");
    serde_json::from_slice(&ctx.published()[0].data).expect("JSON")
}

#[test]
fn only_what_meets_the_condition_passes_and_as_it_is() {
    for (condition, passes) in [
        ("@.mag >= 5", true),
        ("@.mag >= 7", false),
        ("@.mag >= 5 && @.place.name == 'Hualien'", true),
        ("@.felt", true),
        ("!@.absent", true),
        ("@.absent == 1", false),
        ("length(@.place.tags) == 2", true),
        ("count(@.place.*) > 2", false),
        ("@.place.tags[?@ == 'sea']", true),
        ("", true),
    ] {
        let ctx = with(QUAKE, &[("where", condition)]);
        assert_eq!(filter_map(ctx.clone()), Ok(()));
        assert_eq!(ctx.published().len(), usize::from(passes), "{condition}");
        assert!(ctx.published().iter().all(|outgoing| *outgoing == pass_on(ctx.message(), "out")));
    }
}

#[test]
fn a_template_makes_another_shape() {
    let template = json!({
        "name": "$.place.name", "magnitude": "$.mag", "first": "$.place.tags[0]", "all": "$.place.tags[*]",
        "none": "$.nothing[*]", "felt": "$.felt", "whole": ["$"], "version": 2, "price": "$$5", "text": "mag",
    });
    let whole: Value = serde_json::from_str(QUAKE).expect("JSON");
    let expected = json!({
        "name": "Hualien", "magnitude": 6.1, "first": "sea", "all": ["sea", "deep"],
        "none": [], "felt": null, "whole": [whole], "version": 2, "price": "$5", "text": "mag",
    });
    assert_eq!(reshaped(&template.to_string(), "reject"), expected);
}

#[test]
fn what_is_missing_is_null_or_left_out_or_the_end_of_it() {
    let template = r#"{"a": "$.absent", "b": ["$.absent", 1]}"#;
    assert_eq!(reshaped(template, ""), json!({ "a": null, "b": [null, 1] }));
    assert_eq!(reshaped(template, "omit"), json!({ "b": [1] }));
    assert_eq!(reshaped(r#""$.absent""#, "omit"), Value::Null);
    let ctx = with(QUAKE, &[("template", template), ("missing", "reject")]);
    assert_eq!(filter_map(ctx), Err(Failure::Reject("it has nothing at $.absent".to_owned())));
}

#[test]
fn topic_and_key_come_from_values() {
    let config = [("to", "quakes.{$.place.tags[0]}"), ("key", "$.id"), ("template", "\"$.mag\"")];
    let ctx = with(QUAKE, &config);
    assert_eq!(filter_map(ctx.clone()), Ok(()));
    let outgoing = ctx.published().pop().expect("a message");
    assert_eq!((outgoing.topic.as_str(), outgoing.key.as_deref()), ("quakes.sea", Some("ci1")));
    assert_eq!(
        (outgoing.content_type.as_deref(), outgoing.data.as_slice()),
        (Some("application/json"), b"6.1".as_slice())
    );
    assert_eq!(outgoing.headers, [("source".to_owned(), "usgs".to_owned())]);
    let ctx = with(QUAKE, &[("to", "quakes.{$.absent}")]);
    assert!(matches!(filter_map(ctx), Err(Failure::Reject(_))));
}

#[test]
fn the_others_go_where_they_are_wanted() {
    let ctx = with(QUAKE, &[("where", "@.mag > 9"), ("else-to", "weak"), ("template", "1")]);
    assert_eq!(filter_map(ctx.clone()), Ok(()));
    assert_eq!(ctx.published(), [pass_on(ctx.message(), "weak")]);
}

#[test]
fn what_is_not_json_is_rejected() {
    assert!(matches!(filter_map(with("{", &[])), Err(Failure::Reject(_))));
}

#[test]
fn a_broken_configuration_makes_everything_wait() {
    for config in
        [("to", ""), ("where", "@.mag >"), ("template", "{"), ("template", "\"$.[\""), ("missing", "x"), ("key", "x")]
    {
        assert_eq!(filter_map(with(QUAKE, &[config])), Err(throttle(MISCONFIGURED_WAIT)), "{config:?}");
    }
}
