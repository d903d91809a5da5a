//! Wasmill by its streaming client on both sides: native consumers take deliveries, publish what they make of them, and acknowledge.

use std::{ops::Range, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::task::JoinSet;
use wasmill_client::{Client, Outgoing, Subscription};

use super::{
    Audit, OneByOne, Place, System, WORKERS,
    wasmill::{Handling, Host, group},
    wasmill_stream::Stream,
    wasmill_system::Door as _,
};
use crate::{
    case::{Case, Work, number_of},
    tally::Tally,
    work,
};

/// Deliveries of one worker that it may hold.
const CREDIT: u32 = 2_000;
/// Frames of deliveries of one worker that are handled and not yet settled.
const SETTLING_MAX: usize = 8;

pub(super) struct Pull(Host);

pub(super) async fn start(place: &Place, folder: &Path) -> Result<Pull> {
    Ok(Pull(Host::start(place, folder, &place.handlers, "").await?))
}

#[async_trait]
impl System for Pull {
    fn servers(&self) -> Vec<u32> {
        self.0.servers()
    }

    async fn prepare(&self, case: &Case, _messages: u64) -> Result<()> {
        self.0.prepare(case, Handling::Pulled).await
    }

    async fn consume(&self, case: &Case, tally: &Arc<Tally>) -> Result<JoinSet<Result<()>>> {
        let mut workers = JoinSet::new();
        for consumer in 0..case.consumers {
            for _ in 0..WORKERS {
                let client = Client::connect(&self.0.url).await?;
                let subscription = client.subscribe("work", &group(consumer), CREDIT).await?;
                workers.spawn(work_off(client, subscription, case.work, consumer, Arc::clone(tally)));
            }
        }
        Ok(workers)
    }

    async fn produce(&self, case: &Case, share: Range<u64>) -> Result<()> {
        Stream::produce(&self.0, case, share).await
    }

    async fn one_by_one(&self, case: &Case) -> Result<Box<dyn OneByOne>> {
        Stream::one_by_one(&self.0, case).await
    }

    async fn audit(&self, case: &Case, tally: &Tally, messages: u64) -> Result<Audit> {
        let host = self.0.audit(case, messages).await?;
        let (lost, doubled) = tally.lost_and_doubled();
        Ok(Audit { lost: host.lost + lost, doubled: host.doubled + doubled, ..host })
    }

    async fn stop(&self) -> Result<()> {
        self.0.stop()
    }
}

async fn work_off(
    client: Client,
    mut subscription: Subscription,
    work: Work,
    consumer: u32,
    tally: Arc<Tally>,
) -> Result<()> {
    let mut settling = FuturesUnordered::new();
    loop {
        let deliveries = tokio::select! {
            biased;
            Some(settled) = settling.next() => {
                tally.acknowledged(settled?);
                continue;
            }
            deliveries = subscription.next(), if settling.len() < SETTLING_MAX => deliveries,
        };
        let deliveries = deliveries.with_context(|| format!("the subscription ended: {:?}", subscription.ended()))?;
        let mut receipts = Vec::new();
        for delivery in &deliveries {
            if work == Work::Forward {
                let receipt = work::forward(&delivery.data)?;
                receipts.push(Outgoing::new("out", receipt).content_type("application/json"));
            }
            tally.handled(consumer, number_of(&delivery.data));
        }
        let (published, acknowledged) = (client.publish_all(receipts), subscription.ack(&deliveries));
        settling.push(async move {
            for answer in published.await {
                answer?;
            }
            acknowledged.await?;
            anyhow::Ok(deliveries.len() as u64)
        });
    }
}
