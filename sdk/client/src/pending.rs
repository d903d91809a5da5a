//! What was asked and is not answered yet.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use wasmill_wire::{ClientFrame, Delivery, Exception, HostFrame, Refusal, encode};

use crate::{Error, Published};

/// Where the answer to one message goes.
pub(crate) type PublishReply = oneshot::Sender<Result<Published, Error>>;
/// Where the answer to a request goes: for each thing asked, why it was not done.
pub(crate) type SettleReply = oneshot::Sender<Result<Vec<(u32, Exception)>, Error>>;

pub(crate) enum Waiting {
    Publish(Vec<PublishReply>),
    Settle(SettleReply),
    /// Nobody, but the connection is not closed before.
    Release,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Pending {
    requests: BTreeMap<u64, Waiting>,
    subscriptions: BTreeMap<u64, mpsc::UnboundedSender<Result<Vec<Delivery>, Refusal>>>,
    last: u64,
    /// Subscriptions that nobody listens to though nobody said so.
    unowned: Vec<u64>,
    /// Why the host stops.
    closing: Option<String>,
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

    /// Nobody listens to it any more; whatever is out goes back.
    pub(crate) fn release(&mut self, subscription: u64) -> ClientFrame {
        self.subscriptions.remove(&subscription);
        let request = self.next_request();
        self.put(request, Waiting::Release);
        ClientFrame::Release { request, subscription }
    }

    /// Frames that release what was delivered to nobody.
    pub(crate) fn release_unowned(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.unowned).into_iter().map(|subscription| encode(&self.release(subscription))).collect()
    }

    /// Why the connection ends, in the host's words.
    pub(crate) fn said_why(&mut self) -> Option<String> {
        self.closing.take()
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
                // No request of ours: the host says why it closes the stream.
                None if request == 0 => self.closing = Some(refusal.detail),
                None => self.end(request, refusal),
            },
            HostFrame::Deliveries { subscription, deliveries } => {
                let to = self.subscriptions.get(&subscription);
                if to.is_some_and(|to| to.send(Ok(deliveries)).is_err()) {
                    self.subscriptions.remove(&subscription);
                    self.unowned.push(subscription);
                }
            }
            HostFrame::Ended { subscription, refusal } => self.end(subscription, refusal),
            HostFrame::Closing { detail } => self.closing = Some(detail),
            HostFrame::Welcome { .. } => {}
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
            Self::Release => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_delivered_to_nobody_is_released() {
        let mut pending = Pending::default();
        let (deliveries, incoming) = mpsc::unbounded_channel();
        pending.subscribe(7, deliveries);
        pending.take(HostFrame::Deliveries { subscription: 7, deliveries: Vec::new() });
        assert_eq!(pending.release_unowned(), Vec::<Bytes>::new(), "somebody listens");
        drop(incoming);
        pending.take(HostFrame::Deliveries { subscription: 7, deliveries: Vec::new() });
        assert_eq!(pending.release_unowned(), [encode(&ClientFrame::Release { request: 1, subscription: 7 })]);
        assert_eq!((pending.len(), pending.release_unowned().len()), (1, 0));
        pending.take(HostFrame::Settled { request: 1, exceptions: Vec::new() });
        assert_eq!(pending.len(), 0);
    }
}
