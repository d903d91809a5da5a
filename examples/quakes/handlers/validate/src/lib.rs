//! Rejects records that are not earthquakes as the catalogue describes them.
//!
//! The lesson: `reject` is for what can never succeed, and its reason is what an operator reads in the quarantine: which
//! field, what was found, what was expected. `retry` is for what passes: with `flaky-percent` configured, that share of
//! the records (the same ones each time, chosen by a hash of the id) asks for a second attempt, as if the reference
//! catalogue were out for a moment.

mod schema;

use wasmill::Context;

use crate::schema::check;

#[wasmill::handler]
fn validate(ctx: Context) -> wasmill::Result {
    let id = check(&ctx.message().data).map_err(wasmill::reject)?;
    let flaky_percent = ctx.config_as("flaky-percent")?.unwrap_or(0);
    if ctx.delivery().attempt == 1 && percentile(&id) < flaky_percent {
        wasmill::retry!("simulated outage of the reference catalogue");
    }
    if ctx.delivery().attempt > 1 {
        // Counted once for each record, however often it was tried: a failed attempt's increments are void.
        ctx.state().increment("validated-after-retry", 1)?;
    }
    Ok(())
}

/// A number from 0 to 99 that is always the same for the same id (FNV-1a).
fn percentile(id: &str) -> u64 {
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash % 100
}

#[cfg(test)]
mod tests {
    use wasmill::{Delivery, Failure};

    use super::*;

    const REAL: &str = include_str!("../../../data/earthquakes.ndjson");

    fn answer(ctx: &Context, data: &str) -> wasmill::Result {
        let attempt = ctx.delivery().attempt;
        validate(ctx.with_delivery(Delivery { attempt, ..Delivery::for_test("quakes", data) }))
    }

    #[test]
    fn every_real_record_is_good() {
        for line in REAL.lines() {
            assert_eq!(answer(&Context::for_test(), line), Ok(()), "{line}");
        }
    }

    #[test]
    fn every_broken_record_is_rejected_with_a_reason_of_its_own() {
        let reasons: std::collections::BTreeSet<String> = include_str!("../../../data/broken.ndjson")
            .lines()
            .map(|line| match answer(&Context::for_test(), line) {
                Err(Failure::Reject(reason)) => reason,
                other => panic!("{other:?} for {line}"),
            })
            .collect();
        assert_eq!(reasons.len(), 8, "{reasons:#?}");
    }

    #[test]
    fn the_flaky_share_is_retried_once_and_is_the_same_each_time() {
        let flaky = Context::for_test().with_config("flaky-percent", "10");
        let retried = REAL.lines().filter(|line| matches!(answer(&flaky, line), Err(Failure::Retry { .. }))).count();
        assert!((100..=240).contains(&retried), "{retried} of 1707");
        let second = flaky.with_attempt(2);
        assert!(REAL.lines().all(|line| answer(&second, line) == Ok(())));
        assert_eq!(second.state().get_int("validated-after-retry"), Ok(1_707));
    }
}
