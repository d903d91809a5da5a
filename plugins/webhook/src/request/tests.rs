use wasmill::{Delivery, Failure, throttle};
use wasmill_plugin_common::MISCONFIGURED_WAIT;

use super::*;

fn with(config: &[(&str, &str)]) -> Context {
    let mut delivery = Delivery::for_test("orders.eu", "{}");
    delivery.message.key = Some("a/b ü".to_owned());
    delivery.message.content_type = Some("application/json".to_owned());
    delivery.message.headers =
        vec![("traceparent".to_owned(), "00-1".to_owned()), ("bad".to_owned(), "a\nb".to_owned())];
    let ctx = Context::for_delivery(delivery).with_config("url", "https://a.example/hook");
    config.iter().fold(ctx, |ctx, (name, value)| ctx.with_config(*name, *value))
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn the_message_is_the_body_and_says_which_it_is() {
    let request = request(&with(&[]), 1_700_000_000).expect("a request");
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "https://a.example/hook"));
    assert_eq!((request.body.as_slice(), request.timeout), (b"{}".as_slice(), Some(TIMEOUT)));
    assert_eq!(header(&request, "content-type"), Some("application/json"));
    assert_eq!(header(&request, "webhook-timestamp"), Some("1700000000"));
    assert!(header(&request, "webhook-id").is_some_and(|id| id.starts_with("msg_")));
    assert_eq!(header(&request, "webhook-signature"), None, "there is no key");
    assert_eq!(header(&request, "traceparent"), None, "nobody asked for it");
}

#[test]
fn another_attempt_has_the_same_id_and_another_time_and_signature() {
    let ctx = with(&[("SIGNING_KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
    let first = request(&ctx, 1).expect("a request");
    let second = request(&ctx.with_attempt(2), 2).expect("a request");
    assert_eq!(header(&first, "webhook-id"), header(&second, "webhook-id"));
    assert_ne!(header(&first, "webhook-timestamp"), header(&second, "webhook-timestamp"));
    assert_ne!(header(&first, "webhook-signature"), header(&second, "webhook-signature"));
    assert!(header(&first, "webhook-signature").is_some_and(|signature| signature.starts_with("v1,")));
}

#[test]
fn values_in_the_url_are_encoded() {
    let url = "https://a.example/{topic}/{key}?id={id}";
    let request = request(&with(&[("url", url), ("method", "PUT"), ("timeout", "5s")]), 0).expect("a request");
    assert_eq!(request.url, "https://a.example/orders.eu/a%2Fb%20%C3%BC?id=test-message");
    assert_eq!((request.method.as_str(), request.timeout), ("PUT", Some(Duration::from_secs(5))));
}

#[test]
fn headers_are_those_that_were_chosen() {
    let config = [("forward-headers", "Traceparent, absent"), ("headers", r#"{"x-tenant": "a"}"#)];
    let request = request(&with(&config), 0).expect("a request");
    assert_eq!((header(&request, "traceparent"), header(&request, "x-tenant")), (Some("00-1"), Some("a")));
    assert_eq!(header(&request, "absent"), None);
}

#[test]
fn what_the_message_cannot_give_is_its_own_fault() {
    for (config, words) in [(("url", "https://a.example/{header:x}"), "header:x"), (("forward-headers", "bad"), "bad")]
    {
        let Err(Failure::Reject(reason)) = request(&with(&[config]), 0) else { panic!("{config:?}") };
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn a_value_that_makes_no_url_of_the_template_is_the_messages() {
    let url = "https://a.example/?id={header:traceparent}";
    for (bytes, is_sent) in [(1_000, true), (URL_BYTES_MAX, false)] {
        let mut delivery = Delivery::for_test("orders", "");
        delivery.message.headers.push(("traceparent".to_owned(), "x".repeat(bytes)));
        let outcome = request(&Context::for_delivery(delivery).with_config("url", url), 0);
        assert_eq!(outcome.is_ok(), is_sent, "{outcome:?}");
        assert!(is_sent || matches!(outcome, Err(Failure::Reject(_))));
    }
}

#[test]
fn a_broken_configuration_makes_everything_wait() {
    for config in [
        ("url", ""),
        ("url", "ftp://a.example"),
        ("url", "https://{"),
        ("url", "https://{key}.example/"),
        ("url", "https://{$['a/b']}.example/"),
        ("url", "https://a.example{key}"),
        ("url", "https://a.example:{key}?x"),
        ("method", "GET"),
        ("timeout", "x"),
        ("headers", "x-tenant: a"),
        ("headers", r#"{"x": 1}"#),
        ("headers", "[]"),
        ("SIGNING_KEY", "short"),
    ] {
        assert_eq!(request(&with(&[config]), 0), Err(throttle(MISCONFIGURED_WAIT)), "{config:?}");
    }
}
