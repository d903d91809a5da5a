//! RabbitMQ, by lapin: publisher confirms awaited in a window, prefetch, and `multiple` acknowledgements as soon as no
//! further message is at hand.

use std::{
    collections::VecDeque,
    ops::Range,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind, PublisherConfirm,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::task::JoinSet;

use super::{Audit, OneByOne, System, WORKERS};
use crate::{
    case::{Case, Messages, Work, number_of},
    process::{START_PATIENCE, Server, free_port},
    systems::wasmill::retry_until,
    tally::Tally,
    work,
};

/// Deliveries of one worker that it may hold.
const PREFETCH: u16 = 1_000;
/// Messages that are acknowledged together at most.
const ACKNOWLEDGE_MAX: u64 = 250;
/// Messages of one worker that are handled and whose publishes are not all confirmed.
const PUBLISHES_MAX: usize = 500;
const PERSISTENT: u8 = 2;
/// Where Debian's package keeps the scripts that do not change the user.
const SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

pub(super) struct RabbitMq {
    broker: Mutex<Server>,
    /// Erlang's name service, for this broker alone.
    names: Mutex<Server>,
    url: String,
    kind: &'static str,
}

pub(super) async fn start(folder: &Path, kind: &'static str) -> Result<RabbitMq> {
    let (port, names_port, peers_port) = (free_port()?, free_port()?, free_port()?);
    let mut names = Command::new("epmd");
    names.args(["-address", "127.0.0.1", "-port", &names_port.to_string()]);
    let names = Server::start("epmd", folder, names)?;
    let config = folder.join("rabbitmq.conf");
    std::fs::write(&config, format!("listeners.tcp.local = 127.0.0.1:{port}\nlog.console.level = warning\n"))?;
    let plugins = folder.join("enabled_plugins");
    std::fs::write(&plugins, "[].\n")?;
    let empty = folder.join("rabbitmq-env.conf");
    std::fs::write(&empty, "")?;
    let mut command = Command::new(SCRIPT);
    command
        .env("HOME", folder)
        .env("ERL_EPMD_PORT", names_port.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_CONF_ENV_FILE", &empty)
        .env("RABBITMQ_CONFIG_FILE", &config)
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_PID_FILE", folder.join("pid"))
        .env("ERL_CRASH_DUMP", folder.join("erl_crash.dump"))
        .env("RABBITMQ_NODENAME", "peers@localhost")
        .env("RABBITMQ_DIST_PORT", peers_port.to_string())
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
    let broker = Server::start("rabbitmq", folder, command)?;
    let url = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
    let rabbit = RabbitMq { broker: Mutex::new(broker), names: Mutex::new(names), url, kind };
    retry_until("rabbitmq-server", START_PATIENCE, async || rabbit.connect().await.map(drop)).await?;
    Ok(rabbit)
}

/// A channel with its connection: each publisher and each worker has its own.
struct Link {
    _connection: Connection,
    channel: Channel,
}

impl RabbitMq {
    async fn connect(&self) -> Result<Link> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok(Link { _connection: connection, channel })
    }

    async fn publisher(&self) -> Result<Link> {
        let link = self.connect().await?;
        link.channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(link)
    }

    async fn declare(&self, channel: &Channel, queue: &str) -> Result<()> {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(self.kind.into()));
        channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
        let bind = QueueBindOptions::default();
        let exchange = if queue == "out" { "out" } else { "work" };
        channel.queue_bind(queue.into(), exchange.into(), "".into(), bind, FieldTable::default()).await?;
        Ok(())
    }
}

fn queue(consumer: u32) -> String {
    format!("work-{consumer}")
}

async fn publish(channel: &Channel, exchange: &str, data: &[u8]) -> Result<PublisherConfirm> {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    Ok(channel.basic_publish(exchange.into(), "".into(), BasicPublishOptions::default(), data, properties).await?)
}

async fn confirmed(confirm: PublisherConfirm) -> Result<()> {
    ensure!(confirm.await?.is_ack(), "RabbitMQ did not take a message");
    Ok(())
}

#[async_trait]
impl System for RabbitMq {
    fn servers(&self) -> Vec<u32> {
        [&self.broker, &self.names].map(|server| server.lock().expect("no panic").id()).to_vec()
    }

