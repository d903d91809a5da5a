//! Schedules over HTTP.

use serde_json::json;

use super::harness::Server;

#[tokio::test]
async fn a_schedule_is_declared_shown_run_paused_and_removed() {
    let server = Server::with_orders().await;
    let body = r#"{"cron":"30 2 * * MON-FRI","timezone":"Europe/Berlin","topic":"orders.nightly","data":{"a":1},
        "missed":"all","missed_max":7}"#;
    let created = server.put_json("/v1/schedules/nightly", body).await.expect_status(201).json();
    assert_eq!((&created["content_type"], &created["data_text"]), (&json!("application/json"), &json!(r#"{"a":1}"#)));
    assert_eq!((&created["missed"], &created["missed_max"]), (&json!("all"), &json!(7)));
    assert!(
        created["next_at"].as_str().is_some_and(|at| at.contains("T02:30:00+0") || at.contains("T03:00")),
        "{created}"
    );
    let shown = server.get("/v1/schedules/nightly?upcoming=3").await.expect_status(200).json();
    assert_eq!(shown["upcoming"].as_array().map(Vec::len), Some(3));
    assert_eq!(shown["upcoming"][0], shown["next_at"]);
    server.get("/v1/schedules/nightly?upcoming=101").await.expect_problem(422, "out-of-range", "0 to 100");
    let run = server.post("/v1/schedules/nightly/run", "application/json", "").await.expect_status(201).json();
    assert_eq!(server.orders().await[0]["id"], run["id"]);
    server.post("/v1/schedules/nightly/pause", "application/json", "").await.expect_status(204);
    let paused = server.put_json("/v1/schedules/nightly", body).await.expect_status(200).json();
    assert_eq!((&paused["paused"], &paused["next_at"]), (&json!(true), &json!(null)));
    server.post("/v1/schedules/nightly/resume", "application/json", "").await.expect_status(204);
    let list = server.get("/v1/schedules").await.expect_status(200).json();
    assert_eq!(list["schedules"][0]["next_at"], created["next_at"]);
    let metrics = server.get("/metrics").await.expect_status(200).text;
    assert!(metrics.contains("wasmill_schedules_late 0"), "{metrics}");
    server.delete("/v1/schedules/nightly").await.expect_status(204);
    server.get("/v1/schedules/nightly").await.expect_problem(404, "unknown-schedule", "no schedule nightly");
}

#[tokio::test]
async fn bad_schedules_are_refused_with_what_is_wrong_and_an_example() {
    let server = Server::start().await;
    for (json, code, words) in [
        (r#"{"cron":"61 * * * *","topic":"a"}"#, "invalid-schedule", "field 1, the minute, is \"61\""),
        (r#"{"cron":"0 0 30 2 *","topic":"a"}"#, "invalid-schedule", "never comes"),
        (r#"{"cron":"@daily","timezone":"Mars","topic":"a"}"#, "invalid-schedule", "Europe/Berlin"),
        (r#"{"cron":"@daily","topic":"a.*"}"#, "invalid-topic", "wildcard"),
        (r#"{"cron":"@daily","topic":"a","missed_max":3}"#, "contradiction", "missed = \"all\""),
        (r#"{"cron":"@daily","topic":"a","missed":"all","missed_max":0}"#, "out-of-range", "from 1 to 1000"),
        (r#"{"cron":"@daily","topic":"a","data":1,"data_text":"1"}"#, "invalid-value", "give one of them"),
        (r#"{"cron":"@daily","topic":"a","time_zone":"UTC"}"#, "unknown-field", "did you mean `timezone`?"),
    ] {
        server.put_json("/v1/schedules/s", json).await.expect_problem(422, code, words);
    }
    server.put_json("/v1/schedules/-x", r#"{"cron":"@daily","topic":"a"}"#).await.expect_problem(
        422,
        "invalid-schedule-name",
        "must begin with",
    );
}
