//! Deliveries, as a program takes and settles them.

use std::{future::Future, time::Duration};

use tokio::sync::mpsc;
use wasmill_wire::{ClientFrame, Delivery, Exception, Failure, MESSAGES_MAX, Refusal, Settlement};

use crate::{Client, Error, message::ms};

/// Deliveries of one consumer. Dropping it gives back what is not settled.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    name: u64,
    incoming: mpsc::UnboundedReceiver<Result<Vec<Delivery>, Refusal>>,
    ended: Option<Refusal>,
}

impl Subscription {
    pub(crate) fn new(
        client: Client,
        name: u64,
        incoming: mpsc::UnboundedReceiver<Result<Vec<Delivery>, Refusal>>,
    ) -> Self {
        Self { client, name, incoming, ended: None }
    }

    /// Wait for deliveries, oldest first; as many as the host sent together. None when there will be no more:
    /// [`Subscription::ended`] says why, if the host did.
    pub async fn next(&mut self) -> Option<Vec<Delivery>> {
        match self.incoming.recv().await? {
            Ok(deliveries) => Some(deliveries),
            Err(refusal) => {
                self.ended = Some(refusal);
                None
            }
        }
    }

    /// Why the host ended it: there is no such consumer, it runs a handler, or it was removed.
    #[must_use]
    pub fn ended(&self) -> Option<&Refusal> {
        self.ended.as_ref()
    }

    /// They are done. Durable when this answers. The host is told when this is awaited; it borrows nothing, so the next deliveries
    /// can be taken meanwhile.
    ///
    /// # Errors
    /// The first that was refused, for instance because its lease was over (`stale-fence`): the others are done all the same.
    /// [`Error::Disconnected`] when the connection breaks before the answer.
    pub fn ack(&self, deliveries: &[Delivery]) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let settlements = deliveries.iter().map(|delivery| Settlement(delivery.sequence, delivery.fence, None));
        self.settle(settlements.collect())
    }

    /// It failed so. As [`Subscription::ack`] otherwise.
    ///
    /// # Errors
    /// As [`Subscription::ack`] has them.
    pub fn fail(
        &self,
        delivery: &Delivery,
        failure: Failure,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        self.settle(vec![Settlement(delivery.sequence, delivery.fence, Some(failure))])
    }

    /// Hold them for so long from now on, in whole milliseconds.
    ///
    /// # Errors
    /// As [`Subscription::ack`] has them.
    pub async fn extend(&self, deliveries: &[Delivery], lease: Duration) -> Result<(), Error> {
        let (subscription, lease_ms) = (self.name, Some(ms(lease)));
        for part in deliveries.chunks(MESSAGES_MAX) {
            let leases: Vec<_> = part.iter().map(|delivery| (delivery.sequence, delivery.fence)).collect();
            first_refusal(
                self.client
                    .request(move |request| ClientFrame::Extend { request, subscription, leases, lease_ms })
                    .await?,
            )?;
        }
        Ok(())
    }

    fn settle(&self, mut settlements: Vec<Settlement>) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (client, subscription) = (self.client.clone(), self.name);
        async move {
            let mut refused = Ok(());
            while !settlements.is_empty() {
                let rest = settlements.split_off(settlements.len().min(MESSAGES_MAX));
                let part = std::mem::replace(&mut settlements, rest);
                let frame = move |request| ClientFrame::Settle { request, subscription, settlements: part };
                refused = refused.and(first_refusal(client.request(frame).await?));
            }
            refused
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.client.release(self.name);
    }
}

fn first_refusal(exceptions: Vec<(u32, Exception)>) -> Result<(), Error> {
    let refused = exceptions.into_iter().find_map(|(_, exception)| match exception {
        Exception::Refused(refusal) => Some(refusal),
        Exception::Duplicate | Exception::Quarantined { .. } => None,
    });
    refused.map_or(Ok(()), |refusal| Err(Error::Refused(refusal)))
}
