//! What must be true of the store after everything.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use wasmill_runtime::{Host, delivery::name::Sequence};

use crate::work;

/// Open the store a last time, let everything settle, and compare. Answers how many numbers were kept.
pub(crate) fn run(folder: &Path, answered: &BTreeSet<u64>) -> Result<usize> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let host = work::open(folder).await?;
        work::settled(&host, Duration::from_secs(600)).await?;
        let handled = handled(&host).await?;
        check(&host, answered, &handled)?;
        ensure!(host.close(Duration::from_secs(10)).await, "the host did not drain");
        Ok(handled.len())
    })
}

/// The numbers that the handler published; none may be there twice.
async fn handled(host: &Host) -> Result<BTreeSet<u64>> {
    let queues = host.queues().await?;
    let out = queues.iter().find(|queue| queue.record.name.as_str() == "out").context("no queue out")?;
    let mut handled = BTreeSet::new();
    let mut from = Sequence::FIRST;
    loop {
        let page = host.messages(out.record.id, from, 10_000)?;
        let Some((last, _)) = page.last() else { break };
        from = last.next();
        for (_, message) in page {
            let number: u64 = std::str::from_utf8(&message.data)?.parse()?;
            ensure!(handled.insert(number), "{number} was published twice");
        }
    }
    ensure!(handled.len() as u64 == out.messages, "{} read of {} messages", handled.len(), out.messages);
    Ok(handled)
}

fn check(host: &Host, answered: &BTreeSet<u64>, handled: &BTreeSet<u64>) -> Result<()> {
    if let Some(lost) = answered.difference(handled).next() {
        bail!("{lost} was answered and never handled; {} are lost", answered.difference(handled).count());
    }
    let quarantined = host.quarantine_page(None, 1)?;
    ensure!(quarantined.is_empty(), "something was quarantined: {quarantined:?}");
    let state = |key: &str| -> Result<u64> {
        let value = host.state(&"ledger".parse()?, key)?;
        value.map_or(Ok(0), |value| Ok(std::str::from_utf8(&value)?.parse()?))
    };
    let (count, sum) = (state("count")?, state("sum")?);
    ensure!(count == handled.len() as u64, "count is {count}, and {} numbers were published", handled.len());
    let expected: u64 = handled.iter().sum();
    ensure!(sum == expected, "sum is {sum}, and the published numbers come to {expected}");
    Ok(())
}
