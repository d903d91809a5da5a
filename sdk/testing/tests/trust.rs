//! A case that passes has shown something: nothing is lost, left out or overlooked without a word.

mod support;

use std::{
    fs,
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime},
};

use support::{loader, program, run};
use wasmill_runtime::{
    NoObserver, StoreOptions,
    simulated::{
        Clock, CommitWatch, PlannedAnswer, Sandbox, SandboxOptions, SentRequest, SimulatedFailure, SimulatedHost,
        SimulatedHttp, SimulatedOptions, Simulation, StoreError,
    },
};
use wasmill_testing::{
    CaseReport, Cases, Draft, Harness, RunOptions, Settings,
    delivery::{
        engine::EngineLimits,
        input::Settlement,
        name::{HandlerName, QueueName},
        policy::Backoff,
        record::QueueConfig,
        write::Write,
    },
};

fn said(report: &CaseReport) -> String {
    let mismatches: Vec<String> = report.mismatches.iter().map(ToString::to_string).collect();
    format!("{} {}", report.circumstances.as_deref().unwrap_or_default(), mismatches.join("\n"))
}

#[track_caller]
fn passes(guest: &str, case: &str) -> CaseReport {
    let report = run(guest, case);
    assert!(report.has_passed(), "{case}: {}", said(&report));
    report
}

#[track_caller]
fn fails(guest: &str, case: &str, words: &[&str]) {
    let said = said(&run(guest, case));
    for words in words {
        assert!(said.contains(words), "{case}: is to fail with {words:?}: {said}");
    }
}

const FETCH: &str = r#"
settings = { grants = { http = ["http://a.example"] } }
publish = [{ topic = "t", text = "GET http://a.example/" }]
"#;

#[test]
fn an_attempt_that_a_crash_undid_gets_its_answers_again() {
    for outcomes in ["", "\nexpect.outcomes = [\"success\"]"] {
        let case =
            format!("{FETCH}http = [{{ url = \"http://a.example/\" }}]\nfaults = {{ crash = \"each\" }}{outcomes}");
        assert!(passes("guest-fetch", &case).runs >= 5);
    }
    // Each answer is used up by what is committed: the second delivery gets none, wherever the host dies.
    passes(
        "guest-fetch",
        r#"
        settings = { grants = { http = ["http://a.example"] } }
        publish = [{ topic = "t", text = "GET http://a.example/", times = 2 }]
        http = [{ url = "http://a.example/" }]
        faults = { crash = "each" }
        expect.outcomes = ["success", "reject"]
        expect.quarantined = [{ reason-has = "no answer (left)" }]
        expect.published-count = 1
        "#,
    );
}

#[test]
fn a_delivery_that_ends_otherwise_after_a_crash_is_seen_though_outcomes_are_given() {
    let late = FETCH.replace("/\" }]", "/\", expires-after = \"2s\" }]");
    for outcomes in ["", "\nexpect.outcomes = [\"success\"]"] {
        let http = "http = [{ url = \"http://a.example/\", after = \"3s\", times = \"all\" }]";
        let case = format!("{late}{http}\nfaults = {{ crash = \"each\" }}{outcomes}");
        fails("guest-fetch", &case, &["killed right before commit", "message-1"]);
        passes("guest-fetch", &format!("{late}{http}{outcomes}"));
    }
}

#[test]
fn a_time_that_never_passes_has_an_end() {
    let case = r#"
        publish = [{ topic = "t", times = 20 }]
        settings.config = { fail-attempts = "1000" }
        settings.consumer = { attempts = 1000, backoff = { fixed = "0s" }, storm = { deliveries = 0 } }
    "#;
    for more in ["", "run-for = \"1s\""] {
        let report = run("guest-flaky", &format!("{case}{more}"));
        assert!(said(&report).contains("there were more than 10000 attempts"), "{}", said(&report));
        assert!(report.attempts.len() < 11_000, "{} attempts", report.attempts.len());
    }
}

