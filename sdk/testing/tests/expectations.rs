//! Each kind of expectation holds when it is true and fails when it is not.

mod support;

use support::run;

const FETCH: &str = r#"
settings = { grants = { http = ["http://api.example.com"] } }
http = [{ method = "GET", url = "http://api.example.com/x", text = "seen", status = 201 }]
publish = [{ topic = "t", text = "GET http://api.example.com/x" }]
"#;
const ECHO: &str = r#"
settings = { config = { to = "out" } }
publish = [{ topic = "t", key = "k", json = { a = 1.0 }, headers = { h = "v" } }, { topic = "t", text = "two" }]
"#;
const COUNTER: &str = r#"
state = { sum = "10" }
publish = [{ topic = "t", text = "5" }]
"#;
const FLAKY: &str = r#"
settings = { consumer = { backoff = { fixed = "10s" }, attempts = 3 } }
publish = [{ topic = "t" }]
"#;
const REJECTED: &str = r#"
publish = [{ topic = "t", id = "m", text = "five" }]
"#;

const SAME: &str = r#"
settings = { config = { to = "out" } }
publish = [{ topic = "t", text = "same", times = 2 }]
"#;
const UNROUTABLE: &str = r#"
settings = { config = { to = "out" }, queue = { elsewhere = ["alerts"] }, consumer = { attempts = 1 } }
publish = [{ topic = "t", text = "x" }]
"#;
const BATCH: &str = r#"
publish = [{ topic = "t", text = "1" }, { topic = "t", text = "2" }, { topic = "t", text = "3" }]
"#;
const LATE: &str = r#"
settings = { consumer = { expired = "quarantine" } }
publish = [{ topic = "t", delay = "1h", expires-after = "1m" }]
"#;
const EVIDENCE: &str = r#"
publish = [{ topic = "t", text = "reject" }]
"#;

