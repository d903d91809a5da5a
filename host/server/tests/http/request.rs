//! Requests, answered by real handlers.

use reqwest::Method;
use serde_json::Value;

use super::harness::{Answer, NDJSON, Server, guest};

/// With `guest` as the handler of everything under `ask`.
async fn with_handler(name: &str) -> Server {
    let server = Server::start().await;
    server.send(Method::PUT, "/v1/handlers/h", "application/wasm", guest(name)).await.expect_status(200);
    server.put_json("/v1/queues/ask", r#"{"bindings":["ask.#"]}"#).await.expect_status(201);
    server.put_json("/v1/queues/ask/consumers/h", r#"{"handler":"h"}"#).await.expect_status(201);
    server
}

#[tokio::test]
async fn the_reply_is_the_answer() {
    let server = with_handler("replier").await;
    for n in 0..3 {
        let request = server.post_to("/v1/request/ask.shout").header("wasmill-id", format!("r-{n}"));
        let reply = Answer::of(request.header("content-type", "text/plain").body(format!("hi {n}"))).await;
        let reply = reply.expect_status(200);
        assert_eq!(reply.text, format!("HI {n}"));
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(reply.header("wasmill-request-id"), Some(&*format!("r-{n}")));
        assert_eq!((reply.header("wasmill-key"), reply.header("wasmill-header-shouted")), (Some("reply"), Some("yes")));
        assert!(reply.header("wasmill-id").is_some_and(|id| id != format!("r-{n}")));
    }
    let settled = |consumer: &Value| consumer["floor"] == 4 && consumer["quarantined"] == 0;
    server.get_until("/v1/queues/ask/consumers/h", "all requests to be settled", settled).await;
}

#[tokio::test]
async fn without_a_reply_the_request_is_named_and_still_handled() {
    let server = with_handler("noop").await;
    let ask = || Answer::of(server.post_to("/v1/request/ask.x?timeout=100ms").header("wasmill-id", "r-1").body("x"));
    let none = ask().await.expect_problem(504, "no-reply", "message r-1 within 100 ms; it is still being handled");
    assert_eq!(none.json()["instance"], "/v1/request/ask.x");
    server.get_until("/v1/queues/ask/consumers/h", "its delivery", |consumer| consumer["floor"] == 2).await;
    ask().await.expect_problem(409, "duplicate-request", "r-1 was published before");
}

#[tokio::test]
async fn bad_requests_are_refused_at_once() {
    let server = with_handler("noop").await;
    for (path, status, code, words) in [
        ("/v1/request/ask.x?timeout=5", 400, "invalid-duration", "timeout: \"5\" is not a duration"),
        ("/v1/request/ask.x?timeout=0s", 400, "invalid-duration", "from 1 ms to 300 s"),
        ("/v1/request/ask.x?timeout=301s", 400, "invalid-duration", "for example \"5s\""),
        ("/v1/request/ask.x?tiemout=1s", 422, "invalid-query", "did you mean `timeout`?"),
        ("/v1/request/nobody", 422, "unroutable", "no queue takes topic nobody"),
    ] {
        server.post(path, "text/plain", "x").await.expect_problem(status, code, words);
    }
    let lines = server.post("/v1/request/ask.x", NDJSON, "{}").await;
    lines.expect_problem(415, "unsupported-media-type", "one message");
}
