//! Every command, against a running host.

#[path = "cli/pull.rs"]
mod pull;
mod support;

use serde_json::json;
use support::{Served, guest, run};

fn host() -> (tempfile::TempDir, Served) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let host = Served::start(folder.path(), &[]);
    (folder, host)
}

#[test]
fn without_a_host_it_says_how_to_start_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let said = run(folder.path(), &["queue", "list", "--url", &format!("http://{free}")]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    let expected = format!(
        "wasmill: no host answers at http://{free}; start one with `wasmill serve`, or say where it is with --url or WASMILL_URL\n"
    );
    assert_eq!(said.err, expected);
    let said = run(folder.path(), &["queue", "list", "--url", "127.0.0.1:7500"]);
    assert!(said.err.contains("begins with http://"), "{}", said.err);
}

#[test]
fn queues_are_declared_shown_and_removed() {
    let (_folder, host) = host();
    let put = ["queue", "put", "orders", "--bind", "orders.#", "--bind", "*.urgent", "--bytes-max", "2MiB"];
    assert_eq!(host.ok(&put), "queue orders is declared\n");
    assert_eq!(
        host.ok(&["queue", "list"]),
        "QUEUE   MESSAGES  SIZE  OLDEST  CONSUMERS  BINDINGS\norders         0   0 B       -  -          orders.#, *.urgent\n"
    );
    let shown = host.ok(&["queue", "show", "orders"]);
    assert!(shown.contains("messages    0 (at most 10000000)\nsize        0 B (at most 2.0 MiB)\n"), "{shown}");
    assert!(
        shown.contains("when full   refuse\nretention   -\npriorities  -\nsequences   first 1, needed 1, next 1\n"),
        "{shown}"
    );
    let put =
        ["queue", "put", "eu", "--bind", "o.# any region=eu tier=1", "--overflow", "wait=2s", "--retain-age", "7d"];
    host.ok(&put);
    let shown = host.ok(&["queue", "show", "eu"]);
    for part in ["bindings    o.# any region=eu tier=1\n", "publishers wait up to 2s\n", "settled ones up to 168h\n"] {
        assert!(shown.contains(part), "nothing of {part:?} in\n{shown}");
    }
    host.ok(&["queue", "delete", "eu"]);
    let said = host.cli(&["queue", "put", "eu", "--overflow", "wait"]);
    assert!(said.code == 2 && said.err.contains("for example wait=2s"), "{said:?}");
    assert_eq!(host.json(&["queue", "show", "orders"])["bytes_max"], 2 * 1024 * 1024);
    assert_eq!(host.ok(&["queue", "delete", "orders"]), "queue orders is removed\n");
    let refused = host.refused(&["queue", "show", "orders"]);
    assert_eq!(
        refused,
        "wasmill: there is no queue orders; `wasmill queue list` shows those there are (unknown-queue)\n"
    );
    let refused = host.refused(&["queue", "put", "orders", "--bind", "a*"]);
    assert!(refused.contains("a wildcard stands for whole words"), "{refused}");
}

