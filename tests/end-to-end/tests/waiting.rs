//! Waiting is not working: a thousand deliveries that wait for a slow server cost memory, and nobody else's time.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use end_to_end::{
    PATIENCE, TestHost, handler_with_queue, quarantined,
    server::{Answered, SlowServer},
};
use host_process::{Client, guest};

/// One test at a time: each has all of the machine.
static ALONE: Mutex<()> = Mutex::new(());
const WAITING: usize = 1_000;
const DELAY: Duration = Duration::from_secs(2);
/// How long throughput is measured, beside those that wait and without them.
const WINDOW: Duration = Duration::from_secs(5);
const WINDOWS: usize = 3;
/// What the handler bound by CPU must keep of its throughput for each second that cores work for the host. Measured were
/// 0.76 and 0.86; what is below is held here, so that a busy machine is not taken for a mistake.
const KEPT_MIN: f64 = 0.5;
/// What it must keep of its throughput by the clock. The aim is 0.8; measured were 0.83 to 1.00 on two quiet cores.
const KEPT_BY_CLOCK_MIN: f64 = 0.5;
/// What one delivery that waits may cost, in bytes: its instance with its stack, and its connection.
const WAITING_BYTES_MAX: u64 = 512 * 1_024;

/// `concurrency` of the consumer is the only setting that a thousand at once need.
fn waiter(origin: &str, more: &str) -> Result<String> {
    let file = guest("guest-fetch")?.display().to_string();
    Ok(format!(
        "[handler.wait]\nfile = {file:?}\ngrants = {{ http = [\"{origin}\"] }}\nlimits = {{ wall-clock = \"60s\" }}\n\
         [queue.fetched]\nbindings = [\"fetched\"]\n\
         [queue.wait]\nbindings = [\"wait\"]\n[queue.wait.consumer.wait]\nhandler = \"wait\"\nconcurrency = {WAITING}\n{more}\n"
    ))
}

/// Messages that make their handler ask for `/KEY/NUMBER`, `rounds` of them for each key.
fn publish(client: &Client, origin: &str, keys: usize, rounds: std::ops::Range<usize>) -> Result<()> {
    let mut lines = String::new();
    for round in rounds {
        for key in 0..keys {
            writeln!(lines, r#"{{"key":"k{key}","data_text":"GET {origin}/k{key}/{round}"}}"#)?;
        }
    }
    let answers = client.publish_lines("/v1/topics/wait/messages", &lines)?;
    anyhow::ensure!(answers.iter().all(|answer| answer.get("error").is_none()), "refused: {:?}", answers.first());
    Ok(())
}

fn settled(client: &Client) -> Result<u64> {
    let consumers = client.get("/v1/consumers")?;
    let list = consumers["consumers"].as_array().context("a list")?;
    let compute = list.iter().find(|consumer| consumer["name"] == "compute").context("the consumer")?;
    compute["lag"].as_u64().context("its lag")
}

/// What the handler that is bound by CPU did in a window.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    deliveries: f64,
    clock_s: f64,
    processor_s: f64,
}

impl Done {
    fn in_a_window(host: &TestHost) -> Result<Self> {
        let client = host.client();
        let (before, worked, started) = (settled(client)?, host.processor_time()?, Instant::now());
        std::thread::sleep(WINDOW);
        let after = settled(client)?;
        anyhow::ensure!(after > 0, "it has nothing left to do, so this measures nothing");
        #[allow(clippy::cast_precision_loss, reason = "some thousands")]
        Ok(Self {
            deliveries: (before - after) as f64,
            clock_s: started.elapsed().as_secs_f64(),
            processor_s: (host.processor_time()? - worked).as_secs_f64(),
        })
    }

    fn of_all(windows: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> f64| windows.iter().map(of).sum();
        Self {
            deliveries: sum(|done| done.deliveries),
            clock_s: sum(|done| done.clock_s),
            processor_s: sum(|done| done.processor_s),
        }
    }

    fn by_clock(&self) -> f64 {
        self.deliveries / self.clock_s
    }

    fn by_processor(&self) -> f64 {
        self.deliveries / self.processor_s
    }
}

