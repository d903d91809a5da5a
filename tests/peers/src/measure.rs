//! One measurement: a case on a system that runs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    case::{Case, Shape, Work},
    process::{MemoryWatch, cpu_s},
    systems::{Audit, System},
    tally::Tally,
};

/// Messages of a first run, which tells how many take the wanted time.
const PILOT_MESSAGES: u64 = 200;
const MESSAGES_MAX: u64 = 5_000_000;
/// Messages before latency is measured.
const WARM_UP: u64 = 50;

/// How long measurements take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// What one measurement is to take, about.
    pub wanted: Duration,
    /// After which it is given up.
    pub patience: Duration,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    pub messages: u64,
    /// Published, handled and acknowledged; of a backlog, drained.
    pub per_s: f64,
    pub publish_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p99_ms: Option<f64>,
    /// Processor time of the server's processes, in seconds for a million messages.
    pub server_cpu_s_per_million: f64,
    /// That of all processes, clients and native consumers too.
    pub all_cpu_s_per_million: f64,
    /// The server's resident memory at most.
    pub server_rss_mib: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_append_per_s: Option<f64>,
}

/// How many messages a case has on this system: those that it asks for, or as many as take the wanted time.
pub async fn size(system: &Arc<dyn System>, case: &Case, times: &Times) -> Result<u64> {
    let in_flight = if system.pipelines() { case.in_flight } else { 1 };
    let load = u64::from(case.producers) * u64::from(in_flight);
    match case.shape {
        Shape::Latency => Ok(case.messages),
        Shape::Backlog => {
            // Publishing and draining it, at half of the patience each.
            let pilot = run(system, case, PILOT_MESSAGES.max(load * 4).min(case.messages), times).await?;
            let slowest = pilot.per_s.min(pilot.publish_per_s);
            Ok(case.messages.min((slowest * times.patience.as_secs_f64() / 3.0) as u64))
        }
        Shape::EndToEnd => {
            let mut messages = PILOT_MESSAGES.max(load * 2);
            loop {
                let begun = Instant::now();
                let pilot = run(system, case, messages, times).await?;
                let wanted = ((pilot.per_s * times.wanted.as_secs_f64()) as u64).clamp(messages, MESSAGES_MAX);
                // A pilot that was very short says little.
                if begun.elapsed() > times.wanted / 8 || wanted < messages * 8 {
                    return Ok(wanted);
                }
                messages = wanted / 4;
            }
        }
    }
}

/// Measure it once, and see that nothing was lost or doubled.
pub async fn run(system: &Arc<dyn System>, case: &Case, messages: u64, times: &Times) -> Result<Figures> {
    let measured = async {
        match case.shape {
            Shape::Latency => latency(system, case, messages).await,
            Shape::EndToEnd | Shape::Backlog => throughput(system, case, messages).await,
        }
    };
    match tokio::time::timeout(times.patience, measured).await {
        Ok(figures) => figures,
        Err(_) => bail!("it was not done after {:?}", times.patience),
    }
}

async fn throughput(system: &Arc<dyn System>, case: &Case, messages: u64) -> Result<Figures> {
    system.prepare(case, messages).await.context("cannot make the queues")?;
    let tally = Arc::new(Tally::new(messages, case.consumers));
    let memory = MemoryWatch::start(system.servers());
    let mut workers = JoinSet::new();
    if case.shape == Shape::EndToEnd {
        workers = system.consume(case, &tally).await.context("cannot consume")?;
    }
    let (server_before, all_before) = cpu(system);
    let begun = Instant::now();
    unless_one_fails(&mut workers, publish(system, case, messages)).await?;
    let published = begun.elapsed();
    let mut drain_begun = begun;
    if case.shape == Shape::Backlog {
        drain_begun = Instant::now();
        workers = system.consume(case, &tally).await.context("cannot consume")?;
    }
    unless_one_fails(&mut workers, system.wait_done(case, &tally, messages)).await?;
    let done = drain_begun.elapsed();
    let (server_after, all_after) = cpu(system);
    workers.shutdown().await;
    check(case, messages, system.audit(case, &tally, messages).await.context("cannot audit")?)?;
    let millions = messages as f64 / 1e6;
    Ok(Figures {
        messages,
        per_s: messages as f64 / done.as_secs_f64(),
        publish_per_s: messages as f64 / published.as_secs_f64(),
        server_cpu_s_per_million: (server_after - server_before) / millions,
        all_cpu_s_per_million: (all_after - all_before) / millions,
        server_rss_mib: memory.finish(),
        ..Figures::default()
    })
}

