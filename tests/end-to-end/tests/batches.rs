//! Handlers that take many deliveries in one call: what they do exists once, and only pills pay.

use std::time::Instant;

use anyhow::{Context, Result};
use end_to_end::{PATIENCE, TestHost, handler_with_queue};
use host_process::Client;
use serde_json::Value;

fn host() -> Result<TestHost> {
    host_with("guest-batch", "")
}

fn host_with(package: &str, consumer: &str) -> Result<TestHost> {
    let config = handler_with_queue("work", package, "")?;
    TestHost::start(&format!("{config}{consumer}\n[queue.summaries]\nbindings = [\"summaries\"]\n"))
}

/// Publish while nothing runs, so that calls are as full as they can be.
fn run(client: &Client, texts: impl Iterator<Item = String>) -> Result<()> {
    client.post("/v1/queues/work/consumers/work/pause", "application/json", "")?;
    publish(client, texts)?;
    client.post("/v1/queues/work/consumers/work/resume", "application/json", "")?;
    Ok(())
}

fn publish(client: &Client, texts: impl Iterator<Item = String>) -> Result<()> {
    let lines: String =
        texts.map(|text| format!("{{\"topic\":\"work\",\"key\":\"k\",\"data_text\":\"{text}\"}}\n")).collect();
    let answers = client.publish_lines("/v1/messages", &lines)?;
    assert!(answers.iter().all(|answer| answer.get("error").is_none_or(Value::is_null)), "{answers:?}");
    Ok(())
}

/// The calls that committed: how many deliveries each had, and their sum.
fn summaries(client: &Client) -> Result<Vec<(u64, i64)>> {
    let mut all = Vec::new();
    let mut path = "/v1/queues/summaries/messages?limit=1000".to_owned();
    loop {
        let page = client.get(&path)?;
        for message in page["messages"].as_array().context("a list")? {
            let text = message["data_text"]
                .as_str()
                .or_else(|| message["data"].as_str())
                .with_context(|| message.to_string())?;
            let (count, sum) = text.split_once(' ').context("two numbers")?;
            all.push((count.parse()?, sum.parse()?));
        }
        let Some(next) = page["next"].as_u64() else { return Ok(all) };
        path = format!("/v1/queues/summaries/messages?limit=1000&from={next}");
    }
}

fn quarantined(client: &Client) -> Result<Vec<Value>> {
    Ok(client.get("/v1/quarantine?limit=100")?["quarantined"].as_array().context("a list")?.clone())
}

fn count(client: &Client) -> Result<String> {
    client.get_text("/v1/handlers/work/state/count")
}

#[test]
fn among_a_thousand_three_pills_are_quarantined_and_all_others_commit_once() -> Result<()> {
    const PILLS: [u64; 3] = [7, 431, 432];
    let host = host()?;
    let client = host.client();
    run(client, (0..1_000).map(|n| if PILLS.contains(&n) { "pill".to_owned() } else { n.to_string() }))?;
    client.wait_until_settled(PATIENCE)?;

    let summaries = summaries(client)?;
    let (deliveries, sum) = summaries.iter().fold((0, 0), |(n, sum), (more, part)| (n + more, sum + part));
    let expected: i64 = (0..1_000).filter(|n| !PILLS.contains(n)).map(|n| n as i64).sum();
    assert_eq!((deliveries, sum), (997, expected), "{summaries:?}");
    assert_eq!(count(client)?, "997");
    assert!(summaries.iter().any(|(n, _)| *n == 100), "calls are full: {summaries:?}");
    assert!(summaries.len() < 100, "{} calls committed", summaries.len());

    let mut records = quarantined(client)?;
    records.sort_by_key(|record| record["sequence"].as_u64());
    let places: Vec<u64> = records.iter().filter_map(|record| record["sequence"].as_u64()).collect();
    assert_eq!(places, PILLS.map(|n| n + 1));
    for record in &records {
        assert_eq!(record["attempts_made"], 2, "{record}");
        let attempts = record["attempts"].as_array().context("attempts")?;
        assert_eq!(attempts.len(), 2, "{record}");
        assert!(attempts.iter().all(|attempt| attempt["outcome"] == "trapped"), "{record}");
    }
    Ok(())
}

