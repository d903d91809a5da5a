//! Wasmill by plain HTTP: requests of many lines of NDJSON, two of them under way per producer.

use std::{ops::Range, path::Path, sync::Arc};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use reqwest::{Client, header::CONTENT_TYPE};
use tokio::task::JoinSet;

use super::{Audit, OneByOne, Place, System, wasmill::Host};
use crate::{
    case::{Case, Messages},
    tally::Tally,
};

pub(super) struct WasmillHttp {
    host: Host,
}

pub(super) async fn start(place: &Place, folder: &Path) -> Result<WasmillHttp> {
    Ok(WasmillHttp { host: Host::start(place, folder, "").await? })
}

/// Publish lines, and see that each was taken.
pub(crate) async fn publish(client: &Client, url: &str, lines: Bytes, messages: u64) -> Result<()> {
    let request = client.post(url).header(CONTENT_TYPE, "application/x-ndjson").body(lines);
    let answer = request.send().await?;
    let (status, body) = (answer.status(), answer.bytes().await?);
    ensure!(status.is_success(), "a publish was answered with {status}: {}", String::from_utf8_lossy(&body));
    let taken = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let (taken, refused): (Vec<&[u8]>, Vec<&[u8]>) = taken.partition(|line| !line.starts_with(b"{\"error\""));
    if let Some(refused) = refused.first() {
        anyhow::bail!("a message was refused: {}", String::from_utf8_lossy(refused));
    }
    ensure!(taken.len() as u64 == messages, "{} of {messages} messages were answered", taken.len());
    Ok(())
}

pub(crate) fn topic_url(host: &Host, topic: &str) -> String {
    format!("{}/v1/topics/{topic}/messages?raw=true", host.url)
}

#[async_trait]
impl System for WasmillHttp {
    fn servers(&self) -> Vec<u32> {
        self.host.servers()
    }

    async fn prepare(&self, case: &Case, _messages: u64) -> Result<()> {
        self.host.prepare(case).await
    }

    async fn consume(&self, case: &Case, _tally: &Arc<Tally>) -> Result<JoinSet<Result<()>>> {
        self.host.resume(case).await?;
        Ok(JoinSet::new())
    }

    async fn produce(&self, case: &Case, share: Range<u64>) -> Result<()> {
        // A pool of connections of its own.
        let client = &Client::builder().no_proxy().build()?;
        let messages = &Messages::new(case.data_bytes)?;
        let url = &topic_url(&self.host, "work");
        let batch = case.batch();
        let mut batches = stream::iter(share.clone().step_by(batch as usize).map(async |begin| {
            let numbers = begin..(begin + batch).min(share.end);
            let count = numbers.end - numbers.start;
            publish(client, url, messages.lines(numbers), count).await
        }))
        .buffer_unordered(case.batches());
        while let Some(answer) = batches.next().await {
            answer?;
        }
        Ok(())
    }

    async fn one_by_one(&self, case: &Case) -> Result<Box<dyn OneByOne>> {
        let messages = Messages::new(case.data_bytes)?;
        let client = Client::builder().no_proxy().build()?;
        Ok(Box::new(One { client, url: topic_url(&self.host, "work"), messages }))
    }

    fn settles_after_confirm(&self) -> bool {
        true
    }

    async fn wait_handled(&self, case: &Case, _tally: &Tally, messages: u64) -> Result<()> {
        self.host.wait_settled(case, messages, true).await
    }

    async fn wait_done(&self, case: &Case, _tally: &Tally, messages: u64) -> Result<()> {
        self.host.wait_settled(case, messages, false).await
    }

    async fn audit(&self, case: &Case, _tally: &Tally, messages: u64) -> Result<Audit> {
        self.host.audit(case, messages).await
    }

    async fn stop(&self) -> Result<()> {
        self.host.stop()
    }
}

struct One {
    client: Client,
    url: String,
    messages: Messages,
}

#[async_trait]
impl OneByOne for One {
    async fn publish(&mut self, number: u64) -> Result<()> {
        publish(&self.client, &self.url, self.messages.lines(number..number + 1), 1).await
    }
}
