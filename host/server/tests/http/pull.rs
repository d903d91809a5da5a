//! Pull consumers: lease, settle, extend, and what happens when nobody does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_delivery::{
    limits::LEASE_MS_MAX,
    name::{ConsumerName, QueueName},
    policy::Backoff,
    record::{ConsumerConfig, DeliveryOrder},
};
use wasmill_runtime::{PULL_DELIVERIES_MAX, PULLS_WAITING_MAX};

use super::harness::{Answer, Server};

const CONSUMER: &str = "/v1/queues/orders/consumers/outside";

/// With a consumer `outside` on queue `orders` that is pulled, and whose retries come at once.
async fn with_consumer(change: impl FnOnce(&mut ConsumerConfig)) -> Server {
    let server = Server::with_orders().await;
    let mut config = ConsumerConfig::pulled();
    config.backoff = Backoff::Fixed { fixed_ms: 0, jitter: false };
    change(&mut config);
    let (queue, name) = names();
    server.host.put_consumer(queue, name, config).await.expect("a consumer");
    server
}

fn names() -> (QueueName, ConsumerName) {
    (QueueName::new("orders").expect("a name"), ConsumerName::new("outside").expect("a name"))
}

async fn publish(server: &Server, data: &str, key: Option<&str>) {
    let request = server.post_to("/v1/topics/orders.x/messages").header("content-type", "text/plain");
    let request = key.into_iter().fold(request, |request, key| request.header("wasmill-key", key));
    Answer::of(request.body(data.to_owned())).await.expect_status(201);
}

async fn lease(server: &Server, query: &str) -> Vec<Value> {
    let answer = server.post(&format!("{CONSUMER}/lease?{query}"), "text/plain", "").await.expect_status(200).json();
    answer["deliveries"].as_array().expect("deliveries").clone()
}

async fn lease_one(server: &Server) -> Value {
    let mut deliveries = lease(server, "wait=20s").await;
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    deliveries.remove(0)
}

async fn act(server: &Server, delivery: &Value, action: &str, query: &str) -> Answer {
    let (sequence, fence) = (&delivery["sequence"], &delivery["fence"]);
    server.post(&format!("{CONSUMER}/deliveries/{sequence}/{action}?fence={fence}{query}"), "text/plain", "").await
}

fn settlement(delivery: &Value, outcome: &str) -> Value {
    json!({"sequence": delivery["sequence"], "fence": delivery["fence"], "outcome": outcome})
}

async fn settle(server: &Server, settlements: Vec<Value>) -> Vec<Value> {
    let body = json!({"settlements": settlements}).to_string();
    let answer = server.post(&format!("{CONSUMER}/settle"), "application/json", body).await.expect_status(200).json();
    answer["settlements"].as_array().expect("settlements").clone()
}

#[tokio::test]
async fn a_consumer_without_a_handler_is_declared_leased_from_and_acknowledged() {
    let server = Server::with_orders().await;
    let declared = server.put_json(CONSUMER, "{}").await.expect_status(201).json();
    assert_eq!(declared["handler"], json!(null));
    publish(&server, "one", Some("k")).await;
    let delivery = lease_one(&server).await;
    assert_eq!((&delivery["sequence"], &delivery["attempt"]), (&json!(1), &json!(1)));
    assert_eq!((&delivery["message"]["data_text"], &delivery["message"]["key"]), (&json!("one"), &json!("k")));
    assert!(delivery["lease_until_ms"].as_u64() > delivery["message"]["published_at_ms"].as_u64());
    assert_eq!(server.get(CONSUMER).await.json()["in_flight"], 1);
    let done = act(&server, &delivery, "ack", "").await.expect_status(200).json();
    assert_eq!(done, json!({"sequence": 1, "fence": delivery["fence"], "answer": "committed"}));
    let after = server.get(CONSUMER).await.json();
    assert_eq!((&after["in_flight"], &after["lag"]), (&json!(0), &json!(0)));
    let again = act(&server, &delivery, "ack", "").await;
    again.expect_problem(409, "stale-fence", "the lease of delivery 1 with that fence is over");
}

#[tokio::test]
async fn a_nack_comes_again_a_defer_burns_no_attempt_and_a_reject_is_quarantined() {
    let server = with_consumer(|_| {}).await;
    publish(&server, "x", None).await;
    let first = lease_one(&server).await;
    let answer = act(&server, &first, "nack", "&after_ms=1&reason=busy").await.expect_status(200).json();
    assert_eq!((&answer["answer"], &answer["burned_attempt"]), (&json!("retry-at"), &json!(true)));
    let second = lease_one(&server).await;
    assert_eq!(second["attempt"], 2);
    let answer = act(&server, &second, "defer", "&after_ms=0").await.expect_status(200).json();
    assert_eq!((&answer["answer"], &answer["burned_attempt"]), (&json!("retry-at"), &json!(false)));
    let third = lease_one(&server).await;
    assert_eq!(third["attempt"], 2);
    let answer = act(&server, &third, "reject", "&reason=never").await.expect_status(200).json();
    assert_eq!((&answer["answer"], &answer["reason"]), (&json!("quarantined"), &json!("rejected")));
    let record = server.get(&format!("/v1/quarantine/{}", answer["quarantine_id"])).await.expect_status(200).json();
    assert!(record.to_string().contains("busy") && record.to_string().contains("never"), "{record:#}");
}

