//! Time, faults and determinism.

mod support;

use std::time::{Duration, Instant};

use support::{loader, program, run};
use wasmill_testing::{
    Cases, CrashAt, Draft, Harness, Plan, PlannedAnswer, ReceivedAnswer, RunOptions, Settings,
    delivery::{outcome::Outcome, policy::Backoff, record::Grants},
};

fn passes(guest: &str, case: &str) -> u64 {
    let report = run(guest, case);
    let circumstances = report.circumstances.clone().unwrap_or_default();
    let said: Vec<String> = report.mismatches.iter().map(ToString::to_string).collect();
    assert!(report.has_passed(), "{case}: {circumstances} {said:#?}");
    report.runs
}

#[test]
fn an_hour_of_retries_takes_no_time() {
    let loader = loader();
    let program = program(&loader, "guest-flaky");
    let mut settings = Settings::default();
    settings.config.insert("fail-attempts".to_owned(), "60".to_owned());
    settings.consumer.attempts_max = 61;
    settings.consumer.backoff = Backoff::Fixed { fixed_ms: 60_000, jitter: false };
    let started = Instant::now();
    let mut harness = Harness::new(&loader, program, settings).expect("a host");
    harness.publish(Draft::new("in", "x")).expect("room");
    harness.run_until_idle().expect("an end");
    assert_eq!(harness.elapsed(), Duration::from_secs(3_600));
    let outcomes: Vec<&str> = harness.attempts().iter().map(|attempt| attempt.outcome.name()).collect();
    assert_eq!(outcomes, [vec!["retry"; 60], vec!["success"]].concat());
    assert_eq!(harness.published().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(20), "an hour took {:?}", started.elapsed());
}

#[test]
fn a_guest_that_sleeps_is_stopped_by_its_limit_of_the_tests_clock() {
    passes(
        "guest-sleeper",
        r#"
        publish = [{ topic = "t" }]
        settings = { consumer = { attempts = 1 }, limits = { wall-clock = "30s" } }
        [case.expect]
        outcomes = ["timed-out"]
        elapsed = "30s"
        "#,
    );
}

#[test]
fn a_crash_at_any_commit_leaves_every_effect_once() {
    let runs = passes(
        "guest-ledger",
        r#"
        publish = [{ topic = "t", text = "5" }, { topic = "t", text = "7" }, { topic = "t", text = "41", at = "1s" }]
        faults = { crash = "each" }
        [case.expect]
        state = { sum = "53", count = "3" }
        published-count = 3
        in-any-order = true
        published = [{ text = "5" }, { text = "7" }, { text = "41" }]
        "#,
    );
    assert!(runs >= 9, "{runs} runs");
}

#[test]
fn a_crash_of_the_test_is_at_the_commit_it_names() {
    let loader = loader();
    let program = program(&loader, "guest-counter");
    for (crash_at, attempts) in [(CrashAt::Before(1), 2), (CrashAt::After(1), 1)] {
        let settings = Settings { crash_at: Some(crash_at), ..Settings::default() };
        let mut harness = Harness::new(&loader, program.clone(), settings).expect("a host");
        harness.publish(Draft::new("in", "5")).expect("room");
        harness.run_until_idle().expect("an end");
        assert!(harness.was_killed());
        assert_eq!(harness.attempts().len(), attempts, "{crash_at:?}");
        assert_eq!(harness.state().expect("a store")["sum"], "5");
    }
}

#[test]
fn a_duplicate_is_dropped_within_the_dedup_window_and_delivered_without_one() {
    let case = |settings: &str, sum: u32| {
        format!(
            "publish = [{{ topic = \"t\", text = \"5\" }}]\nfaults = {{ duplicate = 3 }}\n{settings}\n\
             [case.expect]\nstate = {{ sum = \"{sum}\", count = \"{}\" }}",
            sum / 5
        )
    };
    passes("guest-counter", &case("", 5));
    passes("guest-counter", &case("settings = { dedup-window = \"0s\" }", 15));
}

#[test]
fn deliveries_are_tried_in_an_order_drawn_from_the_seed() {
    let texts = |seed: u64, reorder: bool| {
        let loader = loader();
        let program = program(&loader, "guest-echo");
        let mut settings = Settings { seed, reorder, ..Settings::default() };
        settings.config.insert("to".to_owned(), "out".to_owned());
        let mut harness = Harness::new(&loader, program, settings).expect("a host");
        harness.publish_all((0..10).map(|n| Draft::new("in", n.to_string())).collect()).expect("room");
        harness.run_until_idle().expect("an end");
        let texts = harness.published().iter().map(|sent| sent.message.data[0] - b'0').collect::<Vec<u8>>();
        assert_eq!(texts.len(), 10);
        texts
    };
    let in_order: Vec<u8> = (0..10).collect();
    assert_eq!(texts(1, false), in_order);
    assert_ne!(texts(1, true), in_order);
    assert_ne!(texts(1, true), texts(2, true));
    assert_eq!(texts(2, true), texts(2, true));
}

