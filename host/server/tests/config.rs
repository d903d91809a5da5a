//! What a configuration may say, and what is said of a wrong one.

use std::path::Path;

use wasmill_delivery::{
    canary::CanaryPolicy,
    engine::{EngineLimits, Unrouted},
    limits::BACKOFF_DELAYS_MAX,
    name::{HandlerName, Sequence},
    policy::Backoff,
    record::{
        ConsumerConfig, DeliveryOrder, Expired, HandlerLimits, MatchMode, Overflow, Poison, QueueConfig, Replacing,
        Retention, Retries, Start, StormPolicy,
    },
    time::Timestamp,
};
use wasmill_runtime::{Durability, HandlerSettings};
use wasmill_server::config::{Config, ConfigError};

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/wasmill/wasmill.toml"))
}

#[track_caller]
fn check_wrong(text: &str, said: &str) {
    let error = parse(text).expect_err(text).to_string();
    let said = format!("/etc/wasmill/wasmill.toml:{}", said.trim_start());
    assert_eq!(error, said, "\n--- said:\n{error}\n--- expected:\n{said}");
}

#[test]
fn unknown_keys_suggest_the_near_one() {
    check_wrong(
        "[server]\nlisten = \"127.0.0.1:1\"\ndrian = \"5s\"\n",
        concat!(
            "3:1: server.drian: unknown key `drian`; did you mean `drain`?\n",
            " 3 | drian = \"5s\"\n",
            "   | ^^^^^",
        ),
    );
    check_wrong(
        "[sever]\n",
        concat!("1:2: sever: unknown key `sever`; did you mean `server`?\n", " 1 | [sever]\n", "   |  ^^^^^",),
    );
    check_wrong(
        "[queue.q.consumer.c]\nhandler = \"h\"\nretries = 3\n",
        concat!(
            "3:1: queue.q.consumer.c.retries: unknown key `retries`; there are `handler`, `pull`, `concurrency`, ",
            "`in-flight-max`, `attempts`, `backoff`, `start`, `order`, `poison`, `deterministic`, `storm`, ",
            "`rate-per-second`, `key-rate-per-second`, `retry-share`, `expired`, `lease`\n",
            " 3 | retries = 3\n",
            "   | ^^^^^^^",
        ),
    );
    check_wrong(
        "[store]\ndurability = \"fsyncs\"\n",
        concat!(
            "2:14: store.durability: unknown value `fsyncs`; did you mean `fsync`?\n",
            " 2 | durability = \"fsyncs\"\n",
            "   |              ^^^^^^^^",
        ),
    );
}

#[test]
fn wrong_durations_and_sizes_come_with_an_example() {
    check_wrong(
        "[server]\n  drain = \"30 parsecs\"\n",
        concat!(
            "2:11: server.drain: \"30 parsecs\" is not a duration; write a number with a unit, for example ",
            "\"30s\", \"100ms\" or \"2m\"\n",
            " 2 |   drain = \"30 parsecs\"\n",
            "   |           ^^^^^^^^^^^^",
        ),
    );
    check_wrong(
        "[queue.q.consumer.c]\nbackoff = { initial = \"1s\", cap = \"8d\" }\n",
        concat!(
            "2:35: queue.q.consumer.c.backoff.cap: \"8d\" is too long; it must be at most 604800 s\n",
            " 2 | backoff = { initial = \"1s\", cap = \"8d\" }\n",
            "   |                                   ^^^^",
        ),
    );
    check_wrong(
        "[handler.h.limits]\nmemory = \"64 potatoes\"\n",
        concat!(
            "2:10: handler.h.limits.memory: \"64 potatoes\" is not a size; write a number with a unit, for ",
            "example \"64KiB\", \"64MiB\" or \"10GiB\"\n",
            " 2 | memory = \"64 potatoes\"\n",
            "   |          ^^^^^^^^^^^^^",
        ),
    );
    check_wrong(
        "[limits]\ndata-bytes-max = \"17MiB\"\n",
        concat!(
            "2:18: limits.data-bytes-max: \"17MiB\" is too large; it must be at most 16.0 MiB\n",
            " 2 | data-bytes-max = \"17MiB\"\n",
            "   |                  ^^^^^^^",
        ),
    );
}