#[test]
fn a_thousand_wait_at_once_and_a_handler_bound_by_cpu_goes_on() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = SlowServer::start(DELAY)?;
    let origin = server.origin();
    let mut config = waiter(&origin, "order = \"key\"")?;
    config += &handler_with_queue("compute", "guest-compute", "config = { rounds = \"3000000\" }")?;
    let host = TestHost::start(&config)?;
    let client = host.client();
    let work: String = (0..60_000).map(|number| format!("{{\"data\":\"{number}\"}}\n")).collect();
    client.publish_lines("/v1/topics/compute/messages", &work)?;
    std::thread::sleep(Duration::from_secs(1));
    let memory_before = host.resident_bytes()?;
    let mut memory_waiting = 0;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut round = 0;
    for _ in 0..WINDOWS {
        alone.push(Done::in_a_window(&host)?);
        // Enough that a thousand wait for all of the window.
        let rounds = 2 + usize::try_from(WINDOW.as_secs() / DELAY.as_secs())?;
        publish(client, &origin, WAITING, round..round + rounds)?;
        round += rounds;
        server.wait_for(WAITING, PATIENCE)?;
        memory_waiting = memory_waiting.max(host.resident_bytes()?);
        beside.push(Done::in_a_window(&host)?);
        wait_for_waiters(client)?;
    }
    let by_clock = |windows: &[Done]| windows.iter().map(Done::by_clock).collect::<Vec<_>>();
    let (all_alone, all_beside) = (Done::of_all(&alone), Done::of_all(&beside));
    let kept = all_beside.by_processor() / all_alone.by_processor();
    let kept_by_clock = all_beside.by_clock() / all_alone.by_clock();
    let each = memory_waiting.saturating_sub(memory_before) / WAITING as u64;
    let figures = format!(
        "alone {:.0?}/s, beside {WAITING} that wait {:.0?}/s: {kept_by_clock:.2} kept by the clock, {kept:.2} of each second of a core; \
         resident {} MiB before, {} MiB while they wait: {} KiB each",
        by_clock(&alone),
        by_clock(&beside),
        memory_before >> 20,
        memory_waiting >> 20,
        each >> 10
    );
    #[allow(clippy::print_stdout, reason = "these are the figures")]
    {
        println!("{figures}");
    }
    assert_eq!(server.waiting_most(), WAITING, "a thousand wait at once, and no more than the consumer's concurrency");
    assert!(kept >= KEPT_MIN && kept_by_clock >= KEPT_BY_CLOCK_MIN, "{figures}");
    assert!(each <= WAITING_BYTES_MAX, "each that waits costs {each} bytes");
    check_order(&server.answered(), WAITING, round);
    assert!(quarantined(client, "wait")?.is_empty(), "all of them succeeded");
    assert_eq!(client.get("/v1/queues/fetched")?["messages"], WAITING * round);
    Ok(())
}

fn wait_for_waiters(client: &Client) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let consumers = client.get("/v1/consumers")?;
        let list = consumers["consumers"].as_array().context("a list")?;
        let wait = list.iter().find(|consumer| consumer["name"] == "wait").context("the consumer")?;
        if wait["lag"] == 0 && wait["pending"] == 0 {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "they do not end: {wait}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Each key's requests came one after the other, in the order they were published, none before the one before it had
/// its answer.
fn check_order(answered: &[Answered], keys: usize, rounds: usize) {
    let mut by_key: BTreeMap<&str, Vec<(usize, &Answered)>> = BTreeMap::new();
    for request in answered {
        let mut parts = request.path.split('/').skip(1);
        let key = parts.next().expect("a key");
        let number = parts.next().and_then(|number| number.parse().ok()).expect("a number");
        by_key.entry(key).or_default().push((number, request));
    }
    assert_eq!(by_key.len(), keys);
    for (key, requests) in by_key {
        let numbers: Vec<usize> = requests.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..rounds).collect::<Vec<_>>(), "the requests of {key} came in order, each once");
        for pair in requests.windows(2) {
            assert!(pair[0].1.went <= pair[1].1.came, "two of {key} waited at once");
        }
    }
}

#[test]
fn a_stop_waits_for_those_that_wait() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = SlowServer::start(DELAY)?;
    let mut host = TestHost::start(&waiter(&server.origin(), "")?)?;
    publish(host.client(), &server.origin(), WAITING, 0..1)?;
    server.wait_for(WAITING, PATIENCE)?;
    assert!(host.take_process()?.terminate()?.success(), "SIGTERM ends in exit code 0");
    assert_eq!((server.answered().len(), server.abandoned()), (WAITING, 0), "all got their answer");
    host.start_again()?;
    assert_eq!(host.client().unsettled()?, 0, "and all were settled before the end");
    assert_eq!(host.client().get("/v1/queues/fetched")?["messages"], WAITING);
    Ok(())
}

#[test]
fn a_stop_cuts_them_at_its_deadline_and_they_run_again() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = SlowServer::start(Duration::from_secs(600))?;
    let config = format!("[server]\ndrain = \"1s\"\n{}", waiter(&server.origin(), "attempts = 1")?);
    let mut host = TestHost::start(&config)?;
    publish(host.client(), &server.origin(), WAITING, 0..1)?;
    server.wait_for(WAITING, PATIENCE)?;
    let stopping = Instant::now();
    assert!(host.take_process()?.terminate()?.success(), "SIGTERM ends in exit code 0");
    assert!(stopping.elapsed() < Duration::from_secs(20), "it did not wait for ten minutes: {:?}", stopping.elapsed());
    server.wait_for(0, PATIENCE)?;
    assert_eq!(server.abandoned(), WAITING, "their connections are closed");
    server.set_delay(Duration::ZERO);
    host.start_again()?;
    host.client().wait_until_settled(PATIENCE)?;
    assert_eq!(server.answered().len(), WAITING, "each ran again");
    assert!(quarantined(host.client(), "wait")?.is_empty(), "and being cut cost none of them its only attempt");
    Ok(())
}
