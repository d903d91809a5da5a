//! The systems that are compared, each behind [`System`].

mod celery;
pub mod in_process;
mod nats;
mod nats_batch;
mod rabbitmq;
mod redis;
pub mod wasmill;
pub mod wasmill_http;
mod wasmill_pull;
pub mod wasmill_stream;
mod wasmill_system;

use std::{ops::Range, path::PathBuf, sync::Arc};

use anyhow::Result;
use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::{case::Case, tally::Tally};

/// Consumers of one group: as many as a consumer of Wasmill runs handlers at once unless told otherwise.
pub const WORKERS: u32 = 2;

/// Where things are.
pub struct Place {
    /// For the data of this run.
    pub folder: PathBuf,
    /// The host's binary.
    pub wasmill: PathBuf,
    /// Components that handle messages one by one.
    pub handlers: Handlers,
    /// Components that handle up to 100 in a call.
    pub batch_handlers: Handlers,
    /// Python packages.
    pub venv: PathBuf,
}

/// Components that do the work of the cases.
pub struct Handlers {
    pub nothing: PathBuf,
    pub forward: PathBuf,
}

/// A system that runs.
#[async_trait]
pub trait System: Send + Sync {
    /// Its processes, for their processor time and memory.
    fn servers(&self) -> Vec<u32>;

    /// Why this case cannot be measured on it.
    fn lacks(&self, _case: &Case) -> Option<&'static str> {
        None
    }

    /// Whether a producer can have many messages under way; without it the number in flight means nothing.
    fn pipelines(&self) -> bool {
        true
    }

    /// Make its queues for a case of so many messages, empty, with nobody consuming.
    async fn prepare(&self, case: &Case, messages: u64) -> Result<()>;

    /// Begin to consume. Workers end by an error or when they are aborted.
    async fn consume(&self, case: &Case, tally: &Arc<Tally>) -> Result<JoinSet<Result<()>>>;

    /// Publish these messages with no more outstanding than the case says; all are confirmed when it returns.
    async fn produce(&self, case: &Case, share: Range<u64>) -> Result<()>;

    /// A producer that publishes one message at a time, over a connection that stays.
    async fn one_by_one(&self, case: &Case) -> Result<Box<dyn OneByOne>>;

    /// Whether handling can only be observed once its publish is confirmed, so that both are not awaited at once.
    fn settles_after_confirm(&self) -> bool {
        false
    }

    /// Wait until so many messages were handled (by every consumer).
    async fn wait_handled(&self, case: &Case, tally: &Tally, messages: u64) -> Result<()> {
        tally.wait_handled(messages * u64::from(case.consumers)).await;
        Ok(())
    }

    /// Wait until so many messages were handled and acknowledged (by every consumer).
    async fn wait_done(&self, case: &Case, tally: &Tally, messages: u64) -> Result<()> {
        tally.wait_acknowledged(messages * u64::from(case.consumers)).await;
        Ok(())
    }

    /// Afterwards, with the workers gone: what the server itself says.
    async fn audit(&self, case: &Case, tally: &Tally, messages: u64) -> Result<Audit>;

    /// Stop it.
    async fn stop(&self) -> Result<()>;
}

/// Publishes one message at a time.
#[async_trait]
pub trait OneByOne: Send {
    /// Publish it; it is confirmed when this returns.
    async fn publish(&mut self, number: u64) -> Result<()>;
}

/// What the server says at the end of a case.
#[derive(Clone, Copy, Debug, Default)]
pub struct Audit {
    /// Messages that are not acknowledged.
    pub left: u64,
    /// Messages that the handlers published.
    pub outputs: u64,
    /// Messages that were not handled by every consumer.
    pub lost: u64,
    /// Messages that a consumer handled more than once.
    pub doubled: u64,
}

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    WasmillHttp,
    WasmillStream,
    WasmillBatch,
    WasmillPull,
    WasmillInProcess,
    NatsDebian,
    Nats,
    NatsBatch,
    NatsAlways,
    RedisEverysec,
    RedisAlways,
    RabbitmqClassic,
    RabbitmqQuorum,
    Celery,
    CeleryDurable,
}

