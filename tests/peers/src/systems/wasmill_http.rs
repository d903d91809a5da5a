//! Wasmill by plain HTTP: requests of many lines of NDJSON, two of them under way per producer.

use std::ops::Range;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use reqwest::{Client, header::CONTENT_TYPE};

use super::{OneByOne, wasmill::Host, wasmill_system::Door};
use crate::case::{Case, Messages};

pub(super) struct Http;

/// Publish lines, and see that each was taken.
pub async fn publish(client: &Client, url: &str, lines: Bytes, messages: u64) -> Result<()> {
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

/// Where raw lines go.
pub fn topic_url(host: &Host, topic: &str) -> String {
    format!("{}/v1/topics/{topic}/messages?raw=true", host.url)
}

/// Publish batches of lines that `lines` makes, so many of them under way at once, over a connection pool of its own.
pub async fn publish_batches(
    url: &str,
    share: Range<u64>,
    batch: u64,
    batches: usize,
    lines: impl Fn(Range<u64>) -> Bytes,
) -> Result<()> {
    let client = &Client::builder().no_proxy().build()?;
    let lines = &lines;
    let begins = share.clone().step_by(usize::try_from(batch)?);
    let mut batches = stream::iter(begins.map(|begin| {
        let numbers = begin..(begin + batch).min(share.end);
        async move {
            let count = numbers.end - numbers.start;
            publish(client, url, lines(numbers), count).await
        }
    }))
    .buffer_unordered(batches);
    while let Some(answer) = batches.next().await {
        answer?;
    }
    Ok(())
}

#[async_trait]
impl Door for Http {
    async fn produce(host: &Host, case: &Case, share: Range<u64>) -> Result<()> {
        let messages = Messages::new(case.data_bytes)?;
        let lines = |numbers| messages.lines(numbers);
        publish_batches(&topic_url(host, "work"), share, case.batch(), case.batches(), lines).await
    }

    async fn one_by_one(host: &Host, case: &Case) -> Result<Box<dyn OneByOne>> {
        let messages = Messages::new(case.data_bytes)?;
        let client = Client::builder().no_proxy().build()?;
        Ok(Box::new(One { client, url: topic_url(host, "work"), messages }))
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
