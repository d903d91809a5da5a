//! What became of a message: over a real chain of handlers.

use reqwest::Method;
use serde_json::{Value, json};
use wasmill_delivery::{
    name::QueueName,
    record::{QueueConfig, Retention},
    topic::TopicPattern,
};

use super::harness::{Server, guest};

/// Messages on `in.#` are copied to `out.copy`, on which handler `last` gives up.
async fn with_chain(retention: Option<Retention>) -> Server {
    let server = Server::start().await;
    for (name, pattern) in [("in", "in.#"), ("out", "out.#")] {
        let bindings = vec![TopicPattern::new(pattern).expect("a pattern").into()];
        let config = QueueConfig { bindings, retention, ..QueueConfig::default() };
        server.host.put_queue(QueueName::new(name).expect("a name"), config).await.expect("a queue");
    }
    server.send(Method::PUT, "/v1/handlers/copy", "application/wasm", guest("echo")).await.expect_status(200);
    server.put_json("/v1/handlers/copy", r#"{"config":{"to":"out.copy"}}"#).await.expect_status(200);
    server.send(Method::PUT, "/v1/handlers/last", "application/wasm", guest("panic")).await.expect_status(200);
    server.put_json("/v1/queues/in/consumers/copy", r#"{"handler":"copy"}"#).await.expect_status(201);
    server
        .put_json("/v1/queues/out/consumers/last", r#"{"handler":"last","attempts":2,"backoff":{"initial_ms":1}}"#)
        .await
        .expect_status(201);
    server
}

async fn publish(server: &Server, id: &str) {
    let request = server.post_to("/v1/topics/in.a/messages").header("wasmill-id", id).body("x");
    assert!(request.send().await.expect("an answer").status().is_success());
}

fn step<'a>(node: &'a Value, consumer: &str) -> &'a Value {
    let places = node["places"].as_array().into_iter().flatten();
    let mut steps = places.filter_map(|place| place["consumers"].as_array()).flatten();
    steps.find(|step| step["consumer"] == consumer).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_chain_is_told_from_both_ends() {
    let server = with_chain(Some(Retention { messages: Some(100), ..Retention::default() })).await;
    publish(&server, "root").await;
    let gave_up = |why: &Value| step(&why["message"]["caused"][0], "last")["state"] == "quarantined";
    let why = server.get_until("/v1/messages/root/why", "the chain to end", gave_up).await;
    assert_eq!((&why["complete"], &why["causes"]), (&json!(true), &json!([])), "{why:#}");
    assert_eq!(step(&why["message"], "copy")["state"], "settled");
    let copy = &why["message"]["caused"][0];
    assert_eq!((&copy["topic"], &copy["places"][0]["sequence"]), (&json!("out.copy"), &json!(1)));
    let last = step(copy, "last");
    assert_eq!((&last["reason"], last["attempts"].as_array().map(Vec::len)), (&json!("attempts-exhausted"), Some(2)));
    assert_eq!((&last["attempts"][0]["attempt"], &last["attempts"][0]["outcome"]), (&json!(1), &json!("trapped")));
    assert!(last["attempts"][1]["duration_us"].is_u64(), "{last:#}");

    // From below: the cause is named, and what is redriven hangs under what it repeats.
    let copy_id = copy["id"].as_str().expect("an id").to_owned();
    server.send(Method::PUT, "/v1/handlers/last", "application/wasm", guest("noop")).await.expect_status(200);
    let id = last["quarantine_id"].as_u64().expect("a number");
    server.post(&format!("/v1/quarantine/{id}/redrive"), "text/plain", "").await.expect_status(202);
    let from_below = server.get(&format!("/v1/messages/{copy_id}/why")).await.expect_status(200).json();
    assert_eq!(from_below["causes"][0]["id"], "root", "{from_below:#}");
    assert_ne!(step(&from_below["message"], "last")["state"], "quarantined", "{from_below:#}");
    server.get("/v1/messages/never/why").await.expect_problem(404, "unknown-message", "no retention");
}

#[tokio::test]
async fn states_are_told_of_what_waits_and_what_is_delayed() {
    let server = with_chain(None).await;
    server
        .put_json(
            "/v1/queues/out/consumers/last",
            r#"{"handler":"last","attempts":9,"backoff":{"initial_ms":600000,"cap_ms":600000,"jitter":false}}"#,
        )
        .await
        .expect_status(200);
    publish(&server, "root").await;
    let waits = |why: &Value| step(&why["message"]["caused"][0], "last")["state"] == "retry";
    let why = server.get_until("/v1/messages/root/why", "a retry", |why| why["causes"].is_array() && waits(why)).await;
    let last = step(&why["message"]["caused"][0], "last");
    assert_eq!((&last["attempt"], last["attempts"].as_array().map(Vec::len)), (&json!(2), Some(1)), "{why:#}");
    assert!(last["due_at_ms"].as_u64() > last["attempts"][0]["started_at_ms"].as_u64());
    // A message that waits for its time.
    let mut draft = wasmill_runtime::Draft::new("out.later", "x").id("later");
    let far = last["due_at_ms"].as_u64().expect("a time");
    draft.deliver_at = Some(wasmill_delivery::time::Timestamp(far));
    server.host.publish(draft).await.expect("it waits");
    let why = server.get("/v1/messages/later/why").await.expect_status(200).json();
    assert_eq!(why["message"]["places"], json!([{"kind": "delayed", "due_at_ms": far}]));
}

#[tokio::test]
async fn what_was_let_go_makes_the_answer_incomplete() {
    let server = with_chain(None).await;
    publish(&server, "root").await;
    let gave_up = |list: &Value| list["quarantined"].as_array().is_some_and(|all| !all.is_empty());
    let list = server.get_until("/v1/quarantine", "the quarantine", gave_up).await;
    let id = list["quarantined"][0]["message"]["id"].as_str().expect("an id").to_owned();
    server.get_until("/v1/queues/in", "the queue to let go", |queue| queue["first_sequence"] == 2).await;
    let why = server.get(&format!("/v1/messages/{id}/why")).await.expect_status(200).json();
    assert_eq!((&why["complete"], &why["causes"][0]["id"]), (&json!(false), &json!("root")), "{why:#}");
    let reasons = why["incomplete_because"].to_string();
    assert!(reasons.contains("queue in has let messages before 2 go") && reasons.contains("no retention"), "{reasons}");
    // The root is asked for: what it caused still knows it.
    let why = server.get("/v1/messages/root/why").await.expect_status(200).json();
    assert_eq!(why["message"]["caused"][0]["id"], json!(id), "{why:#}");
}

/// The headers of the copy of a message that was published with these headers.
async fn copied(server: &Server, headers: &[(&str, &str)]) -> (Value, Value) {
    let mut request = server.post_to("/v1/topics/in.a/messages").body("x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = super::harness::Answer::of(request).await.expect_status(201).json();
    let at = answer["places"][0]["sequence"].as_u64().expect("a place");
    let came = |page: &Value| page["messages"].as_array().is_some_and(|all| all.len() as u64 >= at);
    let page = server.get_until("/v1/queues/out/messages", "the copy", came).await;
    let original = server.get(&format!("/v1/queues/in/messages/{at}")).await.expect_status(200).json();
    let copy = page["messages"].as_array().expect("messages").last().expect("the copy").clone();
    assert_eq!(copy["cause"], answer["id"]);
    (original, copy)
}

fn header<'a>(message: &'a Value, name: &str) -> Option<&'a str> {
    let headers = message["headers"].as_array().expect("headers");
    let mut found = headers.iter().filter(|header| header[0] == name);
    let value = found.next().and_then(|header| header[1].as_str());
    assert!(found.next().is_none(), "{name} is there twice: {message:#}");
    value
}

#[tokio::test]
async fn the_trace_and_the_chain_of_a_message_go_on_in_what_it_causes() {
    let server = with_chain(Some(Retention { messages: Some(100), ..Retention::default() })).await;
    server.delete("/v1/queues/out/consumers/last").await.expect_status(204);
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let given = [("traceparent", good), ("tracestate", "v=1"), ("baggage", "b=2"), ("correlationid", "order-7")];
    let (original, copy) = copied(&server, &given).await;
    assert_eq!((header(&original, "traceparent"), header(&original, "tracestate")), (Some(good), Some("v=1")));
    let child = header(&copy, "traceparent").expect("a trace");
    assert!(child.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && child.ends_with("-01"), "{child}");
    assert_ne!(child, good, "the copy is a span of its own");
    assert_eq!((header(&copy, "tracestate"), header(&copy, "baggage")), (Some("v=1"), Some("b=2")));
    for message in [&original, &copy] {
        assert_eq!(message["correlation"], "order-7");
        assert_eq!((header(message, "correlationid"), header(message, "causationid")), (None, None), "stored once");
    }

    for bad in ["", "garbage", &good.to_uppercase(), &good.replace("00-", "ff-"), &good[..54]] {
        let (original, copy) = copied(&server, &[("traceparent", bad), ("tracestate", "v=1")]).await;
        let (fresh, child) =
            (header(&original, "traceparent").expect("new"), header(&copy, "traceparent").expect("new"));
        assert!(fresh != bad && fresh.len() == good.len() && header(&original, "tracestate").is_none(), "{bad:?}");
        assert_eq!(fresh[..36], child[..36], "one trace");
    }
    let (original, copy) = copied(&server, &[]).await;
    assert_eq!((header(&original, "traceparent"), header(&copy, "traceparent")), (None, None));
    assert_eq!((&original["correlation"], &copy["correlation"]), (&Value::Null, &original["id"]));

    let event = r#"{"specversion":"1.0","id":"e","source":"/s","type":"in.e","correlationid":"c-1","data":1}"#;
    server.post("/v1/messages", "application/cloudevents+json", event).await.expect_status(201);
    let why = server.get("/v1/messages/e/why").await.expect_status(200).json();
    let at = why["message"]["places"][0]["sequence"].as_u64().expect("a place");
    let event = server.get(&format!("/v1/queues/in/messages/{at}")).await.expect_status(200).json();
    assert_eq!((&event["correlation"], header(&event, "ce-correlationid")), (&json!("c-1"), None));
    let long = server.post_to("/v1/topics/in.a/messages").header("correlationid", "x".repeat(256)).body("x");
    let refused = super::harness::Answer::of(long).await;
    refused.expect_problem(422, "invalid-value", "correlationid");
}