#[test]
fn whole_numbers_are_compared_to_the_last_digit() {
    let case = |expected: &str| {
        format!(
            "settings = {{ config = {{ to = \"out\" }} }}\n\
             publish = [{{ topic = \"t\", json = {{ id = 9007199254740993, one = 1 }} }}]\n\
             expect.published = [{{ json = {{ id = {expected}, one = 1.0 }} }}]"
        )
    };
    passes("guest-echo", &case("9007199254740993"));
    fails("guest-echo", &case("9007199254740992"), &["published[0].data"]);
}

#[test]
fn a_delivery_that_never_ran_has_not_succeeded() {
    let expired = "publish = [{ topic = \"t\", delay = \"5s\", expires-after = \"1s\" }]";
    fails("guest-noop", expired, &["all succeed in the end", "message-1 expired"]);
    passes("guest-noop", &format!("{expired}\nexpect.outcomes = [\"expired\"]\nexpect.attempts = 0"));
    let elsewhere = "publish = [{ topic = \"t\" }]\nsettings = { queue = { bindings = [\"other\"] } }";
    fails("guest-noop", elsewhere, &["all succeed in the end", "message-1"]);
    passes("guest-noop", &format!("{elsewhere}\nexpect.outcomes = []"));
    let later = "publish = [{ topic = \"t\", delay = \"5s\" }]\nrun-for = \"1s\"";
    fails("guest-noop", later, &["all succeed in the end", "message-1"]);
    for outcome in ["lease-expired", "host-crash"] {
        let text = format!("[[case]]\nname = \"it\"\nexpect.outcomes = [\"{outcome}\"]");
        let error = Cases::parse(&text, "it.test.toml".as_ref()).expect_err("no test can see it").to_string();
        assert!(error.contains(outcome), "{error}");
    }
}

#[test]
fn a_delivery_that_expired_stands_where_it_was_settled() {
    passes(
        "guest-fetch",
        r#"
        settings = { grants = { http = ["http://a.example"] } }
        http = [{ url = "http://a.example/", after = "3s", times = "all" }]
        publish = [
            { topic = "t", text = "GET http://a.example/" },
            { topic = "t", text = "x", expires-after = "1s" },
            { topic = "t", text = "GET http://a.example/" },
        ]
        expect.outcomes = ["success", "expired", "success"]
        expect.attempts = 2
        expect.elapsed = "6s"
        "#,
    );
}

#[test]
fn only_a_handler_that_is_idempotent_passes_duplicates_and_crashes() {
    let case = "faults = { duplicate = 2, crash = \"each\" }\nsettings = { dedup-window = \"0s\", config = { to = \"out\" } }\n\
                publish = [{ topic = \"t\", text = \"5\" }]\nexpect.published-count = 1";
    assert!(passes("wasmill-plugin-dedupe", case).runs >= 5);
    fails("guest-ledger", case, &["published-count"]);
}

#[test]
fn what_is_due_at_the_end_of_the_time_happens() {
    let case = "settings = { consumer = { backoff = { fixed = \"60s\" } } }\npublish = [{ topic = \"t\" }]";
    passes("guest-flaky", &format!("{case}\nrun-for = \"60s\"\nexpect.outcomes = [\"retry\", \"success\"]"));
    passes("guest-flaky", &format!("{case}\nrun-for = \"59999ms\"\nexpect.outcomes = [\"retry\"]"));
    // What a case publishes then comes first.
    let then =
        "publish = [{ topic = \"t\", id = \"a\", delay = \"60s\" }, { topic = \"t\", id = \"b\", at = \"60s\" }]";
    let case = format!("settings = {{ config = {{ fail-attempts = \"0\" }} }}\n{then}\nrun-for = \"60s\"");
    let order: Vec<String> =
        passes("guest-flaky", &case).attempts.iter().map(|attempt| attempt.message.id.to_string()).collect();
    assert_eq!(order, ["b", "a"]);
    let loader = loader();
    let mut settings = Settings::default();
    settings.config.insert("fail-attempts".to_owned(), "1".to_owned());
    settings.consumer.backoff = Backoff::Fixed { fixed_ms: 60_000, jitter: false };
    let mut harness = Harness::new(&loader, program(&loader, "guest-flaky"), settings.clone()).expect("a host");
    harness.publish(Draft::new("in", "x")).expect("room");
    harness.advance(Duration::ZERO).expect("an end");
    harness.assert_outcomes(&["retry"]);
    harness.advance(Duration::from_secs(60)).expect("an end");
    harness.assert_outcomes(&["retry", "success"]);
    assert_eq!(harness.now(), settings.starts_at.plus_ms(60_000));
}

