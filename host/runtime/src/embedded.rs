//! The broker that lives in this process: the engine on the store, behind the pump.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::FutureExt as _;
use tokio::sync::oneshot;
use wasmill_delivery::{
    effect::{OrderReceipt, PublishRefusal, Receipt, SettleAnswer},
    engine::Engine,
    input::{Lease, Order, PublishEntry, Settlement, Ticket},
    message::Message,
    name::{ConsumerId, QueueId, Sequence},
    record::{AttemptRecord, PauseReason, PendingKey},
    time::Timestamp,
};
use wasmill_store::{Reader, StoreError};

use crate::{
    broker::{Broker, Leased, Settled},
    error::HostError,
    inbox::{Command, LeaseAnswer, LeasesHeld},
    pump::Shared,
    shuffle::Shuffle,
};

/// See the module.
#[derive(Clone)]
pub(crate) struct EmbeddedBroker {
    shared: Arc<Shared>,
    reader: Reader,
    shuffle: Option<Shuffle>,
}

impl EmbeddedBroker {
    pub(crate) const fn new(shared: Arc<Shared>, reader: Reader) -> Self {
        Self { shared, reader, shuffle: None }
    }

    /// Whose runs are in another order, in a test.
    pub(crate) fn shuffling(self, shuffle: Option<Shuffle>) -> Self {
        Self { shuffle, ..self }
    }

    pub(crate) async fn publish(
        &self,
        entries: Vec<PublishEntry>,
    ) -> Result<Vec<Result<Receipt, PublishRefusal>>, HostError> {
        self.publish_command(entries).await.map_err(|_| self.stopped())
    }

    /// Leave it in the inbox, at once.
    pub(crate) fn publish_command(
        &self,
        entries: Vec<PublishEntry>,
    ) -> oneshot::Receiver<Vec<Result<Receipt, PublishRefusal>>> {
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.put(Command::Publish { entries, reply });
        answer
    }

    pub(crate) async fn order(&self, order: Order) -> Result<OrderReceipt, HostError> {
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.put(Command::Order { order, reply });
        Ok(answer.await.map_err(|_| self.stopped())??)
    }

    pub(crate) async fn query<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, HostError> {
        let (reply, answer) = oneshot::channel();
        let query = Box::new(move |engine: &Engine| {
            let _ = reply.send(look(engine));
        });
        self.shared.inbox.put(Command::Query(query));
        answer.await.map_err(|_| self.stopped())
    }

    pub(crate) fn stopped(&self) -> HostError {
        HostError::Stopped { reason: self.shared.failure.get().cloned() }
    }

    fn settle_command(
        &self,
        consumer: ConsumerId,
        settled: Vec<Settled<Lease>>,
    ) -> oneshot::Receiver<Vec<SettleAnswer>> {
        let settlements = settled
            .into_iter()
            .map(|Settled { token, message, earlier, result, capsule, .. }| Settlement {
                lease: token,
                message,
                earlier,
                result,
                capsule,
            })
            .collect();
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.put(Command::Settle { consumer, settlements, reply });
        answer
    }
}

impl Broker for EmbeddedBroker {
    type Token = Lease;
    type Run = EmbeddedRun;

    fn lease(
        &self,
        consumer: ConsumerId,
        deliveries_max: u32,
    ) -> impl Future<Output = Result<Option<EmbeddedRun>, HostError>> + Send + 'static {
        let ticket = self.shared.ticket();
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.put(Command::Lease { ticket, consumer, deliveries_max, reply });
        let waiting = LeaseWait { broker: self.clone(), ticket, consumer, answer, done: false };
        let broker = self.clone();
        async move {
            let held = waiting.await.map_err(|_| broker.stopped())?;
            Ok(held.map(|held| broker.read_run(held)).transpose()?)
        }
    }

    fn settle(
        &self,
        consumer: ConsumerId,
        settled: Vec<Settled<Lease>>,
    ) -> impl Future<Output = Result<Vec<SettleAnswer>, HostError>> + Send + 'static {
        let answer = self.settle_command(consumer, settled);
        let broker = self.clone();
        async move { answer.await.map_err(|_| broker.stopped()) }
    }

    fn give_back(&self, consumer: ConsumerId, leases: Vec<Lease>) {
        if !leases.is_empty() {
            self.shared.inbox.put(Command::Return { consumer, leases });
        }
    }

    async fn pause(&self, consumer: ConsumerId, reason: PauseReason) -> Result<(), HostError> {
        self.order(Order::Pause { consumer, reason }).await.map(|_| ())
    }
}

