//! The quarantine as a place to work: filters, a summary, redrives at a rate, export and import.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    harness::{NDJSON, Server, guest},
    quarantine::{ids, with_quarantined},
};

async fn found(server: &Server, query: &str) -> Vec<u64> {
    ids(&server.get(&format!("/v1/quarantine?{query}")).await.expect_status(200).json())
}

#[tokio::test]
async fn deliveries_are_found_by_fingerprint_topic_time_and_message() {
    let server = with_quarantined(3).await;
    let list = server.get("/v1/quarantine").await.json();
    let all = ids(&list);
    let print = list["quarantined"][0]["fingerprint"].as_str().expect("a fingerprint").to_owned();
    assert!(print.starts_with("trapped"), "{print}");
    let at_ms = list["quarantined"][0]["quarantined_at_ms"].as_u64().expect("a time");
    let before = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).expect("in range")).expect("a time");
    let encoded: String = percent_encoding::utf8_percent_encode(&print, percent_encoding::NON_ALPHANUMERIC).collect();
    for (query, count) in [
        (format!("fingerprint={encoded}"), 3),
        ("fingerprint=trap*".to_owned(), 3),
        ("fingerprint=trap".to_owned(), 0),
        ("topic=orders.*".to_owned(), 3),
        ("topic=orders.*.*".to_owned(), 0),
        ("topic=%23".to_owned(), 3),
        ("message=m2".to_owned(), 1),
        ("message=m9".to_owned(), 0),
        ("since=1h".to_owned(), 3),
        ("until=1h".to_owned(), 0),
        (format!("since={before}"), 3),
        (format!("until={before}"), 0),
    ] {
        assert_eq!(found(&server, &query).await.len(), count, "{query}");
    }
    let page = server.get(&format!("/v1/quarantine?limit=1&fingerprint={encoded}&topic=%23")).await;
    let link = page.header("link").expect("a link").to_owned();
    let next = link.trim_start_matches('<').split('>').next().expect("a target").to_owned();
    assert_eq!(ids(&server.get(&next).await.expect_status(200).json()), [all[1]], "{next}");
    server.get("/v1/quarantine?since=soon").await.expect_problem(422, "invalid-query", "nor an age");
    server.get("/v1/quarantine?topic=a..b").await.expect_problem(422, "invalid-query", "empty word");

    let purge = |body: Value| server.post("/v1/quarantine/purge", "application/json", body.to_string());
    assert_eq!(purge(json!({"all": true, "until": "7d"})).await.expect_status(200).json()["purged"], 0);
    assert_eq!(purge(json!({"all": true, "message": "m2"})).await.json()["purged"], 1);
    assert_eq!(purge(json!({"all": true, "until": "0s"})).await.json()["purged"], 2);
    purge(json!({"all": true, "rate_per_second": 1})).await.expect_problem(422, "invalid-value", "for redrives");
}

