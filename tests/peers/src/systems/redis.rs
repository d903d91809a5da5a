//! Redis Streams: pipelines of XADD over several connections, XREADGROUP with COUNT, and per batch one pipeline that publishes and
//! acknowledges, with the next read behind it.

use std::{
    ops::Range,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use redis::{AsyncConnectionConfig, Client, Pipeline, Value, aio::MultiplexedConnection};
use tokio::task::JoinSet;

use super::{Audit, OneByOne, System, WORKERS};
use crate::{
    case::{Case, Messages, Work, number_of},
    process::{START_PATIENCE, Server, free_port},
    systems::wasmill::retry_until,
    tally::Tally,
    work,
};

/// Connections of one producer, each with a pipeline of its part of what may be in flight. Redis reads some 16 KiB of a connection and
/// syncs once for all of them, so that one with a long pipeline waits for the disk more often.
const CONNECTIONS: u32 = 4;
/// Messages of one read.
const READ_MAX: u32 = 1_000;
/// How long a read waits on the server.
const BLOCK_MS: u32 = 5_000;

pub(super) struct Redis {
    pub(super) server: Mutex<Server>,
    pub(super) port: u16,
}

pub(super) async fn start(folder: &Path, appendfsync: &str) -> Result<Redis> {
    let port = free_port()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--daemonize", "no"]);
    command.args(["--appendonly", "yes", "--appendfsync", appendfsync, "--dir"]).arg(folder);
    let server = Server::start("redis", folder, command)?;
    let redis = Redis { server: Mutex::new(server), port };
    retry_until("redis-server", START_PATIENCE, async || {
        let mut connection = redis.connect().await?;
        Ok(redis::cmd("PING").exec_async(&mut connection).await?)
    })
    .await?;
    Ok(redis)
}

impl Redis {
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection> {
        let client = Client::open(("127.0.0.1", self.port))?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }
}

fn group(consumer: u32) -> String {
    format!("group-{consumer}")
}

fn add(pipeline: &mut Pipeline, stream: &str, data: &[u8]) {
    pipeline.cmd("XADD").arg(stream).arg("*").arg("d").arg(data).ignore();
}

#[async_trait]
impl System for Redis {
    fn servers(&self) -> Vec<u32> {
        vec![self.server.lock().expect("no panic").id()]
    }

    async fn prepare(&self, case: &Case, _messages: u64) -> Result<()> {
        let mut connection = self.connect().await?;
        redis::cmd("DEL").arg("work").arg("out").exec_async(&mut connection).await?;
        for consumer in 0..case.consumers {
            let mut create = redis::cmd("XGROUP");
            create.arg("CREATE").arg("work").arg(group(consumer)).arg("0").arg("MKSTREAM");
            create.exec_async(&mut connection).await?;
        }
        Ok(())
    }

    async fn consume(&self, case: &Case, tally: &Arc<Tally>) -> Result<JoinSet<Result<()>>> {
        let mut workers = JoinSet::new();
        for consumer in 0..case.consumers {
            for worker in 0..WORKERS {
                let connection = self.connect().await?;
                workers.spawn(work_off(connection, case.work, consumer, worker, Arc::clone(tally)));
            }
        }
        Ok(workers)
    }

    async fn produce(&self, case: &Case, share: Range<u64>) -> Result<()> {
        let under_way = CONNECTIONS.min(case.in_flight);
        let connections = futures::future::try_join_all((0..under_way).map(|_| self.connect())).await?;
        let messages = &Messages::new(case.data_bytes)?;
        let batch = u64::from(case.in_flight / under_way);
        let begins = share.clone().step_by(batch as usize);
        let mut batches = stream::iter(begins.enumerate().map(|(nth, begin)| {
            let mut connection = connections[nth % connections.len()].clone();
            let end = (begin + batch).min(share.end);
            async move {
                let mut pipeline = Pipeline::with_capacity((end - begin) as usize);
                for number in begin..end {
                    add(&mut pipeline, "work", &messages.make(number));
                }
                pipeline.exec_async(&mut connection).await
            }
        }))
        .buffer_unordered(connections.len());
        while let Some(answer) = batches.next().await {
            answer?;
        }
        Ok(())
    }

    async fn one_by_one(&self, case: &Case) -> Result<Box<dyn OneByOne>> {
        Ok(Box::new(One { connection: self.connect().await?, messages: Messages::new(case.data_bytes)? }))
    }

    async fn audit(&self, case: &Case, tally: &Tally, messages: u64) -> Result<Audit> {
        let mut connection = self.connect().await?;
        let mut left = 0;
        for consumer in 0..case.consumers {
            let mut ask = redis::cmd("XPENDING");
            let pending: Value = ask.arg("work").arg(group(consumer)).query_async(&mut connection).await?;
            let Value::Array(parts) = pending else { bail!("XPENDING answered {pending:?}") };
            let Some(Value::Int(count)) = parts.first() else { bail!("XPENDING answered {parts:?}") };
            left += count.unsigned_abs();
        }
        let outputs = redis::cmd("XLEN").arg("out").query_async(&mut connection).await?;
        let stored: u64 = redis::cmd("XLEN").arg("work").query_async(&mut connection).await?;
        anyhow::ensure!(stored == messages, "the stream has {stored} messages of {messages}");
        let (lost, doubled) = tally.lost_and_doubled();
        Ok(Audit { left, outputs, lost, doubled })
    }

    async fn stop(&self) -> Result<()> {
        self.server.lock().expect("no panic").stop()
    }
}

async fn work_off(
    mut connection: MultiplexedConnection,
    work: Work,
    consumer: u32,
    worker: u32,
    tally: Arc<Tally>,
) -> Result<()> {
    let group = group(consumer);
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(&group).arg(worker).arg("COUNT").arg(READ_MAX).arg("BLOCK").arg(BLOCK_MS);
    read.arg("STREAMS").arg("work").arg(">");
    let mut other = connection.clone();
    let mut answer: Value = read.query_async(&mut connection).await?;
    loop {
        let entries = entries(&answer).context("XREADGROUP answered what is no stream")?;
        if entries.is_empty() {
            answer = read.query_async(&mut connection).await?;
            continue;
        }
        let mut pipeline = Pipeline::with_capacity(entries.len() + 1);
        for (_, data) in &entries {
            if work == Work::Forward {
                add(&mut pipeline, "out", &work::forward(data)?);
            }
            tally.handled(consumer, number_of(data));
        }
        let acknowledge = pipeline.cmd("XACK").arg("work").arg(&group);
        for (id, _) in &entries {
            acknowledge.arg(*id);
        }
        // The next read goes with it, and waits on the server.
        let acknowledge = async {
            let acknowledged: Vec<u64> = pipeline.query_async(&mut other).await?;
            tally.acknowledged(acknowledged.iter().sum());
            anyhow::Ok(())
        };
        let next = async { anyhow::Ok(read.query_async(&mut connection).await?) };
        ((), answer) = tokio::try_join!(biased; acknowledge, next)?;
    }
}

/// Ids and data, borrowed from the answer: `[[stream, [[id, ["d", data]], …]]]`.
fn entries(answer: &Value) -> Option<Vec<(&[u8], &[u8])>> {
    let streams = match answer {
        Value::Nil => return Some(Vec::new()),
        other => array(other)?,
    };
    let entries = array(array(streams.first()?)?.get(1)?)?;
    entries
        .iter()
        .map(|entry| {
            let entry = array(entry)?;
            Some((bytes(entry.first()?)?, bytes(array(entry.get(1)?)?.get(1)?)?))
        })
        .collect()
}

fn array(value: &Value) -> Option<&Vec<Value>> {
    if let Value::Array(values) = value { Some(values) } else { None }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

struct One {
    connection: MultiplexedConnection,
    messages: Messages,
}

#[async_trait]
impl OneByOne for One {
    async fn publish(&mut self, number: u64) -> Result<()> {
        let mut add = redis::cmd("XADD");
        add.arg("work").arg("*").arg("d").arg(&self.messages.make(number)[..]);
        Ok(add.exec_async(&mut self.connection).await?)
    }
}
