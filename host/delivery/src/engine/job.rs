//! Jobs: what is known of messages whose deliveries are followed.
//!
//! A delivery is known as one of a job by its place, so nothing is written on the message that a publisher or a handler
//! could forge, and a host without jobs asks an empty map. What a delivery does and what the job says of it are one
//! commit.
//!
//! A cancelled delivery is *void*: it stays where it rests until its consumer comes to it, and is settled without effects
//! then, so that cancelling costs nothing where the log is long. One that runs when it is cancelled is void when it is
//! settled. A job is not forgotten while a delivery of it is void, or that one would run after all.

mod fate;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Engine,
    order::{Answer, check_count},
    tick::Tick,
};
use crate::{
    effect::{Effect, OrderReceipt, OrderRefusal, PublishRefusal},
    input::{Destination, Lease, PublishEntry},
    job::{
        CALLBACK_JOB_HEADER, CALLBACK_QUEUE, CALLBACK_TOPIC, CALLBACK_URL_HEADER, JobDelivery, JobId, JobRecord,
        JobState, NewJob,
    },
    limits::{JOB_CALLBACKS_MAX, JOB_DELIVERIES_MAX, JOB_OUTCOME_BYTES_MAX, JOBS_FORGOTTEN_MAX},
    message::{Lineage, Message},
    name::{ConsumerId, MessageId, QueueId, QueueName, Sequence},
    outcome::Outcome,
    record::DelayedKey,
    time::Timestamp,
    topic::Topic,
    write::Write,
};

/// The wait before another try to put a callback into its queue, in milliseconds.
const CALLBACK_RETRY_MS: u64 = 1_000;

/// A delivery: whose, and of which message of its queue.
type Place = (ConsumerId, Sequence);

/// All jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs {
    records: BTreeMap<JobId, JobRecord>,
    /// Which job a delivery is of, as long as the job is known.
    places: BTreeMap<Place, JobId>,
    /// Which job a delayed message is of, by its number.
    delayed: BTreeMap<u64, JobId>,
    /// Cancelled deliveries that their consumers have not come to yet.
    void: BTreeSet<Place>,
    /// Jobs that may be forgotten, in the order they ended.
    ended: BTreeSet<(Timestamp, JobId)>,
    /// Jobs whose callback is not in its queue yet.
    owed: BTreeSet<JobId>,
    /// No callback is put into its queue before.
    callbacks_closed_until: Timestamp,
    /// Jobs that this tick changed.
    changed: BTreeSet<JobId>,
    /// Jobs that were submitted in this tick, of which nothing is kept yet.
    submitted: BTreeSet<JobId>,
    /// Jobs that ended in this tick.
    ended_now: BTreeSet<JobId>,
    /// Results of all jobs.
    result_bytes: u64,
}

impl Jobs {
    /// Take a job that the store kept.
    pub(super) fn restore(&mut self, record: JobRecord) {
        for delivery in &record.deliveries {
            self.places.insert(delivery.place(), record.id.clone());
            if delivery.void {
                self.void.insert(delivery.place());
            }
        }
        if let Some(key) = record.delayed {
            self.delayed.insert(key.number, record.id.clone());
        }
        if record.callback_owed {
            self.owed.insert(record.id.clone());
        }
        if let Some(at) = rests_since(&record) {
            self.ended.insert((at, record.id.clone()));
        }
        self.result_bytes += record.result.as_ref().map_or(0, |result| result.bytes);
        self.records.insert(record.id.clone(), record);
    }

    pub(super) fn is_void(&self, place: Place) -> bool {
        !self.void.is_empty() && self.void.contains(&place)
    }

    /// The job that this delayed message is of.
    pub(super) fn of_delayed(&self, key: DelayedKey) -> Option<&JobId> {
        self.delayed.get(&key.number)
    }

    /// The job that a delivery is of, and the delivery.
    fn delivery(&mut self, place: Place) -> Option<(JobId, &mut JobDelivery)> {
        if self.places.is_empty() {
            return None;
        }
        let id = self.places.get(&place)?.clone();
        let delivery = self.records.get_mut(&id)?.deliveries.iter_mut().find(|delivery| delivery.place() == place)?;
        Some((id, delivery))
    }

