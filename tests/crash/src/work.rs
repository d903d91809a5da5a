//! The host that parent and child open in turn.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use wasmill_runtime::{
    Draft, Host, HostOptions,
    delivery::{
        policy::Backoff,
        record::{ConsumerConfig, QueueConfig},
        topic::TopicPattern,
    },
};

/// How long a number's id is remembered: longer than any run of this test.
const DEDUP_WINDOW_MS: u64 = 60 * 60 * 1_000;

/// More than any run of this test publishes.
const DEDUP_IDS_MAX: usize = 100_000_000;

/// Open the host on this folder, with its queues, its consumer and its handler.
pub(crate) async fn open(folder: &Path) -> Result<Host> {
    let mut options = HostOptions::new(folder);
    options.limits.dedup_window_ms = DEDUP_WINDOW_MS;
    options.limits.dedup_ids_max = DEDUP_IDS_MAX;
    let host = Host::open(options).await?;
    let component = std::fs::read(host_process::guest("guest-ledger")?).context("cannot read the component")?;
    host.load_handler("ledger".parse()?, component.into()).await?;
    for (queue, topic) in [("in", "ledger.in"), ("out", "ledger.out")] {
        let config = QueueConfig { bindings: vec![TopicPattern::new(topic)?.into()], ..QueueConfig::default() };
        host.put_queue(queue.parse()?, config).await?;
    }
    let config = ConsumerConfig {
        backoff: Backoff::Exponential { initial_ms: 10, factor: 2, cap_ms: 60_000, jitter: true },
        ..ConsumerConfig::new("ledger".parse()?)
    };
    host.put_consumer("in".parse()?, "ledger".parse()?, config).await?;
    Ok(host)
}

/// The message for a number. Its id is the number, so publishing it again adds nothing.
pub(crate) fn draft(number: u64) -> Draft {
    Draft::new("ledger.in", number.to_string()).id(number.to_string())
}

/// Wait until the consumer has nothing left to do.
pub(crate) async fn settled(host: &Host, patience: Duration) -> Result<()> {
    let unsettled = async {
        loop {
            let left: u64 = host.consumers().await?.iter().map(|consumer| consumer.lag + consumer.pending).sum();
            if left == 0 {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(patience, unsettled).await.context("not everything was settled in time")?
}
