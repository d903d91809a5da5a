//! Every hostile component that loads, all of them at once with messages waiting all the time, beside a healthy handler:
//! it keeps most of its throughput. The machine is shared, so quiet and hostile times take turns in one run, and the median
//! of the ratios is what counts.
// What was measured is worth reading also when it is good enough.
#![allow(clippy::print_stdout)]

use std::{
    fmt::Write as _,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    PATIENCE, TestHost, handler_with_queue,
    hostile::{self, Expected, Hostile},
};
use host_process::Client;

/// Of the healthy handler's throughput, in percent. The aim is 80; measured were 82 (69 to 93) on two quiet cores and 74 (65
/// to 91) on cores that four builds shared, beside all hostile handlers at once. What is held here tells of a broken lane (1
/// to 32 %) and not of a busy machine.
const KEPT_PERCENT_MIN: f64 = 35.0;
const TURNS: usize = 5;
/// How long each part of a turn is measured.
const MEASURED: Duration = Duration::from_millis(1_500);
/// Hostile handlers have been at work for so long when measuring begins.
const UNDER_WAY: Duration = Duration::from_millis(300);
const BATCH: usize = 1_000;
const PUBLISHERS: usize = 4;
/// Publishers rest while so many messages wait: what counts is how much is done, not how soon.
const WAITING_FOR_HEALTHY: u64 = 20_000;
/// Messages that wait for each hostile handler at the beginning of each turn.
const WAITING: usize = 200;

#[test]
fn a_healthy_handler_keeps_its_throughput_beside_all_of_them() -> Result<()> {
    let host = TestHost::start(&handler_with_queue("healthy", "guest-noop", "")?)?;
    let client = host.client();
    let mut hostile: Vec<Hostile> = hostile::corpus()?;
    hostile.retain(|one| !matches!(one.expected, Expected::Refused(_) | Expected::Success));
    ensure!(hostile.len() >= 40, "{} hostile handlers run", hostile.len());
    for one in &hostile {
        declare(client, one).with_context(|| one.name.clone())?;
    }
    let mut ratios = Vec::new();
    for turn in 0..TURNS {
        wait_until_quiet(client)?;
        let quiet = throughput(client)?;
        for one in &hostile {
            feed(client, one)?;
            client.post(&format!("{}/resume", consumer(one)), "application/json", "")?;
        }
        sleep(UNDER_WAY);
        let beside = throughput(client)?;
        let running = running(client)?;
        for one in &hostile {
            client.post(&format!("{}/pause", consumer(one)), "application/json", "")?;
        }
        let ratio = beside / quiet * 100.0;
        println!(
            "turn {turn}: {quiet:.0}/s alone, {beside:.0}/s beside {running} hostile handlers at work: {ratio:.0} %"
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[TURNS / 2];
    println!("median {median:.0} % of the throughput, from {:.0} to {:.0}", ratios[0], ratios[TURNS - 1]);
    ensure!(median >= KEPT_PERCENT_MIN, "{median:.0} % of the throughput was kept: {ratios:.0?}");
    Ok(())
}

fn consumer(one: &Hostile) -> String {
    format!("/v1/queues/{0}/consumers/{0}", one.name)
}

fn declare(client: &Client, one: &Hostile) -> Result<()> {
    let name = &one.name;
    let handler = format!("/v1/handlers/{name}");
    // All that the defaults give; only less time, so that a turn ends soon.
    client.put(&handler, "application/json", r#"{"limits": {"wall_clock_ms_max": 1500}}"#)?;
    client.put(&handler, "application/wasm", one.wasm.clone())?;
    client.put(&format!("/v1/queues/{name}"), "application/json", format!(r#"{{"bindings": ["{name}"]}}"#))?;
    client.put(&consumer(one), "application/json", format!(r#"{{"handler": "{name}"}}"#))?;
    client.post(&format!("{}/pause", consumer(one)), "application/json", "")?;
    Ok(())
}

fn feed(client: &Client, one: &Hostile) -> Result<()> {
    client.publish_lines("/v1/messages", &lines(&one.name, WAITING))?;
    Ok(())
}

fn lines(topic: &str, count: usize) -> String {
    (0..count).fold(String::new(), |mut lines, number| {
        let _ = writeln!(lines, r#"{{"topic": "{topic}", "data": "message {number}"}}"#);
        lines
    })
}

/// Messages that the healthy handler gets done in a second, with publishers that keep it busy.
fn throughput(client: &Client) -> Result<f64> {
    let batch = lines("healthy", BATCH);
    let started = Instant::now();
    let publish = || -> Result<usize> {
        let mut published = 0;
        while started.elapsed() < MEASURED {
            if lag(client)? < WAITING_FOR_HEALTHY {
                client.publish_lines("/v1/messages", &batch)?;
                published += BATCH;
            }
        }
        Ok(published)
    };
    let published = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS).map(|_| scope.spawn(publish)).collect();
        publishers.into_iter().map(|one| one.join().expect("a publisher")).sum::<Result<usize>>()
    })?;
    while lag(client)? > 0 {
        ensure!(started.elapsed() < PATIENCE, "the healthy handler gets nothing done");
    }
    Ok(published as f64 / started.elapsed().as_secs_f64())
}

/// Wait until nothing is under way any more.
fn wait_until_quiet(client: &Client) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let consumers = client.get("/v1/consumers")?;
        let in_flight = |one: &serde_json::Value| one["in_flight"].as_u64().unwrap_or_default();
        let under_way: u64 = consumers["consumers"].as_array().context("no consumers")?.iter().map(in_flight).sum();
        if under_way == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{under_way} deliveries are under way though their consumers are paused");
        sleep(Duration::from_millis(50));
    }
}

fn lag(client: &Client) -> Result<u64> {
    let view = client.get("/v1/queues/healthy/consumers/healthy")?;
    Ok(view["lag"].as_u64().context("no lag")? + view["pending"].as_u64().context("no pending")?)
}

/// Hostile consumers that are not paused.
fn running(client: &Client) -> Result<usize> {
    let consumers = client.get("/v1/consumers")?;
    let consumers = consumers["consumers"].as_array().context("no consumers")?.iter();
    Ok(consumers.filter(|one| one["paused"].is_null() && one["handler"] != "healthy").count())
}
