//! Every component of `tests/hostile`, and malformed ones by the dozen, in one host beside a healthy handler: each gets
//! the outcome or the refusal that it names, and the host goes on as if nothing had been.
// What was measured is worth reading also when it is good enough.
#![allow(clippy::print_stdout)]

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    PATIENCE, TestHost, handler_with_queue,
    hostile::{self, Expected, Hostile},
    malformed, quarantined,
};
use host_process::{Client, guest};

/// What the host may have grown by when all of them are gone, in KiB: pools and caches that are filled once.
const GROWTH_KIB_MAX: u64 = 256 * 1024;
/// The slowest refusal: the limit of compiling, in seconds of processor time, and what starting a process takes.
const LIMITS: &str = "[limits]\ncompile-cpu-max = \"5s\"\ncompile-memory-max = \"512MiB\"\n";

fn start() -> Result<TestHost> {
    let healthy = handler_with_queue("echo", "guest-echo", "config = { to = \"echoed\" }")?;
    TestHost::start(&format!("{LIMITS}{healthy}[queue.echoed]\nbindings = [\"echoed\", \"hostile.flood\"]\n"))
}

fn all() -> Result<Vec<Hostile>> {
    let sound = fs::read(guest("guest-echo")?)?;
    Ok(hostile::corpus()?.into_iter().chain(malformed::corpus(&sound)).collect())
}

