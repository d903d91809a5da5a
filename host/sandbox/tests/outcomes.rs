//! What comes of guests that behave, and of guests that do not.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{
    guest::{Guest, OK, Use},
    host::{Host, delivery, failed, succeeded},
};
use wasmill_delivery::{input::AttemptResult, outcome::Outcome};
use wasmill_sandbox::{LimitsError, Session, StagedState, check_limits, limits::MEMORY_BYTES_CEILING};

/// Goes round and round.
const SPIN: &str = "(loop $again (br $again)) (unreachable)";

#[tokio::test]
async fn ok_is_success() {
    let attempt = Host::new().run(&Guest::new(OK)).await;
    assert!(attempt.fresh_instance);
    assert!(attempt.fuel_used > 0 && attempt.fuel_used < 10_000, "{}", attempt.fuel_used);
    assert_eq!(attempt.memory_bytes_peak, 64 * 1024);
    assert_eq!(attempt.log, "");
    let effects = succeeded(attempt);
    assert!(effects.published.is_empty() && effects.state.is_empty());
}

#[tokio::test]
async fn failures_are_what_the_handler_said() {
    let host = Host::new();
    let week = 7 * 24 * 60 * 60 * 1_000;
    let words = r#"(data (memory $memory) (i32.const 200) "no such customer")"#;
    for (body, expected) in [
        ("(call $retry (i64.const 250))", Outcome::Retry { reason: String::new(), after_ms: Some(250) }),
        ("(call $retry (i64.const -1))", Outcome::Retry { reason: String::new(), after_ms: Some(week) }),
        ("(call $defer (i64.const 90))", Outcome::Defer { after_ms: 90 }),
        ("(call $defer (i64.const -1))", Outcome::Defer { after_ms: week }),
        ("(call $reject (i32.const 200) (i32.const 16))", Outcome::Reject { reason: "no such customer".to_owned() }),
    ] {
        let guest = Guest::new(body).with(words);
        let digest = host.load(&guest).digest();
        let record = host.fail(&guest).await;
        assert_eq!(record.outcome, expected);
        assert!(record.backtrace.is_empty());
        assert_eq!(record.attempt, 1);
        assert_eq!(record.digest, Some(digest), "the record names the version that ran");
    }
}

#[tokio::test]
async fn a_long_reason_is_cut() {
    // 64 KiB of zeros are as many characters.
    let record = Host::new().fail(&Guest::new("(call $reject (i32.const 8192) (i32.const 50000))")).await;
    assert_eq!(record.outcome, Outcome::Reject { reason: "\0".repeat(4096) });
}

#[tokio::test]
async fn the_delivery_arrives_whole() {
    let host = Host::new();
    // The record lies at $delivery as the canonical ABI has it: id, topic, key?, content-type?, headers, data, time.
    let words = |at: u32| {
        format!(
            "(call $reject (i32.load offset={at} (local.get $delivery)) (i32.load offset={} (local.get $delivery)))",
            at + 4
        )
    };
    for (at, expected) in [
        (0, "message-1"),
        (8, "orders.created"),
        (20, "customer-7"),
        (32, "text/plain"),
        (48, "twelve bytes"),
        (64, "orders"),
    ] {
        assert_eq!(host.fail(&Guest::new(&words(at))).await.outcome, Outcome::Reject { reason: expected.to_owned() });
    }
    for (load, expected) in [
        ("(i64.load offset=56 (local.get $delivery))", 1_700_000_000_123),
        ("(i64.load offset=72 (local.get $delivery))", 4),
        ("(i64.load32_u offset=80 (local.get $delivery))", 2),
        ("(i64.load32_u offset=84 (local.get $delivery))", 5),
        ("(i64.load32_u offset=44 (local.get $delivery))", 2),
    ] {
        // A defer is cut at a week, so what is told is the remainder.
        let body = format!("(call $defer (i64.rem_u {load} (i64.const 1000000)))");
        let mut session = host.session(&Guest::new(&body));
        let record = failed(session.run(&delivery(4, 2), &mut StagedState::default()).await);
        assert_eq!(record.outcome, Outcome::Defer { after_ms: expected % 1_000_000 }, "{load}");
    }
}

#[tokio::test]
async fn spinning_uses_up_the_fuel() {
    let mut host = Host::new();
    host.limits.fuel_max = 3_000_000;
    let attempt = host.run(&Guest::new(SPIN)).await;
    assert_eq!(attempt.fuel_used, 3_000_000);
    let record = failed(attempt);
    assert_eq!(record.outcome, Outcome::OutOfFuel { fuel_max: 3_000_000 });
    assert_eq!(record.backtrace, ["handle"]);
}

