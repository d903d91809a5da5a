//! Jobs and delayed messages over HTTP. What callbacks do is told by tests/jobs.rs.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::harness::{Answer, NDJSON, Server};

/// With a consumer of queue `orders` that is pulled.
async fn with_worker() -> Server {
    let server = Server::with_orders().await;
    server.put_json("/v1/queues/orders/consumers/w", r#"{"attempts":2}"#).await.expect_status(201);
    server
}

async fn submit(server: &Server, headers: &[(&str, &str)]) -> Answer {
    let mut request = server.post_to("/v1/jobs/orders.x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.body("x")).await
}

async fn lease(server: &Server) -> Value {
    let leased = server.post("/v1/queues/orders/consumers/w/lease?max=1&wait=10s", "application/json", "").await;
    leased.expect_status(200).json()["deliveries"][0].clone()
}

async fn settle(server: &Server, delivery: &Value, action: &str) -> Answer {
    let body = json!({"settlements": [{
        "sequence": delivery["sequence"], "fence": delivery["fence"], "outcome": action,
    }]});
    server.post("/v1/queues/orders/consumers/w/settle", "application/json", body.to_string()).await
}

#[tokio::test]
async fn a_job_is_followed_from_its_submit_to_its_end() {
    let server = with_worker().await;
    let taken = submit(&server, &[("wasmill-id", "o-1")]).await.expect_status(202);
    let job = taken.json();
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    assert_eq!(taken.header("location"), Some(&*path));
    assert_eq!((&job["state"], &job["message"], &job["known"]), (&json!("queued"), &json!("o-1"), &json!(false)));
    let again = submit(&server, &[("wasmill-id", "o-1")]).await.expect_status(200).json();
    assert_eq!((&again["id"], &again["known"]), (&job["id"], &json!(true)));
    let delivery = lease(&server).await;
    let running = server.get(&path).await.expect_status(200).json();
    assert_eq!((&running["state"], &running["attempts"]), (&json!("running"), &json!(1)));
    settle(&server, &delivery, "nack").await.expect_status(200);
    let retrying = server.get(&path).await.json();
    assert_eq!(
        (&retrying["state"], &retrying["deliveries"][0]["last_outcome"]),
        (&json!("retrying"), &json!("the handler asked for a retry: "))
    );
    let delivery = lease(&server).await;
    let url = format!("{path}?wait=20s");
    let (ended, _) = tokio::join!(server.get(&url), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        settle(&server, &delivery, "ack").await.expect_status(200);
    });
    let ended = ended.expect_status(200).json();
    assert_eq!((&ended["state"], &ended["attempts"]), (&json!("done"), &json!(2)), "{ended:#}");
    assert!(ended["ended_at_ms"].is_u64() && ended["result"].is_null(), "{ended:#}");
    let place = &ended["deliveries"][0];
    assert_eq!((&place["queue"], &place["consumer"], &place["state"]), (&json!("orders"), &json!("w"), &json!("done")));
    server.delete(&path).await.expect_problem(409, "job-ended", "is done and cannot be cancelled");
    let metrics = server.get("/metrics").await.text;
    for line in ["wasmill_jobs{state=\"done\"} 1", "wasmill_jobs_ended_total{state=\"done\"} 1"] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_over() {
    let server = with_worker().await;
    let job = submit(&server, &[]).await.json();
    let started = Instant::now();
    let path = format!("/v1/jobs/{}?wait=150ms", job["id"].as_str().expect("an id"));
    assert_eq!(server.get(&path).await.expect_status(200).json()["state"], "queued");
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_cancelled_job_is_not_handed_out_and_one_under_way_takes_no_effect() {
    let server = with_worker().await;
    let first = submit(&server, &[]).await.json();
    let delivery = lease(&server).await;
    let second = submit(&server, &[]).await.json();
    let third = submit(&server, &[]).await.json();
    for job in [&first, &second] {
        let cancelled = server.delete(&format!("/v1/jobs/{}", job["id"].as_str().expect("an id"))).await;
        assert_eq!(cancelled.expect_status(200).json()["state"], "cancelled");
    }
    let answer = settle(&server, &delivery, "ack").await;
    assert!(answer.text.contains("job-cancelled"), "{}", answer.text);
    let delivery = lease(&server).await;
    assert_eq!(delivery["message"]["id"], third["message"], "{delivery:#}");
    let page = server.get("/v1/jobs?state=cancelled").await.expect_status(200).json();
    assert_eq!(page["jobs"].as_array().map(Vec::len), Some(2), "{page:#}");
}

#[tokio::test]
async fn jobs_are_listed_page_by_page() {
    let server = with_worker().await;
    for _ in 0..3 {
        submit(&server, &[]).await.expect_status(202);
    }
    let page = server.get("/v1/jobs?limit=2").await.expect_status(200).json();
    let next = page["next"].as_str().expect("there are more");
    let rest = server.get(&format!("/v1/jobs?limit=2&cursor={next}")).await.expect_status(200).json();
    assert_eq!((page["jobs"].as_array().map(Vec::len), rest["jobs"].as_array().map(Vec::len)), (Some(2), Some(1)));
    assert!(rest["next"].is_null());
}

#[tokio::test]
async fn a_repeat_with_the_same_idempotency_key_is_the_same_job() {
    let server = with_worker().await;
    let first = submit(&server, &[("idempotency-key", "k1")]).await.expect_status(202);
    let again = submit(&server, &[("idempotency-key", "k1")]).await.expect_status(202);
    assert_eq!((first.text, again.header("idempotent-replayed")), (again.text.clone(), Some("true")));
    assert!(again.header("location").is_some());
    let fresh = server.serve_again().await;
    let found = submit(&fresh, &[("idempotency-key", "k1")]).await.expect_status(200).json();
    assert_eq!((&found["id"], &found["known"]), (&again.json()["id"], &json!(true)), "found by its id");
}

#[tokio::test]
async fn what_cannot_be_a_job_is_refused_with_the_reason() {
    let server = Server::with_orders().await;
    submit(&server, &[]).await.expect_problem(422, "no-consumer", "no consumer takes topic orders.x");
    server.put_json("/v1/queues/orders/consumers/w", "{}").await.expect_status(201);
    let hook = submit(&server, &[("wasmill-callback", "http://127.0.0.1:9/x")]).await;
    hook.expect_problem(422, "callback-refused", "allow = [\"http://127.0.0.1:9\"] under [callbacks]");
    server.post("/v1/jobs/nobody", "text/plain", "x").await.expect_problem(422, "unroutable", "no queue takes");
    server.post("/v1/queues/none/jobs", "text/plain", "x").await.expect_problem(404, "unknown-queue", "none");
    server.post("/v1/jobs/orders.x", NDJSON, "{}").await.expect_problem(415, "unsupported-media-type", "one message");
    server.get("/v1/jobs/nobody").await.expect_problem(404, "unknown-job", "there is no job nobody");
    server.delete("/v1/jobs/nobody").await.expect_problem(404, "unknown-job", "there is no job nobody");
    server.get("/v1/jobs/a.b").await.expect_problem(422, "invalid-job-id", "holds a dot");
    server.get("/v1/jobs/a?wait=61s").await.expect_problem(400, "invalid-duration", "at most 60 s");
    server.get("/v1/jobs?state=over").await.expect_problem(422, "invalid-job-state", "is none of queued, running");
    server.get("/v1/jobs?limit=0").await.expect_problem(422, "out-of-range", "from 1 to 1000");
    let by_queue = server.post("/v1/queues/orders/jobs", "text/plain", "x").await.expect_status(202).json();
    assert_eq!(by_queue["deliveries"][0]["queue"], "orders");
    server.post("/v1/topics/orders.x/messages", "text/plain", "x").await.expect_status(201);
}

#[tokio::test]
async fn delayed_messages_are_listed_and_cancelled() {
    let server = with_worker().await;
    let publish = |topic: &str| server.post_to(&format!("/v1/topics/{topic}/messages")).header("wasmill-delay", "1h");
    let first = Answer::of(publish("orders.a").body("x")).await.expect_status(202).json();
    let second = Answer::of(publish("orders.b").body("xy")).await.expect_status(202).json();
    let job = submit(&server, &[("wasmill-delay", "2h")]).await.expect_status(202).json();
    let page = server.get("/v1/delayed?limit=2").await.expect_status(200).json();
    assert_eq!(page["delayed"][1]["id"], second["delayed_id"]);
    assert_eq!((&page["delayed"][1]["topic"], &page["delayed"][1]["bytes"]), (&json!("orders.b"), &json!(2)));
    let next = page["next"].as_str().expect("there are more");
    let rest = server.get(&format!("/v1/delayed?cursor={next}")).await.expect_status(200).json();
    let of_job = rest["delayed"][0]["id"].as_str().expect("an id").to_owned();
    assert!(rest["next"].is_null());
    let id = first["delayed_id"].as_str().expect("an id");
    server.delete(&format!("/v1/delayed/{id}")).await.expect_status(204);
    server.delete(&format!("/v1/delayed/{id}")).await.expect_problem(404, "unknown-delayed", "published or cancelled");
    server.delete("/v1/delayed/soon").await.expect_problem(422, "invalid-delayed-id", "two numbers");
    let refused = server.delete(&format!("/v1/delayed/{of_job}")).await;
    refused.expect_problem(409, "delayed-job", "cancel that (`wasmill job cancel");
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    assert!(server.get(&path).await.json()["delayed_until_ms"].is_u64());
    let cancelled = Answer::of(server.request(Method::DELETE, &path)).await.expect_status(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    let left = server.get("/v1/delayed").await.json();
    assert_eq!(left["delayed"].as_array().map(Vec::len), Some(1), "{left:#}");
}