#[test]
fn each_delivery_fails_in_its_own_way_and_the_others_commit() -> Result<()> {
    let host = host()?;
    let client = host.client();
    run(client, ["1", "retry", "2", "reject", "3", "defer", "4"].into_iter().map(ToOwned::to_owned))?;
    let deadline = Instant::now() + PATIENCE;
    // The four numbers, and the retry at its second attempt.
    while client.get("/v1/handlers/work/state/count").is_err() || count(client)? != "5" {
        assert!(Instant::now() < deadline, "{}", client.get("/v1/consumers")?);
    }
    let summaries = summaries(client)?;
    assert_eq!(summaries.iter().map(|(_, sum)| sum).sum::<i64>(), 10, "{summaries:?}");
    let records = quarantined(client)?;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!((&records[0]["reason"], &records[0]["attempts_made"]), (&"rejected".into(), &1.into()));
    assert_eq!(client.unsettled()?, 1, "the deferred one waits");
    Ok(())
}

#[test]
fn an_answer_of_another_length_is_a_failure_of_its_own() -> Result<()> {
    let host = host()?;
    let client = host.client();
    run(client, ["1", "short", "2"].into_iter().map(ToOwned::to_owned))?;
    client.wait_until_settled(PATIENCE)?;
    let records = quarantined(client)?;
    assert_eq!(records.len(), 1, "{records:?}");
    let said = records[0].to_string();
    assert!(said.contains("handle-batch answered 0 results for 1 deliveries"), "{said}");
    assert_eq!(count(client)?, "2");
    Ok(())
}

#[test]
fn behind_a_failure_nothing_of_its_key_commits_first() -> Result<()> {
    let host = host_with("guest-batch", "order = \"key\"\n")?;
    let client = host.client();
    run(client, ["1", "retry", "2", "3"].into_iter().map(ToOwned::to_owned))?;
    client.wait_until_settled(PATIENCE)?;
    // All are of one key: the first alone, the retry alone, and then the others.
    assert_eq!(summaries(client)?, [(1, 1), (1, 0), (2, 5)]);
    assert_eq!(quarantined(client)?.len(), 0);
    Ok(())
}

#[test]
fn a_full_call_of_quick_deliveries_makes_no_room_as_a_long_one_does() -> Result<()> {
    let host = host()?;
    let client = host.client();
    for _ in 0..5 {
        run(client, std::iter::repeat_n("compute".to_owned(), 2_000))?;
        client.wait_until_settled(PATIENCE)?;
    }
    let (quick, slow) = (host.processor_time_of("wasmill-handler")?, host.processor_time_of("wasmill-slow")?);
    assert!(quick > slow * 4, "{quick:?} on the threads for quick calls, {slow:?} on those for long ones");
    Ok(())
}

/// Prints how fast the same work is with and without batches: `cargo test --workspace --test batches speed -- --nocapture`.
#[test]
#[allow(clippy::print_stdout, reason = "the figure is for whoever runs it")]
fn speed() -> Result<()> {
    const MESSAGES: u64 = 20_000;
    for package in ["guest-counter", "guest-batch"] {
        let host = host_with(package, "")?;
        let client = host.client();
        client.post("/v1/queues/work/consumers/work/pause", "application/json", "")?;
        for part in 0..MESSAGES / 2_000 {
            publish(client, (0..2_000).map(|n| (part * 2_000 + n).to_string()))?;
        }
        let begun = Instant::now();
        client.post("/v1/queues/work/consumers/work/resume", "application/json", "")?;
        client.wait_until_settled(PATIENCE)?;
        let rate = MESSAGES as f64 / begun.elapsed().as_secs_f64();
        println!("{package}: {rate:.0} messages/s");
        assert_eq!(count(client)?, MESSAGES.to_string());
    }
    Ok(())
}
