//! `Idempotency-Key`: a request that is sent again is carried out once.

use serde_json::json;

use super::harness::{Answer, NDJSON, Server};

const TOPIC: &str = "/v1/topics/orders.x/messages";

async fn post(server: &Server, path: &str, key: &str, content_type: &str, body: &str) -> Answer {
    let request = server.post_to(path).header("idempotency-key", key).header("content-type", content_type);
    Answer::of(request.body(body.to_owned())).await
}

#[tokio::test]
async fn the_same_request_is_answered_as_the_first_time() {
    let server = Server::with_orders().await;
    let first = post(&server, TOPIC, "\"k-1\"", "text/plain", "x").await.expect_status(201);
    assert_eq!(first.header("idempotent-replayed"), None);
    // The trace of a repeat is another one.
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let again = server.post_to(TOPIC).header("idempotency-key", "\"k-1\"").header("traceparent", trace);
    let again = Answer::of(again.header("content-type", "text/plain").body("x")).await.expect_status(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.text, first.text);
    for name in ["location", "content-type"] {
        assert!(first.header(name).is_some());
        assert_eq!(again.header(name), first.header(name));
    }
    assert_eq!(server.orders().await.len(), 1);
    post(&server, TOPIC, "\"k-2\"", "text/plain", "x").await.expect_status(201);
    assert_eq!(server.orders().await.len(), 2, "another key is another request");
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let server = Server::with_orders().await;
    post(&server, TOPIC, "k", "text/plain", "x").await.expect_status(201);
    for (path, content_type, body) in [
        (TOPIC, "text/plain", "y"),
        ("/v1/topics/orders.y/messages", "text/plain", "x"),
        (TOPIC, "text/csv", "x"),
        ("/v1/queues/orders/messages", "text/plain", "x"),
    ] {
        let answer = post(&server, path, "k", content_type, body).await;
        answer.expect_problem(422, "idempotency-key-reused", "was used for another request");
    }
    assert_eq!(server.orders().await.len(), 1);
    let bad = post(&server, TOPIC, "\"open", "text/plain", "x").await;
    bad.expect_problem(400, "invalid-idempotency-key", "RFC 8941");
}

#[tokio::test]
async fn a_repeat_while_the_first_is_carried_out_is_told_so() {
    let server = Server::start().await;
    let queue = r#"{"bindings":["orders.#"],"messages_max":1}"#;
    server.put_json("/v1/queues/orders", queue).await.expect_status(201);
    let name = || wasmill_delivery::name::QueueName::new("orders").expect("a name");
    let mut config = server.host.queues().await.expect("queues").remove(0).record.config;
    config.overflow = wasmill_delivery::record::Overflow::Wait { wait_ms: 30_000 };
    server.host.put_queue(name(), config.clone()).await.expect("changed");
    server.post(TOPIC, "text/plain", "fills it").await.expect_status(201);
    let first = post(&server, TOPIC, "k", "text/plain", "x");
    let repeat = async {
        loop {
            // The first one that comes waits for room, so each other one meets it.
            let request = server.post_to(TOPIC).header("idempotency-key", "k").header("content-type", "text/plain");
            let answer = tokio::time::timeout(std::time::Duration::from_secs(1), Answer::of(request.body("x"))).await;
            if let Ok(answer) = answer {
                answer.expect_problem(409, "idempotency-key-in-use", "still being carried out");
                break;
            }
        }
        config.messages_max = 2;
        server.host.put_queue(name(), config).await.expect("there is room now");
    };
    let (first, ()) = tokio::join!(first, repeat);
    // Whether this was first or came second: what was begun is carried out once.
    assert!([201, 409].contains(&first.status.as_u16()), "{first:?}");
    let page =
        server.get_until("/v1/queues/orders/messages", "the message", |page| page["messages"][1].is_object()).await;
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn many_messages_are_published_once_too() {
    let server = Server::with_orders().await;
    let lines = "{\"topic\":\"orders.a\",\"data\":1}\nbroken\n{\"topic\":\"orders.b\",\"data\":2}\n";
    let first = post(&server, "/v1/messages", "lines", NDJSON, lines).await.expect_status(200);
    assert_eq!(first.lines().len(), 3);
    let again = post(&server, "/v1/messages", "lines", NDJSON, lines).await.expect_status(200);
    assert_eq!((again.text.as_str(), again.header("idempotent-replayed")), (first.text.as_str(), Some("true")));
    assert_eq!(again.lines(), first.lines());
    assert_eq!(server.orders().await.len(), 2);
    let long = "1\n".repeat(10_001);
    let refused = post(&server, &format!("{TOPIC}?raw=true"), "long", NDJSON, &long).await;
    refused.expect_problem(413, "too-large", "at most 10000 lines");
}

#[tokio::test]
async fn what_was_refused_is_tried_anew() {
    let server = Server::start().await;
    post(&server, TOPIC, "k", "text/plain", "x").await.expect_problem(422, "unroutable", "orders.x");
    server.put_json("/v1/queues/orders", r#"{"bindings":["orders.#"]}"#).await.expect_status(201);
    post(&server, TOPIC, "k", "text/plain", "x").await.expect_status(201);
}

#[tokio::test]
async fn a_repeat_that_the_table_does_not_know_is_found_by_the_id_of_the_message() {
    let server = Server::with_orders().await;
    let first = post(&server, TOPIC, "k", "text/plain", "x").await.expect_status(201).json();
    // Another server over the same host knows nothing of the first one's table, like one that was started again.
    let other = server.serve_again().await;
    let again = post(&other, TOPIC, "k", "text/plain", "x").await.expect_status(200);
    assert_eq!(again.json(), json!({"id": first["id"], "duplicate": true, "places": []}));
    assert_eq!(server.orders().await.len(), 1);
    let own = server.post_to(TOPIC).header("idempotency-key", "o").header("wasmill-id", "mine").body("x");
    assert_eq!(Answer::of(own).await.expect_status(201).json()["id"], "mine", "an id of its own is kept");
}