#[tokio::test]
async fn fuel_is_for_one_attempt() {
    let mut host = Host::new();
    // About 300,000 units each.
    let guest = Guest::new("(call $count) (call $ok)").with(
        "(func $count (local $n i32)
           (loop $again (local.set $n (i32.add (local.get $n) (i32.const 1)))
             (br_if $again (i32.lt_u (local.get $n) (i32.const 40000)))))",
    );
    host.limits.fuel_max = 500_000;
    let mut session = host.session(&guest);
    let mut used = Vec::new();
    for sequence in 1..=5 {
        let attempt = session.run(&delivery(sequence, 1), &mut StagedState::default()).await;
        used.push(attempt.fuel_used);
        succeeded(attempt);
    }
    assert!(used[0] > 200_000, "{used:?}");
    assert!(used[1..].iter().all(|fuel| *fuel == used[1]), "fuel is deterministic: {used:?}");
}

#[tokio::test]
async fn spinning_with_fuel_is_cut_by_the_clock() {
    let mut host = Host::new();
    host.limits.fuel_max = u64::MAX / 2;
    host.limits.wall_clock_ms_max = 100;
    let started = Instant::now();
    let attempt = host.run(&Guest::new(SPIN)).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(attempt.duration_us >= 100_000);
    assert!(attempt.fuel_used > 100_000);
    assert_eq!(failed(attempt).outcome, Outcome::TimedOut { wall_clock_ms_max: 100 });
}

#[tokio::test]
async fn filling_memory_over_and_over_is_cut_by_the_clock() {
    let mut host = Host::new();
    host.limits.fuel_max = u64::MAX / 2;
    host.limits.wall_clock_ms_max = 100;
    let body = "(loop $again (memory.fill (i32.const 0) (i32.const 0) (i32.const 33554432)) (br $again)) (unreachable)";
    let started = Instant::now();
    let record = host.fail(&Guest::new(body).memory("512")).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(record.outcome, Outcome::TimedOut { wall_clock_ms_max: 100 });
}

#[tokio::test]
async fn sleeping_is_cut_by_the_clock() {
    let mut host = Host::new();
    host.limits.wall_clock_ms_max = 50;
    let body = "(call $block (call $subscribe (i64.const 3600000000000))) (call $ok)";
    let record = host.fail(&Guest::new(body).using(&[Use::Clock])).await;
    assert_eq!(record.outcome, Outcome::TimedOut { wall_clock_ms_max: 50 });
}

#[tokio::test]
async fn endless_recursion_overflows_the_stack() {
    let guest = Guest::new("(call $down) (call $ok)").with("(func $down (call $down) (call $down))");
    let record = Host::new().fail(&guest).await;
    assert_eq!(record.outcome, Outcome::StackOverflow);
    assert_eq!(record.backtrace.len(), 32);
    assert!(record.backtrace.iter().all(|name| name == "down"), "{:?}", record.backtrace);
}

#[tokio::test]
async fn growing_until_it_fails_is_out_of_memory() {
    let mut host = Host::new();
    host.limits.memory_bytes_max = 10 * 64 * 1024;
    let grow = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";
    let attempt = host.run(&Guest::new(&format!("{grow} (unreachable)"))).await;
    assert_eq!(attempt.memory_bytes_peak, 10 * 64 * 1024);
    let record = failed(attempt);
    assert_eq!(record.outcome, Outcome::OutOfMemory { memory_bytes_max: 10 * 64 * 1024 });
    assert_eq!(record.backtrace, ["handle"]);

    // A guest that can do without is none of the host's business.
    let attempt = host.run(&Guest::new(&format!("{grow} (call $ok)"))).await;
    assert_eq!(attempt.memory_bytes_peak, 10 * 64 * 1024);
    succeeded(attempt);
}

#[tokio::test]
async fn a_refusal_of_memory_is_not_remembered_for_the_next_delivery() {
    let mut host = Host::new();
    host.limits.memory_bytes_max = 2 * 64 * 1024;
    let body = "(if (i32.eq (global.get $calls) (i32.const 1)) (then (drop (memory.grow (i32.const 2)))) (else (unreachable))) (call $ok)";
    let mut session = host.session(&Guest::new(body));
    succeeded(session.run(&delivery(1, 1), &mut StagedState::default()).await);
    let record = failed(session.run(&delivery(2, 1), &mut StagedState::default()).await);
    assert!(matches!(record.outcome, Outcome::Trapped { .. }), "{:?}", record.outcome);
}

