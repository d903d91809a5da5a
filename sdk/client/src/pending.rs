//! What was asked and is not answered yet.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use wasmill_wire::{ClientFrame, Delivery, Exception, HostFrame, Refusal, encode};

use crate::{Error, Published};

/// What became of a message.
type Answer = Result<Published, Error>;
/// Where the answer to one message goes.
pub(crate) type OneReply = oneshot::Sender<Answer>;
/// Where the answers to messages go that were published together.
pub(crate) type ManyReply = oneshot::Sender<Vec<Answer>>;
/// Where the answer to a request goes: for each thing asked, why it was not done.
pub(crate) type SettleReply = oneshot::Sender<Result<Vec<(u32, Exception)>, Error>>;

/// Who waits for messages that are next to each other in a frame.
pub(crate) enum PublishReply {
    One(OneReply),
    /// For so many.
    Many(usize, ManyReply),
}

impl PublishReply {
    /// The next answers are for them. Whoever does not wait any more is passed over.
    fn take_from(self, answers: &mut impl Iterator<Item = Answer>) {
        match self {
            Self::One(reply) => answers.next().map_or((), |answer| drop(reply.send(answer))),
            Self::Many(count, reply) => drop(reply.send(answers.take(count).collect())),
        }
    }

    pub(crate) fn fail(self, error: &Error) {
        self.take_from(&mut std::iter::repeat_with(|| Err(error.clone())));
    }
}

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
                    reply.fail(error);
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
    let mut answers =
        (0..).map(|index| match exceptions.next_if(|(at, _)| *at == index).map(|(_, exception)| exception) {
            Some(Exception::Refused(refusal)) => Err(Error::Refused(refusal)),
            Some(Exception::Duplicate) => Ok(Published { duplicate: true }),
            Some(Exception::Quarantined { .. }) | None => Ok(Published { duplicate: false }),
        });
    for reply in replies {
        reply.take_from(&mut answers);
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
