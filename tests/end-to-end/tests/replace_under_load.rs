//! A handler is replaced a hundred times while it works as fast as the machine lets it: nothing is lost, nothing is
//! done twice, and nobody waits for the switch.

#![allow(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use end_to_end::PATIENCE;
use host_process::release;
use wasmill_runtime::{
    Draft, Host, HostOptions, LoadOptions, Observer, SettleSeen,
    delivery::{
        effect::SettleAnswer,
        name::{ConsumerName, Digest, HandlerName, QueueName, Sequence},
        record::{ConsumerConfig, QueueConfig, Retention},
        topic::TopicPattern,
    },
};

const REPLACEMENTS: usize = 100;
const PUBLISHERS: usize = 4;
const BATCH: usize = 500;
/// Messages that are published and not settled: enough that the handler always has work.
const AHEAD_MAX: u64 = 40_000;
/// What is looked at before and after each switch.
const AROUND: Duration = Duration::from_millis(10);

/// Notes when deliveries were settled and when the handler was switched.
struct Clock {
    began: Instant,
    committed: AtomicU64,
    settled_us: Mutex<Vec<u64>>,
    switched_us: Mutex<Vec<u64>>,
}

impl Clock {
    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Observer for Clock {
    fn settled(&self, settled: &SettleSeen<'_>) {
        if *settled.answer == SettleAnswer::Committed {
            self.committed.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.now_us();
        let mut times = self.settled_us.lock().unwrap_or_else(PoisonError::into_inner);
        if times.last().is_none_or(|last| now > *last) {
            times.push(now);
        }
    }

    fn handler_replaced(&self, _handler: &HandlerName, _digest: Digest) {
        self.switched_us.lock().unwrap_or_else(PoisonError::into_inner).push(self.now_us());
    }
}

async fn open(folder: &Path, clock: Arc<Clock>) -> Result<Host> {
    let mut options = HostOptions::new(folder);
    options.observer = clock;
    let host = Host::open(options).await?;
    let handler = HandlerName::new("work")?;
    let mut settings = host.default_settings();
    settings.config.insert("to".to_owned(), "out".to_owned());
    host.put_handler(handler.clone(), settings).await?;
    for name in ["work", "out"] {
        let retention = (name == "out").then(|| Retention { messages: Some(u64::MAX), ..Retention::default() });
        let bindings = vec![TopicPattern::new(name)?.into()];
        host.put_queue(QueueName::new(name)?, QueueConfig { bindings, retention, ..QueueConfig::default() }).await?;
    }
    host.load_handler(handler.clone(), release("ok00")?.into()).await?;
    host.put_consumer(QueueName::new("work")?, ConsumerName::new("work")?, ConsumerConfig::new(handler)).await?;
    Ok(host)
}

async fn publish(host: Host, clock: Arc<Clock>, published: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        if published.load(Ordering::Relaxed) > clock.committed.load(Ordering::Relaxed) + AHEAD_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        for answer in host.publish_many(vec![Draft::new("work", "x"); BATCH]).await? {
            answer?;
            published.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The longest pause that has to do with a switch, and the longest of all others, in microseconds.
fn longest_pauses(clock: &Clock, until_us: u64) -> (u64, u64) {
    let switched = clock.switched_us.lock().unwrap_or_else(PoisonError::into_inner);
    let settled = clock.settled_us.lock().unwrap_or_else(PoisonError::into_inner);
    let around = u64::try_from(AROUND.as_micros()).unwrap_or(u64::MAX);
    let is_near = |from: u64, to: u64| switched.iter().any(|at| at + around >= from && *at <= to + around);
    let mut longest = (0, 0);
    for pair in settled.windows(2).filter(|pair| pair[1] <= until_us) {
        let pause = pair[1] - pair[0];
        let of = if is_near(pair[0], pair[1]) { &mut longest.0 } else { &mut longest.1 };
        *of = pause.max(*of);
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_replacements_under_load_lose_nothing_and_double_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = Arc::new(Clock {
        began: Instant::now(),
        committed: AtomicU64::new(0),
        settled_us: Mutex::default(),
        switched_us: Mutex::default(),
    });
    let host = open(folder.path(), Arc::clone(&clock)).await?;
    let (published, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| tokio::spawn(publish(host.clone(), Arc::clone(&clock), Arc::clone(&published), Arc::clone(&stop))))
        .collect();
    let versions = [release("ok01")?, release("ok02")?];
    let handler = HandlerName::new("work")?;
    // Compiled once each; what is measured is the replacement.
    for version in &versions {
        host.load_handler(handler.clone(), version.clone().into()).await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    clock.switched_us.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let (before, began) = (clock.committed.load(Ordering::Relaxed), Instant::now());
    let mut loading = Duration::ZERO;
    for round in 0..REPLACEMENTS {
        let asked = Instant::now();
        let options = LoadOptions { approve: true, ..LoadOptions::default() };
        let loaded = host.load_version(handler.clone(), versions[round % 2].clone().into(), options).await?;
        ensure!(loaded.changed, "round {round} replaces nothing");
        loading = loading.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let took = began.elapsed();
    let rate = (clock.committed.load(Ordering::Relaxed) - before) as f64 / took.as_secs_f64();
    let until_us = clock.now_us();
    stop.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.await??;
    }
    let published = published.load(Ordering::Relaxed);
    let deadline = Instant::now() + PATIENCE;
    while clock.committed.load(Ordering::Relaxed) < published && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (near, elsewhere) = longest_pauses(&clock, until_us);
    println!(
        "{REPLACEMENTS} replacements in {:.1} s at {rate:.0} deliveries/s, {published} messages; longest pause around a \
         switch {:.1} ms, elsewhere {:.1} ms; longest replacement {:.1} ms",
        took.as_secs_f64(),
        near as f64 / 1e3,
        elsewhere as f64 / 1e3,
        loading.as_secs_f64() * 1e3,
    );
    check_effects(&host, &handler, published).await?;
    assert!(host.close(PATIENCE).await);
    // A stall is a second and more; the machine of the tests may be busy with others.
    assert!(near < 1_000_000, "deliveries stood still for {near} us around a switch");
    Ok(())
}

/// Each message was handled once, by one version, and counted once.
async fn check_effects(host: &Host, handler: &HandlerName, published: u64) -> Result<()> {
    let count = host.state(handler, "count")?.context("nothing was counted")?;
    assert_eq!(String::from_utf8_lossy(&count), published.to_string(), "counted");
    let out = host.queues().await?.into_iter().find(|view| view.record.name.as_str() == "out").context("no queue")?;
    let (mut from, mut seen) = (Sequence::FIRST, HashSet::new());
    let mut releases: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let page = host.messages(out.record.id, from, 10_000)?;
        let Some((last, _)) = page.last() else { break };
        from = last.plus(1);
        for (_, message) in page {
            let header = |of: &str| message.headers.iter().find(|(name, _)| name == of).map(|(_, value)| value.clone());
            let of = header("of").context("an output without its message")?;
            ensure!(seen.insert(of.clone()), "message {of} was handled twice");
            *releases.entry(header("release").context("an output without its version")?).or_default() += 1;
        }
    }
    println!("handled by {releases:?}");
    assert_eq!(seen.len() as u64, published, "messages that were handled");
    let names: BTreeSet<&str> = releases.keys().map(String::as_str).collect();
    assert!(names.is_superset(&BTreeSet::from(["ok01", "ok02"])), "both versions worked: {names:?}");
    Ok(())
}
