//! The quarantine, filled by guests that fail.

use reqwest::Method;
use serde_json::{Value, json};

use super::harness::{NDJSON, Server, guest};

/// A server whose consumer `bad` gives up on every message at once, with this many messages in quarantine.
pub(super) async fn with_quarantined(count: usize) -> Server {
    let server = Server::with_orders().await;
    server.send(Method::PUT, "/v1/handlers/bad", "application/wasm", guest("panic")).await.expect_status(200);
    server.put_json("/v1/queues/orders/consumers/bad", r#"{"handler":"bad","attempts":1}"#).await.expect_status(201);
    let lines: String = (1..=count).map(|n| format!("{{\"id\":\"m{n}\",\"data\":{{\"n\":{n}}}}}\n")).collect();
    server.post("/v1/topics/orders.x/messages", NDJSON, lines).await.expect_status(200);
    wait_for(&server, count).await;
    server
}

async fn wait_for(server: &Server, count: usize) {
    let quarantined = |consumer: &Value| consumer["quarantined"] == count;
    server.get_until("/v1/queues/orders/consumers/bad", "the quarantine", quarantined).await;
}

pub(super) fn ids(page: &Value) -> Vec<u64> {
    page["quarantined"].as_array().expect("a list").iter().filter_map(|entry| entry["id"].as_u64()).collect()
}

#[tokio::test]
async fn the_evidence_is_shown() {
    let server = with_quarantined(1).await;
    let list = server.get("/v1/quarantine").await.expect_status(200).json();
    let [id] = ids(&list)[..] else { panic!("one entry, not {list:#}") };
    let summary = &list["quarantined"][0];
    assert!(
        summary["message"].get("data").is_none() && summary["attempts"][0].get("backtrace").is_none(),
        "{summary:#}"
    );
    let full = server.get(&format!("/v1/quarantine/{id}")).await.expect_status(200).json();
    assert_eq!((&full["queue"], &full["consumer"], &full["handler"]), (&json!("orders"), &json!("bad"), &json!("bad")));
    assert_eq!(
        (&full["reason"], &full["attempts_made"], &full["sequence"]),
        (&json!("attempts-exhausted"), &json!(1), &json!(1))
    );
    assert_eq!((&full["message"]["id"], &full["message"]["data"]), (&json!("m1"), &json!({"n": 1})));
    let attempt = &full["attempts"][0];
    assert_eq!((&attempt["attempt"], &attempt["outcome"]), (&json!(1), &json!("trapped")));
    assert!(attempt["detail"].as_str().is_some_and(|detail| detail.contains("the handler trapped")), "{attempt:#}");
    assert!(attempt["log"].as_str().is_some_and(|log| !log.is_empty()), "{attempt:#}");
    assert!(attempt["backtrace"].as_array().is_some_and(|frames| !frames.is_empty()), "{attempt:#}");
    server.get("/v1/quarantine/999").await.expect_problem(404, "unknown-quarantine", "999");
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let server = with_quarantined(5).await;
    let first = server.get("/v1/quarantine?limit=2&queue=orders").await.expect_status(200);
    let link = first.header("link").expect("a link").to_owned();
    let (target, rel) = link.split_once(">; ").expect("a link");
    assert_eq!(rel, "rel=\"next\"");
    let second = server.get(target.trim_start_matches('<')).await.expect_status(200).json();
    let cursor = second["next"].as_u64().expect("a cursor");
    let third = server.get(&format!("/v1/quarantine?limit=2&cursor={cursor}")).await.expect_status(200);
    assert_eq!((third.header("link"), &third.json()["next"]), (None, &Value::Null));
    let all: Vec<u64> = [&first.json(), &second, &third.json()].into_iter().flat_map(ids).collect();
    assert_eq!(all, ids(&server.get("/v1/quarantine").await.json()));
    assert_eq!(all.len(), 5);
    for (query, count) in [
        ("queue=orders&consumer=bad&handler=bad&reason=attempts-exhausted", 5),
        ("reason=rejected", 0),
        ("queue=other", 0),
        ("consumer=other", 0),
        ("handler=other", 0),
    ] {
        assert_eq!(ids(&server.get(&format!("/v1/quarantine?{query}")).await.json()).len(), count, "{query}");
    }
    let reason = server.get("/v1/quarantine?reason=reject").await;
    reason.expect_problem(422, "invalid-query", "did you mean `rejected`?");
    server.get("/v1/quarantine?que=orders").await.expect_problem(422, "invalid-query", "did you mean `queue`?");
}

#[tokio::test]
async fn a_delivery_is_redriven_with_other_data_to_a_better_handler() {
    let server = with_quarantined(2).await;
    let [first, second] = ids(&server.get("/v1/quarantine").await.json())[..] else { panic!("two entries") };
    let again = server.post(&format!("/v1/quarantine/{first}/redrive"), "application/json", r#"{"n":"other"}"#).await;
    let id = again.expect_status(202).json()["id"].as_str().expect("an id").to_owned();
    let back = |list: &Value| ids(list).len() == 2 && !ids(list).contains(&first);
    let list = server.get_until("/v1/quarantine", "the redriven message to fail again", back).await;
    let newest = *ids(&list).last().expect("an entry");
    let message = server.get(&format!("/v1/quarantine/{newest}")).await.json()["message"].take();
    assert_eq!((&message["id"], &message["data"]), (&json!(id), &json!({"n": "other"})));
    assert_eq!(message["redrive_of"], json!({"message_id": "m1", "quarantine_id": first}));
    server.send(Method::PUT, "/v1/handlers/bad", "application/wasm", guest("noop")).await.expect_status(200);
    server.post(&format!("/v1/quarantine/{second}/redrive"), "text/plain", "").await.expect_status(202);
    let gone = server.post(&format!("/v1/quarantine/{second}/redrive"), "text/plain", "").await;
    gone.expect_problem(404, "unknown-quarantine", "");
    wait_for(&server, 1).await;
}

#[tokio::test]
async fn many_are_redriven_and_purged_at_once() {
    let server = with_quarantined(6).await;
    let all = ids(&server.get("/v1/quarantine").await.json());
    let purge = |body: Value| server.post("/v1/quarantine/purge", "application/json", body.to_string());
    let redrive = |body: Value| server.post("/v1/quarantine/redrive", "application/json", body.to_string());
    assert_eq!(
        purge(json!({"ids": [all[0], 999]})).await.expect_status(200).json(),
        json!({"purged": 1, "more": false})
    );
    assert_eq!(purge(json!({"all": true, "queue": "other"})).await.json()["purged"], 0);
    server.delete(&format!("/v1/quarantine/{}", all[1])).await.expect_status(204);
    server.delete(&format!("/v1/quarantine/{}", all[1])).await.expect_problem(404, "unknown-quarantine", "");
    server.send(Method::PUT, "/v1/handlers/bad", "application/wasm", guest("noop")).await.expect_status(200);
    let answer = redrive(json!({"ids": [all[2], all[0]]})).await.expect_status(200).json();
    assert_eq!(
        (&answer["redriven"][0]["quarantine_id"], answer["redriven"].as_array().map(Vec::len)),
        (&json!(all[2]), Some(1))
    );
    assert_eq!(
        (&answer["refused"][0]["quarantine_id"], &answer["refused"][0]["error"]["code"]),
        (&json!(all[0]), &json!("unknown-quarantine"))
    );
    let answer = redrive(json!({"all": true, "handler": "bad"})).await.expect_status(200).json();
    assert_eq!((answer["redriven"].as_array().map(Vec::len), &answer["more"]), (Some(3), &json!(false)));
    wait_for(&server, 0).await;
    for bad in
        [json!({}), json!({"ids": [1], "all": true}), json!({"ids": [1], "queue": "orders"}), json!({"all": false})]
    {
        redrive(bad.clone()).await.expect_problem(422, "invalid-value", "either ids, or all");
        purge(bad).await.expect_problem(422, "invalid-value", "either ids, or all");
    }
    purge(json!({"al": true})).await.expect_problem(422, "unknown-field", "did you mean `all`?");
}
