//! Hostile handlers beside a healthy one, in the real host: each outcome is named right, and nothing else suffers.

use anyhow::Result;
use end_to_end::{PATIENCE, TestHost, handler_with_queue, quarantined};
use serde_json::Value;

/// Each guest, what it needs in its section, and the outcome that its attempts must end with.
const HOSTILE: [(&str, &str, &str); 10] = [
    ("spin", "limits = { fuel = 50000000 }", "out-of-fuel"),
    ("recurse", "", "stack-overflow"),
    ("allocate", "", "out-of-memory"),
    ("trap", "", "trapped"),
    ("panic", "", "trapped"),
    ("exit", "", "exited"),
    ("flood-publish", "", "publish-limit"),
    ("flood-state", "", "state-limit"),
    ("sleeper", "limits = { wall-clock = \"100ms\" }", "timed-out"),
    ("counter", "", "reject"),
];

#[test]
fn every_outcome_is_named_and_the_healthy_handler_goes_on() -> Result<()> {
    let mut config = handler_with_queue("echo", "guest-echo", "config = { to = \"echoed\" }")?;
    config += "[queue.echoed]\nbindings = [\"echoed\", \"flood\"]\n";
    for (name, more, _) in HOSTILE {
        config += &handler_with_queue(name, &format!("guest-{name}"), more)?;
    }
    let host = TestHost::start(&config)?;
    let client = host.client();
    for number in 0..20 {
        for name in HOSTILE.map(|(name, ..)| name).into_iter().chain(["echo"]) {
            if number < 2 || name == "echo" {
                client.post(&format!("/v1/topics/{name}/messages"), "text/plain", format!("message {number}"))?;
            }
        }
    }
    client.wait_until_settled(PATIENCE)?;
    for (name, _, outcome) in HOSTILE {
        let records = quarantined(client, name)?;
        assert_eq!(records.len(), 2, "{name} must end in quarantine, twice");
        for record in &records {
            let attempts = record["attempts"].as_array().expect("attempts");
            assert_eq!(attempts.len(), if outcome == "reject" { 1 } else { 2 }, "{name}: {record}");
            assert!(attempts.iter().all(|attempt| attempt["outcome"] == outcome), "{name} must be {outcome}: {record}");
        }
    }
    let echoed = client.get("/v1/queues/echoed")?;
    assert_eq!(echoed["messages"], 20, "the healthy handler did its work, and the flood published nothing: {echoed}");
    check_evidence(&quarantined(client, "panic")?[0]);
    Ok(())
}

/// A panic's text is in the log, and the backtrace has names.
fn check_evidence(record: &Value) {
    let last = record["attempts"].as_array().and_then(|attempts| attempts.last()).expect("an attempt");
    let log = last["log"].as_str().unwrap_or_default();
    let id = record["message"]["id"].as_str().expect("an id");
    assert!(
        log.contains("panicked") && log.contains(id),
        "the panic's text, which names the message, is missing: {last}"
    );
    let frames = last["backtrace"].as_array().expect("a backtrace");
    let named =
        frames.iter().filter_map(Value::as_str).any(|frame| frame.contains("guest_panic") || frame.contains("panic"));
    assert!(named, "no frame of the backtrace has a name: {frames:?}");
}

#[test]
fn a_loop_ends_in_quarantine() -> Result<()> {
    let host = TestHost::start(&handler_with_queue("ping-pong", "guest-ping-pong", "")?)?;
    host.client().post("/v1/topics/ping-pong/messages", "text/plain", "ping")?;
    host.client().wait_until_settled(PATIENCE)?;
    let records = quarantined(host.client(), "ping-pong")?;
    assert_eq!(records.len(), 1);
    assert_eq!((&records[0]["reason"], &records[0]["message"]["hops"]), (&"loop".into(), &32.into()));
    Ok(())
}

#[test]
fn the_log_of_a_flood_is_cut() -> Result<()> {
    let more = "limits = { log-bytes = \"4KiB\", fuel = 100000000000 }";
    let host = TestHost::start(&handler_with_queue("flood-log", "guest-flood-log", more)?)?;
    host.client().post("/v1/topics/flood-log/messages", "text/plain", "x")?;
    host.client().wait_until_settled(PATIENCE)?;
    assert!(quarantined(host.client(), "flood-log")?.is_empty(), "it only prints");
    let log = std::fs::read_to_string(host.path("wasmill.log"))?;
    assert!(log.contains("guest-flood-log begins"), "what a guest prints goes to the host's log");
    assert!(log.len() < 64 * 1024, "the host's log has {} bytes", log.len());
    Ok(())
}
