//! Publishing from the outside: what waits for the pump is bounded, and a publisher may wait for room in a queue.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use wasmill_delivery::{
    effect::{PublishRefusal, Receipt},
    input::PublishEntry,
    name::{MessageId, QueueName, Sequence},
    record::DelayedKey,
};

use crate::{
    draft::{self, Draft},
    error::{HostError, PublishError},
    host::Host,
};

/// Data of messages that wait for the pump, all publishers together; more waits outside. 64 MiB.
pub const PUBLISH_BYTES_WAITING_MAX: u32 = 64 * 1024 * 1024;

/// How long a publisher that waits for room waits before it looks again, at first and at most.
const ROOM_POLL_FIRST: Duration = Duration::from_millis(2);
const ROOM_POLL_MAX: Duration = Duration::from_millis(50);

/// A message is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its id, given or made.
    pub id: MessageId,
    /// Whether the same id was published lately, so that nothing was added now.
    pub duplicate: bool,
    /// Where it went; empty for a duplicate, for one that is delayed, for one that no queue takes and policy drops, and after
    /// [`Publishing::without_places`].
    pub places: Vec<(QueueName, Sequence)>,
    /// Where it is held back, and until when.
    pub delayed: Option<DelayedKey>,
}

impl Host {
    /// Publish one message. It is durable when this answers.
    ///
    /// # Errors
    /// When it breaks a rule or no queue takes it; nothing is kept then. When the host stops meanwhile, whether it
    /// was kept is not known: publish it again with the same id.
    pub async fn publish(&self, draft: Draft) -> Result<Published, PublishError> {
        let mut answers = self.publish_many(vec![draft]).await?;
        answers.pop().unwrap_or(Err(PublishError::Host(HostError::Stopped { reason: None })))
    }

    /// Publish many messages in one commit. Each is taken or refused for itself; the answers are in the order of
    /// the drafts.
    ///
    /// # Errors
    /// When the host stops before it can answer.
    pub async fn publish_many(&self, drafts: Vec<Draft>) -> Result<Vec<Result<Published, PublishError>>, HostError> {
        self.hand_over(drafts).await.answer().await
    }

    /// Publish as [`Host::publish_many`] does, in two steps: this waits until there is room and then hands the messages
    /// over. What is handed over later comes later in every queue, however the answers are waited for.
    pub async fn hand_over(&self, drafts: Vec<Draft>) -> Publishing {
        let mut ids = Vec::with_capacity(drafts.len());
        let mut entries: Vec<PublishEntry> = Vec::with_capacity(drafts.len());
        let now = draft::now();
        for draft in drafts {
            match draft.into_entry_behind(entries.last(), now, self.inner.options.data_bytes_max) {
                Ok(entry) => {
                    ids.push(Ok(entry.message.id.clone()));
                    entries.push(entry);
                }
                Err(error) => ids.push(Err(error)),
            }
        }
        let bytes = entries.iter().map(|entry| entry.message.size_bytes()).sum::<u64>();
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(PUBLISH_BYTES_WAITING_MAX);
        // It is never closed.
        let budget = Arc::clone(&self.inner.publish_budget).acquire_many_owned(permits).await.ok();
        let some_queue_waits = self.inner.some_queue_waits.load(Ordering::Relaxed);
        let again = if some_queue_waits { entries.clone() } else { Vec::new() };
        let receipts = (!entries.is_empty()).then(|| self.inner.broker.publish_command(entries));
        Publishing {
            host: self.clone(),
            ids,
            receipts,
            again,
            since: Instant::now(),
            says_places: true,
            _budget: budget,
        }
    }
}

/// What became of a message.
type Answer = Result<Receipt, PublishRefusal>;

/// Messages that the host was handed. Dropping it takes nothing back.
#[must_use = "whether they are durable is known from the answer"]
pub struct Publishing {
    host: Host,
    ids: Vec<Result<MessageId, PublishError>>,
    /// None when there is nothing to publish.
    receipts: Option<oneshot::Receiver<Vec<Answer>>>,
    /// The messages once more, when a queue's policy may be to wait for room.
    again: Vec<PublishEntry>,
    since: Instant,
    says_places: bool,
    _budget: Option<OwnedSemaphorePermit>,
}

impl Publishing {
    /// Nobody wants to know where they went: [`Published::places`] is empty then.
    pub fn without_places(self) -> Self {
        Self { says_places: false, ..self }
    }

    /// Wait until they are durable. The answers are in the order of the drafts.
    ///
    /// # Errors
    /// When the host stops before it can answer.
    pub async fn answer(mut self) -> Result<Vec<Result<Published, PublishError>>, HostError> {
        let answers = match self.receipts.take() {
            None => Vec::new(),
            Some(receipts) => {
                let answers = receipts.await.map_err(|_| self.host.inner.broker.stopped())?;
                self.wait_for_room(answers).await?
            }
        };
        let mut answers = answers.into_iter();
        let stopped = || PublishError::Host(HostError::Stopped { reason: None });
        let names = self.host.inner.queue_names.read().unwrap_or_else(PoisonError::into_inner);
        let published = self.ids.into_iter().map(|id| {
            let id = id?;
            let receipt = answers.next().ok_or_else(stopped)??;
            let said = if self.says_places { receipt.places.as_slice() } else { &[] };
            let places = said.iter().filter_map(|(queue, at)| Some((names.get(queue)?.clone(), *at))).collect();
            Ok(Published { id, duplicate: receipt.duplicate, places, delayed: receipt.delayed })
        });
        Ok(published.collect())
    }

    /// Where a queue is full and its policy says so, publish again until there is room.
    async fn wait_for_room(&self, mut answers: Vec<Answer>) -> Result<Vec<Answer>, HostError> {
        if self.again.is_empty() {
            return Ok(answers);
        }
        let mut pause = ROOM_POLL_FIRST;
        loop {
            let waits = |answer: &Answer| match answer {
                Err(PublishRefusal::QueueFull { wait_ms, .. }) => {
                    self.since.elapsed() < Duration::from_millis(*wait_ms)
                }
                Ok(_) | Err(_) => false,
            };
            let again: Vec<usize> = (0..answers.len()).filter(|index| waits(&answers[*index])).collect();
            if again.is_empty() {
                return Ok(answers);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ROOM_POLL_MAX);
            let retried = again.iter().map(|index| self.again[*index].clone()).collect();
            for (index, answer) in again.into_iter().zip(self.host.inner.broker.publish(retried).await?) {
                answers[index] = answer;
            }
        }
    }
}
