//! The process that is killed: publishes numbers one after the other, many at a time, and says which were answered.

use std::{io::Write as _, path::Path};

use anyhow::Result;
use wasmill_runtime::Host;

use crate::work;

/// Publishers at work at once.
const PUBLISHERS: u64 = 4;

/// Publish numbers from `first` on, `batch` at a time, for ever. Each line on standard output is a number that was answered.
///
/// # Errors
/// When the host cannot be opened or refuses a number.
pub fn run(folder: &Path, first: u64, batch: u64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let host = work::open(folder).await?;
        let publishers =
            (0..PUBLISHERS).map(|publisher| tokio::spawn(publish(host.clone(), first + publisher * batch, batch)));
        for publisher in publishers.collect::<Vec<_>>() {
            publisher.await??;
        }
        Ok(())
    })
}

async fn publish(host: Host, mut first: u64, batch: u64) -> Result<()> {
    loop {
        let numbers = first..first + batch;
        for answer in host.publish_many(numbers.clone().map(work::draft).collect()).await? {
            answer?;
        }
        // One write, so that a kill cannot cut a line in two.
        let lines: String = numbers.map(|number| format!("{number}\n")).collect();
        std::io::stdout().lock().write_all(lines.as_bytes())?;
        first += batch * PUBLISHERS;
    }
}
