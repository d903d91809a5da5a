//! Urgent messages go first, whichever way they come in.

use serde_json::{Value, json};

use super::harness::{Answer, NDJSON, Server};

const LEASE: &str = "/v1/queues/calls/consumers/outside/lease?max=100&wait=20s";

async fn with_calls() -> Server {
    let server = Server::start().await;
    let queue = r#"{"bindings":["calls.#"],"priorities":true}"#;
    server.put_json("/v1/queues/calls", queue).await.expect_status(201);
    server.put_json("/v1/queues/calls/consumers/outside", "{}").await.expect_status(201);
    server
}

async fn publish(server: &Server, priority: &str) -> Answer {
    let request = server.post_to("/v1/topics/calls.x/messages").header("content-type", "application/json");
    let request = request.header("wasmill-header-Priority", priority);
    Answer::of(request.body(priority.to_owned())).await
}

async fn leased(server: &Server) -> Vec<Value> {
    server.post(LEASE, "text/plain", "").await.expect_status(200).json()["deliveries"].as_array().expect("some").clone()
}

fn bodies(deliveries: &[Value]) -> Vec<String> {
    let body = |delivery: &Value| delivery["message"]["data"].to_string().trim_matches('"').to_owned();
    deliveries.iter().map(body).collect()
}

#[tokio::test]
async fn urgent_messages_go_first_however_they_come() {
    let server = with_calls().await;
    let plain = server.post("/v1/topics/calls.x/messages", "application/json", "0").await.expect_status(201);
    assert_eq!(plain.json()["places"][0]["sequence"], 1);
    publish(&server, "5").await.expect_status(201);
    let lines = [
        json!({"topic": "calls.x", "data": 9, "headers": {"priority": "9"}}),
        json!({"topic": "calls.x", "data": 2, "headers": {"PRIORITY": "2"}}),
    ];
    let lines = lines.map(|line| line.to_string()).join("\n");
    server.post("/v1/messages", NDJSON, lines).await.expect_status(200);
    let event = json!({
        "id": "e", "source": "/test", "specversion": "1.0", "type": "calls.x", "priority": 7,
        "datacontenttype": "application/json", "data": 7,
    });
    server.post("/v1/messages", "application/cloudevents+json", event.to_string()).await.expect_status(201);
    let shown = server.get("/v1/queues/calls").await.json();
    assert_eq!(shown["messages_by_priority"], json!([1, 0, 1, 0, 0, 1, 0, 1, 0, 1]));
    assert_eq!((&shown["messages"], &shown["priorities"]), (&json!(5), &json!(true)));
    assert!(shown["oldest_message_age_ms"].is_u64(), "{shown}");
    let all = server.get("/v1/queues/calls/messages?limit=10").await.json();
    assert_eq!(all["messages"].as_array().map(Vec::len), Some(5), "{all}");
    let deliveries = leased(&server).await;
    assert_eq!(bodies(&deliveries), ["9", "7", "5", "2", "0"]);
    let sequence = deliveries[0]["sequence"].as_u64().expect("a number");
    assert!(sequence < 1 << 53, "JavaScript rounds {sequence}");
    let settlements: Vec<_> = deliveries
        .iter()
        .map(|delivery| json!({"sequence": delivery["sequence"], "fence": delivery["fence"], "outcome": "ack"}))
        .collect();
    let body = json!({ "settlements": settlements }).to_string();
    let settle = "/v1/queues/calls/consumers/outside/settle";
    server.post(settle, "application/json", body).await.expect_status(200);
    assert_eq!(server.get("/v1/queues/calls").await.json()["messages"], 0);
}

#[tokio::test]
async fn what_is_urgent_is_the_oldest_when_nothing_else_is_there() {
    let server = with_calls().await;
    publish(&server, "9").await.expect_status(201);
    assert!(server.get("/v1/queues/calls").await.json()["oldest_message_age_ms"].is_u64());
}

#[tokio::test]
async fn a_bad_priority_is_refused_and_so_is_what_does_not_go_with_priorities() {
    let server = with_calls().await;
    for bad in ["10", "-1", "high", ""] {
        publish(&server, bad).await.expect_problem(422, "invalid-value", "0 to 9");
    }
    let consumer = "/v1/queues/calls/consumers/ordered";
    let refused = server.put_json(consumer, r#"{"order":"key"}"#).await;
    refused.expect_problem(422, "contradiction", "urgent messages overtake");
    let retained = server.put_json("/v1/queues/r", r#"{"priorities":true,"retention":{"messages":5}}"#).await;
    retained.expect_problem(422, "contradiction", "either priorities or retention");
    let taken = server.put_json("/v1/queues/calls", r#"{"bindings":["calls.#"]}"#).await;
    taken.expect_problem(422, "contradiction", "cannot be taken from queue calls");
}
