//! NATS JetStream, by async-nats: publishes are pipelined and their acknowledgements awaited in a window, consumers pull
//! batches of up to 1,000, each message is acknowledged by itself (`AckPolicy::Explicit`).

use std::{
    collections::VecDeque,
    ops::Range,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result};
use async_nats::jetstream::{
    self, AckKind,
    consumer::{AckPolicy, PullConsumer, pull},
    context::PublishAckFuture,
    stream,
};
use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::task::JoinSet;

use super::{Audit, OneByOne, System, WORKERS};
use crate::{
    case::{Case, Messages, Work, number_of},
    process::{START_PATIENCE, Server, free_port},
    systems::wasmill::retry_until,
    tally::Tally,
    work,
};

/// Messages of one pull.
const PULL_MAX: usize = 1_000;
/// Publishes of one worker that are not yet confirmed.
const PUBLISHES_MAX: usize = 500;
/// How often the server is asked for what is not acknowledged.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// An acknowledgement may take as long as the slowest disk.
const ACK_PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Nats {
    server: Mutex<Server>,
    pub(super) url: String,
}

pub(super) async fn start(binary: &Path, folder: &Path, sync_interval: Option<&str>) -> Result<Nats> {
    let port = free_port()?;
    let sync = sync_interval.map_or(String::new(), |interval| format!("  sync_interval: {interval}\n"));
    let store = folder.join("store").display().to_string();
    let config = format!(
        "listen: \"127.0.0.1:{port}\"\njetstream {{\n  store_dir: \"{store}\"\n  max_memory_store: 1GB\n  \
         max_file_store: 50GB\n{sync}}}\n"
    );
    let file = folder.join("nats.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new(binary);
    command.arg("--config").arg(&file);
    let server = Server::start("nats", folder, command)?;
    let url = format!("nats://127.0.0.1:{port}");
    retry_until("nats-server", START_PATIENCE, async || {
        let context = connect(&url).await?;
        // Asked so because the account of Debian's server lacks fields that the client wants.
        let probe = stream::Config { name: "probe".to_owned(), ..stream::Config::default() };
        context.get_or_create_stream(probe).await.context("JetStream is not ready")?;
        Ok(())
    })
    .await?;
    Ok(Nats { server: Mutex::new(server), url })
}

async fn connect(url: &str) -> Result<jetstream::Context> {
    let client = async_nats::connect(url).await?;
    let builder = jetstream::context::ContextBuilder::new();
    Ok(builder.timeout(ACK_PATIENCE).ack_timeout(ACK_PATIENCE).max_ack_inflight(100_000).build(client))
}

impl Nats {
    /// Messages that some consumer has not acknowledged.
    async fn unacknowledged(&self, case: &Case) -> Result<u64> {
        let work = connect(&self.url).await?.get_stream("work").await?;
        let mut left = 0;
        for consumer in 0..case.consumers {
            let mut consumer: PullConsumer = work.get_consumer(&group(consumer)).await.map_err(anyhow::Error::msg)?;
            let info = consumer.info().await?;
            left += info.num_pending + info.num_ack_pending as u64;
        }
        Ok(left)
    }
}

pub(super) fn group(consumer: u32) -> String {
    format!("group-{consumer}")
}

#[async_trait]
impl System for Nats {
    fn servers(&self) -> Vec<u32> {
        vec![self.server.lock().expect("no panic").id()]
    }

    async fn prepare(&self, case: &Case, _messages: u64) -> Result<()> {
        let context = connect(&self.url).await?;
        for name in ["work", "out"] {
            if context.get_stream(name).await.is_ok() {
                context.delete_stream(name).await?;
            }
            let subjects = vec![name.to_owned()];
            let storage = stream::StorageType::File;
            context
                .create_stream(stream::Config { name: name.to_owned(), subjects, storage, ..stream::Config::default() })
                .await?;
        }
        let work = context.get_stream("work").await?;
        for consumer in 0..case.consumers {
            let config = pull::Config {
                durable_name: Some(group(consumer)),
                ack_policy: AckPolicy::Explicit,
                ack_wait: Duration::from_secs(600),
                max_ack_pending: 50_000,
                ..pull::Config::default()
            };
            work.create_consumer(config).await?;
        }
        Ok(())
    }

    async fn consume(&self, case: &Case, tally: &Arc<Tally>) -> Result<JoinSet<Result<()>>> {
        let mut workers = JoinSet::new();
        for consumer in 0..case.consumers {
            for _ in 0..WORKERS {
                let context = connect(&self.url).await?;
                workers.spawn(work_off(context, case.work, consumer, Arc::clone(tally)));
            }
        }
        Ok(workers)
    }

    async fn produce(&self, case: &Case, share: Range<u64>) -> Result<()> {
        let context = connect(&self.url).await?;
        let messages = Messages::new(case.data_bytes)?;
        let mut window: VecDeque<PublishAckFuture> = VecDeque::new();
        for number in share {
            if window.len() >= case.in_flight as usize
                && let Some(oldest) = window.pop_front()
            {
                oldest.await?;
            }
            window.push_back(context.publish("work", messages.make(number)).await?);
        }
        for acknowledgement in window {
            acknowledgement.await?;
        }
        Ok(())
    }

    async fn one_by_one(&self, case: &Case) -> Result<Box<dyn OneByOne>> {
        Ok(Box::new(One { context: connect(&self.url).await?, messages: Messages::new(case.data_bytes)? }))
    }

    /// Acknowledgements are not answered, so the server is asked whether it has them, while the workers' connections last.
    async fn wait_done(&self, case: &Case, tally: &Tally, messages: u64) -> Result<()> {
        tally.wait_acknowledged(messages * u64::from(case.consumers)).await;
        while self.unacknowledged(case).await? > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn audit(&self, case: &Case, tally: &Tally, messages: u64) -> Result<Audit> {
        let context = connect(&self.url).await?;
        let work = context.get_stream("work").await?;
        let left = self.unacknowledged(case).await?;
        let (lost, doubled) = tally.lost_and_doubled();
        let outputs = context.get_stream("out").await?.get_info().await?.state.messages;
        let stored = work.get_info().await?.state.messages;
        anyhow::ensure!(stored == messages, "the stream has {stored} messages of {messages}");
        Ok(Audit { left, outputs, lost, doubled })
    }

    async fn stop(&self) -> Result<()> {
        self.server.lock().expect("no panic").stop()
    }
}

async fn work_off(context: jetstream::Context, work: Work, consumer: u32, tally: Arc<Tally>) -> Result<()> {
    let pulled: PullConsumer =
        context.get_consumer_from_stream(group(consumer), "work").await.map_err(anyhow::Error::msg)?;
    let mut messages = pulled.stream().max_messages_per_batch(PULL_MAX).messages().await?;
    let mut publishes: VecDeque<(jetstream::Message, PublishAckFuture)> = VecDeque::new();
    loop {
        let next = tokio::select! {
            biased;
            next = messages.next(), if publishes.len() < PUBLISHES_MAX => Some(next.context("the stream of messages ended")?),
            () = std::future::ready(()), if !publishes.is_empty() => None,
        };
        match (next, work) {
            (Some(message), Work::Nothing) => {
                let message = message?;
                tally.handled(consumer, number_of(&message.payload));
                acknowledge(&message, &tally).await?;
            }
            (Some(message), Work::Forward) => {
                let message = message?;
                let receipt = work::forward(&message.payload)?;
                tally.handled(consumer, number_of(&message.payload));
                let publish = context.publish("out", receipt.into()).await?;
                publishes.push_back((message, publish));
            }
            (None, _) => {
                if let Some((message, publish)) = publishes.pop_front() {
                    publish.await?;
                    acknowledge(&message, &tally).await?;
                }
            }
        }
    }
}

async fn acknowledge(message: &jetstream::Message, tally: &Tally) -> Result<()> {
    message.ack_with(AckKind::Ack).await.map_err(anyhow::Error::msg)?;
    tally.acknowledged(1);
    Ok(())
}

struct One {
    context: jetstream::Context,
    messages: Messages,
}

#[async_trait]
impl OneByOne for One {
    async fn publish(&mut self, number: u64) -> Result<()> {
        self.context.publish("work", self.messages.make(number)).await?.await?;
        Ok(())
    }
}
