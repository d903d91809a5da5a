use wasmill::Delivery;
use wasmill_plugin_common::MISCONFIGURED_WAIT;

use super::*;

/// Some time after 1970.
const START_US: u64 = 1_000_000_000;
const MS: u64 = 1_000;

fn rate(rate: &str, burst: &str) -> Context {
    Context::for_test().with_config("rate", rate).with_config("burst", burst).with_config("to", "slow")
}

fn with_key(ctx: &Context, key: &str) -> Context {
    let mut delivery = Delivery::for_test("fast", r#"{"tenant": "t"}"#);
    delivery.message.key = Some(key.to_owned());
    ctx.with_delivery(delivery)
}

fn wait_ms(result: &wasmill::Result) -> Option<u128> {
    match result {
        Ok(()) => None,
        Err(Failure::Throttle(wait) | Failure::Defer(wait)) => Some(wait.as_millis()),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn one_after_the_other_at_the_rate() {
    let ctx = rate("10/s", "");
    for (ms, wait) in
        [(0, None), (0, Some(100)), (40, Some(60)), (100, None), (150, Some(50)), (500, None), (599, Some(1))]
    {
        assert_eq!(wait_ms(&pass_at(&ctx, START_US + ms * MS)), wait, "at {ms} ms");
    }
    assert_eq!(ctx.published().len(), 3);
    assert_eq!(ctx.published()[0].topic, "slow");
}

#[test]
fn a_burst_is_let_through_and_then_the_rate_holds() {
    let ctx = rate("60/m", "3");
    let passed = (0..10_000).step_by(100).filter(|ms| pass_at(&ctx, START_US + ms * MS).is_ok()).count();
    assert_eq!(passed, 3 + 9, "three at once, then one each second");
}

#[test]
fn no_interval_sees_more_than_its_number() {
    let ctx = rate("3/s", "");
    let passed: Vec<u64> = (0..10_000).filter(|ms| pass_at(&ctx, START_US + ms * MS).is_ok()).collect();
    assert!(passed.windows(4).all(|four| four[3] - four[0] >= 1_000), "{passed:?}");
    assert!(passed.len() >= 29, "and it is not much slower: {}", passed.len());
}

#[test]
fn keys_have_buckets_of_their_own() {
    let ctx = rate("1/s", "").with_config("per", "key");
    assert_eq!(pass_at(&with_key(&ctx, "a"), START_US), Ok(()));
    assert_eq!(pass_at(&with_key(&ctx, "b"), START_US), Ok(()));
    let held = pass_at(&with_key(&ctx, "a"), START_US);
    assert_eq!(held, Err(wasmill::throttle(Duration::from_secs(1))), "throttled by its own key");
    let ctx = rate("1/s", "").with_config("per", "$.tenant");
    assert_eq!(pass_at(&with_key(&ctx, "a"), START_US), Ok(()));
    let held = pass_at(&with_key(&ctx, "b"), START_US);
    assert_eq!(held, Err(defer(Duration::from_secs(1))), "other tenants share the consumer");
    let held = pass_at(&with_key(&ctx.with_config("hold", "throttle"), "b"), START_US);
    assert!(matches!(held, Err(Failure::Throttle(_))));
}

#[test]
fn what_is_too_much_goes_elsewhere_if_wanted() {
    let ctx = rate("1/h", "").with_config("excess-to", "spill");
    for _ in 0..3 {
        assert_eq!(pass_at(&ctx, START_US), Ok(()));
    }
    let topics: Vec<String> = ctx.published().into_iter().map(|outgoing| outgoing.topic).collect();
    assert_eq!(topics, ["slow", "spill", "spill"]);
}

#[test]
fn a_clock_that_goes_back_holds_nothing_for_long() {
    let ctx = rate("1/s", "2");
    assert_eq!(pass_at(&ctx, START_US), Ok(()));
    assert!(wait_ms(&pass_at(&ctx, START_US / 2)).unwrap_or(0) <= 1_000);
}

#[test]
fn what_is_no_rate_makes_everything_wait() {
    for text in ["", "10", "0/s", "1000001/s", "-1/s", "ten/s", "10/week"] {
        assert_eq!(throttle(rate(text, "")), Err(wasmill::throttle(MISCONFIGURED_WAIT)), "{text}");
    }
    for burst in ["0", "1000001", "x"] {
        assert_eq!(throttle(rate("1/s", burst)), Err(wasmill::throttle(MISCONFIGURED_WAIT)), "{burst}");
    }
    assert_eq!(throttle(rate("10/s", "")), Ok(()), "the machine's clock");
}
