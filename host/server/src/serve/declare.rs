//! The configuration is applied over what the store knows: what the file names is made so, all else stays.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use wasmill_delivery::{
    name::{ConsumerName, HandlerName, QueueName},
    record::{ConsumerConfig, QueueConfig},
};
use wasmill_runtime::{HandlerSettings, HandlerView, Host};

use crate::{
    config::{Config, HandlerDeclaration},
    watch::Loader,
};

/// Declare handlers, load their components, declare queues and consumers, in the order in which they need each other.
pub(super) async fn declare(config: &Config, host: &Host, loader: &mut Loader) -> Result<()> {
    for (name, handler) in &config.handlers {
        let declare = async || {
            let settings = settings(handler).await?;
            Ok::<_, anyhow::Error>(host.put_handler(name.clone(), settings).await?)
        };
        declare().await.with_context(|| format!("[handler.{name}]"))?;
    }
    let refused = loader.load_all().await?;
    check_runnable(config, host, &refused).await?;
    declare_queues(config, host).await?;
    declare_consumers(config, host).await?;
    declare_schedules(config, host).await
}

/// With the sample message's data, when that is in a file.
async fn settings(handler: &HandlerDeclaration) -> Result<HandlerSettings> {
    let mut settings = handler.settings.clone();
    if let (Some(file), Some(sample)) = (&handler.sample_file, &mut settings.replacing.sample) {
        let reading = tokio::fs::read(file).await;
        sample.data = reading.with_context(|| format!("cannot read the sample {}", file.display()))?.into();
    }
    Ok(settings)
}

/// A declared handler whose file cannot be loaded keeps the version that the store has. One that has none stops the
/// start: its consumers could only wait.
async fn check_runnable(config: &Config, host: &Host, refused: &BTreeMap<HandlerName, anyhow::Error>) -> Result<()> {
    let views = host.handlers().await?;
    let runs = |view: &HandlerView, name: &HandlerName| view.record.name == *name && view.record.digest.is_some();
    for (name, HandlerDeclaration { file, .. }) in &config.handlers {
        let Some(problem) = refused.get(name) else { continue };
        if file.is_some() && !views.iter().any(|view| runs(view, name)) {
            bail!("[handler.{name}]: {problem:#}");
        }
    }
    Ok(())
}

async fn declare_queues(config: &Config, host: &Host) -> Result<()> {
    let known: BTreeMap<QueueName, QueueConfig> =
        host.queues().await?.into_iter().map(|view| (view.record.name, view.record.config)).collect();
    for (name, queue) in &config.queues {
        if known.get(name) != Some(&queue.config) {
            host.put_queue(name.clone(), queue.config.clone()).await.with_context(|| format!("[queue.{name}]"))?;
        }
    }
    Ok(())
}

async fn declare_consumers(config: &Config, host: &Host) -> Result<()> {
    let known: BTreeMap<(QueueName, ConsumerName), ConsumerConfig> =
        host.consumers().await?.into_iter().map(|view| ((view.queue, view.record.name), view.record.config)).collect();
    for (queue, declared) in &config.queues {
        for (name, consumer) in &declared.consumers {
            if known.get(&(queue.clone(), name.clone())) != Some(consumer) {
                host.put_consumer(queue.clone(), name.clone(), consumer.clone())
                    .await
                    .with_context(|| format!("[queue.{queue}.consumer.{name}]"))?;
            }
        }
    }
    Ok(())
}

/// A schedule that rests goes on resting, and what is due stays due as long as the file does not change its times.
async fn declare_schedules(config: &Config, host: &Host) -> Result<()> {
    for (name, settings) in &config.schedules {
        host.put_schedule(name.clone(), settings.clone()).await.with_context(|| format!("[schedule.{name}]"))?;
    }
    Ok(())
}