#[tokio::test]
async fn many_are_settled_in_one_request_with_an_answer_for_each() {
    let server = with_consumer(|_| {}).await;
    for data in ["a", "b", "c"] {
        publish(&server, data, None).await;
    }
    let body = json!({"max": 10, "wait_ms": 0}).to_string();
    let leased = server.post(&format!("{CONSUMER}/lease"), "application/json", body).await.expect_status(200).json();
    let deliveries = leased["deliveries"].as_array().expect("deliveries");
    assert_eq!(deliveries.len(), 3);
    let unknown = json!({"sequence": 3, "fence": 1, "outcome": "ack"});
    let given = vec![
        settlement(&deliveries[0], "ack"),
        settlement(&deliveries[1], "reject"),
        unknown,
        settlement(&deliveries[0], "ack"),
        settlement(&deliveries[2], "nack"),
    ];
    let answers = settle(&server, given).await;
    let said: Vec<&str> = answers.iter().filter_map(|answer| answer["answer"].as_str()).collect();
    assert_eq!(said, ["committed", "quarantined", "refused", "refused", "retry-at"]);
    assert_eq!(answers[2]["error"]["code"], "stale-fence");
    assert_eq!(answers[3]["error"]["status"], 409, "settled by the entry before it");
    let metrics = server.get("/metrics").await.expect_status(200).text;
    for outcome in ["success", "reject", "retry"] {
        let counted = format!(r#"wasmill_deliveries_settled_total{{queue="orders",handler="",outcome="{outcome}"}} 1"#);
        assert!(metrics.contains(&counted), "{outcome}: {metrics}");
    }
}

#[tokio::test]
async fn a_pull_waits_for_a_message_and_not_longer_than_it_was_told() {
    let server = with_consumer(|_| {}).await;
    let started = Instant::now();
    assert!(lease(&server, "").await.is_empty());
    assert!(lease(&server, "wait=50ms").await.is_empty());
    assert!(started.elapsed() >= Duration::from_millis(50));
    let (woken, ()) = tokio::join!(lease_one(&server), async {
        // The pull is there first, or else it would not wait.
        tokio::time::sleep(Duration::from_millis(100)).await;
        publish(&server, "late", None).await;
    });
    assert_eq!(woken["message"]["data_text"], "late");
    assert!(started.elapsed() < Duration::from_secs(15), "the message ends the wait, not the time");
}

#[tokio::test]
async fn a_pull_that_is_dropped_takes_nothing_with_it() {
    let server = with_consumer(|_| {}).await;
    let (queue, name) = names();
    let dropped = server.host.pull(&queue, &name, 1, Duration::from_secs(20));
    assert!(tokio::time::timeout(Duration::from_millis(50), dropped).await.is_err());
    publish(&server, "x", None).await;
    assert_eq!(lease_one(&server).await["attempt"], 1);
}

#[tokio::test]
async fn a_client_that_goes_away_is_waited_for_no_more() {
    let server = with_consumer(|config| config.lease_ms = 50).await;
    // The server learns by and by that a client is gone. What it leased for it before comes as a second attempt.
    for pause_ms in [1, 10, 100, 1_000, 5_000] {
        let request = server.post_to(&format!("{CONSUMER}/lease?wait=60s")).timeout(Duration::from_millis(100));
        assert!(request.send().await.expect_err("it gave up").is_timeout());
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        publish(&server, "x", None).await;
        let delivery = lease_one(&server).await;
        act(&server, &delivery, "ack", "").await;
        if delivery["attempt"] == 1 {
            return;
        }
    }
    panic!("a client that is gone got every delivery");
}

#[tokio::test]
async fn a_server_that_stops_ends_the_waits() {
    let server = with_consumer(|_| {}).await;
    let started = Instant::now();
    let (deliveries, ()) = tokio::join!(lease(&server, "wait=20s"), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.draining.begin();
    });
    assert!(deliveries.is_empty() && started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_lease_that_is_not_settled_in_time_comes_again_and_the_late_ack_changes_nothing() {
    let server = with_consumer(|config| config.lease_ms = 100).await;
    publish(&server, "x", None).await;
    let first = lease_one(&server).await;
    let second = lease_one(&server).await;
    assert_eq!(second["attempt"], 2);
    act(&server, &first, "ack", "").await.expect_problem(409, "stale-fence", "not settled in time");
    act(&server, &first, "extend", "").await.expect_problem(409, "stale-fence", "lease again");
    assert_eq!(server.get(CONSUMER).await.json()["in_flight"], 1, "the late ack did not settle the second lease");
}

#[tokio::test]
async fn leases_that_run_out_again_and_again_end_in_quarantine() {
    let server = with_consumer(|config| (config.lease_ms, config.attempts_max) = (20, 2)).await;
    publish(&server, "x", None).await;
    for attempt in 1..=2 {
        assert_eq!(lease_one(&server).await["attempt"], attempt);
    }
    let page = server.get_until("/v1/quarantine", "the quarantine", |page| page["quarantined"][0].is_object()).await;
    assert_eq!(page["quarantined"][0]["reason"], "attempts-exhausted", "{page:#}");
    let id = &page["quarantined"][0]["id"];
    let record = server.get(&format!("/v1/quarantine/{id}")).await.expect_status(200).json();
    assert!(record.to_string().contains("lease-expired"), "{record:#}");
}

#[tokio::test]
async fn a_lease_that_is_extended_lasts() {
    let server = with_consumer(|config| config.lease_ms = 300).await;
    publish(&server, "x", None).await;
    let delivery = lease_one(&server).await;
    let extended = act(&server, &delivery, "extend", "&lease_ms=20000").await.expect_status(200).json();
    assert!(extended["lease_until_ms"].as_u64() > delivery["lease_until_ms"].as_u64().map(|ms| ms + 10_000));
    assert!(lease(&server, "wait=600ms").await.is_empty(), "it would be here if the first time had held");
    act(&server, &delivery, "ack", "").await.expect_status(200);
}

#[tokio::test]
async fn two_pullers_never_hold_the_same_delivery() {
    let server = with_consumer(|_| {}).await;
    for number in 0..60 {
        publish(&server, &number.to_string(), None).await;
    }
    let puller = async || {
        let mut seen = Vec::new();
        loop {
            let deliveries = lease(&server, "max=7").await;
            if deliveries.is_empty() {
                return seen;
            }
            seen.extend(deliveries.iter().filter_map(|delivery| delivery["sequence"].as_u64()));
        }
    };
    let (one, two) = tokio::join!(puller(), puller());
    let mut all = [one.clone(), two.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=60).collect::<Vec<u64>>());
    assert!(!one.is_empty() && !two.is_empty(), "{} and {}", one.len(), two.len());
}

#[tokio::test]
async fn with_an_order_deliveries_of_a_key_are_settled_oldest_first() {
    let server = with_consumer(|config| config.order = DeliveryOrder::Key).await;
    for data in ["a1", "a2"] {
        publish(&server, data, Some("a")).await;
    }
    publish(&server, "b1", Some("b")).await;
    let deliveries = lease(&server, "max=10&wait=20s").await;
    let data: Vec<&str> = deliveries.iter().filter_map(|delivery| delivery["message"]["data_text"].as_str()).collect();
    assert_eq!(data, ["a1", "a2", "b1"], "a run of one key may come at once");
    let early = act(&server, &deliveries[1], "ack", "").await;
    early.expect_problem(409, "out-of-order", "delivery 2 was settled before an earlier one of its key");
    act(&server, &deliveries[2], "ack", "").await.expect_status(200);
    act(&server, &deliveries[0], "ack", "").await.expect_status(200);
    let again = lease_one(&server).await;
    assert_eq!((&again["message"]["data_text"], &again["attempt"]), (&json!("a2"), &json!(1)));
    act(&server, &again, "ack", "").await.expect_status(200);
}

#[tokio::test]
async fn what_has_expired_is_not_handed_out() {
    let server = with_consumer(|_| {}).await;
    let mut draft = wasmill_runtime::Draft::new("orders.x", "old");
    draft.expires_at = Some(wasmill_delivery::time::Timestamp(1));
    server.host.publish(draft).await.expect("published");
    publish(&server, "new", None).await;
    assert_eq!(lease_one(&server).await["message"]["data_text"], "new");
    server.get_until(CONSUMER, "the settling", |consumer| consumer["lag"] == 1).await;
}

#[tokio::test]
async fn no_more_than_in_flight_max_is_out() {
    let server = with_consumer(|config| config.in_flight_max = 2).await;
    for data in ["a", "b", "c"] {
        publish(&server, data, None).await;
    }
    let held = lease(&server, "max=10").await;
    assert_eq!(held.len(), 2);
    assert!(lease(&server, "max=10").await.is_empty());
    act(&server, &held[0], "ack", "").await.expect_status(200);
    assert_eq!(lease_one(&server).await["message"]["data_text"], "c");
}

#[tokio::test]
async fn so_many_pulls_may_wait_and_no_more() {
    let server = with_consumer(|_| {}).await;
    let (queue, name) = names();
    let mut pulls: Vec<_> =
        (0..PULLS_WAITING_MAX).map(|_| Box::pin(server.host.pull(&queue, &name, 1, Duration::from_secs(60)))).collect();
    for pull in &mut pulls {
        assert!(futures::poll!(pull).is_pending());
    }
    let refused = server.post(&format!("{CONSUMER}/lease"), "text/plain", "").await;
    let refused = refused.expect_problem(429, "too-many-requests", "10000 pulls wait already");
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(pulls);
    publish(&server, "x", None).await;
    assert_eq!(lease_one(&server).await["attempt"], 1);
}

#[tokio::test]
async fn what_cannot_be_pulled_or_settled_is_refused_with_the_reason() {
    let server = with_consumer(|_| {}).await;
    server.put_json("/v1/handlers/check", r#"{"config":{}}"#).await.expect_status(201);
    server.put_json("/v1/queues/orders/consumers/checker", r#"{"handler":"check"}"#).await.expect_status(201);
    let too_many = format!("/v1/queues/orders/consumers/outside/lease?max={}", PULL_DELIVERIES_MAX + 1);
    let too_long = format!("{CONSUMER}/deliveries/1/extend?fence=1&lease_ms={}", LEASE_MS_MAX + 1);
    for (path, status, code, words) in [
        ("/v1/queues/orders/consumers/checker/lease", 409, "not-pulled", "runs handler check"),
        ("/v1/queues/orders/consumers/none/lease", 404, "unknown-consumer", "no consumer none on queue orders"),
        ("/v1/queues/none/consumers/outside/lease", 404, "unknown-queue", "no queue none"),
        (&too_many, 422, "out-of-range", "max is 1001; it must be from 1 to 1000"),
        ("/v1/queues/orders/consumers/outside/lease?max=0", 422, "out-of-range", "max is 0"),
        ("/v1/queues/orders/consumers/outside/lease?wait=61s", 422, "out-of-range", "from 0 to 60000"),
        ("/v1/queues/orders/consumers/outside/lease?wait=20", 422, "invalid-query", "wait: "),
        ("/v1/queues/orders/consumers/outside/deliveries/1/ack", 422, "invalid-query", "fence"),
        ("/v1/queues/orders/consumers/outside/deliveries/1/ack?fence=1", 409, "stale-fence", "delivery 1"),
        ("/v1/queues/orders/consumers/outside/deliveries/1/nak?fence=1", 404, "unknown-action", "\"nak\""),
        (&too_long, 422, "out-of-range", "lease_ms is 43200001"),
        (
            "/v1/queues/orders/consumers/outside/deliveries/1/nack?fence=1&after_ms=604800001",
            422,
            "out-of-range",
            "after_ms is 604800001",
        ),
    ] {
        server.post(path, "text/plain", "").await.expect_problem(status, code, words);
    }
    for (settlement, code, words) in [
        (r#"{"sequence":1,"fence":1,"outcome":"rejekt"}"#, "invalid-value", "did you mean `reject`?"),
        (r#"{"sequence":1,"fence":1,"outcome":"ack","after_ms":1}"#, "contradiction", "settlement 0: after_ms"),
        (r#"{"sequence":1,"fence":1,"outcome":"defer","reason":"x"}"#, "contradiction", "reason is for"),
    ] {
        let body = format!(r#"{{"settlements":[{settlement}]}}"#);
        let answer = server.post(&format!("{CONSUMER}/settle"), "application/json", body).await;
        answer.expect_problem(422, code, words);
    }
    let many: Vec<Value> =
        (0..=PULL_DELIVERIES_MAX).map(|_| json!({"sequence": 1, "fence": 1, "outcome": "ack"})).collect();
    let body = json!({"settlements": many}).to_string();
    let answer = server.post(&format!("{CONSUMER}/settle"), "application/json", body).await;
    answer.expect_problem(422, "out-of-range", "settlements is 1001");
}

#[tokio::test]
async fn one_answer_ends_when_its_messages_are_large() {
    let server = with_consumer(|_| {}).await;
    let body = "x".repeat(1024 * 1024);
    for _ in 0..18 {
        publish(&server, &body, None).await;
    }
    let first = lease(&server, "max=100").await;
    assert_eq!(first.len(), 16, "PULL_BYTES_MAX is 16 MiB");
    let rest = lease(&server, "max=100").await;
    let rest: Vec<&Value> = rest.iter().map(|delivery| &delivery["sequence"]).collect();
    assert_eq!(rest, [17, 18]);
    let attempts: Vec<&Value> = first.iter().map(|delivery| &delivery["attempt"]).collect();
    assert!(attempts.iter().all(|attempt| **attempt == 1));
}
