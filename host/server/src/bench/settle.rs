//! When which message was settled.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::host::Measured;

/// How often the consumer is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// A host on which nothing is settled for so long is not going to settle anything.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);

/// The floor at some moments: at each, every sequence below it was settled.
pub(super) struct Floors(Vec<(Instant, u64)>);

impl Floors {
    /// Look at the consumer until its floor is `wanted`.
    pub(super) async fn watch(measured: &Measured, wanted: u64) -> Result<Self> {
        let mut floors: Vec<(Instant, u64)> = vec![(Instant::now(), 0)];
        loop {
            let floor = measured.consumer().await?.floor.0;
            let now = Instant::now();
            let (last_moved, last) = floors[floors.len() - 1];
            if floor > last {
                floors.push((now, floor));
            } else if now - last_moved > STANDSTILL_MAX {
                bail!("nothing was settled for {STANDSTILL_MAX:?}");
            }
            if floor >= wanted {
                return Ok(Self(floors));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// When the last one was settled.
    pub(super) fn end(&self) -> Instant {
        self.0[self.0.len() - 1].0
    }

    /// When this one was settled.
    pub(super) fn settled(&self, sequence: u64) -> Instant {
        let index = self.0.partition_point(|(_, floor)| *floor <= sequence);
        self.0[index.min(self.0.len() - 1)].0
    }
}