/// Processor time of the servers, and of everything this program started with itself.
fn cpu(system: &Arc<dyn System>) -> (f64, f64) {
    (cpu_s(&system.servers()), cpu_s(&[std::process::id()]))
}

async fn publish(system: &Arc<dyn System>, case: &Case, messages: u64) -> Result<()> {
    let producers = (0..case.producers).map(|producer| {
        let (system, case) = (Arc::clone(system), *case);
        let share = case.share(producer, messages);
        async move { tokio::spawn(async move { system.produce(&case, share).await }).await? }
    });
    try_join_all(producers).await.context("cannot publish").map(drop)
}

/// Fails when a worker does; workers do not end otherwise.
async fn unless_one_fails(workers: &mut JoinSet<Result<()>>, done: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        done = done => done,
        Some(ended) = workers.join_next() => match ended? {
            Ok(()) => bail!("a consumer ended by itself"),
            Err(error) => Err(error.context("a consumer failed")),
        },
    }
}

async fn latency(system: &Arc<dyn System>, case: &Case, messages: u64) -> Result<Figures> {
    let all = messages + WARM_UP;
    system.prepare(case, all).await.context("cannot make the queues")?;
    let tally = Arc::new(Tally::new(all, case.consumers));
    let memory = MemoryWatch::start(system.servers());
    let mut workers = system.consume(case, &tally).await.context("cannot consume")?;
    let mut producer = system.one_by_one(case).await?;
    let mut taken_ms = Vec::new();
    let (mut server_before, mut all_before) = cpu(system);
    let mut begun_all = Instant::now();
    for number in 0..all {
        if number == WARM_UP {
            (server_before, all_before) = cpu(system);
            begun_all = Instant::now();
        }
        let begun = Instant::now();
        let mut taken = Duration::ZERO;
        let handled = async {
            system.wait_handled(case, &tally, number + 1).await?;
            taken = begun.elapsed();
            Ok(())
        };
        let publish = producer.publish(number);
        let both = async {
            if system.settles_after_confirm() {
                publish.await?;
                handled.await
            } else {
                tokio::try_join!(publish, handled).map(drop)
            }
        };
        unless_one_fails(&mut workers, both).await?;
        if number >= WARM_UP {
            taken_ms.push(taken.as_secs_f64() * 1e3);
        }
    }
    let done = begun_all.elapsed();
    unless_one_fails(&mut workers, system.wait_done(case, &tally, all)).await?;
    let (server_after, all_after) = cpu(system);
    workers.shutdown().await;
    check(case, all, system.audit(case, &tally, all).await.context("cannot audit")?)?;
    taken_ms.sort_by(f64::total_cmp);
    let quantile = |share: f64| taken_ms.get(((taken_ms.len() - 1) as f64 * share).round() as usize).copied();
    let (per_s, millions) = (messages as f64 / done.as_secs_f64(), messages as f64 / 1e6);
    Ok(Figures {
        messages,
        per_s,
        publish_per_s: per_s,
        latency_p50_ms: quantile(0.5),
        latency_p99_ms: quantile(0.99),
        server_cpu_s_per_million: (server_after - server_before) / millions,
        all_cpu_s_per_million: (all_after - all_before) / millions,
        server_rss_mib: memory.finish(),
        raw_append_per_s: None,
    })
}

fn check(case: &Case, messages: u64, audit: Audit) -> Result<()> {
    let outputs = match case.work {
        Work::Nothing => 0,
        Work::Forward => messages,
    };
    let Audit { left, outputs: seen, lost, doubled } = audit;
    ensure!(lost == 0 && doubled == 0, "of {messages} messages {lost} were lost and {doubled} doubled");
    ensure!(left == 0, "of {messages} messages {left} are not acknowledged");
    ensure!(seen == outputs, "{seen} messages were published by the handlers instead of {outputs}");
    Ok(())
}
