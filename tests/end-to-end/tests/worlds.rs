//! Components that were written for other hosts run unmodified, with the promises of ours.

use std::fs;

use anyhow::{Context, Result};
use end_to_end::{PATIENCE, TestHost, handler_with_queue};
use host_process::{Client, guest};
use serde_json::Value;

const OTHERS: [&str; 2] = ["guest-wasmcloud", "guest-wasi-messaging"];
const TOPICS: [&str; 4] = ["seen", "refused", "questions", "answers"];

fn host_of(package: &str) -> Result<TestHost> {
    let mut config = handler_with_queue("work", package, "limits = { published-bytes = \"16MiB\" }")?;
    for topic in TOPICS {
        config += &format!("[queue.{topic}]\nbindings = [\"{topic}\"]\n");
    }
    TestHost::start(&config)
}

fn publish(client: &Client, text: &str) -> Result<()> {
    client.post("/v1/topics/work/messages", "text/plain", text.to_owned())?;
    client.wait_until_settled(PATIENCE)
}

fn messages(client: &Client, queue: &str) -> Result<Vec<Value>> {
    let page = client.get(&format!("/v1/queues/{queue}/messages"))?;
    Ok(page["messages"].as_array().context("a list")?.clone())
}

fn quarantined(client: &Client) -> Result<Vec<Value>> {
    let page = client.get("/v1/quarantine")?;
    Ok(page["quarantined"].as_array().context("a list")?.clone())
}

#[test]
fn what_others_publish_exists_when_their_delivery_commits_and_only_then() -> Result<()> {
    for package in OTHERS {
        let host = host_of(package)?;
        let client = host.client();
        publish(client, "hello")?;
        assert_eq!(messages(client, "seen")?.len(), 1, "{package} publishes");
        for (text, outcome) in [("fail", "retry"), ("trap", "trapped")] {
            let before = quarantined(client)?.len();
            publish(client, text)?;
            let records = quarantined(client)?;
            assert_eq!(records.len(), before + 1, "{package}, {text}: two attempts, then quarantine");
            let record = records.iter().map(Value::to_string).find(|record| record.contains(outcome));
            let record = record.with_context(|| format!("{package}, {text}: no {outcome} in {records:?}"))?;
            assert!(outcome != "retry" || record.contains("failed as asked"), "{record}");
        }
        assert_eq!(messages(client, "seen")?.len(), 1, "{package}: what a failure published is void");
    }
    Ok(())
}

#[test]
fn a_request_is_replied_to_by_a_component_of_another_world() -> Result<()> {
    for package in OTHERS {
        let host = host_of(package)?;
        let answer = host.client().post("/v1/request/work", "text/plain", "shout")?;
        assert!(answer.contains("SHOUT"), "{package}: {answer}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_done_is_an_error_of_their_world_and_no_trap() -> Result<()> {
    for package in OTHERS {
        let host = host_of(package)?;
        let client = host.client();
        publish(client, "bad subject")?;
        publish(client, "request")?;
        let refused: Vec<String> = messages(client, "refused")?.iter().map(Value::to_string).collect();
        assert_eq!(refused.len(), 2, "{package}: {refused:?}");
        assert!(refused[0].contains("no subject.."), "{package}: {}", refused[0]);
        assert!(refused[1].contains("cannot wait for a reply"), "{package}: {}", refused[1]);
        assert_eq!(quarantined(client)?.len(), 0, "{package}");
    }
    Ok(())
}

#[test]
fn a_reply_to_travels_with_what_a_wasmcloud_component_asks() -> Result<()> {
    let host = host_of("guest-wasmcloud")?;
    publish(host.client(), "ask")?;
    let question = messages(host.client(), "questions")?.first().context("a question")?.to_string();
    assert!(question.contains(r#"["reply-to","answers"]"#), "{question}");
    Ok(())
}

#[test]
fn a_message_of_wasi_messaging_keeps_what_it_carries() -> Result<()> {
    let host = host_of("guest-wasi-messaging")?;
    let client = host.client();
    let send = client.request(reqwest::Method::POST, "/v1/topics/work/messages").body("forward");
    send.header("content-type", "text/x-note").header("wasmill-header-colour", "red").send()?.error_for_status()?;
    client.wait_until_settled(PATIENCE)?;
    let seen = messages(client, "seen")?.first().context("seen")?.to_string();
    assert!(seen.contains("text/x-note") && seen.contains(r#"["topic-seen","work"]"#), "{seen}");
    let forwarded = messages(client, "refused")?.first().context("forwarded")?.to_string();
    assert!(forwarded.contains("forward") && forwarded.contains("text/x-note"), "{forwarded}");
    Ok(())
}

#[test]
fn messages_that_a_guest_hoards_are_bounded() -> Result<()> {
    let host = host_of("guest-wasi-messaging")?;
    publish(host.client(), "hoard")?;
    let record = quarantined(host.client())?.first().context("it is stopped")?.to_string();
    assert!(record.contains("publish-limit") && record.contains("in messages that it holds"), "{record}");
    Ok(())
}

#[test]
fn imports_of_others_are_shown_and_a_refusal_names_every_world() -> Result<()> {
    let host = host_of("guest-wasmcloud")?;
    let client = host.client();
    let shown = client.get("/v1/handlers/work")?.to_string();
    assert!(shown.contains("wasmcloud:messaging/consumer@0.2.0"), "{shown}");
    let wrong = fs::read(guest("guest-wrong-world")?)?;
    let refused = client.put("/v1/handlers/other", "application/wasm", wrong).expect_err("it is no handler");
    let refused = format!("{refused:#}");
    for world in [
        "wasmill:handler/handler@0.1.0",
        "wasi:messaging/incoming-handler@0.2.0-draft",
        "wasmcloud:messaging/handler@0.2.0",
    ] {
        assert!(refused.contains(world), "{refused}");
    }
    Ok(())
}