#[tokio::test]
async fn too_much_memory_to_begin_with_is_out_of_memory() {
    let mut host = Host::new();
    host.limits.memory_bytes_max = 64 * 1024;
    let record = host.fail(&Guest::new(OK).memory("2")).await;
    assert_eq!(record.outcome, Outcome::OutOfMemory { memory_bytes_max: 64 * 1024 });
}

#[tokio::test]
async fn memory_that_no_instance_can_have_is_refused() {
    let mut host = Host::new();
    host.limits.memory_bytes_max = MEMORY_BYTES_CEILING + 1;
    assert_eq!(check_limits(&host.limits), Err(LimitsError::Memory { given: MEMORY_BYTES_CEILING + 1 }));
    let Outcome::HostFault { detail } = host.fail(&Guest::new(OK)).await.outcome else { panic!("it ran") };
    assert!(detail.contains("4294967296"), "{detail}");
}

#[tokio::test]
async fn a_trap_has_a_backtrace_with_names() {
    let guest = Guest::new("(call $outer) (call $ok)").with(
        "(func $outer (call $_ZN6orders5total17h0123456789abcdefE)) (func $_ZN6orders5total17h0123456789abcdefE (unreachable))",
    );
    let record = Host::new().fail(&guest).await;
    assert_eq!(record.outcome, Outcome::Trapped { trap: "wasm `unreachable` instruction executed".to_owned() });
    assert_eq!(record.backtrace, ["orders::total", "outer", "handle"]);
}

#[tokio::test]
async fn traps_are_told_apart() {
    let host = Host::new();
    for (body, expected) in [
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "integer divide by zero"),
        ("(drop (i32.load (i32.const 70000)))", "out of bounds memory access"),
    ] {
        let record = host.fail(&Guest::new(&format!("{body} {OK}"))).await;
        assert_eq!(record.outcome, Outcome::Trapped { trap: expected.to_owned() });
    }
    // It answers with something that no answer is.
    let nonsense = "(i32.store8 (i32.const 8) (i32.const 1)) (i32.store8 (i32.const 16) (i32.const 9)) (i32.const 8)";
    let Outcome::Trapped { trap } = host.fail(&Guest::new(nonsense)).await.outcome else { panic!("no trap") };
    assert!(trap.contains("discriminant"), "{trap}");
}

#[tokio::test]
async fn exit_is_no_answer() {
    let host = Host::new();
    for (status, success) in [(0, true), (1, false)] {
        let body = format!("(call $exit (i32.const {status})) (call $ok)");
        let record = host.fail(&Guest::new(&body).using(&[Use::Exit])).await;
        assert_eq!(record.outcome, Outcome::Exited { success });
    }
}

#[tokio::test]
async fn more_sessions_than_instances_is_a_fault_of_the_host() {
    let host = Host::new();
    let program = host.load(&Guest::new(OK));
    let mut sessions = Vec::new();
    for _ in 0..8 {
        let mut session = Session::new(program.clone(), host.context().into());
        succeeded(session.run(&delivery(1, 1), &mut StagedState::default()).await);
        sessions.push(session);
    }
    let mut one_more = Session::new(program, host.context().into());
    let attempt = one_more.run(&delivery(1, 1), &mut StagedState::default()).await;
    let AttemptResult::Failed(record) = attempt.result else { panic!("there was room") };
    let Outcome::HostFault { detail } = record.outcome else { panic!("{:?}", record.outcome) };
    assert!(detail.contains("all instances are in use"), "{detail}");
    drop(sessions);
    succeeded(one_more.run(&delivery(1, 1), &mut StagedState::default()).await);
}

#[tokio::test]
async fn a_dropped_run_leaves_a_session_that_works() {
    let host = Host::new();
    let spin_once =
        format!("(if (i64.eq (i64.load offset=72 (local.get $delivery)) (i64.const 1)) (then {SPIN})) (call $ok)");
    let mut session = host.session(&Guest::new(&spin_once));
    let mut staged = StagedState::default();
    let spinning = delivery(1, 1);
    let dropped = tokio::time::timeout(Duration::ZERO, session.run(&spinning, &mut staged)).await;
    assert!(dropped.is_err());
    succeeded(session.run(&delivery(2, 1), &mut staged).await);
}