#[test]
fn each_gets_what_it_deserves_and_the_host_goes_on() -> Result<()> {
    let mut host = start()?;
    let process = host.take_process()?;
    let client = process.client();
    let before_kib = resident_kib(process.id())?;
    let all = all()?;
    ensure!(all.len() >= 100, "{} hostile components", all.len());
    let mut wrong = Vec::new();
    let mut ran = 0;
    for hostile in &all {
        let started = Instant::now();
        let found = try_one(client, hostile).with_context(|| format!("with {}", hostile.name));
        let found = found.with_context(|| fs::read_to_string(host.path("wasmill.log")).unwrap_or_default())?;
        ran += u32::from(!matches!(found, Expected::Refused(_)));
        if !agrees(&found, &hostile.expected) {
            wrong.push(format!("{}: expected {:?}, found {found:?}", hostile.name, hostile.expected));
        }
        println!("{}: {found:.200?} in {} ms", hostile.name, started.elapsed().as_millis());
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    client.wait_until_settled(PATIENCE)?;
    let echoed = client.get("/v1/queues/echoed")?["messages"].as_u64();
    ensure!(
        echoed == Some(u64::from(ran)),
        "the healthy handler has done {echoed:?} of {ran}; nothing else was published"
    );
    let grown_kib = resident_kib(process.id())?.saturating_sub(before_kib);
    ensure!(grown_kib < GROWTH_KIB_MAX, "the host has grown by {grown_kib} KiB");
    println!("{} components, {ran} of them ran; the host has grown by {grown_kib} KiB", all.len());
    Ok(())
}

fn agrees(found: &Expected, expected: &Expected) -> bool {
    match (found, expected) {
        (Expected::Refused(sentence), Expected::Refused(words)) => sentence.contains(words.as_str()),
        _ => found == expected,
    }
}

/// Load it, have it run once beside the healthy handler, and see what comes of it.
fn try_one(client: &Client, hostile: &Hostile) -> Result<Expected> {
    let name = &hostile.name;
    let path = format!("/v1/handlers/{name}");
    client.put(&path, "application/json", format!(r#"{{"limits": {}}}"#, hostile.limits))?;
    if let Err(refusal) = client.put(&path, "application/wasm", hostile.wasm.clone()) {
        let refusal = format!("{refusal:#}");
        ensure!(refusal.contains("422") && refusal.contains("component-unfit"), "{refusal}");
        ensure!(refusal.len() < 10_000, "a refusal of {} bytes", refusal.len());
        return Ok(Expected::Refused(refusal));
    }
    client.put(&format!("/v1/queues/{name}"), "application/json", format!(r#"{{"bindings": ["{name}"]}}"#))?;
    let consumer = format!(r#"{{"handler": "{name}", "attempts": 2, "backoff": {{"fixed_ms": 1}}}}"#);
    client.put(&format!("/v1/queues/{name}/consumers/{name}"), "application/json", consumer)?;
    for topic in [name.as_str(), "echo"] {
        client.post(&format!("/v1/topics/{topic}/messages"), "text/plain", format!("for {name}"))?;
    }
    client.wait_until_settled(PATIENCE)?;
    let records = quarantined(client, name)?;
    let Some(record) = records.first() else { return Ok(Expected::Success) };
    let attempts = record["attempts"].as_array().context("no attempts")?;
    let outcomes: Vec<&str> = attempts.iter().filter_map(|attempt| attempt["outcome"].as_str()).collect();
    ensure!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{name} ends differently each time: {outcomes:?}");
    let bytes = attempts.iter().map(|attempt| attempt["log"].as_str().unwrap_or_default().len()).max();
    ensure!(bytes < Some(100_000), "{name} has {bytes:?} bytes of log");
    Ok(Expected::Outcome(outcomes.first().context("no outcome")?.to_string()))
}

fn resident_kib(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The time of processor that compiling may take in the test below, in seconds.
const COMPILE_CPU_S_MAX: u64 = 2;
/// A delivery that takes longer than this while a component is compiled has been stalled by it. The machine is shared.
const DELIVERY_MAX: Duration = Duration::from_secs(1);

#[test]
fn a_component_that_compiles_for_too_long_is_refused_and_delivery_goes_on() -> Result<()> {
    let healthy = handler_with_queue("echo", "guest-echo", "config = { to = \"echoed\" }")?;
    let limits = format!("[limits]\ncompile-cpu-max = \"{COMPILE_CPU_S_MAX}s\"\n");
    let host = TestHost::start(&format!("{limits}{healthy}[queue.echoed]\nbindings = [\"echoed\"]\n"))?;
    let client = host.client().clone();
    let loading = std::thread::spawn(move || {
        let started = Instant::now();
        let answer = client.put("/v1/handlers/slow", "application/wasm", malformed::slow_to_compile(2_000));
        (answer, started.elapsed())
    });
    let mut delivered = 0;
    let mut slowest = Duration::ZERO;
    while !loading.is_finished() {
        let started = Instant::now();
        host.client().post("/v1/topics/echo/messages", "text/plain", "x")?;
        host.client().wait_until_settled(PATIENCE)?;
        slowest = slowest.max(started.elapsed());
        delivered += 1;
    }
    let (answer, took) = loading.join().expect("the thread that loads");
    let refusal = format!("{:#}", answer.expect_err("it must be refused"));
    ensure!(refusal.contains("took more than 2 s of processor time (compile-cpu-max)"), "{refusal}");
    ensure!(took.as_secs() <= COMPILE_CPU_S_MAX * 10 + 1, "it was refused after {took:?}");
    ensure!(delivered > 5, "only {delivered} deliveries in {took:?}");
    ensure!(slowest < DELIVERY_MAX, "a delivery took {slowest:?}");
    println!("refused after {took:?}; meanwhile {delivered} deliveries, the slowest took {slowest:?}");
    Ok(())
}

#[test]
fn a_handler_gets_no_more_than_the_operator_allows() -> Result<()> {
    let most = "[limits.handler]\nfuel = 1000000\nmemory = \"1MiB\"\nlog-bytes = \"100B\"\n";
    let host = TestHost::start(most)?;
    let client = host.client();
    for (asked, sentence) in [
        (r#"{"fuel_max": 1000001}"#, "fuel is 1000001; this host allows a handler at most 1000000"),
        (r#"{"memory_bytes_max": 2000000}"#, "memory is 2000000; this host allows a handler at most 1048576"),
        (r#"{"log_bytes_max": 101}"#, "log-bytes is 101; this host allows a handler at most 100"),
    ] {
        let answer = client.put("/v1/handlers/greedy", "application/json", format!(r#"{{"limits": {asked}}}"#));
        let refusal = format!("{:#}", answer.expect_err(asked));
        ensure!(refusal.contains("422") && refusal.contains(sentence), "{refusal}");
    }
    client.put("/v1/handlers/modest", "application/json", r#"{"limits": {"published_max": 1}}"#)?;
    let limits = client.get("/v1/handlers/modest")?["limits"].clone();
    ensure!(limits["fuel_max"] == 1_000_000 && limits["memory_bytes_max"] == 1_048_576, "{limits}");

    let greedy = "[handler.greedy.limits]\nfuel = 1000001\n";
    let error = TestHost::start(&format!("{most}{greedy}")).expect_err("it must not start");
    ensure!(format!("{error:#}").contains("[handler.greedy]: fuel is 1000001"), "{error:#}");
    Ok(())
}