#[tokio::test]
async fn a_summary_says_what_is_broken() {
    let server = with_quarantined(4).await;
    server.send(Method::PUT, "/v1/handlers/other", "application/wasm", guest("exit")).await.expect_status(200);
    let put = r#"{"handler":"other","attempts":1}"#;
    server.put_json("/v1/queues/orders/consumers/other", put).await.expect_status(201);
    let lines: String = (5..=8).map(|n| format!("{{\"id\":\"m{n}\",\"data\":1}}\n")).collect();
    server.post("/v1/topics/orders.x/messages", NDJSON, lines).await.expect_status(200);
    let both = |summary: &Value| summary["quarantined"] == 12;
    let summary = server.get_until("/v1/quarantine/summary", "both handlers to fail", both).await;
    let groups = summary["groups"].as_array().expect("groups");
    assert_eq!(
        groups.iter().map(|group| group["count"].as_u64()).collect::<Vec<_>>(),
        [Some(8), Some(4)],
        "{summary:#}"
    );
    let bad = groups.iter().find(|group| group["handler"] == "bad").expect("the group of handler bad");
    assert_eq!(bad["reason"], "attempts-exhausted");
    assert!(bad["fingerprint"].as_str().is_some_and(|print| print.starts_with("trapped")), "{bad:#}");
    assert!(bad["oldest_at_ms"].as_u64() <= bad["newest_at_ms"].as_u64() && bad["example"].is_u64(), "{bad:#}");
    let one = server.get("/v1/quarantine/summary?handler=bad&message=m1").await.expect_status(200).json();
    assert_eq!((&one["quarantined"], &one["ungrouped"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn many_are_redriven_at_a_rate_and_can_be_cancelled() {
    let server = with_quarantined(4).await;
    server.send(Method::PUT, "/v1/handlers/bad", "application/wasm", guest("noop")).await.expect_status(200);
    let redrive = |body: Value| server.post("/v1/quarantine/redrive", "application/json", body.to_string());
    let all = found(&server, "handler=bad").await;
    let slow = redrive(json!({"all": true, "handler": "bad", "rate_per_second": 1})).await.expect_status(202);
    let at = slow.header("location").expect("where it is").to_owned();
    assert_eq!((&slow.json()["total"], &slow.json()["meant"]), (&json!(4), &json!("handler bad")));
    server.get_until(&at, "the first to be redriven", |shown| shown["redriven"].as_u64() >= Some(1)).await;
    let cancelled = server.delete(&at).await.expect_status(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    assert!(cancelled["redriven"].as_u64() < Some(4), "a second for each: {cancelled:#}");

    // What was redriven is skipped by one that names it again.
    let fast = redrive(json!({"ids": all, "rate_per_second": 1_000})).await.expect_status(202);
    let at = fast.header("location").expect("where it is").to_owned();
    let done = server.get_until(&at, "its end", |shown| shown["state"] == "done").await;
    let counted = ["redriven", "skipped", "refused"].map(|what| done[what].as_u64().expect("a number"));
    assert!(counted[0] + counted[1] == 4 && counted[1] >= 1 && counted[2] == 0, "{done:#}");
    assert_eq!(found(&server, "").await.len(), 0);
    let list = server.get("/v1/quarantine/redrives").await.expect_status(200).json();
    assert_eq!(list["redrives"].as_array().map(Vec::len), Some(2));
    assert!(list["note"].as_str().is_some_and(|note| note.contains("ends with the host")));
    server.get("/v1/quarantine/redrives/99").await.expect_problem(404, "unknown-redrive", "99");
    server.delete("/v1/quarantine/redrives/99").await.expect_problem(404, "unknown-redrive", "99");
    redrive(json!({"all": true, "rate_per_second": 0})).await.expect_problem(422, "out-of-range", "rate per second");
}

#[tokio::test]
async fn redrives_in_the_background_have_a_limit() {
    let server = with_quarantined(2).await;
    let body = json!({"all": true, "rate_per_second": 1}).to_string();
    let mut started = Vec::new();
    for _ in 0..wasmill_runtime::REDRIVES_RUNNING_MAX {
        let ids: Vec<u64> = (1_000..2_000).collect();
        let long = json!({"ids": ids, "rate_per_second": 1}).to_string();
        let answer = server.post("/v1/quarantine/redrive", "application/json", long).await.expect_status(202);
        started.push(answer.header("location").expect("where it is").to_owned());
    }
    let refused = server.post("/v1/quarantine/redrive", "application/json", body.clone()).await;
    refused.expect_problem(429, "too-many-redrives", "wait for one, or cancel one");
    server.delete(&started[0]).await.expect_status(200);
    server.post("/v1/quarantine/redrive", "application/json", body).await.expect_status(202);
}

#[tokio::test]
async fn the_quarantine_moves_to_another_host() {
    let server = with_quarantined(3).await;
    let export = server.get("/v1/quarantine/export?message=m1").await.expect_status(200).lines();
    assert_eq!((export.len(), &export[0]["message"]["data_base64"]), (1, &json!("eyJuIjoxfQ==")));
    let attempt = &export[0]["attempts"][0];
    assert!(attempt["outcome"]["kind"] == "trapped" && attempt["log"].as_str().is_some_and(|log| !log.is_empty()));
    let export = server.get("/v1/quarantine/export").await.expect_status(200).text;

    // Into the same host: all of it is known.
    let again = server.post("/v1/quarantine/import", NDJSON, export.clone()).await.expect_status(200).lines();
    assert!(again.len() == 3 && again.iter().all(|answer| answer["duplicate"] == true), "{again:?}");

    let other = Server::with_orders().await;
    let refused = other.post("/v1/quarantine/import", NDJSON, export.clone()).await.expect_status(200).lines();
    assert_eq!(refused[0]["error"]["code"], "unknown-consumer", "{refused:?}");
    other.send(Method::PUT, "/v1/handlers/bad", "application/wasm", guest("panic")).await.expect_status(200);
    other.put_json("/v1/queues/orders/consumers/bad", r#"{"handler":"bad","attempts":1}"#).await.expect_status(201);
    other.post("/v1/topics/orders.x/messages", NDJSON, "{\"id\":\"own\",\"data\":1}\n").await.expect_status(200);
    other.get_until("/v1/queues/orders/consumers/bad", "its own failure", |shown| shown["quarantined"] == 1).await;

    let lines = format!("{export}\nnot json\n{}\n", export.lines().next().expect("a line"));
    let answers = other.post("/v1/quarantine/import", NDJSON, lines).await.expect_status(200).lines();
    let new: Vec<u64> = answers.iter().filter_map(|answer| answer["quarantine_id"].as_u64()).collect();
    assert_eq!((answers.len(), new.len()), (5, 3), "{answers:?}");
    assert_eq!((&answers[3]["error"]["code"], &answers[3]["line"]), (&json!("invalid-json"), &json!(5)));
    assert_eq!(answers[4]["duplicate"], true, "the same line twice");

    // All that was known is known here, but the number and what a replay needs.
    let mut here = other.get(&format!("/v1/quarantine/{}", new[0])).await.json();
    let mut there = server.get("/v1/quarantine/1").await.json();
    assert_eq!((here["imported"].take(), here["id"].take()), (json!(true), json!(new[0])));
    there["id"].take();
    assert_eq!((&there["capsule"]["kind"], &here["capsule"]), (&json!("kept"), &json!({ "kind": "none" })));
    here["capsule"].take();
    there["capsule"].take();
    here.as_object_mut().expect("an object").remove("imported");
    assert_eq!(here, there);
    let own = other.get("/v1/quarantine?message=own").await.json();
    assert_eq!(own["quarantined"][0].get("imported"), None);

    // They are redriven beside live deliveries of the same places, and exported and imported again.
    let once_more = other.get("/v1/quarantine/export").await.text;
    let known = server.post("/v1/quarantine/import", NDJSON, once_more).await.lines();
    let fresh = known.iter().filter(|answer| answer["duplicate"] == false).count();
    assert_eq!(fresh, 1, "only what the other host had of its own: {known:?}");
    other.send(Method::PUT, "/v1/handlers/bad", "application/wasm", guest("noop")).await.expect_status(200);
    let body = json!({"all": true, "handler": "bad"}).to_string();
    let redriven = other.post("/v1/quarantine/redrive", "application/json", body).await.expect_status(200).json();
    assert_eq!(redriven["redriven"].as_array().map(Vec::len), Some(4), "{redriven:#}");
    let idle = |shown: &Value| shown["pending"] == 0 && shown["in_flight"] == 0 && shown["quarantined"] == 0;
    other.get_until("/v1/queues/orders/consumers/bad", "the redriven ones to be settled", idle).await;
}

#[tokio::test]
async fn an_import_stops_at_the_limit_of_the_quarantine() {
    let server = with_quarantined(3).await;
    let export = server.get("/v1/quarantine/export").await.text;
    let small = Server::start_with(Default::default(), |options| options.limits.quarantine_max = 2).await;
    small.put_json("/v1/queues/orders", "{}").await.expect_status(201);
    small.send(Method::PUT, "/v1/handlers/bad", "application/wasm", guest("noop")).await.expect_status(200);
    small.put_json("/v1/queues/orders/consumers/bad", r#"{"handler":"bad"}"#).await.expect_status(201);
    let answers = small.post("/v1/quarantine/import", NDJSON, export.clone()).await.expect_status(200).lines();
    assert_eq!(answers[2]["error"]["code"], "too-many", "{answers:?}");
    small.delete("/v1/quarantine/1").await.expect_status(204);
    let answers = small.post("/v1/quarantine/import", NDJSON, export).await.expect_status(200).lines();
    let taken = answers.iter().filter(|answer| answer["duplicate"] == false).count();
    assert_eq!(taken, 1, "what was refused is not taken for known: {answers:?}");
}