#[test]
fn the_last_seed_is_a_seed() {
    let cases = Cases::parse("[[case]]\nname = \"it\"\npublish = [{ topic = \"t\" }]", "it.test.toml".as_ref());
    let loader = loader();
    let program = program(&loader, "guest-noop");
    let options = RunOptions { seed: Some(u64::MAX), ..RunOptions::default() };
    let mut report = cases.expect("a case").cases[0].run(&loader, Some(&program), options).expect("a run");
    assert_eq!((report.runs, report.has_passed()), (1, true));
    report.runs = 0;
    assert!(!report.has_passed(), "what was not run has shown nothing");
}

#[test]
fn any_order_that_fits_is_found() {
    let case = |expected: &str| {
        format!(
            "settings = {{ config = {{ to = \"out\" }} }}\n\
             publish = [{{ topic = \"t\", text = \"a\" }}, {{ topic = \"t\", text = \"b\" }}, {{ topic = \"t\", text = \"c\" }}]\n\
             expect.in-any-order = true\nexpect.published = [{expected}]"
        )
    };
    passes("guest-echo", &case(r#"{ topic = "out" }, { text-has = "b" }, { topic = "out", text = "a" }"#));
    passes("guest-echo", &case(r#"{ }, { text = "c" }, { text = "a" }"#));
    let wrong = case(r#"{ }, { text = "a", key = false }, { topic = "out", text = "a" }"#);
    fails("guest-echo", &wrong, &["published[2]", "topic out, data \"a\"", "out \"c\""]);
}

#[test]
fn a_snapshot_with_other_line_ends_is_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let loader = loader();
    let program = program(&loader, "guest-flaky");
    let text = "[[case]]\nname = \"it\"\npublish = [{ topic = \"t\" }]\nexpect.snapshot = \"it.snap\"";
    let cases = Cases::parse(text, &folder.path().join("it.test.toml")).expect("a case");
    let run = |update| {
        let options = RunOptions { update, ..RunOptions::default() };
        cases.cases[0].run(&loader, Some(&program), options).expect("a run")
    };
    assert!(run(true).has_passed());
    let path = folder.path().join("it.snap");
    let written = fs::read_to_string(&path).expect("it was written");
    for other in [written.replace('\n', "\r\n"), written.trim_end().to_owned()] {
        fs::write(&path, other).expect("room");
        let report = run(false);
        assert!(report.has_passed(), "{}", said(&report));
    }
    fs::write(&path, written.replace("retry", "trapped")).expect("room");
    assert!(!run(false).has_passed());
}

#[test]
fn stores_of_tests_that_were_killed_are_removed() {
    // Where the harness has its own, which a test cannot ask for.
    let memory = std::path::Path::new("/dev/shm");
    let parent =
        if std::env::var_os("TMPDIR").is_none() && memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let mut child = Command::new("true").spawn().expect("a process");
    let gone = child.id();
    child.wait().expect("its end");
    let plant = |name: String, hours: u64| {
        let path = parent.join(name);
        fs::create_dir_all(path.join("store")).expect("room");
        let modified = SystemTime::now() - Duration::from_secs(hours * 3_600);
        fs::File::open(&path).and_then(|folder| folder.set_modified(modified)).expect("its time");
        path
    };
    let planted = [
        plant(format!("wasmill-test-{gone}-left"), 2),
        plant(format!("wasmill-test-{gone}-new"), 0),
        plant(format!("wasmill-test-{}-alive", std::process::id()), 2),
        plant(format!("wasmill-other-{gone}-kept"), 2),
    ];
    // A process looks once, when it makes its first.
    let other =
        Command::new(std::env::current_exe().expect("this test")).args(["--exact", "the_last_seed_is_a_seed"]).output();
    let is_there = planted.each_ref().map(|path| path.exists());
    for path in planted {
        drop(fs::remove_dir_all(path));
    }
    let other = other.expect("a process");
    assert!(other.status.success(), "{}", String::from_utf8_lossy(&other.stdout));
    assert_eq!(is_there, [false, true, true, true]);
}

#[test]
fn a_capsule_refuses_what_it_cannot_heed_and_says_where_it_went_another_way() {
    let refused = |more: &str| {
        let text = format!("[[case]]\nname = \"it\"\ncapsule = \"1.capsule\"\n{more}");
        Cases::parse(&text, "it.test.toml".as_ref()).expect_err(more).to_string()
    };
    for (more, word) in [
        ("settings = { config = { to = \"x\" } }", "settings"),
        ("expect.requests = []", "expect.requests"),
        ("expect.quarantined = []", "expect.quarantined"),
    ] {
        assert!(refused(more).contains(&format!("leave {word} out")), "{}", refused(more));
    }

    let loader = loader();
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = Settings::default();
    settings.consumer.attempts_max = 1;
    let mut harness = Harness::new(&loader, program(&loader, "guest-trap"), settings).expect("a host");
    harness.publish(Draft::new("in", "5")).expect("room");
    harness.run_until_idle().expect("an end");
    fs::write(folder.path().join("1.capsule"), harness.capsule(0).expect("it failed").to_bytes()).expect("room");
    let text = "[[case]]\nname = \"mended\"\ncapsule = \"1.capsule\"\nexpect.outcomes = [\"success\"]\n";
    let cases = Cases::parse(text, &folder.path().join("a.test.toml")).expect("a case");
    let run = |guest: &str| {
        cases.cases[0].run(&loader, Some(&program(&loader, guest)), RunOptions::default()).expect("a run")
    };
    // It reads state, which the one that failed did not.
    let words = run("guest-counter").circumstances.expect("it went another way");
    assert!(words.starts_with("it went another way than the recorded attempt: "), "{words}");
    let same = run("guest-noop");
    assert!(same.has_passed() && same.circumstances.is_none(), "{:?}", same.circumstances);
}

struct Broken;

impl CommitWatch for Broken {
    fn settling(&mut self, _: &[Settlement]) {}

    fn before(&mut self, _: &[Write]) -> Result<(), StoreError> {
        Err(StoreError::Poisoned { first: "the disk is gone".to_owned() })
    }

    fn after(&mut self, _: &[Write]) -> Result<(), StoreError> {
        Ok(())
    }
}

impl SimulatedHttp for Broken {
    fn answer(&self, _: SentRequest) -> PlannedAnswer {
        PlannedAnswer { after: Duration::ZERO, result: Err(SimulatedFailure::Dns) }
    }
}

#[test]
fn why_a_host_stopped_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    let _entered = runtime.enter();
    let clock = Clock::following_tokio(Settings::default().starts_at);
    let host = SimulatedHost::open(SimulatedOptions {
        store_folder: folder.path().join("store"),
        store: StoreOptions::default(),
        state: (HandlerName::new("h").expect("a name"), Vec::new()),
        limits: EngineLimits::default(),
        data_bytes_max: 1_024,
        sandbox: Sandbox::new(SandboxOptions::new(folder.path().join("compiled"))).expect("a sandbox"),
        simulation: Arc::new(Simulation::new(clock, 0, Box::new(Broken))),
        reorder: None,
        observer: Arc::new(NoObserver),
        watch: Box::new(Broken),
    })
    .expect("a host");
    let queue = QueueName::new("in").expect("a name");
    let error = runtime.block_on(host.put_queue(queue, QueueConfig::default())).expect_err("its store is broken");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
}
