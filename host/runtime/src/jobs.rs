//! Jobs: messages that can be asked after and cancelled; and messages that wait for their time, which can be too.
//!
//! The rules are the engine's. Here a draft becomes a job with an id and a place for its result, and whoever wants to know
//! how it ends can wait for that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use uuid::Uuid;
use wasmill_delivery::{
    effect::{OrderReceipt, OrderRefusal, PublishRefusal},
    engine::Engine,
    input::{Order, PublishEntry},
    job::{JobId, JobRecord, JobResult, JobState, NewJob},
    message::check_headers,
    name::MessageId,
    record::DelayedKey,
    time::Timestamp,
};

use crate::{
    draft::Draft,
    error::{HostError, PublishError},
    host::Host,
    request::REPLY_TO_HEADER,
};

/// Requests of one host that wait for jobs to end at once.
pub const JOB_WAITS_MAX: usize = 10_000;
/// How long a submit waits before it looks again for room in a queue whose publishers wait.
const ROOM_POLL: Duration = Duration::from_millis(20);

/// A job was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// What it is called.
    pub id: JobId,
    /// Its message.
    pub message: MessageId,
    /// Whether it was submitted before, so that nothing was published now.
    pub known: bool,
    /// Until when its message is held back.
    pub delayed_until: Option<Timestamp>,
}

/// Who waits for which job.
#[derive(Default)]
pub(crate) struct JobWaits {
    waiting: Mutex<HashMap<JobId, Vec<oneshot::Sender<()>>>>,
}

impl JobWaits {
    /// Tell whoever waits for it.
    pub(crate) fn ended(&self, id: &JobId) {
        for waits in self.lock().remove(id).into_iter().flatten() {
            let _ = waits.send(());
        }
    }

