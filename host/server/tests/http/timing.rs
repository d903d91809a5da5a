//! Messages that are held back, and messages that expire.

use serde_json::{Value, json};
use wasmill_delivery::limits::DELAY_MS_MAX;

use super::harness::{Answer, NDJSON, Server};

/// Long enough that nothing of it is over before the test is.
const HOUR_MS: u64 = 3_600_000;

/// A time that is far away and that a message may be delayed until, as text and in milliseconds.
fn next_year() -> (String, u64) {
    let second = jiff::Timestamp::now().as_second() + 365 * 24 * 3_600;
    let time = jiff::Timestamp::from_second(second).expect("a time");
    (time.to_string(), u64::try_from(time.as_millisecond()).expect("after 1970"))
}

async fn publish(server: &Server, headers: &[(&str, &str)]) -> Answer {
    let mut request = server.post_to("/v1/topics/orders.x/messages");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.body("x")).await
}

#[tokio::test]
async fn a_delayed_message_is_taken_now_and_published_then() {
    let server = Server::with_orders().await;
    let taken = publish(&server, &[("wasmill-delay", "1h"), ("wasmill-id", "late")]).await.expect_status(202);
    let until = taken.json()["delayed_until_ms"].as_u64().expect("a time");
    assert_eq!(
        taken.json(),
        json!({"id": "late", "duplicate": false, "places": [], "delayed_until_ms": until, "delayed_id": format!("{until}-0")})
    );
    assert_eq!(taken.header("location"), None);
    let (time, ms) = next_year();
    let at = publish(&server, &[("wasmill-deliver-at", &time)]).await.expect_status(202).json();
    assert_eq!(at["delayed_until_ms"], ms);
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("wasmill_delayed_messages 2"), "{metrics}");
    publish(&server, &[("wasmill-delay", "50ms"), ("wasmill-expires-after", "1h")]).await.expect_status(202);
    let queue = |queue: &Value| queue["next_sequence"] == 2;
    server.get_until("/v1/queues/orders", "the message whose time has come", queue).await;
    let message = server.orders().await.remove(0);
    let expires = message["expires_at_ms"].as_u64().expect("an expiry");
    assert!(expires.abs_diff(message["published_at_ms"].as_u64().expect("a time") + HOUR_MS) < 60_000, "{message}");
}

#[tokio::test]
async fn a_time_that_is_over_holds_nothing_back() {
    let server = Server::with_orders().await;
    let past = publish(&server, &[("wasmill-deliver-at", "2001-01-01T00:00:00Z")]).await.expect_status(201);
    assert_eq!(past.json().get("delayed_until_ms"), None);
}

#[tokio::test]
async fn lines_say_it_each_for_itself() {
    let server = Server::with_orders().await;
    let body = [
        json!({"data": 1, "delay_ms": HOUR_MS}),
        json!({"data": 2, "deliver_at": next_year().0, "expires_at": "2101-01-01T00:00:00Z"}),
        json!({"data": 3, "expires_after_ms": HOUR_MS}),
        json!({"data": 4, "deliver_at": "soon"}),
        json!({"data": 5, "expires_at": "2100-01-01T00:00:00Z", "expires_after_ms": 1}),
        json!({"data": 6, "delay_ms": DELAY_MS_MAX + 60_000}),
        json!({"data": 7, "delay_ms": "1s"}),
    ];
    let body: String = body.iter().map(|line| format!("{line}\n")).collect();
    let answers = server.post("/v1/topics/orders.x/messages", NDJSON, body).await.expect_status(200).lines();
    let codes: Vec<_> = answers.iter().map(|answer| answer["error"]["code"].as_str()).collect();
    let bad = [Some("invalid-time"), Some("conflicting-times"), Some("too-late"), Some("invalid-value")];
    assert_eq!(codes[3..], bad, "{answers:#?}");
    assert_eq!(answers[3]["error"]["status"], 400);
    assert!(answers[3]["error"]["detail"].as_str().is_some_and(|detail| detail.starts_with("deliver_at: \"soon\"")));
    let held: Vec<_> = answers[..3].iter().map(|answer| answer["delayed_until_ms"].is_u64()).collect();
    assert_eq!(held, [true, true, false]);
    let there = server.orders().await;
    assert_eq!((there.len(), &there[0]["data"], there[0]["expires_at_ms"].is_u64()), (1, &json!(3), true));
}

#[tokio::test]
async fn bad_times_are_refused_with_an_example() {
    let server = Server::with_orders().await;
    for (headers, status, code, words) in [
        (&[("wasmill-delay", "30")][..], 400, "invalid-duration", "wasmill-delay: \"30\" is not a duration"),
        (&[("wasmill-deliver-at", "noon")], 400, "invalid-time", "for example \"2026-07-01T12:00:00Z\""),
        (&[("wasmill-expires-at", "1783000000")], 400, "invalid-time", "wasmill-expires-at"),
        (
            &[("wasmill-delay", "1s"), ("wasmill-deliver-at", "2100-01-01T00:00:00Z")],
            400,
            "conflicting-times",
            "leave one",
        ),
        (&[("wasmill-delay", "3651d")], 422, "too-late", "10 years"),
        (&[("content-type", NDJSON), ("wasmill-delay", "1s")], 400, "invalid-header", "delay_ms"),
    ] {
        publish(&server, headers).await.expect_problem(status, code, words);
    }
    assert!(server.orders().await.is_empty(), "nothing of what is refused is kept");
}

#[tokio::test]
async fn as_many_may_be_delayed_as_the_limit_says() {
    let server = Server::start_with(Default::default(), |options| options.limits.delayed_max = 1).await;
    server.put_json("/v1/queues/orders", r#"{"bindings":["orders.#"]}"#).await.expect_status(201);
    publish(&server, &[("wasmill-delay", "1h")]).await.expect_status(202);
    let full = publish(&server, &[("wasmill-delay", "1h")]).await;
    assert_eq!(full.expect_problem(429, "delayed-full", "delayed-max").header("retry-after"), Some("1"));
}
