//! CloudEvents 1.0 in their three forms.

use serde_json::{Value, json};

use super::harness::{Answer, Server};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

#[track_caller]
fn header<'a>(message: &'a Value, name: &str) -> Option<&'a str> {
    let headers = message["headers"].as_array().expect("headers");
    headers.iter().find(|header| header[0] == name).and_then(|header| header[1].as_str())
}

#[tokio::test]
async fn a_binary_event_is_a_message_with_attributes_as_headers() {
    let server = Server::with_orders().await;
    let request = server
        .post_to("/v1/messages")
        .header("content-type", "application/json")
        .header("ce-specversion", "1.0")
        .header("ce-id", "e-1")
        .header("ce-source", "/shop")
        .header("ce-type", "orders.created")
        .header("ce-subject", "caf%C3%A9%20%2525")
        .header("ce-partitionkey", "customer-7")
        .header("ce-traceparent", "00-11111111111111111111111111111111-2222222222222222-01")
        .header("traceparent", "00-33333333333333333333333333333333-4444444444444444-01");
    Answer::of(request.body(r#"{"total":5}"#)).await.expect_status(201);
    let message = server.orders().await.remove(0);
    assert_eq!(
        (&message["id"], &message["topic"], &message["key"]),
        (&json!("e-1"), &json!("orders.created"), &json!("customer-7"))
    );
    assert_eq!((&message["content_type"], &message["data"]), (&json!("application/json"), &json!({"total": 5})));
    for (name, value) in [
        ("ce-id", "e-1"),
        ("ce-source", "/shop"),
        ("ce-specversion", "1.0"),
        ("ce-type", "orders.created"),
        ("ce-subject", "café %25"),
        ("ce-traceparent", "00-11111111111111111111111111111111-2222222222222222-01"),
        ("traceparent", "00-11111111111111111111111111111111-2222222222222222-01"),
    ] {
        assert_eq!(header(&message, name), Some(value), "{name} in {message}");
    }
}

#[tokio::test]
async fn expirytime_is_the_expiry() {
    let server = Server::with_orders().await;
    let event = |expiry: &str| {
        json!({"specversion": "1.0", "id": expiry, "source": "/s", "type": "orders.x", "expirytime": expiry})
            .to_string()
    };
    server.post("/v1/messages", STRUCTURED, event("2100-01-01T00:00:00Z")).await.expect_status(201);
    assert_eq!(server.orders().await[0]["expires_at_ms"], 4_102_444_800_000_u64);
    let bad = server.post("/v1/messages", STRUCTURED, event("never")).await;
    bad.expect_problem(400, "invalid-time", "expirytime: \"never\" is not a time");
    let twice = server.post_to("/v1/messages").header("content-type", STRUCTURED).header("wasmill-expires-after", "1h");
    let twice = Answer::of(twice.body(event("2100-01-01T00:00:00Z"))).await;
    twice.expect_problem(400, "conflicting-times", "expirytime");
}

#[tokio::test]
async fn source_and_id_together_are_published_once() {
    let server = Server::with_orders().await;
    let publish = |source: &str| {
        let event = json!({"specversion": "1.0", "id": "1", "source": source, "type": "orders.created", "data": 1});
        server.post("/v1/messages", STRUCTURED, event.to_string())
    };
    publish("/a").await.expect_status(201);
    assert_eq!(publish("/a").await.expect_status(200).json()["duplicate"], true);
    publish("/b").await.expect_status(201);
    assert_eq!(server.orders().await.len(), 2);
}

#[tokio::test]
async fn a_structured_event_keeps_its_data_as_it_is_written() {
    let server = Server::with_orders().await;
    let event = r#"{"specversion":"1.0","id":"e","source":"/s","type":"ignored type","time":"2026-11-21T10:00:00Z",
        "data": {"z": 1.10, "a": [ ]}}"#;
    server
        .post("/v1/topics/orders.eu/messages", "application/cloudevents+json; charset=utf-8", event)
        .await
        .expect_status(201);
    let queue = server.host.queues().await.expect("queues")[0].record.id;
    let (_, message) =
        server.host.messages(queue, wasmill_delivery::name::Sequence::FIRST, 1).expect("the log").remove(0);
    assert_eq!(&message.data[..], br#"{"z": 1.10, "a": [ ]}"#);
    assert_eq!((message.topic.as_str(), message.content_type.as_deref()), ("orders.eu", Some("application/json")));
    assert!(message.headers.contains(&("ce-time".to_owned(), "2026-11-21T10:00:00Z".to_owned())));
}

#[tokio::test]
async fn bad_events_are_refused() {
    let server = Server::with_orders().await;
    let request = server.post_to("/v1/messages").header("ce-specversion", "1.0").header("ce-id", "1");
    Answer::of(request.body("x")).await.expect_problem(422, "invalid-cloudevent", "no source");
    for (event, status, code) in [
        (r#"{"specversion":"2.0","id":"1","source":"/","type":"orders.x"}"#, 422, "invalid-cloudevent"),
        (r#"{"specversion":"1.0","id":"1","source":"/","type":"a b"}"#, 422, "invalid-topic"),
        (r#"{"specversion":"#, 400, "invalid-json"),
    ] {
        server.post("/v1/messages", STRUCTURED, event).await.expect_problem(status, code, "");
    }
}

#[tokio::test]
async fn a_batch_is_answered_event_by_event() {
    let server = Server::with_orders().await;
    let event =
        |id: &str, kind: &str| json!({"specversion": "1.0", "id": id, "source": "/s", "type": kind, "data": id});
    let batch = json!([event("1", "orders.a"), {"id": "2"}, event("3", "payments"), event("1", "orders.a"), event("5", "orders.b")]);
    let answers = server.post("/v1/messages", BATCH, batch.to_string()).await.expect_status(200).lines();
    assert_eq!(answers.len(), 5);
    assert_eq!(answers[0], json!({"id": "1", "duplicate": false, "places": [{"queue": "orders", "sequence": 1}]}));
    assert_eq!((&answers[1]["error"]["code"], &answers[1]["line"]), (&json!("invalid-cloudevent"), &json!(2)));
    assert_eq!((&answers[2]["error"]["code"], &answers[2]["line"]), (&json!("unroutable"), &json!(3)));
    assert_eq!(answers[3], json!({"id": "1", "duplicate": true, "places": []}));
    assert_eq!(answers[4]["places"][0]["sequence"], 2);
    server.post("/v1/messages", BATCH, "{}").await.expect_problem(422, "invalid-value", "expected a sequence");
    let many = format!("[{}]", vec!["0"; 10_001].join(","));
    server.post("/v1/messages", BATCH, many).await.expect_problem(413, "too-large", "at most 10000");
}
