//! The host that is measured: one queue, one consumer, one handler.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use wasmill_delivery::{
    engine::ConsumerView,
    name::{ConsumerName, HandlerName, QueueName},
    record::{ConsumerConfig, QueueConfig},
    topic::TopicPattern,
};
use wasmill_runtime::{CompileBounds, Host, HostOptions};

use super::{count::Count, plan::Plan};
use crate::cli::compile_worker;

/// The topic, and the name of the queue, the consumer and the handler.
pub(super) const NAME: &str = "bench";
/// Leased to the consumer at once: enough that its handlers are never short of work while what they did is made durable.
const IN_FLIGHT_MAX: u32 = 4_000;
/// What is under way at the end of a run has so long; nothing should be.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// A host under measurement.
pub(super) struct Measured {
    pub(super) host: Host,
    pub(super) count: Arc<Count>,
}

impl Measured {
    /// Open a store, a new one or one of an earlier run.
    pub(super) async fn open(plan: &Plan, store: &Path) -> Result<Self> {
        let count = Count::new();
        let mut options = HostOptions::new(store);
        options.compiler = compile_worker::compiler(CompileBounds::default());
        options.store = plan.store_options();
        options.data_bytes_max = options.data_bytes_max.max(plan.data.len());
        options.observer = Arc::clone(&count) as _;
        Ok(Self { host: Host::open(options).await?, count })
    }

    /// Declare everything on a new store.
    pub(super) async fn declare(&self, plan: &Plan) -> Result<()> {
        let handler = HandlerName::new(NAME)?;
        let queue = QueueName::new(NAME)?;
        self.host.load_handler(handler.clone(), plan.component.clone().into()).await?;
        let bindings = vec![TopicPattern::new(NAME)?.into()];
        self.host
            .put_queue(
                queue.clone(),
                QueueConfig { bindings, messages_max: u64::MAX, bytes_max: u64::MAX, ..QueueConfig::default() },
            )
            .await?;
        let config = ConsumerConfig { in_flight_max: IN_FLIGHT_MAX, ..ConsumerConfig::new(handler) };
        self.host.put_consumer(queue, ConsumerName::new(NAME)?, config).await?;
        Ok(())
    }

    /// How far the consumer is. A host whose consumer cannot go on is not worth measuring.
    pub(super) async fn consumer(&self) -> Result<ConsumerView> {
        let view = self.host.consumers().await?.into_iter().next().context("the consumer is gone")?;
        if view.quarantined > 0 || view.pending > 0 {
            bail!("the handler fails; measure with one that succeeds on any message");
        }
        Ok(view)
    }

    pub(super) async fn close(self) -> Result<()> {
        if self.host.close(CLOSE_PATIENCE).await {
            return Ok(());
        }
        bail!("the host did not come to rest within {CLOSE_PATIENCE:?}")
    }
}
