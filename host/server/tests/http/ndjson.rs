//! Many messages, one per line.

use futures::{StreamExt as _, channel::mpsc};
use serde_json::{Value, json};
use wasmill_server::http::HttpLimits;

use super::harness::{NDJSON, Server};

#[tokio::test]
async fn each_line_is_answered_in_order_and_bad_ones_stop_nobody() {
    let server = Server::with_orders().await;
    let body = [
        &br#"{"topic":"orders.a","id":"1","data":{"n": 1}}"#[..],
        b"",
        br#"{"topic":"orders.a","data":"#,
        b"{\"topic\":\"orders.a\",\"data\":\"\xff\xfe\"}",
        br#"{"topic":"orders.b","key":"k","headers":{"X-A":"1"},"data_text":"hi"}"#,
        br#"{"topic":"orders.a","dta":1}"#,
        br#"{"topic":"a..b","data":1}"#,
        br#"{"topic":"payments","data":1}"#,
        br#"{"data":1}"#,
        b"  \r",
        br#"{"topic":"orders.c","data_base64":"/wA=","content_type":"image/x"}"#,
    ]
    .join(&b'\n');
    let answers = server.post("/v1/messages", NDJSON, body).await.expect_status(200).lines();
    let codes: Vec<_> =
        answers.iter().map(|answer| (answer["line"].as_u64(), answer["error"]["code"].as_str())).collect();
    assert_eq!(
        codes,
        [
            (None, None),
            (Some(3), Some("invalid-json")),
            (Some(4), Some("invalid-json")),
            (None, None),
            (Some(6), Some("unknown-field")),
            (Some(7), Some("invalid-topic")),
            (Some(8), Some("unroutable")),
            (Some(9), Some("missing-topic")),
            (None, None),
        ],
        "{answers:#?}"
    );
    assert_eq!(answers[0], json!({"id": "1", "duplicate": false, "places": [{"queue": "orders", "sequence": 1}]}));
    assert!(answers[4]["error"]["detail"].as_str().is_some_and(|detail| detail.contains("did you mean `data`?")));
    let messages = server.orders().await;
    assert_eq!(messages.len(), 3);
    assert_eq!((&messages[0]["data"], &messages[0]["content_type"]), (&json!({"n": 1}), &json!("application/json")));
    assert_eq!((&messages[1]["data_text"], &messages[1]["headers"]), (&json!("hi"), &json!([["x-a", "1"]])));
    assert_eq!((&messages[2]["data_base64"], &messages[2]["content_type"]), (&json!("/wA="), &json!("image/x")));
}

#[tokio::test]
async fn the_path_says_where_lines_go_that_do_not_say_it() {
    let server = Server::with_orders().await;
    let body = "{\"data\":1}\n{\"data\":2,\"topic\":\"other\"}";
    let answers = server.post("/v1/topics/orders.x/messages", NDJSON, body).await.expect_status(200).lines();
    assert_eq!((&answers[0]["duplicate"], &answers[1]["error"]["code"]), (&json!(false), &json!("conflicting-topic")));
    server.post("/v1/queues/orders/messages", NDJSON, body).await.expect_status(200);
    let topics: Vec<_> = server.orders().await.into_iter().map(|mut message| message["topic"].take()).collect();
    assert_eq!(topics, ["orders.x", "orders", "other"]);
}

#[tokio::test]
async fn raw_lines_are_the_data() {
    let server = Server::with_orders().await;
    let body = "{\"id\": 7, \"mag\": 1.50}\r\n\nnot json\n{\"id\":7}\n";
    let path = "/v1/topics/orders.raw/messages?raw=true&id-pointer=/id";
    let answers = server.post(path, NDJSON, body).await.expect_status(200).lines();
    assert_eq!(answers.len(), 3);
    assert_eq!((&answers[0]["id"], &answers[2]["duplicate"]), (&json!("7"), &json!(true)));
    let messages = server.orders().await;
    assert_eq!((&messages[0]["data"], &messages[1]["data_text"]), (&json!({"id": 7, "mag": 1.5}), &json!("not json")));
    assert_eq!(messages[0]["content_type"], "application/json");
    let path = "/v1/topics/orders.raw/messages?raw=true&content_type=text/csv";
    server.post(path, NDJSON, "a,b").await.expect_status(200);
    assert_eq!(server.orders().await[2]["content_type"], "text/csv");
    let nowhere = server.post("/v1/messages?raw=true", NDJSON, "1").await;
    nowhere.expect_problem(422, "missing-topic", "raw=true");
    let pointer = server.post("/v1/topics/orders.raw/messages?raw=true&id-pointer=id", NDJSON, "1").await;
    pointer.expect_problem(422, "invalid-query", "JSON pointer");
}