    /// How an attempt failed; what becomes of the delivery is told later in the same tick.
    pub(super) fn note_failed(&mut self, place: Place, outcome: &Outcome) {
        if let Some((id, delivery)) = self.delivery(place) {
            let mut words = outcome.describe();
            words.truncate(words.floor_char_boundary(JOB_OUTCOME_BYTES_MAX));
            delivery.last_outcome = Some(words);
            self.changed.insert(id);
        }
    }
}

/// Since when a job may be forgotten.
fn rests_since(record: &JobRecord) -> Option<Timestamp> {
    let is_void = record.deliveries.iter().any(|delivery| delivery.void);
    record.ended_at.filter(|_| !is_void && !record.callback_owed)
}

impl Engine {
    pub(super) fn submit_job(&mut self, tick: &mut Tick, job: NewJob, entry: &PublishEntry) -> Answer {
        if let Some(known) = self.jobs.records.get(&job.id) {
            return Ok(OrderReceipt::Job { known: true, delayed_until: known.delayed.map(|key| key.due) });
        }
        self.forget_published(tick);
        if self.jobs.records.len() as u64 >= self.limits.jobs_max {
            self.forget_oldest_job(tick);
        }
        let jobs_max = usize::try_from(self.limits.jobs_max).unwrap_or(usize::MAX);
        check_count("jobs that have not ended", self.jobs.records.len(), jobs_max)?;
        let queues = self.destinations(tick, &entry.message, &entry.to)?;
        self.check_followable(&queues, &entry.message)?;
        let receipt = self.publish_entry(tick, entry)?;
        if receipt.duplicate {
            return Err(OrderRefusal::PublishedBefore { message: entry.message.id.clone() });
        }
        let record = JobRecord {
            id: job.id.clone(),
            message: entry.message.id.clone(),
            topic: entry.message.topic.clone(),
            callback: job.callback,
            submitted_at: tick.now,
            delayed: receipt.delayed,
            deliveries: Vec::new(),
            cancelled_at: None,
            ended_at: None,
            ends: 0,
            callback_owed: false,
            result: None,
        };
        self.jobs.records.insert(job.id.clone(), record);
        match receipt.delayed {
            Some(key) => drop(self.jobs.delayed.insert(key.number, job.id.clone())),
            None => self.follow(&job.id, &receipt.places),
        }
        self.jobs.changed.insert(job.id.clone());
        self.jobs.submitted.insert(job.id);
        Ok(OrderReceipt::Job { known: false, delayed_until: receipt.delayed_until() })
    }

    /// A job needs somebody who handles it, and not too many of them.
    fn check_followable(&self, queues: &[QueueId], message: &Message) -> Result<(), PublishRefusal> {
        let consumers = queues.iter().map(|queue| self.queues[queue].consumers.len()).sum::<usize>();
        match consumers {
            0 => Err(PublishRefusal::NoConsumer { topic: message.topic.to_string() }),
            1..=JOB_DELIVERIES_MAX => Ok(()),
            _ => Err(PublishRefusal::TooManyConsumers { topic: message.topic.to_string(), consumers }),
        }
    }

    pub(super) fn check_job_can_start(
        &self,
        key: DelayedKey,
        queues: &[QueueId],
        message: &Message,
    ) -> Result<(), PublishRefusal> {
        self.jobs.of_delayed(key).map_or(Ok(()), |_| self.check_followable(queues, message))
    }

    /// The time of a delayed job has come, and its message is in these places.
    pub(super) fn start_delayed_job(&mut self, key: DelayedKey, places: &[(QueueId, Sequence)]) {
        let Some(id) = self.jobs.delayed.remove(&key.number) else { return };
        if let Some(record) = self.jobs.records.get_mut(&id) {
            record.delayed = None;
        }
        self.follow(&id, places);
    }