impl EmbeddedBroker {
    /// Find the messages of leases: fresh ones are still in memory, the others are read.
    fn read_run(&self, mut held: LeasesHeld) -> Result<EmbeddedRun, StoreError> {
        let mut from_log: Vec<Sequence> =
            held.leases.iter().filter(|lease| lease.pending_due.is_none()).map(|lease| lease.sequence).collect();
        from_log.sort_unstable();
        let mut messages = self.reader.messages(held.queue, &from_log)?;
        let mut take = |at| from_log.binary_search(&at).ok().and_then(|index| messages[index].take());
        let mut deliveries = Vec::with_capacity(held.leases.len());
        for lease in &held.leases {
            let found = match lease.pending_due {
                Some(due) => find_pending(&self.reader, held.consumer, due, lease.sequence)?,
                None => take(lease.sequence).map(|message| (message, Vec::new())),
            };
            if let Some((message, earlier)) = found {
                deliveries.push(Leased {
                    token: *lease,
                    message,
                    sequence: lease.sequence,
                    attempt: lease.attempt,
                    earlier,
                });
            } else {
                let (consumer, sequence) = (held.consumer.0, lease.sequence.0);
                tracing::warn!(consumer, sequence, "a leased message was removed with its queue meanwhile");
            }
        }
        if let Some(shuffle) = &self.shuffle {
            deliveries = shuffle.shuffle(deliveries, |delivery| delivery.message.key_hash());
        }
        deliveries.reverse();
        held.leases.clear();
        Ok(EmbeddedRun { broker: self.clone(), consumer: held.consumer, deliveries })
    }
}

/// Read one leased delivery; none when it was removed with its queue.
pub(crate) fn find_delivery(
    reader: &Reader,
    consumer: ConsumerId,
    queue: QueueId,
    lease: &Lease,
) -> Result<Option<Found>, StoreError> {
    match lease.pending_due {
        Some(due) => find_pending(reader, consumer, due, lease.sequence),
        None => {
            let messages = reader.messages(queue, &[lease.sequence])?;
            Ok(messages.into_iter().next().flatten().map(|message| (message, Vec::new())))
        }
    }
}

fn find_pending(
    reader: &Reader,
    consumer: ConsumerId,
    due: Timestamp,
    sequence: Sequence,
) -> Result<Option<Found>, StoreError> {
    let record = reader.pending(PendingKey { consumer, due, sequence })?;
    Ok(record.map(|record| (record.message, record.attempts)))
}

/// A message with its earlier attempts.
pub(crate) type Found = (Arc<Message>, Vec<AttemptRecord>);

/// Waits for leases, and says so when it does not wait any more.
struct LeaseWait {
    broker: EmbeddedBroker,
    ticket: Ticket,
    consumer: ConsumerId,
    answer: oneshot::Receiver<LeaseAnswer>,
    done: bool,
}

impl Future for LeaseWait {
    type Output = Result<LeaseAnswer, oneshot::error::RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.answer.poll_unpin(context);
        self.done = answer.is_ready();
        answer
    }
}

impl Drop for LeaseWait {
    fn drop(&mut self) {
        if !self.done {
            let Self { ticket, consumer, .. } = *self;
            self.broker.shared.inbox.put(Command::CancelLease { ticket, consumer });
        }
    }
}

/// A run of the embedded broker.
pub(crate) struct EmbeddedRun {
    broker: EmbeddedBroker,
    consumer: ConsumerId,
    /// Last first.
    deliveries: Vec<Leased<Lease>>,
}

impl Iterator for EmbeddedRun {
    type Item = Leased<Lease>;

    fn next(&mut self) -> Option<Leased<Lease>> {
        self.deliveries.pop()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.deliveries.len(), Some(self.deliveries.len()))
    }
}

impl Drop for EmbeddedRun {
    fn drop(&mut self) {
        let unused = self.deliveries.drain(..).map(|delivery| delivery.token).collect();
        self.broker.give_back(self.consumer, unused);
    }
}
