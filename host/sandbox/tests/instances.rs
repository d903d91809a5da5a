//! Warm and fresh instances, and what belongs to one attempt only.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    guest::{Guest, Use},
    host::{Host, delivery, failed, succeeded},
};
use wasmill_delivery::{input::AttemptResult, outcome::Outcome};
use wasmill_sandbox::StagedState;

/// Succeeds, and grows by a page so that its instance can be told from a fresh one.
const GROW: &str = "(drop (memory.grow (i32.const 1))) (call $ok)";

#[tokio::test]
async fn first_attempts_share_an_instance_until_it_has_served_its_calls() {
    let mut host = Host::new();
    host.limits.instance_calls_max = 3;
    let mut session = host.session(&Guest::new(GROW));
    let mut seen = Vec::new();
    for sequence in 1..=7 {
        let attempt = session.run(&delivery(sequence, 1), &mut StagedState::default()).await;
        seen.push((attempt.fresh_instance, attempt.memory_bytes_peak / 65_536));
    }
    let (fresh, warm) = (true, false);
    assert_eq!(seen, [(fresh, 2), (warm, 3), (warm, 4), (fresh, 2), (warm, 3), (warm, 4), (fresh, 2)]);
}

#[tokio::test]
async fn one_call_means_fresh_each_time() {
    let mut host = Host::new();
    host.limits.instance_calls_max = 1;
    let mut session = host.session(&Guest::new("(call $defer (i64.extend_i32_u (global.get $calls)))"));
    for sequence in 1..=3 {
        let attempt = session.run(&delivery(sequence, 1), &mut StagedState::default()).await;
        assert!(attempt.fresh_instance);
        assert_eq!(failed(attempt).outcome, Outcome::Defer { after_ms: 1 });
    }
}

#[tokio::test]
async fn later_attempts_run_on_fresh_instances() {
    let host = Host::new();
    let mut session = host.session(&Guest::new(GROW));
    for (attempt, fresh) in [(1, true), (1, false), (2, true), (1, false), (3, true)] {
        let attempt = session.run(&delivery(1, attempt), &mut StagedState::default()).await;
        assert_eq!(attempt.fresh_instance, fresh);
        succeeded(attempt);
    }
}

#[tokio::test]
async fn whatever_does_not_succeed_costs_the_instance() {
    let host = Host::new();
    for ending in [
        "(unreachable)",
        "(call $retry (i64.const 1))",
        "(call $defer (i64.const 1))",
        "(call $reject (i32.const 0) (i32.const 0))",
    ] {
        let second_fails =
            format!("(if (i32.eq (global.get $calls) (i32.const 2)) (then (return {ending}))) (call $ok)");
        let mut session = host.session(&Guest::new(&second_fails));
        let mut fresh = Vec::new();
        for sequence in 1..=4 {
            let attempt = session.run(&delivery(sequence, 1), &mut StagedState::default()).await;
            assert_eq!(
                matches!(attempt.result, AttemptResult::Succeeded(_)),
                sequence != 2 && sequence != 4,
                "{ending}"
            );
            fresh.push(attempt.fresh_instance);
        }
        assert_eq!(fresh, [true, false, true, false], "{ending}");
    }
}

#[tokio::test]
async fn a_fresh_instance_sees_nothing_of_the_last_one() {
    let host = Host::new();
    // Memory is filled, and grown to be filled too; then the slot is used again.
    let spoil = Guest::new(
        "(drop (memory.grow (i32.const 20))) (memory.fill (i32.const 8192) (i32.const 255) (i32.const 1368064)) (call $ok)",
    );
    let look = Guest::new("(call $look)").with(
        "(func $look (result i32) (local $at i32)
           (drop (memory.grow (i32.const 20)))
           (local.set $at (i32.const 8192))
           (loop $again
             (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (unreachable)))
             (local.set $at (i32.add (local.get $at) (i32.const 8)))
             (br_if $again (i32.lt_u (local.get $at) (i32.const 1376256))))
           (call $ok))",
    );
    let both =
        Guest::new("(if (i32.eq (i32.load8_u (i32.const 9000)) (i32.const 255)) (then (unreachable))) (call $spoil)")
            .with(concat!(
                "(func $spoil (result i32) (drop (memory.grow (i32.const 20)))",
                " (memory.fill (i32.const 8192) (i32.const 255) (i32.const 1368064)) (call $ok))"
            ));
    for _ in 0..20 {
        succeeded(host.run(&spoil).await);
        succeeded(host.run(&look).await);
        succeeded(host.run(&both).await);
    }
}

fn printer(text: &str, times: u32) -> Guest {
    let bytes = text.len();
    Guest::new("(call $print) (call $ok)").using(&[Use::Stderr]).with(&format!(
        r#"(data (memory $memory) (i32.const 200) "{text}")
           (func $print (local $stream i32) (local $n i32)
             (local.set $stream (call $get-stderr))
             (loop $again
               (call $write (local.get $stream) (i32.const 200) (i32.const {bytes}) (i32.const 1024))
               (local.set $n (i32.add (local.get $n) (i32.const 1)))
               (br_if $again (i32.lt_u (local.get $n) (i32.const {times})))))"#
    ))
}

#[tokio::test]
async fn what_a_guest_prints_belongs_to_its_attempt() {
    let host = Host::new();
    let mut session = host.session(&printer("hello", 2));
    for sequence in 1..=3 {
        let attempt = session.run(&delivery(sequence, 1), &mut StagedState::default()).await;
        assert_eq!(attempt.fresh_instance, sequence == 1);
        assert_eq!(attempt.log, "hellohello");
    }
}

#[tokio::test]
async fn a_guest_that_floods_its_log_is_cut_short_and_goes_on() {
    let mut host = Host::new();
    host.limits.log_bytes_max = 12;
    let attempt = host.run(&printer("hello", 10_000)).await;
    assert_eq!(attempt.log, "hellohellohe\n[49988 more bytes dropped: log-bytes-max is 12]");
    succeeded(attempt);
}

#[tokio::test]
async fn the_log_is_kept_with_a_failure() {
    let host = Host::new();
    let mut guest = printer("thread panicked", 1);
    guest = guest.with("(func $fail (unreachable))");
    let guest = guest.body("(call $print) (call $fail) (call $ok)");
    let record = host.fail(&guest).await;
    assert_eq!(record.log, "thread panicked");
    assert_eq!(record.backtrace, ["fail", "handle"]);
}