/// Guest, case, what holds, what does not, and a word of what is said then.
const TABLE: &[(&str, &str, &str, &str, &str)] = &[
    ("guest-flaky", FLAKY, r#"outcomes = ["retry", "success"]"#, r#"outcomes = ["success"]"#, "outcomes"),
    (
        "guest-flaky",
        FLAKY,
        r#"outcomes = [["trapped", "retry"], "success"]"#,
        r#"outcomes = [["trapped", "reject"], "success"]"#,
        "trapped or reject",
    ),
    ("guest-flaky", FLAKY, "attempts = 2", "attempts = 1", "attempts"),
    ("guest-flaky", FLAKY, r#"elapsed = "10s""#, r#"elapsed = "9999ms""#, "elapsed"),
    ("guest-flaky", FLAKY, r#"elapsed-at-least = "10s""#, r#"elapsed-at-least = "11s""#, "elapsed-at-least"),
    ("guest-flaky", FLAKY, r#"elapsed-at-most = "10s""#, r#"elapsed-at-most = "9s""#, "elapsed-at-most"),
    ("guest-flaky", FLAKY, "fuel-at-most = 100_000_000", "fuel-at-most = 10", "fuel-at-most"),
    ("guest-flaky", FLAKY, r#"memory-at-most = "64MiB""#, r#"memory-at-most = "1KiB""#, "memory-at-most"),
    ("guest-echo", ECHO, "published-count = 2", "published-count = 1", "published-count"),
    ("guest-echo", ECHO, "published-differ = true", "published-count = 3", "published-count"),
    ("guest-echo", UNROUTABLE, "outcomes = [\"unroutable\"]\npublished = []", "outcomes = [\"success\"]", "unroutable"),
    ("guest-echo", UNROUTABLE, "quarantined = [{ outcome = \"unroutable\" }]", "", "all succeed in the end"),
    ("guest-batch", BATCH, "published = [{ text = \"3 6\" }]\nattempts = 3", "published = [{ text = \"1 1\" }]", "3 6"),
    ("guest-noop", LATE, "quarantined = [{ outcome = \"expired\" }]\nattempts = 0", "", "all succeed in the end"),
    ("guest-echo", SAME, "published-differ = false", "published-differ = true", "twice \"same\""),
    (
        "guest-echo",
        ECHO,
        "published = [{ topic = \"out\" }, { }]",
        "published = [{ topic = \"in\" }, { }]",
        "published[0].topic",
    ),
    (
        "guest-echo",
        ECHO,
        "published = [{ json = { a = 1 } }, { }]",
        "published = [{ json = { a = 2 } }, { }]",
        "published[0].data",
    ),
    (
        "guest-echo",
        ECHO,
        "published = [{ json-text = '{\"a\":1}' }, { }]",
        "published = [{ json-text = 'null' }, { }]",
        "published[0].data",
    ),
    (
        "guest-echo",
        ECHO,
        "published = [{ key = \"k\" }, { key = false }]",
        "published = [{ key = false }, { }]",
        "published[0].key",
    ),
    (
        "guest-echo",
        ECHO,
        "published = [{ headers = { h = \"v\" } }, { headers = { } }]",
        "published = [{ headers = { } }, { }]",
        "published[0].headers",
    ),
    (
        "guest-echo",
        ECHO,
        "published = [{ content-type = \"application/json\" }, { content-type = \"text/plain\" }]",
        "published = [{ content-type = false }, { }]",
        "published[0].content-type",
    ),
    (
        "guest-echo",
        ECHO,
        "published = [{ delay = false }, { expires-after = false }]",
        "published = [{ delay = \"1s\" }, { expires-after = \"1s\" }]",
        "published[1].expires-after",
    ),
    (
        "guest-echo",
        ECHO,
        "published = [{ }, { text-has = \"tw\" }]",
        "published = [{ }, { text-has = \"three\" }]",
        "published[1].text-has",
    ),
    (
        "guest-echo",
        ECHO,
        "published = [{ }, { base64 = \"dHdv\" }]",
        "published = [{ }, { base64 = \"dHdw\" }]",
        "published[1].data",
    ),
    (
        "guest-echo",
        ECHO,
        "in-any-order = true\npublished = [{ text = \"two\" }, { }]",
        "published = [{ text = \"two\" }, { }]",
        "published[0].data",
    ),
    ("guest-echo", ECHO, "published = [{ }, { }]", "published = [{ }]", "1 messages"),
    (
        "guest-counter",
        COUNTER,
        "state = { sum = \"15\", count = \"1\" }",
        "state = { sum = \"15\" }",
        "state \"count\"",
    ),
    (
        "guest-counter",
        COUNTER,
        "state = { sum = { json = 15 }, count = \"1\" }",
        "state = { sum = \"16\", count = \"1\" }",
        "state \"sum\"",
    ),
    ("guest-counter", COUNTER, "state-has = { sum = \"15\" }", "state-has = { other = \"\" }", "state \"other\""),
    (
        "guest-counter",
        REJECTED,
        "quarantined = [{ outcome = \"reject\", reason-has = \"number\", topic = \"t\", id = \"m\", attempts = 1 }]",
        "quarantined = []",
        "quarantined",
    ),
    ("guest-counter", REJECTED, "quarantined = [{ }]", "quarantined = [{ outcome = \"retry\" }]", "quarantined[0]"),
    (
        "guest-counter",
        REJECTED,
        "quarantined = [{ reason = \"the data is \\\"five\\\"; it must be a number\" }]",
        "quarantined = [{ reason = \"five\" }]",
        "quarantined[0]",
    ),
    ("guest-counter", REJECTED, "outcomes = [\"reject\"]", "", "all succeed in the end"),
    (
        "guest-fetch",
        FETCH,
        "requests = [{ method = \"GET\", url = \"http://api.example.com/x\", headers = { host = \"api.example.com\" }, text = \"\" }]",
        "requests = [{ method = \"POST\" }]",
        "requests[0].method",
    ),
    ("guest-fetch", FETCH, "requests = [{ }]", "requests = []", "requests"),
    ("guest-fetch", FETCH, "requests = [{ }]", "requests = [{ headers = { x = \"y\" } }]", "requests[0].headers"),
    (
        "guest-fetch",
        FETCH,
        "published = [{ text = \"seen\", headers = { status = \"201\" } }]",
        "published = [{ text = \"\" }]",
        "published[0].data",
    ),
    (
        "guest-evidence",
        EVIDENCE,
        "outcomes = [\"reject\"]\nlog-has = [\"and the secret is\"]",
        "log-has = [\"bye\"]",
        "log-has",
    ),
    (
        "guest-evidence",
        EVIDENCE,
        "outcomes = [\"reject\"]\nlog-lacks = [\"bye\"]",
        "log-lacks = [\"secret\"]",
        "log-lacks",
    ),
];

#[test]
fn each_expectation_can_hold_and_can_fail() {
    for (guest, case, holds, fails, words) in TABLE {
        let good = run(guest, &format!("{case}\n[case.expect]\n{holds}\n"));
        assert!(good.has_passed(), "{guest}: {holds}: {:?}", good.mismatches);
        let bad = run(guest, &format!("{case}\n[case.expect]\n{fails}\n"));
        let said: Vec<String> = bad.mismatches.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.contains(words)), "{guest}: {fails} is to fail with {words}: {said:?}");
    }
}