#[test]
fn one_message_is_published_from_words_files_and_input() {
    let (folder, host) = host();
    host.ok(&["queue", "put", "q", "--bind", "t.#"]);
    let full = ["publish", "t.a", r#"{"b":1}"#, "--id", "m-1", "--key", "k", "--header", "Tenant=a=b"];
    assert_eq!(host.ok(&full), "message m-1 is in q at 1\n");
    assert_eq!(host.ok(&full), "message m-1 was published before; nothing was added\n");
    let file = folder.path().join("data.bin");
    std::fs::write(&file, [0, 159, 146, 150]).expect("our own folder");
    let file = file.to_str().expect("text");
    assert_eq!(host.json(&["publish", "t.b", "--file", file])["places"][0]["sequence"], 2);
    let said = host.cli_with_input(&["publish", "t.c", "-", "--content-type", "text/csv"], b"a,b\n");
    assert_eq!(said.code, 0, "{said:?}");
    let named = host.json(&["publish", "other.topic", "x", "--queue", "q"]);
    assert_eq!(named["places"], json!([{"queue": "q", "sequence": 4}]));

    let messages = host.json(&["queue", "messages", "q"]);
    let messages = messages["messages"].as_array().expect("a list");
    assert_eq!(messages[0]["data"], json!({"b": 1}));
    assert_eq!((&messages[0]["key"], &messages[0]["content_type"]), (&json!("k"), &json!("application/json")));
    assert_eq!(messages[0]["headers"], json!([["tenant", "a=b"]]));
    assert_eq!(messages[1]["content_type"], "application/octet-stream");
    assert_eq!((&messages[2]["data_text"], &messages[2]["content_type"]), (&json!("a,b\n"), &json!("text/csv")));
    assert_eq!((&messages[3]["topic"], &messages[3]["data_text"]), (&json!("other.topic"), &json!("x")));

    let refused = host.refused(&["publish", "nobody.takes.it", "x"]);
    assert_eq!(
        refused,
        "wasmill: no queue takes topic nobody.takes.it; bind one to it, or publish to a queue by name (unroutable)\n"
    );
    let refused = host.refused(&["publish", "t", "x", "--queue", "none"]);
    assert!(refused.contains("there is no queue none"), "{refused}");
    let refused = host.refused(&["publish", "t", "--file", "none.bin"]);
    assert!(refused.contains("cannot read none.bin"), "{refused}");
}

#[test]
fn messages_are_shown_for_people() {
    let (_folder, host) = host();
    host.ok(&["queue", "put", "q", "--bind", "t"]);
    for id in ["m-1", "m-2", "m-3"] {
        host.ok(&["publish", "t", r#"{"n":[1,2]}"#, "--id", id]);
    }
    let table = host.ok(&["queue", "messages", "q", "--from", "2", "--limit", "1"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("SEQUENCE  ID   TOPIC  PUBLISHED"), "{table}");
    assert!(lines[1].starts_with("       2  m-2  t      20") && lines[1].ends_with(r#"Z  {"n":[1,2]}"#), "{table}");
    assert_eq!(lines[3], "more with --from 3");
    let full = host.ok(&["queue", "messages", "q", "--limit", "1", "--full"]);
    assert!(full.contains("message       m-1\n") && full.contains("\ndata\n    {\n      \"n\": [\n"), "{full}");
}

#[test]
fn lines_are_published_each_for_itself() {
    let (_folder, host) = host();
    host.ok(&["queue", "put", "q", "--bind", "t"]);
    let lines = b"{\"id\":\"a\"}\n\nnot json\n{\"id\":\"a\"}\n{\"id\":\"b\"}";
    let said = host.cli_with_input(&["publish", "t", "-", "--ndjson"], lines);
    assert_eq!((said.code, said.out.as_str()), (0, "4 published, 0 duplicates, 0 refused\n"), "{said:?}");
    let lines = b"{\"id\":\"a\"}\n\n{\"id\":\"a\"}\n{\"id\":\"b\"}";
    let said = host.cli_with_input(&["publish", "t", "-", "--ndjson", "--id-pointer", "/id"], lines);
    assert_eq!((said.code, said.out.as_str()), (0, "2 published, 1 duplicates, 0 refused\n"), "{said:?}");
    let keyed = ["publish", "t", "-", "--ndjson", "--key", "k", "--json"];
    let said = host.cli_with_input(&keyed, b"1\nx y\n");
    assert_eq!((said.code, said.out.lines().count()), (0, 2), "{said:?}");
    let messages = host.json(&["queue", "messages", "q"]);
    let messages = messages["messages"].as_array().expect("a list");
    let data: Vec<_> = messages.iter().map(|message| (&message["data"], &message["data_text"])).collect();
    assert_eq!(data[1].1, "not json", "what is no JSON is published as it is");
    assert_eq!((data[6].0, data[7].1), (&json!(1), &json!("x y")));
    assert_eq!(messages[7]["key"], "k");

    // What is refused is told by its line in the file, and the rest is published.
    let refused = format!("1\n\n\"{}\"\n2\n", "x".repeat(2_000_000));
    let said = host.cli_with_input(&["publish", "t", "-", "--ndjson"], refused.as_bytes());
    assert_eq!((said.code, said.out.as_str()), (1, "2 published, 0 duplicates, 1 refused\n"), "{said:?}");
    assert!(said.err.starts_with("line 3: ") && said.err.contains("(too-large)"), "{}", said.err);
}

#[test]
fn nothing_is_quarantined_and_nothing_runs_on_a_new_host() {
    let (_folder, host) = host();
    assert_eq!(host.json(&["quarantine", "list"]), json!({"quarantined": []}));
    assert!(host.ok(&["quarantine", "list"]).starts_with("ID  CONSUMER  HANDLER  MESSAGE  REASON"));
    assert_eq!(host.ok(&["quarantine", "purge", "--all"]), "0 forgotten\n");
    let unknown = "there is no quarantined delivery 7; it was redriven or purged, or never was (unknown-quarantine)";
    for arguments in [["quarantine", "show", "7"], ["quarantine", "redrive", "7"]] {
        assert_eq!(host.refused(&arguments), format!("wasmill: {unknown}\n"));
    }
    host.ok(&["queue", "put", "q"]);
    let refused = host.refused(&["consumer", "put", "q/c", "--handler", "none"]);
    assert!(refused.contains("there is no handler none; `wasmill handler list` shows those there are"), "{refused}");
    assert_eq!(run(_folder.path(), &["consumer", "show", "q"]).code, 2, "QUEUE/CONSUMER is asked for");
}

#[test]
fn handlers_and_consumers_are_declared_shown_and_removed() {
    let (_folder, host) = host();
    let noop = guest("guest-noop");
    let noop = noop.to_str().expect("text");
    let loaded = host.ok(&["handler", "load", "noop", noop]);
    assert!(loaded.starts_with("handler noop runs this version now: "), "{loaded}");
    assert!(host.ok(&["handler", "load", "noop", noop]).starts_with("handler noop runs this version already: "));
    let listed = host.ok(&["handler", "list"]);
    assert!(listed.starts_with("HANDLER  DIGEST        LOADED") && listed.trim_end().ends_with("ready"), "{listed}");
    assert!(host.ok(&["handler", "show", "noop"]).contains("fuel_max 1000000000"));

    host.ok(&["queue", "put", "q"]);
    let put =
        ["consumer", "put", "q/c", "--handler", "noop", "--attempts", "7", "--backoff-initial", "2s", "--no-jitter"];
    assert_eq!(host.ok(&put), "consumer q/c is declared\n");
    let shown = host.ok(&["consumer", "show", "q/c"]);
    assert!(
        shown.contains(
            "attempts     7\nbackoff      2s, times 2, at most 1m\nstart        beginning\norder        none\n"
        ),
        "{shown}"
    );
    assert_eq!(host.ok(&["consumer", "pause", "q/c"]), "consumer q/c is paused\n");
    assert_eq!(host.json(&["consumer", "list"])["consumers"][0]["paused"], json!({"kind": "operator"}));
    host.ok(&["publish", "q", "x", "--queue", "q"]);
    assert_eq!(host.ok(&["consumer", "resume", "q/c"]), "consumer q/c is resumed\n");
    host.json_until(&["consumer", "show", "q/c"], |consumer| consumer["floor"] == 2);
    let refused = host.refused(&["handler", "delete", "noop"]);
    assert!(refused.contains("consumer c of queue q; remove that first (handler-in-use)"), "{refused}");
    host.ok(&["consumer", "delete", "q/c"]);
    host.ok(&["handler", "delete", "noop"]);
    let refused = host.refused(&["handler", "load", "bad", "Cargo.toml"]);
    assert!(refused.contains("cannot read Cargo.toml"), "{refused}");
}

#[test]
fn every_policy_of_a_consumer_can_be_declared() {
    let (_folder, host) = host();
    host.ok(&["queue", "put", "q"]);
    let put = [
        "consumer",
        "put",
        "q/c",
        "--pull",
        "--order",
        "key",
        "--poison",
        "block",
        "--backoff-delays",
        "1s,1m",
        "--no-deterministic",
        "--storm-deliveries",
        "10",
        "--storm-probe",
        "5s",
        "--rate-per-second",
        "100",
        "--key-rate-per-second",
        "1",
        "--expired",
        "quarantine",
        "--lease",
        "1m",
        "--start",
        "2026-07-01T12:00:00Z",
    ];
    host.ok(&put);
    let shown = host.ok(&["consumer", "show", "q/c"]);
    for part in [
        "handler      (pulled)\n",
        "suspects     0\n",
        "attempts     5, all of them\n",
        "backoff      1s, 1m\n",
        "start        2026-07-01T12:00:00Z\n",
        "order        key, block what is behind a delivery given up\n",
        "storm        80 % of 10 alike, first probe after 5s\n",
        "rate         100 a second\n",
        "key rate     1 a second\n",
        "expired      quarantine\n",
        "lease        1m",
    ] {
        assert!(shown.contains(part), "nothing of {part:?} in\n{shown}");
    }
    assert!(host.ok(&["consumer", "list"]).contains("q/c       (pulled)"));
    let refused = host.refused(&["consumer", "put", "q/d", "--pull", "--key-rate-per-second", "1"]);
    assert!(refused.contains("(contradiction)"), "{refused}");
    assert_eq!(host.cli(&["consumer", "put", "q/d", "--start", "soon"]).code, 2);
}

#[test]
fn it_says_why_a_consumer_takes_nothing() {
    let (_folder, host) = host();
    host.ok(&["handler", "load", "h", guest("guest-panic").to_str().expect("text")]);
    host.ok(&["queue", "put", "poison"]);
    host.ok(&["consumer", "put", "poison/h", "--attempts", "1", "--order", "key", "--poison", "block"]);
    host.ok(&["publish", "p", "x", "--queue", "poison", "--key", "k"]);
    let paused = host.json_until(&["consumer", "show", "poison/h"], |consumer| !consumer["paused"].is_null());
    let id = paused["paused"]["quarantine"].as_u64().expect("a number");
    assert_eq!(paused["paused"], json!({"kind": "poison", "quarantine": id}));
    let shown = host.ok(&["consumer", "show", "poison/h"]);
    let why =
        format!("paused: poison: delivery {id} is in quarantine; redrive or purge it (`wasmill quarantine show {id}`)");
    assert!(shown.contains(&why), "{shown}");
    assert!(host.ok(&["consumer", "list"]).contains("paused: poison"));

    host.ok(&["queue", "put", "storm"]);
    let storm = ["--storm-deliveries", "2", "--storm-percent", "100", "--storm-probe", "5m"];
    host.ok(&[&["consumer", "put", "storm/h", "--attempts", "1"][..], &storm].concat());
    for _ in 0..4 {
        host.ok(&["publish", "s", "x", "--queue", "storm"]);
    }
    let paused = host.json_until(&["consumer", "show", "storm/h"], |consumer| !consumer["paused"].is_null());
    let fingerprint = paused["paused"]["fingerprint"].as_str().expect("a fingerprint").to_owned();
    assert_eq!(paused["paused"], json!({"kind": "storm", "fingerprint": fingerprint}));
    let shown = host.ok(&["consumer", "show", "storm/h"]);
    assert!(shown.contains(&format!("paused: storm: most deliveries fail alike: {fingerprint}")), "{shown}");
}

#[test]
fn messages_are_held_back_and_expire() {
    let (_folder, host) = host();
    host.ok(&["queue", "put", "q", "--bind", "t"]);
    let second = jiff::Timestamp::now().as_second() + 365 * 24 * 3_600;
    let next_year = jiff::Timestamp::from_second(second).expect("a time");
    let held = host.ok(&["publish", "t", "x", "--id", "m", "--at", &next_year.to_string()]);
    let begins = format!("message m is held back until {next_year:.3} (wasmill delayed cancel ");
    assert!(held.starts_with(&begins), "{held}");
    let said = host.cli_with_input(&["publish", "t", "-", "--ndjson", "--delay", "1h", "--json"], b"1\n2\n");
    assert_eq!(said.out.matches("delayed_until_ms").count(), 2, "{said:?}");
    host.ok(&["publish", "t", "x", "--queue", "q", "--expires-at", "2100-01-01T00:00:00Z"]);
    let shown = host.ok(&["queue", "messages", "q", "--full"]);
    assert!(shown.contains("expires       2100-01-01T00:00:00.000Z\n"), "{shown}");
    let said = host.cli(&["publish", "t", "x", "--at", "noon"]);
    assert!(said.code == 2 && said.err.contains("2026-07-01T12:00:00Z"), "{said:?}");
}

#[test]
fn a_request_prints_its_reply() {
    let (_folder, host) = host();
    host.ok(&["handler", "load", "h", guest("guest-replier").to_str().expect("text")]);
    host.ok(&["queue", "put", "q", "--bind", "ask"]);
    host.ok(&["consumer", "put", "q/h"]);
    assert_eq!(host.ok(&["request", "ask", "hello"]), "HELLO");
    let reply = host.json(&["request", "ask", "hello", "--id", "r-1"]);
    assert_eq!((&reply["data_text"], &reply["request_id"]), (&json!("HELLO"), &json!("r-1")));
    assert_eq!((&reply["key"], &reply["headers"]), (&json!("reply"), &json!([["shouted", "yes"]])));
    host.ok(&["handler", "load", "h", guest("guest-noop").to_str().expect("text")]);
    let refused = host.refused(&["request", "ask", "x", "--timeout", "100ms"]);
    assert!(
        refused.contains("within 100 ms; it is still being handled") && refused.contains("(no-reply)"),
        "{refused}"
    );
}

#[test]
fn state_is_shown() {
    let (_folder, host) = host();
    host.ok(&["handler", "load", "count", guest("guest-counter").to_str().expect("text")]);
    host.ok(&["queue", "put", "q"]);
    host.ok(&["consumer", "put", "q/count"]);
    for data in ["4", "38"] {
        host.ok(&["publish", "q", data, "--queue", "q"]);
    }
    host.json_until(&["consumer", "show", "q/count"], |consumer| consumer["floor"] == 3 && consumer["pending"] == 0);
    assert_eq!(host.ok(&["handler", "state", "count"]), "KEY    VALUE\ncount  2\nsum    42\n");
    assert_eq!(host.json(&["handler", "state", "count", "--prefix", "s"]), json!({"sum": "42"}));
    assert_eq!(host.ok(&["handler", "state", "count", "sum"]), "42");
    assert!(host.ok(&["handler", "state", "count", "--limit", "1"]).ends_with("more with --after count\n"));
}

#[test]
fn the_evidence_is_readable_and_what_is_quarantined_can_be_sent_again() {
    let (_folder, host) = host();
    host.ok(&["handler", "load", "h", guest("guest-panic").to_str().expect("text")]);
    host.ok(&["queue", "put", "q"]);
    host.ok(&["consumer", "put", "q/h", "--attempts", "2", "--backoff-initial", "1ms"]);
    host.ok(&["publish", "q", r#"{"a":1}"#, "--queue", "q", "--id", "m-1"]);
    let one = |list: &serde_json::Value| list["quarantined"].as_array().is_some_and(|all| !all.is_empty());
    let list = host.json_until(&["quarantine", "list", "--consumer", "h"], one);
    let id = list["quarantined"][0]["id"].to_string();
    assert_eq!(host.json(&["quarantine", "list", "--consumer", "other"]), json!({"quarantined": []}));
    let row = host.ok(&["quarantine", "list"]);
    assert!(row.contains("q/h       h        m-1      attempts-exhausted  trapped"), "{row}");

    let shown = host.ok(&["quarantine", "show", &id]);
    for part in [
        "reason        attempts-exhausted\n",
        "data\n    {\n      \"a\": 1\n    }\n",
        "attempt 1 of 2: trapped: the handler trapped: ",
        "attempt 2 of 2: trapped",
        "\n    log\n        ",
        "\n    backtrace\n        ",
    ] {
        assert!(shown.contains(part), "nothing of {part:?} in\n{shown}");
    }

    // A version that does better gets it again, with other data.
    host.ok(&["handler", "load", "h", guest("guest-noop").to_str().expect("text")]);
    let redriven = host.ok(&["quarantine", "redrive", &id, "--data", "better"]);
    assert!(redriven.starts_with(&format!("{id} is redriven as message ")), "{redriven}");
    let settled = |consumer: &serde_json::Value| consumer["pending"] == 0 && consumer["in_flight"] == 0;
    assert_eq!(host.json_until(&["consumer", "show", "q/h"], settled)["quarantined"], 0);
    assert_eq!(host.ok(&["quarantine", "redrive", "--all"]), "ID  NEW MESSAGE\n0 redriven\n");
}

#[test]
fn the_benchmark_measures_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let noop = guest("guest-noop");
    let noop = noop.to_str().expect("text");
    let bench = ["bench", "--messages", "300", "--store", ".", "--handler", noop, "--json"];
    let said = run(folder.path(), &bench);
    assert_eq!(said.code, 0, "{said:?}");
    let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let runs = report["runs"].as_array().expect("a list");
    assert_eq!(runs.iter().map(|run| run["mode"].clone()).collect::<Vec<_>>(), ["in-process", "http"]);
    for run in runs {
        assert_eq!((&run["messages"], &run["data_bytes"]), (&json!(300), &json!(256)));
        for figure in
            ["publish_per_s", "end_to_end_per_s", "raw_append_per_s", "ratio_to_raw", "rss_mib_max", "store_mib"]
        {
            assert!(run[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure} in {run}");
        }
        let (under_load, one) = (&run["latency_ms"], &run["latency_one_ms"]);
        for latencies in [under_load, one] {
            assert!(latencies["p50"].as_f64() <= latencies["p999"].as_f64() && latencies["p50"].as_f64() > Some(0.0));
        }
    }
    let said = run(folder.path(), &["bench", "--backlog", "500", "--store", ".", "--handler", noop]);
    assert!(said.code == 0 && said.out.starts_with("backlog ") && said.out.contains("first delivery"), "{said:?}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("our own folder").count(), 0, "something was left behind");
    let said = run(folder.path(), &["bench"]);
    assert!(said.code == 1 && said.err.contains("`cargo xtask guests`"), "{said:?}");
}
