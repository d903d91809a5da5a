//! Health, metrics, and what the server says of itself.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;

use super::harness::{Server, guest};

#[tokio::test]
async fn readiness_ends_when_the_server_drains_and_health_does_not() {
    let server = Server::start().await;
    assert_eq!(server.get("/readyz").await.expect_status(200).text, "ready");
    server.draining.begin();
    server.get("/readyz").await.expect_problem(503, "stopped", "shutting down");
    assert_eq!(server.get("/healthz").await.expect_status(200).text, "ok");
}

#[tokio::test]
async fn the_server_says_what_it_is() {
    let server = Server::with_orders().await;
    let info = server.get("/v1/info").await.expect_status(200).json();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["data_bytes_max"], 1024 * 1024);
    // This host writes to the disk every 50 ms.
    let has_size = |info: &serde_json::Value| info["store_bytes"].as_u64().is_some_and(|bytes| bytes > 0);
    server.get_until("/v1/info", "a store with something in it", has_size).await;
}

/// Check the text by the rules of OpenMetrics that matter here, and answer its samples.
fn samples(text: &str) -> Vec<(String, f64)> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut described = BTreeSet::new();
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            if words.next() == Some("TYPE") {
                let name = words.next().expect("a name");
                assert!(described.insert(name.to_owned()), "{name} is described twice");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let name = series.split('{').next().expect("a name");
        let suffixes = ["", "_total", "_bucket", "_sum", "_count"];
        let known =
            suffixes.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|base| described.contains(base)));
        assert!(known && name.starts_with("wasmill_"), "{name} has no description before it");
        assert!(!samples.iter().any(|(other, _)| other == series), "{series} is there twice");
        samples.push((series.to_owned(), value.parse().expect("a number")));
    }
    samples
}

fn value(samples: &[(String, f64)], series: &str) -> Option<f64> {
    samples.iter().find(|(name, _)| name == series).map(|(_, value)| *value)
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let server = Server::with_orders().await;
    let loaded = server.send(Method::PUT, "/v1/handlers/check", "application/wasm", guest("noop")).await;
    let digest = loaded.expect_status(200).json()["digest"].as_str().expect("a digest").to_owned();
    server.put_json("/v1/queues/orders/consumers/c", r#"{"handler":"check"}"#).await.expect_status(201);
    server.put_json("/v1/queues/idle", r#"{"bindings":["idle"]}"#).await.expect_status(201);
    server.post("/v1/topics/idle/messages", "text/plain", "x").await.expect_status(201);
    for _ in 0..3 {
        server.post("/v1/topics/orders.x/messages", "text/plain", "x").await.expect_status(201);
    }
    server.get_until("/v1/queues/orders/consumers/c", "all deliveries", |consumer| consumer["floor"] == 4).await;
    let answer = loop {
        // A delivery is counted just after it is settled, and this store writes its file some milliseconds later.
        let answer = server.get("/metrics").await.expect_status(200);
        let settled = r#"wasmill_deliveries_settled_total{queue="orders",handler="check",outcome="success"}"#;
        let samples = samples(&answer.text);
        if value(&samples, settled) == Some(3.0) && value(&samples, "wasmill_store_bytes") > Some(0.0) {
            break answer;
        }
    };
    assert!(answer.header("content-type").is_some_and(|given| given.starts_with("application/openmetrics-text")));
    let samples = samples(&answer.text);
    for (series, expected) in [
        (r#"wasmill_messages_published_total{queue="orders"}"#, 3.0),
        (r#"wasmill_messages_published_total{queue="idle"}"#, 1.0),
        (r#"wasmill_process_duration_seconds_count{handler="check"}"#, 3.0),
        (r#"wasmill_process_duration_seconds_bucket{le="+Inf",handler="check"}"#, 3.0),
        (r#"wasmill_queue_messages{queue="idle",state="log"}"#, 1.0),
        (r#"wasmill_queue_messages{queue="orders",state="log"}"#, 0.0),
        (r#"wasmill_quarantine_messages{queue="orders",consumer="c",handler="check"}"#, 0.0),
        (r#"wasmill_consumer_suspects{queue="orders",consumer="c",handler="check"}"#, 0.0),
        ("wasmill_delayed_messages", 0.0),
        (r#"wasmill_consumer_paused{queue="orders",consumer="c",handler="check"}"#, 0.0),
        (r#"wasmill_consumer_full{queue="orders",consumer="c",handler="check"}"#, 0.0),
        (&format!(r#"wasmill_handler_active_info{{handler="check",digest="{digest}"}}"#), 1.0),
    ] {
        assert_eq!(value(&samples, series), Some(expected), "{series} in\n{}", answer.text);
    }
    for series in [
        r#"wasmill_handler_fuel_used_total{handler="check"}"#,
        r#"wasmill_handler_memory_peak_bytes{handler="check"}"#,
        "wasmill_store_commit_duration_seconds_count",
        "wasmill_store_bytes",
    ] {
        assert!(value(&samples, series).is_some_and(|value| value > 0.0), "{series} in\n{}", answer.text);
    }
    assert!(value(&samples, r#"wasmill_queue_oldest_message_age_seconds{queue="idle"}"#).is_some());
    server.delete("/v1/queues/idle").await.expect_status(204);
    let text = server.get("/metrics").await.expect_status(200).text;
    assert!(!text.contains(r#"queue="idle""#), "a queue that is gone has no series:\n{text}");
}

#[tokio::test]
async fn a_stopped_host_still_tells_what_it_counted() {
    let server = Server::with_orders().await;
    server.post("/v1/topics/orders.x/messages", "text/plain", "x").await.expect_status(201);
    server.host.close(Duration::from_secs(10)).await;
    let text = server.get("/metrics").await.expect_status(200).text;
    assert_eq!(value(&samples(&text), r#"wasmill_messages_published_total{queue="orders"}"#), Some(1.0));
}