impl Kind {
    pub const ALL: [Self; 15] = [
        Self::WasmillHttp,
        Self::WasmillStream,
        Self::WasmillBatch,
        Self::WasmillPull,
        Self::WasmillInProcess,
        Self::NatsDebian,
        Self::Nats,
        Self::NatsBatch,
        Self::NatsAlways,
        Self::RedisEverysec,
        Self::RedisAlways,
        Self::RabbitmqClassic,
        Self::RabbitmqQuorum,
        Self::Celery,
        Self::CeleryDurable,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::WasmillHttp => "wasmill-http",
            Self::WasmillStream => "wasmill-stream",
            Self::WasmillBatch => "wasmill-batch",
            Self::WasmillPull => "wasmill-pull",
            Self::WasmillInProcess => "wasmill-in-process",
            Self::NatsDebian => "nats-debian",
            Self::Nats => "nats",
            Self::NatsBatch => "nats-batch",
            Self::NatsAlways => "nats-always",
            Self::RedisEverysec => "redis-everysec",
            Self::RedisAlways => "redis-always",
            Self::RabbitmqClassic => "rabbitmq-classic",
            Self::RabbitmqQuorum => "rabbitmq-quorum",
            Self::Celery => "celery",
            Self::CeleryDurable => "celery-durable",
        }
    }

    pub const fn is_wasmill(self) -> bool {
        matches!(
            self,
            Self::WasmillHttp | Self::WasmillStream | Self::WasmillBatch | Self::WasmillPull | Self::WasmillInProcess
        )
    }

    /// Settings, in words.
    pub const fn settings(self) -> &'static str {
        match self {
            Self::WasmillHttp => "fsync before the answer; NDJSON over HTTP, two requests under way per producer",
            Self::WasmillStream => {
                "fsync before the answer; the streaming client wasmill-client, two frames under way per producer"
            }
            Self::WasmillBatch => "the same, with a handler that takes up to 100 messages in a call",
            Self::WasmillPull => "the same client, and native consumers that take deliveries over it",
            Self::WasmillInProcess => "fsync before the answer; called in its own process (wasmill bench)",
            Self::NatsDebian => "JetStream on file, Debian's server, its default: no fsync for up to 2 minutes",
            Self::Nats => "JetStream on file, newest server, its default: no fsync for up to 2 minutes",
            Self::NatsBatch => "the same, by jetstream-extra: fast ingest, AckPolicy::All with one worker",
            Self::NatsAlways => "JetStream on file, newest server, sync_interval: always",
            Self::RedisEverysec => "Streams, appendonly yes, appendfsync everysec",
            Self::RedisAlways => "Streams, appendonly yes, appendfsync always",
            Self::RabbitmqClassic => "durable classic queue, persistent messages, publisher confirms",
            Self::RabbitmqQuorum => "quorum queue of one member, publisher confirms",
            Self::Celery => "on Redis with appendfsync everysec, prefork of 2, acknowledged before the task runs",
            Self::CeleryDurable => "on Redis with appendfsync always, prefork of 2, acks_late",
        }
    }

    /// Start it.
    pub async fn start(self, place: &Place) -> Result<Arc<dyn System>> {
        let folder = place.folder.join(self.name());
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(match self {
            Self::WasmillHttp => {
                Arc::new(wasmill_system::start::<wasmill_http::Http>(place, &folder, &place.handlers).await?)
            }
            Self::WasmillStream => Arc::new(wasmill_stream::start(place, &folder, &place.handlers).await?),
            Self::WasmillBatch => Arc::new(wasmill_stream::start(place, &folder, &place.batch_handlers).await?),
            Self::WasmillPull => Arc::new(wasmill_pull::start(place, &folder).await?),
            Self::WasmillInProcess => anyhow::bail!("it is not a server"),
            Self::NatsDebian => Arc::new(nats::start("nats-server".as_ref(), &folder, None).await?),
            Self::Nats => Arc::new(nats::start(&place.venv.join("bin/nats-server"), &folder, None).await?),
            Self::NatsBatch => Arc::new(nats_batch::start(&place.venv.join("bin/nats-server"), &folder).await?),
            Self::NatsAlways => {
                Arc::new(nats::start(&place.venv.join("bin/nats-server"), &folder, Some("always")).await?)
            }
            Self::RedisEverysec => Arc::new(redis::start(&folder, "everysec").await?),
            Self::RedisAlways => Arc::new(redis::start(&folder, "always").await?),
            Self::RabbitmqClassic => Arc::new(rabbitmq::start(&folder, "classic").await?),
            Self::RabbitmqQuorum => Arc::new(rabbitmq::start(&folder, "quorum").await?),
            Self::Celery => Arc::new(celery::start(place, &folder, celery::Mode::Default).await?),
            Self::CeleryDurable => Arc::new(celery::start(place, &folder, celery::Mode::Durable).await?),
        })
    }
}
