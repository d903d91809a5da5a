//! `wasmill pull`, and what pulling and `Idempotency-Key` promise when the host is killed.

use reqwest::Client;
use serde_json::{Value, json};

use super::support::Served;

fn with_consumer() -> (tempfile::TempDir, Served) {
    let (folder, host) = super::host();
    host.ok(&["queue", "put", "q", "--bind", "t"]);
    host.ok(&["consumer", "put", "q/outside", "--pull"]);
    (folder, host)
}

fn lines(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).expect("JSON in each line")).collect()
}

/// Post to a host; what it answered.
fn post(host: &Served, path: &str, key: &str, body: &'static str) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
    runtime.block_on(async {
        let request = Client::new().post(format!("{}{path}", host.url)).header("idempotency-key", key);
        let answer = request.header("content-type", "text/plain").body(body).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.expect("all of it")).expect("JSON"))
    })
}

#[test]
fn deliveries_are_pulled_one_in_each_line() {
    let (_folder, host) = with_consumer();
    assert!(host.ok(&["consumer", "list"]).contains("(pulled)"), "a consumer without a handler");
    assert!(host.ok(&["consumer", "show", "q/outside"]).contains("(pulled)"));
    assert_eq!(host.ok(&["pull", "q", "outside"]), "", "there is nothing");
    for data in ["1", "2", "3"] {
        host.ok(&["publish", "t", data]);
    }
    let two = lines(&host.ok(&["pull", "q", "outside", "--max", "2", "--wait", "20s", "--ack"]));
    assert_eq!([&two[0]["message"]["data"], &two[1]["message"]["data"]], [&json!(1), &json!(2)]);
    let third = lines(&host.ok(&["pull", "q", "outside", "--max", "9"]));
    assert_eq!((third.len(), &third[0]["sequence"]), (1, &json!(3)));
    let shown = host.json(&["consumer", "show", "q/outside"]);
    assert_eq!((&shown["lag"], &shown["in_flight"]), (&json!(1), &json!(1)), "what is not settled stays leased");
    let refused = host.refused(&["pull", "q", "nobody"]);
    assert!(refused.contains("no consumer nobody on queue q") && refused.contains("unknown-consumer"), "{refused}");
    assert!(host.refused(&["pull", "q", "outside", "--max", "1001"]).contains("from 1 to 1000"));
}

#[test]
fn after_a_kill_what_was_not_settled_comes_again_and_old_fences_settle_nothing() {
    let (folder, host) = with_consumer();
    host.ok(&["publish", "t", "1"]);
    let before = lines(&host.ok(&["pull", "q", "outside"])).remove(0);
    drop(host);
    let host = Served::start(folder.path(), &[]);
    let path = format!("/v1/queues/q/consumers/outside/deliveries/{}/ack?fence=", before["sequence"]);
    let (status, problem) = post(&host, &format!("{path}{}", before["fence"]), "unused", "");
    assert_eq!((status, &problem["code"]), (409, &json!("stale-fence")));
    let after = lines(&host.ok(&["pull", "q", "outside"])).remove(0);
    assert_eq!((&after["sequence"], &after["attempt"]), (&before["sequence"], &json!(1)));
    assert!(after["fence"].as_u64() > before["fence"].as_u64());
    let (status, _) = post(&host, &format!("{path}{}", before["fence"]), "unused", "");
    assert_eq!(status, 409, "the fence of the lease before the kill is of no use for the one after it");
    let (status, _) = post(&host, &format!("{path}{}", after["fence"]), "unused", "");
    assert_eq!(status, 200);
}

#[test]
fn after_a_kill_a_repeated_publish_is_found_by_its_idempotency_key() {
    let (folder, host) = with_consumer();
    let (status, first) = post(&host, "/v1/topics/t/messages", "\"k-1\"", "x");
    assert_eq!(status, 201);
    drop(host);
    let host = Served::start(folder.path(), &[]);
    let (status, again) = post(&host, "/v1/topics/t/messages", "\"k-1\"", "x");
    assert_eq!((status, again), (200, json!({"id": first["id"], "duplicate": true, "places": []})));
    assert_eq!(host.json(&["queue", "show", "q"])["messages"], 1);
}