    /// A delayed message waits a little more.
    pub(super) fn move_delayed_job(&mut self, key: DelayedKey) {
        let Some(id) = self.jobs.of_delayed(key).cloned() else { return };
        if let Some(record) = self.jobs.records.get_mut(&id) {
            record.delayed = Some(key);
            self.jobs.changed.insert(id);
        }
    }

    /// These are the places of the job's message: each consumer there has a delivery of it.
    fn follow(&mut self, id: &JobId, places: &[(QueueId, Sequence)]) {
        let Some(record) = self.jobs.records.get_mut(id) else { return };
        for (queue, sequence) in places {
            let Some(queue) = self.queues.get(queue) else { continue };
            for consumer in queue.consumers.iter().filter_map(|consumer| self.consumers.get(consumer)) {
                let delivery = JobDelivery {
                    consumer: consumer.record.id,
                    queue: queue.record.name.clone(),
                    name: consumer.record.name.clone(),
                    sequence: *sequence,
                    state: JobState::Queued,
                    attempts: 0,
                    due: None,
                    last_outcome: None,
                    quarantine: None,
                    void: false,
                };
                self.jobs.places.insert(delivery.place(), id.clone());
                record.deliveries.push(delivery);
            }
        }
        self.jobs.changed.insert(id.clone());
    }

    pub(super) fn cancel_job(&mut self, tick: &mut Tick, id: &JobId) -> Answer {
        let Some(record) = self.jobs.records.get_mut(id) else {
            return Err(OrderRefusal::UnknownJob { job: id.clone() });
        };
        if record.cancelled_at.is_some() {
            return Ok(OrderReceipt::Done);
        }
        if record.ended_at.is_some() {
            return Err(OrderRefusal::JobEnded { job: id.clone(), state: record.state() });
        }
        record.cancelled_at = Some(tick.now);
        let delayed = record.delayed.take();
        for delivery in record.deliveries.iter_mut().filter(|delivery| !delivery.state.is_end()) {
            delivery.state = JobState::Cancelled;
            delivery.due = None;
            delivery.void = true;
            self.jobs.void.insert(delivery.place());
            tick.touched.insert(delivery.consumer);
        }
        if let Some(key) = delayed {
            self.jobs.delayed.remove(&key.number);
            self.drop_delayed(tick, key);
        }
        self.job_has_changed(tick, id);
        Ok(OrderReceipt::Done)
    }

    /// Settle leases of cancelled deliveries; the others stay.
    pub(super) fn without_void(&mut self, tick: &mut Tick, id: ConsumerId, leases: Vec<Lease>) -> Vec<Lease> {
        if self.jobs.void.is_empty() {
            return leases;
        }
        let is_void = |lease: &Lease| self.jobs.is_void((id, lease.sequence));
        let (void, rest): (Vec<Lease>, Vec<Lease>) = leases.into_iter().partition(is_void);
        for lease in void {
            self.drop_void(tick, id, &lease);
        }
        rest
    }

    /// The consumer has come to a cancelled delivery, or it comes back from a run.
    pub(super) fn drop_void(&mut self, tick: &mut Tick, id: ConsumerId, lease: &Lease) {
        self.leave(tick, id, lease, false);
        tick.touched.insert(id);
        self.void_is_gone(tick, (id, lease.sequence));
    }

    fn void_is_gone(&mut self, tick: &mut Tick, place: Place) {
        self.jobs.void.remove(&place);
        if let Some((id, delivery)) = self.jobs.delivery(place) {
            delivery.void = false;
            self.job_has_changed(tick, &id);
        }
    }

