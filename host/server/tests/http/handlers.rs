//! Handlers, their settings, and their state.

use reqwest::Method;
use serde_json::json;

use super::harness::{Answer, Server, guest};

const WASM: &str = "application/wasm";

#[tokio::test]
async fn settings_are_changed_part_by_part() {
    let server = Server::start().await;
    let path = "/v1/handlers/check";
    let created = server.put_json(path, r#"{"limits":{"fuel_max":5}}"#).await.expect_status(201).json();
    assert_eq!((&created["digest"], &created["limits"]["fuel_max"]), (&json!(null), &json!(5)));
    assert!(created["problem"].as_str().is_some_and(|problem| problem.contains("no component is loaded")), "{created}");
    server.put_json(path, r#"{"config":{"region":"eu"}}"#).await.expect_status(200);
    let changed = server.put_json(path, r#"{"limits":{"log_bytes_max":9}}"#).await.expect_status(200).json();
    let limits = &changed["limits"];
    assert_eq!((&limits["fuel_max"], &limits["log_bytes_max"]), (&json!(5), &json!(9)));
    assert_eq!((&limits["wall_clock_ms_max"], &changed["config"]), (&json!(30_000), &json!({"region": "eu"})));
    let unknown = server.put_json(path, r#"{"limits":{"feul_max":1}}"#).await;
    unknown.expect_problem(422, "unknown-field", "did you mean `fuel_max`?");
    server.put_json(path, r#"{"configs":{}}"#).await.expect_problem(422, "unknown-field", "did you mean `config`?");
}

#[tokio::test]
async fn a_component_is_loaded_and_one_that_does_not_fit_leaves_it_alone() {
    let server = Server::with_orders().await;
    let path = "/v1/handlers/check";
    let loaded = server.send(Method::PUT, path, WASM, guest("noop")).await.expect_status(200).json();
    assert_eq!(loaded["changed"], true);
    let digest = loaded["digest"].as_str().expect("a digest").to_owned();
    assert_eq!(digest.len(), 64);
    let again = server.send(Method::PUT, path, WASM, guest("noop")).await.expect_status(200).json();
    assert_eq!((&again["changed"], &again["digest"]), (&json!(false), &json!(digest)));
    for unfit in [b"not a component".to_vec(), guest("wrong-world")] {
        let answer = server.send(Method::PUT, path, WASM, unfit).await;
        answer.expect_problem(422, "component-unfit", "handler check");
    }
    let handler = server.get(path).await.expect_status(200).json();
    assert_eq!((&handler["digest"], &handler["problem"]), (&json!(digest), &json!(null)));
    server.put_json("/v1/queues/orders/consumers/c", r#"{"handler":"check"}"#).await.expect_status(201);
    server.delete(path).await.expect_problem(409, "handler-in-use", "consumer c of queue orders");
    server.delete("/v1/queues/orders/consumers/c").await.expect_status(204);
    server.delete(path).await.expect_status(204);
    server.get(path).await.expect_problem(404, "unknown-handler", "no handler check");
}

#[tokio::test]
async fn a_handler_is_loaded_only_from_what_says_what_it_is() {
    let server = Server::start().await;
    let answer = server.send(Method::PUT, "/v1/handlers/check", "text/plain", "x").await;
    answer.expect_problem(415, "unsupported-media-type", "application/wasm");
    let answer = Answer::of(server.request(Method::PUT, "/v1/handlers/check").body("x")).await;
    answer.expect_problem(415, "unsupported-media-type", "application/json");
    server.put_json("/v1/handlers/a%20b", "{}").await.expect_problem(422, "invalid-handler-name", "ASCII");
}

#[tokio::test]
async fn state_is_shown_by_key() {
    let server = Server::with_orders().await;
    server.send(Method::PUT, "/v1/handlers/count", WASM, guest("counter")).await.expect_status(200);
    server.put_json("/v1/queues/orders/consumers/c", r#"{"handler":"count"}"#).await.expect_status(201);
    for number in ["20", "22"] {
        server.post("/v1/topics/orders.n/messages", "text/plain", number).await.expect_status(201);
    }
    server.get_until("/v1/queues/orders/consumers/c", "both deliveries", |consumer| consumer["floor"] == 3).await;
    assert_eq!(server.get("/v1/handlers/count/state/sum").await.expect_status(200).text, "42");
    let keys = server.get("/v1/handlers/count/state").await.expect_status(200).json();
    assert_eq!(keys, json!({"keys": ["count", "sum"], "next": null}));
    let first = server.get("/v1/handlers/count/state?limit=1").await.json();
    assert_eq!(first, json!({"keys": ["count"], "next": "count"}));
    assert_eq!(server.get("/v1/handlers/count/state?limit=1&after=count").await.json()["keys"], json!(["sum"]));
    assert_eq!(server.get("/v1/handlers/count/state?prefix=s").await.json()["keys"], json!(["sum"]));
    server.get("/v1/handlers/count/state/none").await.expect_problem(404, "unknown-key", "\"none\"");
}