    async fn prepare(&self, case: &Case, _messages: u64) -> Result<()> {
        let link = self.connect().await?;
        for exchange in ["work", "out"] {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let arguments = FieldTable::default();
            link.channel.exchange_declare(exchange.into(), ExchangeKind::Fanout, options, arguments).await?;
        }
        for consumer in 0..5 {
            link.channel.queue_delete(queue(consumer).as_str().into(), QueueDeleteOptions::default()).await?;
        }
        for consumer in 0..case.consumers {
            self.declare(&link.channel, &queue(consumer)).await?;
        }
        self.declare(&link.channel, "out").await
    }

    async fn consume(&self, case: &Case, tally: &Arc<Tally>) -> Result<JoinSet<Result<()>>> {
        let mut workers = JoinSet::new();
        for consumer in 0..case.consumers {
            for _ in 0..WORKERS {
                let link = self.publisher().await?;
                workers.spawn(work_off(link, case.work, consumer, Arc::clone(tally)));
            }
        }
        Ok(workers)
    }

    async fn produce(&self, case: &Case, share: Range<u64>) -> Result<()> {
        let link = self.publisher().await?;
        let messages = Messages::new(case.data_bytes)?;
        let mut window = VecDeque::new();
        for number in share {
            if window.len() >= case.in_flight as usize
                && let Some(oldest) = window.pop_front()
            {
                confirmed(oldest).await?;
            }
            window.push_back(publish(&link.channel, "work", &messages.make(number)).await?);
        }
        for confirm in window {
            confirmed(confirm).await?;
        }
        Ok(())
    }

    async fn one_by_one(&self, case: &Case) -> Result<Box<dyn OneByOne>> {
        Ok(Box::new(One { link: self.publisher().await?, messages: Messages::new(case.data_bytes)? }))
    }

    async fn audit(&self, case: &Case, tally: &Tally, messages: u64) -> Result<Audit> {
        // What a worker that is gone had not acknowledged goes back to the queue, after a moment.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let link = self.connect().await?;
        let count = async |queue: String| -> Result<u64> {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let declared = link.channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await?;
            Ok(declared.message_count().into())
        };
        let mut left = 0;
        for consumer in 0..case.consumers {
            left += count(queue(consumer)).await?;
        }
        let (lost, doubled) = tally.lost_and_doubled();
        let mut outputs = count("out".to_owned()).await?;
        // The count of a quorum queue lags behind its confirms.
        for _ in 0..50 {
            if case.work == Work::Nothing || lost > 0 || outputs == messages {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            outputs = count("out".to_owned()).await?;
        }
        Ok(Audit { left, outputs, lost, doubled })
    }

    async fn stop(&self) -> Result<()> {
        let broker = self.broker.lock().expect("no panic").stop();
        self.names.lock().expect("no panic").stop()?;
        broker
    }
}

async fn work_off(link: Link, work: Work, consumer: u32, tally: Arc<Tally>) -> Result<()> {
    let channel = &link.channel;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (queue, options) = (queue(consumer), BasicConsumeOptions::default());
    let mut deliveries =
        channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await?;
    let mut handled: VecDeque<(u64, Option<PublisherConfirm>)> = VecDeque::new();
    let mut done = 0;
    loop {
        let next = tokio::select! {
            biased;
            next = deliveries.next(), if handled.len() < PUBLISHES_MAX => Some(next.context("the consumer was cancelled")??),
            () = std::future::ready(()), if !handled.is_empty() => None,
        };
        if let Some(delivery) = next {
            let confirm = match work {
                Work::Nothing => None,
                Work::Forward => Some(publish(channel, "out", &work::forward(&delivery.data)?).await?),
            };
            tally.handled(consumer, number_of(&delivery.data));
            handled.push_back((delivery.delivery_tag, confirm));
        } else if let Some((tag, confirm)) = handled.pop_front() {
            if let Some(confirm) = confirm {
                confirmed(confirm).await?;
            }
            done += 1;
            if done == ACKNOWLEDGE_MAX || handled.is_empty() {
                channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
                tally.acknowledged(std::mem::take(&mut done));
            }
        }
    }
}

struct One {
    link: Link,
    messages: Messages,
}

#[async_trait]
impl OneByOne for One {
    async fn publish(&mut self, number: u64) -> Result<()> {
        confirmed(publish(&self.link.channel, "work", &self.messages.make(number)).await?).await
    }
}
