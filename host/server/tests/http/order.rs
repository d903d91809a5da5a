//! Order by key, over the real host with a real handler.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::harness::{NDJSON, Server, guest};

/// Messages in all, and keys that they have in turn.
const MESSAGES: u64 = 200;
const KEYS: u64 = 10;

#[tokio::test]
async fn messages_of_a_key_are_handled_in_their_order() {
    let server = Server::start().await;
    server.send(Method::PUT, "/v1/handlers/echo", "application/wasm", guest("echo")).await.expect_status(200);
    server.put_json("/v1/handlers/echo", r#"{"config":{"to":"out.x"}}"#).await.expect_status(200);
    server.put_json("/v1/queues/in", r#"{"bindings":["in.#"]}"#).await.expect_status(201);
    server.put_json("/v1/queues/out", r#"{"bindings":["out.#"]}"#).await.expect_status(201);
    let consumer = r#"{"handler":"echo","order":"key","concurrency":4}"#;
    server.put_json("/v1/queues/in/consumers/echo", consumer).await.expect_status(201);
    let line = |n: u64| format!("{}\n", json!({"key": format!("k{}", n % KEYS), "data": n}));
    let body: String = (0..MESSAGES).map(line).collect();
    server.post("/v1/topics/in.x/messages", NDJSON, body).await.expect_status(200);
    let all = |queue: &Value| queue["next_sequence"] == MESSAGES + 1;
    server.get_until("/v1/queues/out", "all messages to be echoed", all).await;

    let page = server.get("/v1/queues/out/messages?limit=1000").await.expect_status(200).json();
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in page["messages"].as_array().expect("messages") {
        let key = message["key"].as_str().expect("a key").to_owned();
        by_key.entry(key).or_default().push(message["data"].as_u64().expect("a number"));
    }
    assert_eq!(by_key.len() as u64, KEYS);
    for n in 0..KEYS {
        let expected: Vec<u64> = (n..MESSAGES).step_by(usize::try_from(KEYS).expect("few")).collect();
        assert_eq!(by_key[&format!("k{n}")], expected, "key k{n}");
    }
}