#[test]
fn slow_and_failing_servers_are_planned() {
    let case = |answer: &str, text: &str| {
        format!(
            "settings = {{ grants = {{ http = [\"https://a.example\"] }}, consumer = {{ attempts = 1 }} }}\n\
             http = [{{ url = \"https://a.example/\", {answer} }}]\n\
             publish = [{{ topic = \"t\", text = \"GET https://a.example/\" }}]\n[case.expect]\n{text}"
        )
    };
    passes("guest-fetch", &case("after = \"3s\", text = \"ä\"", "elapsed = \"3s\"\npublished = [{ text = \"ä\" }]"));
    for (fails, elapsed) in [
        ("connection-refused", "0s"),
        ("timeout", "10s"),
        ("connection-reset", "0s"),
        ("dns", "0s"),
        ("tls-certificate", "0s"),
    ] {
        let expect = format!("outcomes = [\"reject\"]\nelapsed = \"{elapsed}\"");
        passes("guest-fetch", &case(&format!("fails = \"{fails}\""), &expect));
    }
    passes("guest-fetch", &case("fails = \"no-answer\"", "outcomes = [\"timed-out\"]\nelapsed = \"30s\""));
}

#[test]
fn what_is_not_granted_is_not_asked_for_and_what_is_not_planned_fails() {
    let loader = loader();
    let program = program(&loader, "guest-fetch");
    for (grants, requests) in [(Vec::new(), 0), (vec!["http://a.example".parse().expect("an origin")], 1)] {
        let settings = Settings { grants: Grants { http: grants, ..Grants::default() }, ..Settings::default() };
        let mut harness = Harness::new(&loader, program.clone(), settings).expect("a host");
        let answer = ReceivedAnswer { status: 200, headers: Vec::new(), body: "x".into() };
        harness.plan_http(Plan {
            method: Some("POST".to_owned()),
            url: "http://a.example/".to_owned(),
            answer: PlannedAnswer { after: Duration::ZERO, result: Ok(answer) },
            times: None,
        });
        harness.publish(Draft::new("in", "GET http://a.example/")).expect("room");
        harness.run_until_idle().expect("an end");
        assert!(matches!(harness.attempts()[0].outcome, Outcome::Reject { .. }));
        assert_eq!(harness.requests().len(), requests);
    }
}

#[test]
fn the_same_test_is_the_same_each_time() {
    let once = |seed: u64| {
        let loader = loader();
        let program = program(&loader, "guest-ledger");
        let mut settings = Settings { seed, reorder: true, ..Settings::default() };
        settings.consumer.concurrency = 4;
        let mut harness = Harness::new(&loader, program, settings).expect("a host");
        harness.publish_all((1..100).map(|n| Draft::new("in", n.to_string())).collect()).expect("room");
        harness.run_until_idle().expect("an end");
        (harness.attempts(), harness.published(), harness.state().expect("a store"), harness.commits())
    };
    let first = once(3);
    assert_eq!(first.2["count"], "99");
    for _ in 0..5 {
        assert!(once(3) == first, "a second run differs");
    }
    assert!(once(4) != first, "another seed is another run");
}

#[test]
fn a_quarantined_delivery_is_a_test_of_what_mends_it() {
    let loader = loader();
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = Settings::default();
    settings.config.insert("fail-attempts".to_owned(), "9".to_owned());
    settings.consumer.attempts_max = 1;
    let mut harness = Harness::new(&loader, program(&loader, "guest-flaky"), settings).expect("a host");
    harness.publish(Draft::new("in", "x")).expect("room");
    harness.run_until_idle().expect("an end");
    let capsule = harness.capsule(0).expect("what was given up has one");
    std::fs::write(folder.path().join("1.capsule"), capsule.to_bytes()).expect("room");
    let text = "[[case]]\nname = \"mended\"\ncapsule = \"1.capsule\"\nexpect.outcomes = [\"success\"]\n";
    let cases = Cases::parse(text, &folder.path().join("a.test.toml")).expect("a case");
    let passes = |guest: &str| {
        let program = program(&loader, guest);
        cases.cases[0].run(&loader, Some(&program), RunOptions::default()).expect("a run").has_passed()
    };
    assert!(!passes("guest-flaky") && passes("guest-noop"));
    let refused = Cases::parse(&format!("{text}http = [{{ url = \"x\" }}]"), "a.test.toml".as_ref());
    assert!(refused.expect_err("it answers itself").to_string().contains("leave http out"));
}

#[test]
fn a_case_that_never_ends_is_told_to_say_for_how_long() {
    let case = "publish = [{ topic = \"t\", text = \"defer\" }]";
    let report = run("guest-batch", case);
    let said: Vec<String> = report.mismatches.iter().map(ToString::to_string).collect();
    assert!(said[0].contains("say run-for when there is none") && said[0].contains("after 30 days"), "{said:?}");
    let report = run("guest-batch", &format!("{case}\nrun-for = \"20000h\""));
    let said: Vec<String> = report.mismatches.iter().map(ToString::to_string).collect();
    assert!(said[0].contains("there were more than 10000 attempts"), "{said:?}");
    passes("guest-batch", &format!("{case}\nrun-for = \"150m\"\nexpect.outcomes = [\"defer\", \"defer\", \"defer\"]"));
}
