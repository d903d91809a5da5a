//! Programs that take deliveries and go: what they hold goes back, or is over.

use wasmill_delivery::name::{ConsumerName, Fence, QueueName, Sequence};

use super::{
    Known, Pulls,
    table::{Claim, Held},
};
use crate::{broker::Broker as _, error::HostError, host::Host};

/// Sequence and fence of a lease.
type LeaseName = (Sequence, Fence);

impl Pulls {
    fn take_all(&self, known: &Known, leases: &[LeaseName]) -> Vec<Held> {
        let mut table = self.table();
        let claims =
            leases.iter().map(|(sequence, fence)| Claim { consumer: known.id, sequence: *sequence, fence: *fence });
        claims.filter_map(|claim| table.take(claim)).collect()
    }
}

impl Host {
    /// Give back deliveries that were pulled and not tried. They come again at once and burn no attempt; leases that are over
    /// are passed over.
    ///
    /// # Errors
    /// When there is no such consumer.
    pub async fn give_back_pulled(
        &self,
        queue: &QueueName,
        consumer: &ConsumerName,
        leases: &[LeaseName],
    ) -> Result<(), HostError> {
        let known = self.pulled(queue, consumer).await?;
        let pulls = &self.inner.pulls;
        let tokens: Vec<_> = pulls.take_all(&known, leases).into_iter().map(|held| held.lease).collect();
        if !tokens.is_empty() {
            pulls.broker.give_back(known.id, tokens);
        }
        Ok(())
    }

    /// End leases as if their time were over: whoever held them is gone. Each burns an attempt, as
    /// [`wasmill_delivery::outcome::Outcome::LeaseExpired`] does.
    ///
    /// # Errors
    /// When there is no such consumer, or the host has stopped.
    pub async fn expire_pulled(
        &self,
        queue: &QueueName,
        consumer: &ConsumerName,
        leases: &[LeaseName],
    ) -> Result<(), HostError> {
        let known = self.pulled(queue, consumer).await?;
        let pulls = &self.inner.pulls;
        pulls.settle_late(pulls.take_all(&known, leases)).await
    }
}
