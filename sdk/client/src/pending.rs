//! What was asked and is not answered yet.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};
use wasmill_wire::{Delivery, Exception, HostFrame, Refusal};

use crate::{Error, Published};

/// Where the answer to one message goes.
pub(crate) type PublishReply = oneshot::Sender<Result<Published, Error>>;
/// Where the answer to a request goes: for each thing asked, why it was not done.
pub(crate) type SettleReply = oneshot::Sender<Result<Vec<(u32, Exception)>, Error>>;

pub(crate) enum Waiting {
    Publish(Vec<PublishReply>),
    Settle(SettleReply),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Pending {
    requests: BTreeMap<u64, Waiting>,
    subscriptions: BTreeMap<u64, mpsc::UnboundedSender<Result<Vec<Delivery>, Refusal>>>,
    last: u64,
}

impl Pending {
    pub(crate) fn next_request(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(crate) fn put(&mut self, request: u64, waiting: Waiting) {
        self.requests.insert(request, waiting);
    }

    /// Deliveries of a subscription go there. What waits there is bounded by its credit.
    pub(crate) fn subscribe(
        &mut self,
        subscription: u64,
        deliveries: mpsc::UnboundedSender<Result<Vec<Delivery>, Refusal>>,
    ) {
        self.subscriptions.insert(subscription, deliveries);
    }

    pub(crate) fn unsubscribe(&mut self, subscription: u64) {
        self.subscriptions.remove(&subscription);
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Tell whoever asked. Whoever does not wait any more is passed over.
    pub(crate) fn take(&mut self, frame: HostFrame) {
        match frame {
            HostFrame::Published { request, exceptions, .. } => {
                if let Some(Waiting::Publish(replies)) = self.requests.remove(&request) {
                    published(replies, exceptions);
                }
            }
            HostFrame::Settled { request, exceptions } => {
                if let Some(Waiting::Settle(reply)) = self.requests.remove(&request) {
                    let _ = reply.send(Ok(exceptions));
                }
            }
            HostFrame::Refused { request, refusal } => match self.requests.remove(&request) {
                Some(waiting) => waiting.fail(&Error::Refused(refusal)),
                None => self.end(request, refusal),
            },
            HostFrame::Deliveries { subscription, deliveries } => {
                if let Some(to) = self.subscriptions.get(&subscription) {
                    let _ = to.send(Ok(deliveries));
                }
            }
            HostFrame::Ended { subscription, refusal } => self.end(subscription, refusal),
            HostFrame::Welcome { .. } | HostFrame::Closing { .. } => {}
        }
    }

    fn end(&mut self, subscription: u64, refusal: Refusal) {
        if let Some(to) = self.subscriptions.remove(&subscription) {
            let _ = to.send(Err(refusal));
        }
    }

    /// The connection is closed.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.subscriptions.clear();
        for (_, waiting) in std::mem::take(&mut self.requests) {
            waiting.fail(error);
        }
    }
}

impl Waiting {
    fn fail(self, error: &Error) {
        match self {
            Self::Publish(replies) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            Self::Settle(reply) => {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}

fn published(replies: Vec<PublishReply>, exceptions: Vec<(u32, Exception)>) {
    let mut exceptions = exceptions.into_iter().peekable();
    for (index, reply) in (0..).zip(replies) {
        let exception = exceptions.next_if(|(at, _)| *at == index).map(|(_, exception)| exception);
        let _ = reply.send(match exception {
            Some(Exception::Refused(refusal)) => Err(Error::Refused(refusal)),
            Some(Exception::Duplicate) => Ok(Published { duplicate: true }),
            Some(Exception::Quarantined { .. }) | None => Ok(Published { duplicate: false }),
        });
    }
}
