//! Publishing and taking deliveries over a stream, with a host that dies, is stopped and is started again meanwhile.

#![allow(clippy::print_stdout, reason = "the figures are for whoever runs it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use end_to_end::{PATIENCE, TestHost};
use futures::{StreamExt as _, stream::FuturesUnordered};
use host_process::HostProcess;
use wasmill_client::{Client, Error, Outgoing};

/// Two programs are under way when the host goes, this often.
const ROUNDS: u32 = 6;
/// Messages of one round, at most.
const MESSAGES: usize = 20_000;
/// Calls of one program that wait at once.
const WAITING: usize = 500;

fn host() -> Result<TestHost> {
    TestHost::start("[queue.work]\nbindings = [\"work\"]\n[queue.work.consumer.outside]\npull = true\nattempts = 100\n")
}

async fn connect(host: &TestHost) -> Result<Client> {
    Ok(Client::connect(host.client().url()).await?)
}

/// Publish with ids of our own until the host goes. Answers the ids that were answered.
async fn publish(client: Client, round: u32) -> Result<BTreeSet<String>> {
    let ids = (0..MESSAGES).map(|n| format!("{round}-{n}"));
    let publishing = futures::stream::iter(ids).map(|id| {
        let answer = client.publish(Outgoing::new("work", id.clone()).id(id.clone()));
        async move { (id, answer.await) }
    });
    let mut answered = BTreeSet::new();
    let mut publishing = publishing.buffered(WAITING);
    while let Some((id, answer)) = publishing.next().await {
        match answer {
            Ok(_) => ensure!(answered.insert(id), "answered twice"),
            Err(Error::Disconnected { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(answered)
}

/// What a program that takes deliveries knows of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It was settled, and whether that was carried out is not known.
    Asked,
    /// It was settled, and that was answered.
    Settled,
}

type Messages = Arc<Mutex<BTreeMap<String, Known>>>;

/// Take and settle until the host goes. What was settled, and answered so, must never come again.
async fn consume(client: Client, messages: Messages) -> Result<()> {
    let mut subscription = client.subscribe("work", "outside", 1_000).await?;
    while let Some(deliveries) = subscription.next().await {
        for delivery in &deliveries {
            let before = messages.lock().expect("no panic").insert(delivery.id.clone(), Known::Asked);
            ensure!(before != Some(Known::Settled), "{} was settled, and comes again", delivery.id);
        }
        match subscription.ack(&deliveries).await {
            Ok(()) => {
                let settled = deliveries.into_iter().map(|delivery| (delivery.id, Known::Settled));
                messages.lock().expect("no panic").extend(settled);
            }
            Err(Error::Disconnected { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn rounds(end: impl Fn(HostProcess) -> Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut host = host()?;
    let messages = Messages::default();
    let mut answered = BTreeSet::new();
    for round in 0..ROUNDS {
        let (publishing, consuming) = runtime.block_on(async {
            let publishing = tokio::spawn(publish(connect(&host).await?, round));
            let consuming = tokio::spawn(consume(connect(&host).await?, Arc::clone(&messages)));
            anyhow::Ok((publishing, consuming))
        })?;
        std::thread::sleep(Duration::from_millis(100 + 60 * u64::from(round)));
        end(host.take_process()?)?;
        runtime.block_on(async {
            answered.extend(publishing.await??);
            consuming.await?
        })?;
        host.start_again()?;
    }
    ensure!(!answered.is_empty(), "nothing was published in any round");
    let consuming =
        runtime.block_on(async { anyhow::Ok(tokio::spawn(consume(connect(&host).await?, Arc::clone(&messages)))) })?;
    host.client().wait_until_settled(PATIENCE)?;
    drop(host);
    runtime.block_on(consuming)??;
    let messages = messages.lock().expect("no panic");
    let settled = messages.values().filter(|known| **known == Known::Settled).count();
    println!("{} published, {settled} of {} settled for certain", answered.len(), messages.len());
    let lost = answered.iter().filter(|id| !messages.contains_key(*id)).count();
    ensure!(lost == 0, "{lost} of {} messages never came", answered.len());
    Ok(())
}

#[test]
fn nothing_that_was_answered_is_lost_or_comes_twice_when_the_host_is_killed() -> Result<()> {
    rounds(HostProcess::kill)
}

#[test]
fn nothing_is_lost_or_unknown_when_the_host_is_stopped() -> Result<()> {
    rounds(|process| process.terminate().map(|_| ()))
}

/// The same ids again are not taken twice, so a publisher that does not know publishes again.
#[test]
fn a_publisher_that_does_not_know_publishes_again() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut host = host()?;
    let first = runtime.block_on(async { anyhow::Ok(tokio::spawn(publish(connect(&host).await?, 0))) })?;
    std::thread::sleep(Duration::from_millis(50));
    host.take_process()?.kill()?;
    let answered = runtime.block_on(first)??;
    ensure!(answered.len() < MESSAGES, "the host was killed too late");
    host.start_again()?;
    runtime.block_on(async {
        let client = connect(&host).await?;
        let again: FuturesUnordered<_> = (0..MESSAGES)
            .map(|n| {
                let id = format!("0-{n}");
                let answer = client.publish(Outgoing::new("work", id.clone()).id(id.clone()));
                let (was_answered, client) = (answered.contains(&id), client.clone());
                async move {
                    let published = answer.await?;
                    drop(client);
                    ensure!(published.duplicate || !was_answered, "{id} was answered and is not known");
                    Ok(())
                }
            })
            .collect();
        again.collect::<Vec<_>>().await.into_iter().collect::<Result<()>>()
    })?;
    let queue = host.client().get("/v1/queues/work")?;
    let messages = queue["messages"].as_u64().context("a number")?;
    assert_eq!(messages, MESSAGES as u64, "each once");
    Ok(())
}
