//! One message.

use serde_json::json;
use wasmill_delivery::engine::Unrouted;
use wasmill_server::http::HttpLimits;

use super::harness::{Answer, Server};

#[tokio::test]
async fn a_message_is_published_and_can_be_looked_up() {
    let server = Server::with_orders().await;
    let request = server
        .post_to("/v1/topics/orders.created/messages")
        .header("content-type", "application/json")
        .header("wasmill-id", "o-1")
        .header("wasmill-key", "customer-7")
        .header("wasmill-header-region", "eu")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let answer = Answer::of(request.body(r#"{"total": 5}"#)).await.expect_status(201);
    assert_eq!(answer.json(), json!({"id": "o-1", "duplicate": false, "places": [{"queue": "orders", "sequence": 1}]}));
    let location = answer.header("location").expect("a location").to_owned();
    assert_eq!(location, "/v1/queues/orders/messages/1");
    let mut message = server.get(&location).await.expect_status(200).json();
    assert!(message["published_at_ms"].take().as_u64().is_some_and(|ms| ms > 1_700_000_000_000));
    let expected = json!({
        "id": "o-1", "topic": "orders.created", "key": "customer-7", "content_type": "application/json",
        "headers": [["region", "eu"], ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]],
        "published_at_ms": null, "sequence": 1, "data": {"total": 5}, "hops": 0, "cause": null, "redrive_of": null,
    });
    assert_eq!(message, expected);
}

#[tokio::test]
async fn data_is_shown_as_what_it_is() {
    let server = Server::with_orders().await;
    for (content_type, data, field, shown) in [
        ("application/json", &b"{\"a\":  1.0}"[..], "data", json!({"a": 1.0})),
        ("application/json", b"{broken", "data_text", json!("{broken")),
        ("text/plain", b"5", "data_text", json!("5")),
        ("application/octet-stream", b"\xff\x00", "data_base64", json!("/wA=")),
    ] {
        server.post("/v1/topics/orders.x/messages", content_type, data).await.expect_status(201);
        let last = server.orders().await.pop().expect("a message");
        assert_eq!(last[field], shown);
        let fields = ["data", "data_text", "data_base64"];
        assert_eq!(fields.iter().filter(|field| last.get(field).is_some()).count(), 1, "{last}");
    }
}

#[tokio::test]
async fn the_same_id_is_published_once() {
    let server = Server::with_orders().await;
    let publish = || Answer::of(server.post_to("/v1/topics/orders.x/messages").header("wasmill-id", "same").body("x"));
    publish().await.expect_status(201);
    let again = publish().await.expect_status(200);
    assert_eq!(again.json(), json!({"id": "same", "duplicate": true, "places": []}));
    assert_eq!(again.header("location"), None);
    assert_eq!(server.orders().await.len(), 1);
}

#[tokio::test]
async fn a_queue_can_be_published_to_by_name() {
    let server = Server::start().await;
    server.put_json("/v1/queues/orders", "{}").await.expect_status(201);
    server.post("/v1/queues/orders/messages", "text/plain", "x").await.expect_status(201);
    assert_eq!(server.orders().await[0]["topic"], "orders");
    let unknown = server.post("/v1/queues/none/messages", "text/plain", "x").await;
    unknown.expect_problem(404, "unknown-queue", "there is no queue none");
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_with_the_reason() {
    let server = Server::with_orders().await;
    for (path, status, code, words) in [
        ("/v1/topics/orders..x/messages", 422, "invalid-topic", "empty word"),
        ("/v1/topics/orders.*/messages", 422, "invalid-topic", "wildcard"),
        ("/v1/topics/$sys.x/messages", 422, "system-topic", "host's own"),
        ("/v1/topics/payments/messages", 422, "unroutable", "no queue takes topic payments"),
        ("/v1/messages", 422, "missing-topic", "/v1/topics/{topic}/messages"),
        ("/v1/topics/orders.x/messages?rav=true", 422, "invalid-query", "did you mean `raw`?"),
        ("/v1/topics/orders.x/messages?raw=true", 422, "invalid-query", "application/x-ndjson"),
    ] {
        server.post(path, "text/plain", "x").await.expect_problem(status, code, words);
    }
    let bad_key = server.post_to("/v1/topics/orders.x/messages").header("wasmill-key", "k".repeat(256));
    Answer::of(bad_key.body("x")).await.expect_problem(422, "invalid-message-key", "255 bytes");
    assert!(server.orders().await.is_empty(), "nothing of what is refused is kept");
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let limits = HttpLimits { body_bytes_max: 2_000, ..HttpLimits::default() };
    let server = Server::start_with(limits, |options| options.data_bytes_max = 1_000).await;
    server.put_json("/v1/queues/orders", r#"{"bindings":["orders"]}"#).await.expect_status(201);
    server.post("/v1/topics/orders/messages", "text/plain", vec![b'x'; 1_000]).await.expect_status(201);
    for bytes in [1_001, 2_000_000] {
        let answer = server.post("/v1/topics/orders/messages", "text/plain", vec![b'x'; bytes]).await;
        answer.expect_problem(413, "too-large", "1000 bytes");
    }
    // A body that does not say its length beforehand is cut where it passes the limit.
    let frames = futures::stream::iter((0..10_000).map(|_| Ok::<_, std::io::Error>("x".repeat(100))));
    let answer = server.post("/v1/topics/orders/messages", "text/plain", reqwest::Body::wrap_stream(frames)).await;
    answer.expect_problem(413, "too-large", "1000 bytes");
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_again() {
    let server = Server::start().await;
    server.put_json("/v1/queues/small", r#"{"bindings":["small"],"messages_max":2}"#).await.expect_status(201);
    for _ in 0..2 {
        server.post("/v1/topics/small/messages", "text/plain", "x").await.expect_status(201);
    }
    let answer = server.post("/v1/topics/small/messages", "text/plain", "x").await;
    let answer = answer.expect_problem(429, "queue-full", "queue small is full");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_message_that_no_queue_takes_is_treated_as_the_host_is_told() {
    let lost = Unrouted::Park("lost".parse().expect("a name"));
    for (unrouted, places) in [(Unrouted::Drop, json!([])), (lost, json!([{"queue": "lost", "sequence": 1}]))] {
        let server = Server::start_with(HttpLimits::default(), |options| options.limits.unrouted = unrouted).await;
        server.put_json("/v1/queues/lost", "{}").await.expect_status(201);
        let answer = server.post("/v1/topics/nobody/messages", "text/plain", "x").await.expect_status(201);
        assert_eq!(answer.json()["places"], places);
    }
}

#[tokio::test]
async fn a_stopped_host_says_so() {
    let server = Server::with_orders().await;
    assert!(server.host.close(std::time::Duration::from_secs(10)).await);
    let answer = server.post("/v1/topics/orders.x/messages", "text/plain", "x").await;
    answer.expect_problem(503, "stopped", "the host has stopped");
    server.get("/v1/queues").await.expect_problem(503, "stopped", "the host has stopped");
}