    fn wait(self: &Arc<Self>, id: &JobId, waits_max: usize) -> Option<Wait> {
        let (sender, ended) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.values().map(Vec::len).sum::<usize>() >= waits_max {
            return None;
        }
        waiting.entry(id.clone()).or_default().push(sender);
        Some(Wait { waits: Arc::clone(self), id: id.clone(), ended })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Vec<oneshot::Sender<()>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits; dropping it ends that.
struct Wait {
    waits: Arc<JobWaits>,
    id: JobId,
    ended: oneshot::Receiver<()>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.ended.close();
        let mut waiting = self.waits.lock();
        if let Some(others) = waiting.get_mut(&self.id) {
            others.retain(|other| !other.is_closed());
            if others.is_empty() {
                waiting.remove(&self.id);
            }
        }
    }
}

impl Host {
    /// Publish a message whose deliveries are followed. With an id of its publisher's choice, the same id is the same
    /// job for as long as that is known. `callback` is called when it ends; whoever calls it has checked it.
    ///
    /// # Errors
    /// When the message cannot be published, nobody would handle it, or there are as many jobs as there may be.
    pub async fn submit_job(&self, draft: Draft, callback: Option<String>) -> Result<Submitted, PublishError> {
        let (id, entry) = job_entry(draft, self.data_bytes_max())?;
        let message = entry.message.id.clone();
        let started = Instant::now();
        loop {
            let job = Box::new(NewJob { id: id.clone(), callback: callback.clone() });
            match self.order(Order::SubmitJob { job, entry: entry.clone() }).await {
                Ok(OrderReceipt::Job { known, delayed_until }) => {
                    return Ok(Submitted { id, message, known, delayed_until });
                }
                Ok(_) => return Ok(Submitted { id, message, known: false, delayed_until: None }),
                Err(HostError::Refused(OrderRefusal::Publish(PublishRefusal::QueueFull { wait_ms, .. })))
                    if started.elapsed() < Duration::from_millis(wait_ms) =>
                {
                    tokio::time::sleep(ROOM_POLL).await;
                }
                Err(HostError::Refused(OrderRefusal::Publish(refusal))) => return Err(refusal.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A job as it is now; none when there is no such job.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, HostError> {
        let id = id.clone();
        self.inner.broker.query(move |engine| engine.job(&id)).await
    }

    /// A job once it has ended, or as it is when `patience` is over.
    ///
    /// # Errors
    /// When [`JOB_WAITS_MAX`] requests wait already, or the host has stopped.
    pub async fn job_when_ended(&self, id: &JobId, patience: Duration) -> Result<Option<JobRecord>, HostError> {
        // Waiting begins before looking, so that no end is missed between the two.
        let mut wait = self.shared().jobs.wait(id, JOB_WAITS_MAX).ok_or(HostError::TooManyJobWaits)?;
        let found = self.job(id).await?;
        if found.as_ref().is_none_or(|record| record.ended_at.is_some()) {
            return Ok(found);
        }
        let _ = tokio::time::timeout(patience, &mut wait.ended).await;
        self.job(id).await
    }

    /// What a handler answered to a job, if one did.
    ///
    /// # Errors
    /// When the store is damaged there.
    pub fn job_result(&self, id: &JobId) -> Result<Option<JobResult>, HostError> {
        Ok(self.inner.reader.job_result(id)?)
    }

    /// Jobs in the order of their ids, those after `after`, at most `limit`; with a state, those in it.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn jobs(
        &self,
        after: Option<JobId>,
        state: Option<JobState>,
        limit: usize,
    ) -> Result<Vec<JobRecord>, HostError> {
        self.inner.broker.query(move |engine| engine.jobs(after.as_ref(), state, limit)).await
    }

    /// How many jobs are in which state.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn jobs_by_state(&self) -> Result<Vec<(JobState, u64)>, HostError> {
        self.inner.broker.query(|engine| engine.jobs_by_state().into_iter().collect()).await
    }

    /// Cancel a job: what of it has not ended never runs, and what runs now takes no effect. Cancelling it again is fine.
    ///
    /// # Errors
    /// When there is no such job, it has ended otherwise, or the host has stopped.
    pub async fn cancel_job(&self, id: &JobId) -> Result<(), HostError> {
        self.order(Order::CancelJob { id: id.clone() }).await.map(|_| ())
    }

    /// At most `limit` messages that wait for their time, in the order they become due, those after `after`.
    ///
    /// # Errors
    /// When the store is damaged there.
    pub fn delayed_messages(
        &self,
        after: Option<DelayedKey>,
        limit: usize,
    ) -> Result<Vec<(DelayedKey, PublishEntry)>, HostError> {
        Ok(self.inner.reader.delayed_page(after, limit)?)
    }

    /// Cancel a message that waits for its time.
    ///
    /// # Errors
    /// When there is no such message, it is of a job, or the host has stopped.
    pub async fn cancel_delayed(&self, key: DelayedKey) -> Result<(), HostError> {
        self.order(Order::CancelDelayed { key }).await.map(|_| ())
    }

    /// How many messages wait for the time they are to be delivered at.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn delayed(&self) -> Result<u64, HostError> {
        self.inner.broker.query(Engine::delayed_len).await
    }
}

/// A draft as the message of a job: its `reply-to` is where the result goes.
fn job_entry(mut draft: Draft, data_bytes_max: usize) -> Result<(JobId, PublishEntry), PublishError> {
    draft.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(REPLY_TO_HEADER));
    let mut entry = draft.into_entry(data_bytes_max)?;
    let id = match entry.dedup {
        Some(dedup) => JobId::new(format!("{:032x}", dedup.0))?,
        None => JobId::new(Uuid::now_v7().hyphenated().to_string())?,
    };
    let message = Arc::make_mut(&mut entry.message);
    message.headers.push((REPLY_TO_HEADER.to_owned(), id.reply_topic()));
    check_headers(&mut message.headers)?;
    Ok((id, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_wait_for_jobs() {
        let waits = Arc::new(JobWaits::default());
        let id = |text: &str| JobId::new(text).expect("an id");
        let first = waits.wait(&id("a"), 2).expect("the first");
        let mut second = waits.wait(&id("b"), 2).expect("the second");
        assert!(waits.wait(&id("a"), 2).is_none(), "a third one");
        drop(first);
        let again = waits.wait(&id("b"), 2).expect("there is room again");
        waits.ended(&id("b"));
        assert!(second.ended.try_recv().is_ok(), "both are told");
        drop((second, again));
        assert!(waits.lock().is_empty());
    }

    #[test]
    fn the_same_id_is_the_same_job() {
        let of = |draft: Draft| job_entry(draft, 100).expect("a good draft");
        let (first, entry) = of(Draft::new("t", "x").id("1"));
        assert_eq!(first, of(Draft::new("t", "y").id("1")).0);
        assert_ne!(first, of(Draft::new("u", "x").id("1")).0);
        assert_ne!(of(Draft::new("t", "x")).0, of(Draft::new("t", "x")).0);
        let forged = vec![("Reply-To".to_owned(), "$reply.elsewhere".to_owned())];
        let (id, forged) = of(Draft { headers: forged, ..Draft::new("t", "x") });
        assert_eq!(forged.message.headers, [(REPLY_TO_HEADER.to_owned(), id.reply_topic())]);
        assert_eq!(entry.message.headers, [(REPLY_TO_HEADER.to_owned(), first.reply_topic())]);
        let many = vec![("a".to_owned(), String::new()); 64];
        assert!(job_entry(Draft { headers: many, ..Draft::new("t", "x") }, 100).is_err(), "no room for reply-to");
    }
}
