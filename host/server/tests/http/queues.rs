//! Queues, and what is asked of paths and methods that are not there.

use reqwest::Method;
use serde_json::json;

use super::harness::{Answer, Server};

#[tokio::test]
async fn a_queue_is_declared_shown_changed_and_removed() {
    let server = Server::start().await;
    let created = server.put_json("/v1/queues/orders", r#"{"bindings":["orders.#"],"messages_max":7}"#).await;
    let expected = json!({
        "name": "orders", "bindings": ["orders.#"], "messages_max": 7, "bytes_max": 10_737_418_240_u64,
        "overflow": "refuse", "retention": null, "priorities": false, "first_sequence": 1, "needed_sequence": 1,
        "next_sequence": 1,
        "messages": 0, "bytes": 0, "oldest_message_age_ms": null, "consumers": [],
    });
    assert_eq!(created.expect_status(201).json(), expected);
    server.put_json("/v1/queues/orders", r#"{"bindings":["a"],"bytes_max":99}"#).await.expect_status(200);
    server.post("/v1/topics/a/messages", "text/plain", "data").await.expect_status(201);
    let queue = server.get("/v1/queues/orders").await.expect_status(200).json();
    assert_eq!((&queue["bindings"], &queue["bytes_max"]), (&json!(["a"]), &json!(99)));
    assert_eq!((&queue["messages"], &queue["next_sequence"]), (&json!(1), &json!(2)));
    assert!(queue["oldest_message_age_ms"].as_u64().is_some_and(|ms| ms < 60_000), "{queue}");
    assert_eq!(server.get("/v1/queues").await.json()["queues"][0]["name"], "orders");
    server.delete("/v1/queues/orders").await.expect_status(204);
    server.get("/v1/queues/orders").await.expect_problem(404, "unknown-queue", "there is no queue orders");
    server.delete("/v1/queues/orders").await.expect_problem(404, "unknown-queue", "there is no queue orders");
}

#[tokio::test]
async fn bad_declarations_are_refused_with_what_was_meant() {
    let server = Server::start().await;
    for (json, status, code, words) in [
        (r#"{"binding":["a"]}"#, 422, "unknown-field", "did you mean `bindings`?"),
        (r#"{"messages-max":1}"#, 422, "unknown-field", "did you mean `messages_max`?"),
        (r#"{"bindings":["a.b*"]}"#, 422, "invalid-topic-pattern", "inside a word"),
        (r#"{"messages_max":0}"#, 422, "out-of-range", "messages-max is 0"),
        (r#"{"messages_max":"many"}"#, 422, "invalid-value", "expected u64"),
        (r#"{"overflow":"refuze"}"#, 422, "invalid-value", "did you mean `refuse`?"),
        (r#"{"overflow":{"wait_ms":60001}}"#, 422, "out-of-range", "overflow wait in ms is 60001"),
        (r#"{"retention":{}}"#, 422, "contradiction", "for ever"),
        (r#"{"retention":{"age":1}}"#, 422, "unknown-field", "did you mean `age_ms`?"),
        (r#"{"bindings":[{"topic":"a","headers":{"b c":"1"}}]}"#, 422, "invalid-header", "token"),
        (r#"{"bindings":[{"topic":"a","match":"any"}]}"#, 422, "invalid-value", "names none"),
        (r#"{"bindings":"#, 400, "invalid-json", "EOF"),
    ] {
        server.put_json("/v1/queues/orders", json).await.expect_problem(status, code, words);
    }
    server.put_json("/v1/queues/-x", "{}").await.expect_problem(422, "invalid-queue-name", "must begin with");
    let large = " ".repeat(1024 * 1024 + 1);
    server.put_json("/v1/queues/orders", &large).await.expect_problem(413, "too-large", "1048576");
}

#[tokio::test]
async fn what_is_declared_of_a_queue_is_shown() {
    let server = Server::start().await;
    let given = json!({
        "bindings": ["a.#", {"topic": "b.*", "headers": {"region": "eu", "tier": "1"}, "match": "any"}],
        "overflow": {"wait_ms": 2000}, "retention": {"messages": 5, "bytes": null, "age_ms": 60_000},
    });
    let shown = server.put_json("/v1/queues/q", &given.to_string()).await.expect_status(201).json();
    for field in ["bindings", "overflow", "retention"] {
        assert_eq!(shown[field], given[field], "{field}");
    }
    let publish = |region: &str| {
        let request = server.post_to("/v1/topics/b.x/messages").header("wasmill-header-Region", region);
        Answer::of(request.body("x"))
    };
    publish("us").await.expect_problem(422, "unroutable", "b.x");
    publish("eu").await.expect_status(201);
    server.put_json("/v1/queues/q", r#"{"overflow":"drop-oldest"}"#).await.expect_status(200);
    let shown = server.get("/v1/queues/q").await.json();
    assert_eq!((&shown["overflow"], &shown["retention"]), (&json!("drop-oldest"), &json!(null)));
}

#[tokio::test]
async fn messages_are_shown_in_pages() {
    let server = Server::with_orders().await;
    for n in 0..5 {
        server.post("/v1/topics/orders.x/messages", "application/json", n.to_string()).await.expect_status(201);
    }
    let mut from = "1".to_owned();
    let mut seen = Vec::new();
    loop {
        let page =
            server.get(&format!("/v1/queues/orders/messages?from={from}&limit=2")).await.expect_status(200).json();
        seen.extend(page["messages"].as_array().expect("messages").iter().map(|message| message["data"].clone()));
        match page["next"].as_u64() {
            Some(next) => from = next.to_string(),
            None => break,
        }
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    let unknown = server.get("/v1/queues/orders/messages/99").await;
    unknown.expect_problem(404, "unknown-message", "no message 99");
    server.get("/v1/queues/orders/messages?limit=0").await.expect_problem(422, "out-of-range", "1 to 1000");
    server.get("/v1/queues/orders/messages?form=1").await.expect_problem(422, "invalid-query", "did you mean `from`?");
    server.get("/v1/queues/none/messages").await.expect_problem(404, "unknown-queue", "none");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let server = Server::start().await;
    let lost = server.get("/v2/queues").await.expect_problem(404, "not-found", "/v2/queues");
    assert_eq!(lost.json()["instance"], "/v2/queues");
    let wrong = Answer::of(server.request(Method::PATCH, "/v1/queues/orders")).await;
    let wrong = wrong.expect_problem(405, "method-not-allowed", "PATCH");
    let allowed = wrong.header("allow").expect("an Allow header");
    assert!(["GET", "PUT", "DELETE"].iter().all(|method| allowed.contains(method)), "{allowed}");
    server.get("/v1/quarantine/x").await.expect_problem(422, "invalid-path", "x");
}