#[tokio::test]
async fn many_lines_keep_their_order_across_commits() {
    const LINES: u64 = 12_345;
    let server = Server::with_orders().await;
    let body: String = (1..=LINES).map(|n| format!("{{\"id\":\"{n}\",\"data\":{n}}}\n")).collect();
    let answers = server.post("/v1/topics/orders.n/messages", NDJSON, body).await.expect_status(200).lines();
    assert_eq!(answers.len() as u64, LINES);
    for (n, answer) in (1..).zip(&answers) {
        let expected = json!({"id": n.to_string(), "duplicate": false, "places": [{"queue": "orders", "sequence": n}]});
        assert_eq!(*answer, expected);
    }
    let page = server.get(&format!("/v1/queues/orders/messages?from={}&limit=1000", LINES - 10)).await.json();
    let data: Vec<_> =
        page["messages"].as_array().expect("messages").iter().map(|message| message["data"].clone()).collect();
    assert_eq!(data, (LINES - 10..=LINES).map(Value::from).collect::<Vec<_>>());
    assert_eq!(page["next"], Value::Null);
}

#[tokio::test]
async fn lines_are_published_while_the_body_is_still_coming() {
    let server = Server::with_orders().await;
    let (lines, body) = mpsc::unbounded();
    let body = reqwest::Body::wrap_stream(body.map(|line: &str| Ok::<_, std::io::Error>(line.to_owned())));
    let request = server.post_to("/v1/topics/orders.x/messages").header("content-type", NDJSON).body(body);
    let mut answers = request.send().await.expect("the answer begins before the body ends").bytes_stream();
    for n in 1..=3_u64 {
        lines.unbounded_send("{\"data\":").expect("the body is open");
        lines.unbounded_send("1}\n").expect("the body is open");
        let answer = answers.next().await.expect("an answer").expect("bytes");
        let answer: Value = serde_json::from_slice(&answer).expect("one line");
        assert_eq!(answer["places"][0]["sequence"], n);
    }
    server.draining.begin();
    lines.unbounded_send("{\"data\":4}\n").expect("the body is open");
    let last: Value =
        serde_json::from_slice(&answers.next().await.expect("an answer").expect("bytes")).expect("a line");
    assert_eq!((&last["error"]["code"], &last["line"]), (&json!("stopped"), &json!(4)));
    assert!(answers.next().await.is_none(), "a host that drains ends the upload");
    assert_eq!(server.orders().await.len(), 3);
}

#[tokio::test]
async fn lines_and_bodies_that_are_too_large_are_told() {
    let limits = HttpLimits { body_bytes_max: 300_000, ..HttpLimits::default() };
    let server = Server::start_with(limits, |options| options.data_bytes_max = 1_000).await;
    server.put_json("/v1/queues/orders", r#"{"bindings":["orders"]}"#).await.expect_status(201);
    let (long, longer) = ("x".repeat(999), "x".repeat(100_000));
    let body = format!("{{\"data\":1}}\n{{\"data\":\"{long}\"}}\n{{\"data\":\"{longer}\"}}\n{{\"data\":4}}\n");
    let answers = server.post("/v1/topics/orders/messages", NDJSON, body).await.expect_status(200).lines();
    let codes: Vec<_> = answers.iter().map(|answer| answer["error"]["code"].as_str()).collect();
    assert_eq!(codes, [None, Some("too-large"), Some("too-large"), None]);
    let whole = server.post("/v1/topics/orders/messages", NDJSON, vec![b'\n'; 300_001]).await;
    whole.expect_problem(413, "too-large", "300000 bytes");
    let frames = futures::stream::iter((0..40_000).map(|_| Ok::<_, std::io::Error>("{\"data\":1}\n")));
    let cut = server.post("/v1/topics/orders/messages", NDJSON, reqwest::Body::wrap_stream(frames)).await;
    let answers = cut.expect_status(200).lines();
    let last = answers.last().expect("answers");
    assert_eq!(last["error"]["code"], "too-large");
    assert_eq!(last["line"].as_u64(), Some(answers.len() as u64), "the first line that was not published");
}

#[tokio::test]
async fn a_queue_that_fills_up_refuses_only_the_rest() {
    let server = Server::start().await;
    server.put_json("/v1/queues/small", r#"{"bindings":["small"],"messages_max":2}"#).await.expect_status(201);
    let answers = server.post("/v1/topics/small/messages", NDJSON, "{\"data\":1}\n".repeat(3)).await.lines();
    let codes: Vec<_> = answers.iter().map(|answer| answer["error"]["code"].as_str()).collect();
    assert_eq!(codes, [None, None, Some("queue-full")]);
    assert_eq!(answers[2]["error"]["status"], 429);
}