    /// Callbacks of jobs that ended go into their queue, and jobs that ended long ago are forgotten.
    pub(super) fn tend_jobs(&mut self, tick: &mut Tick) {
        if self.jobs.records.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.jobs.ended_now) {
            if let Some(record) = self.jobs.records.get(&id).filter(|record| record.ended_at.is_some()) {
                tick.effects.push(Effect::JobEnded { id, state: record.state() });
            }
        }
        if self.jobs.callbacks_closed_until <= tick.now {
            for id in self.jobs.owed.iter().take(JOB_CALLBACKS_MAX).cloned().collect::<Vec<_>>() {
                if self.put_callback(tick, &id).is_err() {
                    // Its queue is full, or somebody removed it: it is told when there is room.
                    self.jobs.callbacks_closed_until = tick.now.plus_ms(CALLBACK_RETRY_MS);
                    break;
                }
            }
        }
        for _ in 0..JOBS_FORGOTTEN_MAX {
            let is_old = self.next_forgotten().is_some_and(|at| at <= tick.now);
            if !is_old && self.jobs.result_bytes <= self.limits.job_results_bytes_max {
                break;
            }
            if !self.forget_oldest_job(tick) {
                break;
            }
        }
    }

    fn put_callback(&mut self, tick: &mut Tick, id: &JobId) -> Result<(), PublishRefusal> {
        let Some(message) = self.jobs.records.get(id).and_then(|record| callback_of(record, tick.now)) else {
            return Ok(());
        };
        let Ok(queue) = QueueName::new(CALLBACK_QUEUE) else { return Ok(()) };
        let queues = self.destinations(tick, &message, &Destination::Queue(queue))?;
        self.check_rooms(&queues, message.size_bytes())?;
        self.append_to(tick, &queues, &Arc::new(message));
        self.jobs.owed.remove(id);
        if let Some(record) = self.jobs.records.get_mut(id) {
            record.callback_owed = false;
            if let Some(at) = rests_since(record) {
                self.jobs.ended.insert((at, id.clone()));
            }
        }
        self.jobs.changed.insert(id.clone());
        Ok(())
    }

    /// Answers whether there was one that may be forgotten.
    fn forget_oldest_job(&mut self, tick: &mut Tick) -> bool {
        let Some((_, id)) = self.jobs.ended.pop_first() else { return false };
        if let Some(record) = self.jobs.records.remove(&id) {
            for delivery in &record.deliveries {
                self.jobs.places.remove(&delivery.place());
            }
            self.jobs.result_bytes -= record.result.map_or(0, |result| result.bytes);
        }
        self.jobs.changed.remove(&id);
        if !self.jobs.submitted.remove(&id) {
            tick.writes.push(Write::DeleteJob { id });
        }
        true
    }

    fn next_forgotten(&self) -> Option<Timestamp> {
        self.jobs.ended.first().map(|(at, _)| at.plus_ms(self.limits.job_keep_ms))
    }

    /// When a job must be looked at though nothing happens.
    pub(super) fn next_job_due(&self) -> Option<Timestamp> {
        let callback = (!self.jobs.owed.is_empty()).then_some(self.jobs.callbacks_closed_until);
        let crowded = self.jobs.result_bytes > self.limits.job_results_bytes_max && !self.jobs.ended.is_empty();
        [callback, self.next_forgotten(), crowded.then_some(self.now)].into_iter().flatten().min()
    }

    pub(super) fn write_jobs(&mut self, tick: &mut Tick) {
        self.jobs.submitted.clear();
        for id in std::mem::take(&mut self.jobs.changed) {
            if let Some(record) = self.jobs.records.get(&id) {
                tick.writes.push(Write::PutJob { record: Box::new(record.clone()) });
            }
        }
    }
}

/// The message that has the callback of a job called.
fn callback_of(record: &JobRecord, now: Timestamp) -> Option<Message> {
    let url = record.callback.clone()?;
    // The same id however often it is called, so that a receiver can tell doubles; another one when the job ends again.
    let id = MessageId::new(format!("{}-{}", record.id, record.ends)).ok()?;
    Some(Message {
        id,
        topic: Topic::new(CALLBACK_TOPIC).ok()?,
        key: None,
        content_type: Some("application/json".to_owned()),
        headers: vec![(CALLBACK_URL_HEADER.to_owned(), url), (CALLBACK_JOB_HEADER.to_owned(), record.id.to_string())],
        data: record.status().to_string().into(),
        published_at: now,
        expires_at: None,
        lineage: Lineage { cause: Some(record.message.clone()), ..Lineage::default() },
    })
}
