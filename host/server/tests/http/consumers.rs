//! Consumers. None of these needs a component: a consumer can be declared before its handler is loaded.

use serde_json::json;

use super::harness::Server;

async fn with_handler() -> Server {
    let server = Server::with_orders().await;
    let settings = server.put_json("/v1/handlers/check", r#"{"config":{"a":"1"}}"#).await;
    settings.expect_status(201);
    server
}

#[tokio::test]
async fn a_consumer_is_declared_paused_resumed_and_removed() {
    let server = with_handler().await;
    let path = "/v1/queues/orders/consumers/checker";
    let given = r#"{"handler":"check","attempts":3,"backoff":{"initial_ms":10,"jitter":false},"start":"end"}"#;
    let expected = json!({
        "queue": "orders", "name": "checker", "handler": "check", "concurrency": 2, "in_flight_max": 1000, "attempts": 3,
        "backoff": {"initial_ms": 10, "factor": 2, "cap_ms": 60_000, "jitter": false}, "start": "end", "order": "none",
        "poison": "park", "deterministic": true, "storm": {"deliveries": 20, "percent": 80, "probe_ms": 1000},
        "rate_per_second": null, "key_rate_per_second": null, "retry_share": 50, "expired": "drop", "lease_ms": 30_000, "paused": null,
        "floor": 1, "lag": 0, "in_flight": 0, "pending": 0, "pending_max": 1_000_000, "full": false, "suspects": 0, "quarantined": 0,
    });
    assert_eq!(server.put_json(path, given).await.expect_status(201).json(), expected);
    server.put_json(path, given).await.expect_status(200);
    server.post(&format!("{path}/pause"), "text/plain", "").await.expect_status(204);
    assert_eq!(server.get(path).await.json()["paused"], json!({"kind": "operator"}));
    server.post(&format!("{path}/resume"), "text/plain", "").await.expect_status(204);
    assert_eq!(server.get(path).await.json()["paused"], json!(null));
    assert_eq!(server.get("/v1/consumers").await.json()["consumers"][0]["name"], "checker");
    assert_eq!(server.get("/v1/queues/orders").await.json()["consumers"], json!(["checker"]));
    server.delete(path).await.expect_status(204);
    server.get(path).await.expect_problem(404, "unknown-consumer", "no consumer checker on queue orders");
}

#[tokio::test]
async fn what_is_declared_of_a_consumer_is_shown() {
    let server = with_handler().await;
    let path = "/v1/queues/orders/consumers/checker";
    let given = json!({
        "handler": "check", "order": "key", "poison": "skip", "deterministic": false, "backoff": {"delays_ms": [5, 60], "jitter": true},
        "retry_share": 10, "storm": {"deliveries": 10, "percent": 50, "probe_ms": 5000}, "rate_per_second": 100, "key_rate_per_second": 1,
        "expired": "quarantine", "lease_ms": 60_000, "start": {"time": "2026-07-01T12:00:00Z"},
    });
    let shown = server.put_json(path, &given.to_string()).await.expect_status(201).json();
    for (field, value) in given.as_object().expect("an object") {
        assert_eq!(shown[field], *value, "{field}");
    }
    for (start, backoff) in [
        (json!({"sequence": 7}), json!({"fixed_ms": 5, "jitter": false})),
        (json!("end"), json!({"initial_ms": 100, "factor": 2, "cap_ms": 60_000, "jitter": true})),
    ] {
        let given = json!({"start": start, "backoff": backoff});
        let shown = server.put_json(path, &given.to_string()).await.expect_status(200).json();
        assert_eq!((&shown["start"], &shown["backoff"]), (&start, &backoff));
        assert_eq!(shown["handler"], json!(null), "without a handler, programs outside pull");
    }
}

#[tokio::test]
async fn a_handler_without_a_component_pauses_its_consumer() {
    let server = with_handler().await;
    let path = "/v1/queues/orders/consumers/checker";
    server.put_json(path, r#"{"handler":"check"}"#).await.expect_status(201);
    server.post("/v1/topics/orders.x/messages", "text/plain", "x").await.expect_status(201);
    let consumer = server.get_until(path, "the pause", |consumer| !consumer["paused"].is_null()).await;
    assert_eq!(consumer["paused"]["kind"], "handler");
    assert!(consumer["paused"]["detail"].as_str().is_some_and(|detail| detail.contains("no component")), "{consumer}");
    assert_eq!(consumer["lag"], 1);
}

#[tokio::test]
async fn bad_consumers_are_refused() {
    let server = with_handler().await;
    let path = "/v1/queues/orders/consumers/checker";
    for (json, status, code, words) in [
        (r#"{"handler":"none"}"#, 404, "unknown-handler", "no handler none"),
        (r#"{"handler":"check","atempts":3}"#, 422, "unknown-field", "did you mean `attempts`?"),
        (r#"{"handler":"check","backoff":{"inital_ms":3}}"#, 422, "unknown-field", "did you mean `initial_ms`?"),
        (r#"{"handler":"check","start":"begin"}"#, 422, "invalid-value", "did you mean `beginning`?"),
        (r#"{"handler":"check","attempts":0}"#, 422, "out-of-range", "attempts is 0"),
        (r#"{"order":"keys"}"#, 422, "invalid-value", "did you mean `key`?"),
        (r#"{"key_rate_per_second":1}"#, 422, "contradiction", "order"),
        (r#"{"retry_share":100}"#, 422, "out-of-range", "retry share in percent"),
        (r#"{"backoff":{"fixed_ms":1,"cap_ms":2}}"#, 422, "contradiction", "leave out the others"),
        (r#"{"backoff":{"delays_ms":[]}}"#, 422, "contradiction", "is empty"),
        (r#"{"storm":{"percent":101}}"#, 422, "out-of-range", "storm percent is 101"),
        (r#"{"start":{"time":"noon"}}"#, 422, "invalid-value", "2026-07-01T12:00:00Z"),
        (r#"{"lease_ms":43200001}"#, 422, "out-of-range", "lease in ms is 43200001"),
        (r#"{"rate_per_second":0}"#, 422, "out-of-range", "rate per second is 0"),
    ] {
        server.put_json(path, json).await.expect_problem(status, code, words);
    }
    let lost = server.put_json("/v1/queues/none/consumers/c", r#"{"handler":"check"}"#).await;
    lost.expect_problem(404, "unknown-queue", "no queue none");
    server.get("/v1/queues/none/consumers/c").await.expect_problem(404, "unknown-queue", "none");
    server.delete(path).await.expect_problem(404, "unknown-consumer", "checker");
}
