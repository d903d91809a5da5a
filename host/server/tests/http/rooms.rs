//! What the bodies of all requests together may hold is bounded, and whoever finds no room is told when to come again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{SinkExt as _, channel::mpsc};
use reqwest::{Body, Method};
use wasmill_server::http::HttpLimits;

use super::harness::{Answer, NDJSON, Server};

const WASM: &str = "application/wasm";

/// A body of which the test sends one piece after the other.
fn slow_body() -> (mpsc::Sender<Result<Bytes, std::io::Error>>, Body) {
    let (sender, pieces) = mpsc::channel(1);
    (sender, Body::wrap_stream(pieces))
}

/// The same request again and again, until there is no room for it. What takes the room gets time to do so first, or the
/// request would take it before, and that one be refused.
async fn until_busy(server: &Server, request: impl Fn() -> reqwest::RequestBuilder, free_status: u16) -> Answer {
    const PATIENCE: Duration = Duration::from_secs(20);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "there is room all the time");
        let answer = Answer::of(request()).await;
        if answer.status.as_u16() == 503 {
            return answer;
        }
        let answer = answer.expect_status(free_status);
        assert!(server.host.failure().is_none(), "{}", answer.text);
    }
}

#[tokio::test]
async fn uploads_of_components_have_a_room_of_their_own() {
    let limits = HttpLimits { components_bytes_max: 100_000, ..HttpLimits::default() };
    let server = Server::start_with(limits, |_| {}).await;
    server.put_json("/v1/queues/orders", r#"{"bindings":["orders"]}"#).await.expect_status(201);
    let upload =
        |bytes: usize| server.request(Method::PUT, "/v1/handlers/h").header("content-type", WASM).body(vec![0; bytes]);
    let (mut sender, body) = slow_body();
    let slow = tokio::spawn(Answer::of(
        server.request(Method::PUT, "/v1/handlers/slow").header("content-type", WASM).body(body),
    ));
    sender.send(Ok(Bytes::from(vec![0; 60_000]))).await.expect("it is read");
    let refused = until_busy(&server, || upload(50_000), 422).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.expect_problem(503, "busy", "send the request again a moment later");
    Answer::of(upload(40_000)).await.expect_problem(422, "component-unfit", "handler h");
    server.post("/v1/topics/orders/messages", "text/plain", vec![b'x'; 200_000]).await.expect_status(201);

    // One that does not say beforehand how large it is, is refused when it is too much.
    sender.send(Ok(Bytes::from(vec![0; 60_000]))).await.expect("it is read");
    slow.await.expect("an answer").expect_problem(503, "busy", "all the room");
    Answer::of(upload(100_000)).await.expect_problem(422, "component-unfit", "handler h");
}

#[tokio::test]
async fn bodies_that_are_read_whole_share_a_room_and_give_it_back() {
    let limits =
        HttpLimits { bodies_bytes_max: 100_000, body_idle_max: Duration::from_secs(2), ..HttpLimits::default() };
    let server = Server::start_with(limits, |_| {}).await;
    server.put_json("/v1/queues/orders", r#"{"bindings":["orders"]}"#).await.expect_status(201);
    let publish = || server.post_to("/v1/topics/orders/messages").body(vec![b'x'; 50_000]);
    let (mut sender, body) = slow_body();
    let slow = tokio::spawn(Answer::of(server.post_to("/v1/topics/orders/messages").body(body)));
    sender.send(Ok(Bytes::from(vec![b'x'; 60_000]))).await.expect("it is read");
    let refused = until_busy(&server, publish, 201).await;
    assert_eq!(refused.header("retry-after"), Some("1"), "{}", refused.text);
    refused.expect_problem(503, "busy", "all the room");
    let whole = server.post_to("/v1/topics/orders/messages").header("idempotency-key", "k").body(vec![b'x'; 50_000]);
    Answer::of(whole).await.expect_problem(503, "busy", "all the room");
    slow.await.expect("an answer").expect_problem(408, "stalled-body", "2 s");
    for _ in 0..3 {
        Answer::of(publish()).await.expect_status(201);
    }
}

#[tokio::test]
async fn so_many_requests_publish_lines_at_once() {
    let limits = HttpLimits { streams_max: 1, ..HttpLimits::default() };
    let server = Server::start_with(limits, |_| {}).await;
    server.put_json("/v1/queues/orders", r#"{"bindings":["orders"]}"#).await.expect_status(201);
    let lines = || server.post_to("/v1/topics/orders/messages").header("content-type", NDJSON).body("{\"data\":1}\n");
    let (mut sender, body) = slow_body();
    let path = "/v1/topics/orders/messages";
    let slow = tokio::spawn(Answer::of(server.post_to(path).header("content-type", NDJSON).body(body)));
    sender.send(Ok(Bytes::from_static(b"{\"data\":1}\n"))).await.expect("it is read");
    let refused = until_busy(&server, lines, 200).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.expect_problem(503, "busy", "lines at once");
    server.post(path, "text/plain", "x").await.expect_status(201);
    drop(sender);
    assert_eq!(slow.await.expect("an answer").expect_status(200).lines().len(), 1);
    loop {
        // Its place is free a moment after its last answer.
        let again = Answer::of(lines()).await;
        if again.status.as_u16() != 503 {
            again.expect_status(200);
            return;
        }
    }
}