#[test]
fn wrong_types_and_ranges_are_named() {
    check_wrong(
        "[server]\ndrain = 30\n",
        concat!(
            "2:9: server.drain: wrong type: integer `30`, expected a duration as text, for example \"30s\"\n",
            " 2 | drain = 30\n",
            "   |         ^^",
        ),
    );
    check_wrong(
        "[handler.h]\nconfig = { magnitude-min = 5.0 }\n",
        concat!(
            "2:28: handler.h.config.magnitude-min: wrong type: floating point `5.0`, expected a string\n",
            " 2 | config = { magnitude-min = 5.0 }\n",
            "   |                            ^^^",
        ),
    );
    check_wrong(
        "[queue.q.consumer.c]\nattempts = 0\n",
        concat!(
            "2:12: queue.q.consumer.c.attempts: 0 is out of range; it must be from 1 to 1000\n",
            " 2 | attempts = 0\n",
            "   |            ^",
        ),
    );
    check_wrong(
        "[queue.q]\nmessages-max = -1\n",
        concat!(
            "2:16: queue.q.messages-max: -1 is out of range; it must be at least 1\n",
            " 2 | messages-max = -1\n",
            "   |                ^^",
        ),
    );
    check_wrong(
        "[server]\nlisten = \"here\"\n",
        concat!(
            "2:10: server.listen: \"here\" is not an address; write an IP address and a port, for example ",
            "\"127.0.0.1:7500\"\n",
            " 2 | listen = \"here\"\n",
            "   |          ^^^^^^",
        ),
    );
}

#[test]
fn wrong_names_and_patterns_are_named() {
    check_wrong(
        "[queue.\"my queue\"]\n",
        concat!(
            "1:8: queue.my queue: queue name \"my queue\" may hold only ASCII letters, digits, '-', '_' and '.'\n",
            " 1 | [queue.\"my queue\"]\n",
            "   |        ^^^^^^^^^^",
        ),
    );
    check_wrong(
        "[queue.q]\nbindings = [\"a.#\", \"b*\"]\n",
        concat!(
            "2:12: queue.q.bindings: topic pattern \"b*\" has '*' or '#' inside a word; a wildcard stands for ",
            "whole words\n",
            " 2 | bindings = [\"a.#\", \"b*\"]\n",
            "   |            ^^^^^^^^^^^^^",
        ),
    );
}

#[test]
fn what_is_no_toml_is_shown_where_it_breaks() {
    let error = parse("[server]\ndrain = \n").expect_err("no value").to_string();
    assert!(error.starts_with("/etc/wasmill/wasmill.toml:2:"), "{error}");
    let missing = Config::read(Path::new("/nowhere/wasmill.toml")).expect_err("no file").to_string();
    assert!(missing.starts_with("cannot read the configuration /nowhere/wasmill.toml: "), "{missing}");
}

#[test]
fn what_is_written_is_what_is_used() {
    let config = parse(
        r##"
        [store]
        folder = "data"
        durability = "interval"
        flush-every = "20ms"
        [handler.alert]
        file = "../alert.wasm"
        config = { magnitude-min = "5.0" }
        limits = { fuel = 7, wall-clock = "2s" }
        [queue.quakes]
        bindings = ["quakes.#"]
        [queue.quakes.consumer.alert]
        attempts = 9
        backoff = { initial = "1s", jitter = false }
        start = "end"
        "##,
    )
    .expect("a good file");
    assert_eq!(config.store.folder, Path::new("/etc/wasmill/data"));
    assert_eq!(config.store.options.durability, Durability::Interval { flush_ms: 20 });
    assert_eq!(config.handlers_folder, Path::new("/etc/wasmill/handlers"));
    assert!(!config.makes_queues());
    let (_, alert) = config.handlers.first_key_value().expect("a handler");
    assert_eq!(alert.file.as_deref(), Some(Path::new("/etc/wasmill/../alert.wasm")));
    assert_eq!(alert.settings.config["magnitude-min"], "5.0");
    let limits = HandlerLimits { fuel_max: 7, wall_clock_ms_max: 2_000, ..HandlerLimits::default() };
    assert_eq!(alert.settings.limits, limits);
    let (_, quakes) = config.queues.first_key_value().expect("a queue");
    assert_eq!(quakes.config.bindings.len(), 1);
    let (name, consumer) = quakes.consumers.first_key_value().expect("a consumer");
    let handler = consumer.handler.as_ref().map(HandlerName::as_str);
    assert_eq!(handler, Some(name.as_str()), "the handler of its own name");
    let backoff = Backoff::Exponential { initial_ms: 1_000, factor: 2, cap_ms: 60_000, jitter: false };
    assert_eq!((consumer.attempts_max, &consumer.backoff), (9, &backoff), "what is left out is the default");
}

