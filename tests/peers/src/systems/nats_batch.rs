//! NATS JetStream by Synadia's `jetstream-extra`: messages go in batches with an acknowledgement for many (fast ingest, from server 2.14
//! on), and what one worker has handled is acknowledged together (`AckPolicy::All`, which is of a consumer with one worker).

use std::{ops::Range, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use async_nats_of_extra::{
    ConnectOptions,
    jetstream::{
        self, AckKind,
        consumer::{AckPolicy, PullConsumer, pull},
    },
};
use async_trait::async_trait;
use futures::StreamExt as _;
use jetstream_extra::batch_publish_fast::{FastPublishExt as _, FastPublisher};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Audit, OneByOne, System,
    nats::{self, Nats, group},
};
use crate::{
    case::{Case, Messages, Work, number_of},
    tally::Tally,
    work,
};

/// Messages of one pull.
const PULL_MAX: usize = 1_000;
/// Messages that are acknowledged together at most.
const ACKNOWLEDGE_MAX: u64 = 250;
/// Acknowledgements of a publisher that may be outstanding.
const OUTSTANDING: u16 = 2;
/// An acknowledgement may take as long as the slowest disk.
const ACK_PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct NatsBatch(Nats);

pub(super) async fn start(binary: &Path, folder: &Path) -> Result<NatsBatch> {
    Ok(NatsBatch(nats::start(binary, folder, None).await?))
}

impl NatsBatch {
    async fn connect(&self) -> Result<jetstream::Context> {
        let options = ConnectOptions::new().client_capacity(8_192).subscription_capacity(8_192);
        let mut context = jetstream::new(options.connect(&self.0.url).await?);
        context.set_timeout(ACK_PATIENCE);
        Ok(context)
    }
}

/// A publisher that has no more than so many messages outstanding.
fn publisher(context: &jetstream::Context, outstanding: u32) -> Result<FastPublisher> {
    let flow = u16::try_from(outstanding / u32::from(OUTSTANDING)).unwrap_or(u16::MAX);
    let builder = context.fast_publish().flow(flow).max_outstanding_acks(OUTSTANDING).ack_timeout(ACK_PATIENCE);
    Ok(builder.build()?)
}

#[async_trait]
impl System for NatsBatch {
    fn servers(&self) -> Vec<u32> {
        self.0.servers()
    }

    fn lacks(&self, case: &Case) -> Option<&'static str> {
        (case.in_flight == 1).then_some("one message at a time is no batch; see the line without")
    }

    async fn prepare(&self, case: &Case, _messages: u64) -> Result<()> {
        let context = self.connect().await?;
        for name in ["work", "out"] {
            if context.get_stream(name).await.is_ok() {
                context.delete_stream(name).await?;
            }
            // The client's configuration has no field for it.
            let config = json!({ "name": name, "subjects": [name], "storage": "file", "allow_batched": true });
            let answer: Value = context.request(format!("STREAM.CREATE.{name}"), &config).await?;
            anyhow::ensure!(answer["error"].is_null(), "NATS makes no stream: {answer}");
        }
        let work = context.get_stream("work").await?;
        for consumer in 0..case.consumers {
            let config = pull::Config {
                durable_name: Some(group(consumer)),
                ack_policy: AckPolicy::All,
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
            let context = self.connect().await?;
            workers.spawn(work_off(context, case.work, consumer, Arc::clone(tally)));
        }
        Ok(workers)
    }

    async fn produce(&self, case: &Case, share: Range<u64>) -> Result<()> {
        let messages = Messages::new(case.data_bytes)?;
        let mut batch = publisher(&self.connect().await?, case.in_flight)?;
        let Some(last) = share.clone().last() else { return Ok(()) };
        for number in share.start..last {
            batch.add("work", messages.make(number)).await?;
        }
        let stored = batch.commit("work", messages.make(last)).await?;
        let published = share.end - share.start;
        anyhow::ensure!(stored.batch_size == published, "{} of {published} were stored", stored.batch_size);
        Ok(())
    }

    async fn one_by_one(&self, case: &Case) -> Result<Box<dyn OneByOne>> {
        self.0.one_by_one(case).await
    }

    async fn wait_done(&self, case: &Case, tally: &Tally, messages: u64) -> Result<()> {
        self.0.wait_done(case, tally, messages).await
    }

    async fn audit(&self, case: &Case, tally: &Tally, messages: u64) -> Result<Audit> {
        self.0.audit(case, tally, messages).await
    }

    async fn stop(&self) -> Result<()> {
        self.0.stop().await
    }
}

async fn work_off(context: jetstream::Context, work: Work, consumer: u32, tally: Arc<Tally>) -> Result<()> {
    let pulled: PullConsumer =
        context.get_consumer_from_stream(group(consumer), "work").await.map_err(anyhow::Error::msg)?;
    let mut messages = pulled.stream().max_messages_per_batch(PULL_MAX).messages().await?;
    let mut handled: Vec<jetstream::Message> = Vec::new();
    loop {
        let next = tokio::select! {
            biased;
            next = messages.next(), if (handled.len() as u64) < ACKNOWLEDGE_MAX => Some(next.context("the stream of messages ended")?),
            () = std::future::ready(()), if !handled.is_empty() => None,
        };
        if let Some(message) = next {
            let message = message?;
            tally.handled(consumer, number_of(&message.payload));
            handled.push(message);
            continue;
        }
        if work == Work::Forward {
            publish_all(&context, &handled).await?;
        }
        if let Some(last) = handled.last() {
            last.ack_with(AckKind::Ack).await.map_err(anyhow::Error::msg)?;
        }
        tally.acknowledged(handled.len() as u64);
        handled.clear();
    }
}

/// Publish what is made of these, as one batch.
async fn publish_all(context: &jetstream::Context, handled: &[jetstream::Message]) -> Result<()> {
    let Some((last, others)) = handled.split_last() else { return Ok(()) };
    let mut batch = publisher(context, 2 * ACKNOWLEDGE_MAX as u32)?;
    for message in others {
        batch.add("out", work::forward(&message.payload)?.into()).await?;
    }
    let stored = batch.commit("out", work::forward(&last.payload)?.into()).await?;
    anyhow::ensure!(
        stored.batch_size as usize == handled.len(),
        "{} of {} were stored",
        stored.batch_size,
        handled.len()
    );
    Ok(())
}