#[test]
fn every_delivery_semantic_can_be_declared() {
    let config = parse(
        r##"
        [limits]
        delayed-max = 7
        unrouted = { park = "lost" }
        [queue.q]
        bindings = ["a.#", { topic = "b.*", headers = { Region = "EU", tier = "1" }, match = "any" }]
        overflow = { wait = "2s" }
        retention = { messages = 5, bytes = "1KiB", age = "7d" }
        [queue.q.consumer.c]
        order = "key"
        poison = "skip"
        deterministic = false
        storm = { deliveries = 10, percent = 50, probe = "5s" }
        rate-per-second = 100
        key-rate-per-second = 1
        retry-share = 10
        expired = "quarantine"
        start = { time = "1970-01-01T00:00:01Z" }
        backoff = { delays = ["1s", "1m"], jitter = true }
        [queue.q.consumer.pulled]
        pull = true
        lease = "1m"
        start = { sequence = 7 }
        backoff = { fixed = "5s" }
        [queue.oldest]
        overflow = "drop-oldest"
        "##,
    )
    .expect("a good file");
    let lost = "lost".parse().expect("a name");
    let engine = EngineLimits { delayed_max: 7, unrouted: Unrouted::Park(lost), ..EngineLimits::default() };
    assert_eq!(config.limits.engine, engine);
    let name = |text: &str| text.parse().expect("a name");
    let q = &config.queues[&"q".parse().expect("a name")];
    let headers = q.config.bindings[1].headers.as_ref().expect("headers");
    let pairs = [("region", "EU"), ("tier", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((headers.mode, &headers.headers[..]), (MatchMode::Any, &pairs[..]));
    assert_eq!(q.config.overflow, Overflow::Wait { wait_ms: 2_000 });
    let retention = Retention { messages: Some(5), bytes: Some(1_024), age_ms: Some(7 * 24 * 3_600_000) };
    assert_eq!(q.config.retention, Some(retention));
    let expected = ConsumerConfig {
        order: DeliveryOrder::Key,
        poison: Poison::Skip,
        deterministic: false,
        storm: StormPolicy { deliveries: 10, percent: 50, probe_ms: 5_000 },
        rate_per_second: Some(100),
        key_rate_per_second: Some(1),
        retry_share: 10,
        expired: Expired::Quarantine,
        start: Start::Time(Timestamp(1_000)),
        backoff: Backoff::List { delays_ms: vec![1_000, 60_000], jitter: true },
        ..ConsumerConfig::new("c".parse().expect("a name"))
    };
    assert_eq!(q.consumers[&name("c")], expected);
    let expected = ConsumerConfig {
        lease_ms: 60_000,
        start: Start::Sequence(Sequence(7)),
        backoff: Backoff::Fixed { fixed_ms: 5_000, jitter: false },
        ..ConsumerConfig::pulled()
    };
    assert_eq!(q.consumers[&name("pulled")], expected);
    assert_eq!(config.queues[&"oldest".parse().expect("a name")].config.overflow, Overflow::DropOldest);
}

#[test]
fn contradictions_are_shown_where_they_stand() {
    for (text, place, words) in [
        ("[queue.q.consumer.c]\npull = true\nhandler = \"h\"\n", ":1:", "leave one out"),
        ("[queue.q.consumer.c]\nkey-rate-per-second = 1\n", ":1:", "needs order = \"key\""),
        (
            "[queue.q.consumer.c]\nbackoff = { fixed = \"1s\", cap = \"2s\" }\n",
            ":2:11: queue.q.consumer.c.backoff",
            "leave out",
        ),
        ("[queue.q.consumer.c]\nbackoff = { delays = [] }\n", ":2:11: queue.q.consumer.c.backoff", "is empty"),
        ("[queue.q]\nretention = {}\n", ":2:13: queue.q.retention", "for ever"),
        ("[queue.q]\noverflow = { wait = \"61s\" }\n", ":2:21: queue.q.overflow.wait", "at most 60 s"),
        ("[queue.q]\noverflow = \"refuze\"\n", ":2:12: queue.q.overflow", "did you mean `refuse`?"),
        ("[queue.q]\nbindings = [{ topic = \"a\", match = \"any\" }]\n", ":2:", "names none"),
        ("[queue.q]\nbindings = [3]\n", ":2:13: queue.q.bindings", "a topic pattern, or topic, headers and match"),
        (
            "[queue.q.consumer.c]\nstart = { time = \"noon\" }\n",
            ":2:9: queue.q.consumer.c.start",
            "2026-07-01T12:00:00Z",
        ),
        ("[limits]\nunrouted = \"drp\"\n", ":2:12: limits.unrouted", "did you mean `drop`?"),
        ("[queue.q.consumer.c]\nlease = \"13h\"\n", ":2:9: queue.q.consumer.c.lease", "at most 43200 s"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.starts_with(&format!("/etc/wasmill/wasmill.toml{place}")), "{error}");
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_list_of_delays_has_a_limit() {
    let delays = |count: usize| {
        let delays = vec!["\"1s\""; count].join(", ");
        parse(&format!("[queue.q.consumer.c]\nbackoff = {{ delays = [{delays}] }}\n"))
    };
    assert!(delays(BACKOFF_DELAYS_MAX).is_ok(), "the limit itself fits");
    let error = delays(BACKOFF_DELAYS_MAX + 1).expect_err("one too many").to_string();
    assert!(error.contains("queue.q.consumer.c.backoff: the list of delays has more than 1000"), "{error}");
}

const REFERENCE: &str = include_str!("../wasmill.reference.toml");

#[test]
fn the_reference_says_the_defaults() {
    let reference = Config::parse(REFERENCE, Path::new("wasmill.toml")).expect("the reference is a good file");
    let none = Config::without_file();
    assert_eq!(reference.server, none.server);
    assert_eq!(reference.log, none.log);
    assert_eq!(reference.store, none.store);
    assert_eq!(reference.limits, none.limits);
    assert_eq!(reference.handlers_folder, none.handlers_folder);
    let (name, handler) = reference.handlers.first_key_value().expect("a handler");
    assert_eq!((&handler.file, &handler.settings), (&None, &HandlerSettings::default()));
    let (_, queue) = reference.queues.first_key_value().expect("a queue");
    assert_eq!(queue.config, QueueConfig::default());
    let (_, consumer) = queue.consumers.first_key_value().expect("a consumer");
    assert_eq!(*consumer, ConsumerConfig::new(name.clone()));
}

/// Asks the parser itself which keys it knows, by giving it one that it cannot know.
#[test]
fn the_reference_names_every_key() {
    let sections = [
        "server",
        "log",
        "store",
        "limits",
        "handlers",
        "handler.example",
        "handler.example.limits",
        "handler.example.canary",
        "queue.example",
        "queue.example.consumer.example",
        "queue.example.consumer.example.backoff",
        "queue.example.consumer.example.storm",
        "schedule.example",
    ];
    for section in sections {
        let body = REFERENCE.split(&format!("\n[{section}]\n")).nth(1).expect(section);
        let body = body.split("\n[").next().expect(section);
        let error = parse(&format!("[{section}]\nqqqqqqqqqqqqqqqq = 1\n")).expect_err(section).to_string();
        let known =
            error.split("there are `").nth(1).and_then(|rest| rest.split("`\n").next()).expect("a list of keys");
        for key in known.split("`, `") {
            let shown = |begins: &str| REFERENCE.contains(&format!("\n{begins}[{section}.{key}"));
            let has_section = shown("") || shown("# ");
            let has_key = body.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            assert!(has_section || has_key, "the reference does not show {key} of [{section}]");
        }
    }
}

#[test]
fn how_a_handler_is_replaced_is_read_and_checked() {
    let text = "[handler.h]\nretries = \"stay\"\n[handler.h.canary]\nshare = \"10%\"\ndeliveries = 50\nmargin = \"2%\"\n\
                duration = \"5m\"\n[handler.h.sample]\ntopic = \"t\"\nheaders = { A = \"b\" }\nfile = \"s.json\"\n";
    let config = parse(text).expect("a good file");
    let (_, handler) = config.handlers.first_key_value().expect("a handler");
    let Replacing { sample, retries, canary } = &handler.settings.replacing;
    let wanted = CanaryPolicy { share_percent: 10, deliveries: 50, margin_points: 2, duration_ms: 300_000 };
    assert_eq!((*retries, *canary), (Retries::Stay, wanted));
    assert_eq!(handler.sample_file.as_deref(), Some(Path::new("/etc/wasmill/s.json")));
    assert_eq!(sample.as_ref().expect("a sample").headers, [("a".to_owned(), "b".to_owned())]);
    for (wrong, said) in [
        ("canary]\nshare = \"100%\"", "must be at most 99%"),
        ("canary]\nshare = \"ten\"", "for example \"10%\""),
        ("canary]\nduration = \"31 days\"", "is too long"),
        ("sample]\ntopic = \"t\"\ndata = \"\"\nfile = \"f\"", "give one of them"),
        ("sample]\nkey = \"k\"", "topic"),
    ] {
        let error = parse(&format!("[handler.h.{wrong}\n")).expect_err(wrong).to_string();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

#[test]
fn strangers_are_kept_out_unless_somebody_says_otherwise() {
    let remote = parse("[server]\nlisten = \"0.0.0.0:7500\"\n").expect("a good file");
    let refusal = remote.check_listen().expect_err("other machines reach it").to_string();
    assert!(refusal.contains("0.0.0.0:7500") && refusal.contains("allow-remote = true"), "{refusal}");
    let allowed = parse("[server]\nlisten = \"0.0.0.0:7500\"\nallow-remote = true\n").expect("a good file");
    assert!(allowed.check_listen().is_ok());
    assert!(parse("[server]\nlisten = \"[::1]:7500\"\n").expect("a good file").check_listen().is_ok());
}
