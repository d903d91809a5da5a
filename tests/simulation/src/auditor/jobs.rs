//! Jobs: what is said of each is what its deliveries did, after every tick and every crash.

use std::collections::BTreeSet;

use wasmill_delivery::{
    effect::{Effect, OrderReceipt, OrderRefusal, PublishRefusal, SettleAnswer},
    engine::Engine,
    input::{AttemptResult, Effects, Lease, PublishEntry, Settlement},
    job::{CALLBACK_QUEUE, CALLBACK_URL_HEADER, JobId, JobRecord, JobResult, JobState, NewJob},
    message::Message,
    name::{ConsumerId, MessageId, QuarantineId, QueueId, Sequence},
    priority::Priority,
    record::DelayedKey,
    time::Timestamp,
};

use super::{Auditor, answers::Answers};
use crate::{
    disk::Disk,
    violation::{Checked, Violation, ensure, violated},
};

type Answer = Result<OrderReceipt, OrderRefusal>;

/// Of one tick; the same numbers as the engine's limits.
const FORGOTTEN_MAX: usize = 256;
const CALLBACKS_MAX: usize = 256;
const CALLBACK_RETRY_MS: u64 = 1_000;

#[derive(Clone, Debug)]
pub(super) struct ModelJob {
    message: MessageId,
    callback: Option<String>,
    submitted_at: Timestamp,
    delayed: Option<DelayedKey>,
    parts: Vec<Part>,
    cancelled: bool,
    ended_at: Option<Timestamp>,
    ends: u32,
    owed: bool,
    result: Option<JobResult>,
}

/// One delivery of a job.
#[derive(Clone, Debug)]
struct Part {
    consumer: ConsumerId,
    at: Sequence,
    state: JobState,
    attempts: u32,
    quarantine: Option<QuarantineId>,
    /// Cancelled, and still where it was.
    void: bool,
}

impl ModelJob {
    /// The deliveries of a consumer that were cancelled and that it has not come to.
    pub(super) fn void_of(&self, consumer: ConsumerId) -> impl Iterator<Item = Sequence> {
        self.parts.iter().filter(move |part| part.void && part.consumer == consumer).map(|part| part.at)
    }

    fn state(&self) -> JobState {
        let worst_first = [
            JobState::Retrying,
            JobState::Queued,
            JobState::Quarantined,
            JobState::Expired,
            JobState::Cancelled,
            JobState::Done,
        ];
        if self.cancelled {
            return JobState::Cancelled;
        }
        let found = worst_first.into_iter().find(|state| self.parts.iter().any(|part| part.state == *state));
        found.unwrap_or(JobState::Queued)
    }

    fn rests(&self) -> bool {
        self.ended_at.is_some() && !self.owed && self.parts.iter().all(|part| !part.void)
    }

    fn result_bytes(&self) -> u64 {
        self.result.as_ref().map_or(0, |result| result.data.len() as u64)
    }
}

impl Auditor {
    pub(super) fn submit(&mut self, job: &NewJob, entry: &PublishEntry, given: &Answer) -> Result<Answer, Violation> {
        if let Some(known) = self.jobs.get(&job.id) {
            let delayed_until = known.delayed.map(|key| key.due);
            self.count("job known already");
            return Ok(Ok(OrderReceipt::Job { known: true, delayed_until }));
        }
        if self.jobs.len() as u64 >= self.limits.jobs_max {
            self.forget_oldest();
            self.count("job made room for another");
        }
        if self.jobs.len() as u64 >= self.limits.jobs_max {
            self.count("too many jobs");
            let (what, max) = ("jobs that have not ended", self.limits.jobs_max);
            return Ok(Err(OrderRefusal::TooMany { what, max }));
        }
        let refused = |refusal| Ok(Err(OrderRefusal::Publish(refusal)));
        let queues = match self.destinations(entry) {
            Ok(queues) => queues,
            Err(refusal) => return refused(refusal),
        };
        if self.followers(&queues) == 0 {
            return refused(PublishRefusal::NoConsumer { topic: entry.message.topic.to_string() });
        }
        if let Err(OrderRefusal::PublishedBefore { .. }) = given {
            self.count("job published before");
            return Ok(given.clone());
        }
        let delayed_until = entry.deliver_at.filter(|due| *due > self.now);
        match given {
            Err(OrderRefusal::Publish(PublishRefusal::DelayedFull { .. })) if delayed_until.is_some() => {
                let full = self.delayed.len() as u64 >= self.limits.delayed_max;
                ensure!(full, "job {} is refused, but only {} are delayed", job.id, self.delayed.len());
                return Ok(given.clone());
            }
            Err(OrderRefusal::Publish(PublishRefusal::NeverFits { queue, .. })) => {
                self.never_fits(queue, &queues, entry.message.size_bytes())?;
                return Ok(given.clone());
            }
            Err(OrderRefusal::Publish(refusal)) => {
                self.may_refuse(refusal, &queues, 1)?;
                return Ok(given.clone());
            }
            _ => {}
        }
        let mut model = ModelJob {
            message: entry.message.id.clone(),
            callback: job.callback.clone(),
            submitted_at: self.now,
            delayed: None,
            parts: Vec::new(),
            cancelled: false,
            ended_at: None,
            ends: 0,
            owed: false,
            result: None,
        };
        if delayed_until.is_some() {
            model.delayed = Some(self.delay(entry)?);
        } else {
            if let Some(full) = queues.iter().find(|queue| self.is_full(**queue, 1)) {
                violated!("job {} was taken although {full:?} is full", job.id);
            }
            let places = self.append_to(&queues, &entry.message);
            model.parts = self.parts_of(&places);
        }
        self.remember(entry);
        self.jobs.insert(job.id.clone(), model);
        self.count("job submitted");
        Ok(Ok(OrderReceipt::Job { known: false, delayed_until }))
    }

    fn followers(&self, queues: &[QueueId]) -> usize {
        self.consumers.values().filter(|consumer| queues.contains(&consumer.record.queue)).count()
    }

    fn parts_of(&self, places: &[(QueueId, Sequence)]) -> Vec<Part> {
        let part = |consumer: ConsumerId, at: Sequence| Part {
            consumer,
            at,
            state: JobState::Queued,
            attempts: 0,
            quarantine: None,
            void: false,
        };
        let of_queue = |queue: QueueId| self.consumers.values().filter(move |c| c.record.queue == queue);
        places.iter().flat_map(|(queue, at)| of_queue(*queue).map(|c| part(c.record.id, *at))).collect()
    }

    fn delayed_job(&mut self, number: u64) -> Option<&mut ModelJob> {
        self.jobs.values_mut().find(|job| job.delayed.is_some_and(|key| key.number == number))
    }

    pub(super) fn delayed_job_id(&self, key: DelayedKey) -> Option<JobId> {
        let same = |job: &ModelJob| job.delayed.is_some_and(|delayed| delayed.number == key.number);
        self.jobs.iter().find(|(_, job)| same(job)).map(|(id, _)| id.clone())
    }

    /// Whether a delayed message is of a job and nobody would handle it.
    pub(super) fn cannot_follow(&self, key: DelayedKey, queues: &[QueueId]) -> bool {
        self.delayed_job_id(key).is_some() && self.followers(queues) == 0
    }

    /// Whether a delayed message waits for somebody who takes it.
    pub(super) fn cannot_go(&self, key: DelayedKey, entry: &PublishEntry) -> bool {
        self.destinations(entry).map_or(true, |queues| self.cannot_follow(key, &queues))
    }

    pub(super) fn delayed_job_starts(&mut self, key: DelayedKey, places: &[(QueueId, Sequence)]) {
        let parts = self.parts_of(places);
        if let Some(job) = self.delayed_job(key.number) {
            job.delayed = None;
            job.parts = parts;
            self.count("delayed job started");
        }
    }

    pub(super) fn delayed_job_waits(&mut self, key: DelayedKey) {
        if let Some(job) = self.delayed_job(key.number) {
            job.delayed = Some(key);
        }
    }

    pub(super) fn cancel_job(&mut self, id: &JobId) -> Answer {
        let Some(job) = self.jobs.get_mut(id) else { return Err(OrderRefusal::UnknownJob { job: id.clone() }) };
        if job.cancelled {
            return Ok(OrderReceipt::Done);
        }
        if job.ended_at.is_some() {
            return Err(OrderRefusal::JobEnded { job: id.clone(), state: job.state() });
        }
        job.cancelled = true;
        for part in job.parts.iter_mut().filter(|part| !part.state.is_end()) {
            (part.state, part.void) = (JobState::Cancelled, true);
        }
        let delayed = job.delayed.take();
        if let Some(key) = delayed {
            self.forget_delayed(key);
            self.count("delayed job cancelled");
        }
        self.see_whether_it_ended(id);
        self.count("job cancelled");
        Ok(OrderReceipt::Done)
    }

    fn forget_delayed(&mut self, key: DelayedKey) -> bool {
        self.delayed_asked.remove(&key);
        self.delayed.remove(&key).is_some()
    }

    pub(super) fn cancel_delayed(&mut self, key: DelayedKey) -> Answer {
        if let Some(job) = self.delayed_job_id(key) {
            return Err(OrderRefusal::DelayedJob { job });
        }
        if self.forget_delayed(key) { Ok(OrderReceipt::Done) } else { Err(OrderRefusal::UnknownDelayed { key }) }
    }

    fn job_of(&mut self, id: ConsumerId, at: Sequence) -> Option<(JobId, &mut Part)> {
        let same = |part: &&mut Part| (part.consumer, part.at) == (id, at);
        self.jobs.iter_mut().find_map(|(job, model)| Some((job.clone(), model.parts.iter_mut().find(same)?)))
    }

    pub(super) fn is_void(&self, id: ConsumerId, at: Sequence) -> bool {
        let void = |part: &Part| (part.consumer, part.at, part.void) == (id, at, true);
        self.jobs.values().any(|job| job.parts.iter().any(void))
    }

    pub(super) fn job_is_settled(&mut self, id: ConsumerId, settlement: &Settlement, answer: &SettleAnswer) {
        let attempt = settlement.lease.attempt;
        let Some((job, part)) = self.job_of(id, settlement.lease.sequence) else { return };
        match answer {
            SettleAnswer::Committed => (part.state, part.attempts) = (JobState::Done, attempt),
            SettleAnswer::RetryAt { burned_attempt, .. } => {
                (part.state, part.attempts) = (JobState::Retrying, attempt - u32::from(!burned_attempt));
            }
            SettleAnswer::PublishRefused { .. } => part.state = JobState::Retrying,
            SettleAnswer::Quarantined { id, .. } => {
                (part.state, part.attempts, part.quarantine) = (JobState::Quarantined, attempt, Some(*id));
            }
            SettleAnswer::Expired => (part.state, part.attempts) = (JobState::Expired, attempt - 1),
            SettleAnswer::Cancelled => part.void = false,
            SettleAnswer::Conflict | SettleAnswer::OutOfOrder | SettleAnswer::StaleFence => {}
        }
        if let (SettleAnswer::Committed, AttemptResult::Succeeded(effects)) = (answer, &settlement.result)
            && let Some(result) = result_of(&job, effects)
        {
            self.jobs.entry(job.clone()).and_modify(|job| job.result = Some(JobResult::of(result)));
            self.count("job result");
        }
        self.see_whether_it_ended(&job);
    }

    /// Which limit the result that a handler published is over.
    pub(super) fn result_over(&mut self, id: ConsumerId, lease: &Lease, effects: &Effects) -> Option<String> {
        let (job, _) = self.job_of(id, lease.sequence)?;
        let bytes = result_of(&job, effects)?.data.len() as u64;
        let max = self.limits.job_result_bytes_max;
        (bytes > max).then(|| format!("result of the job, {bytes} bytes: result-bytes-max = {max}"))
    }

    pub(super) fn job_is_redriven(&mut self, id: ConsumerId, at: Sequence) {
        let Some((job, part)) = self.job_of(id, at) else { return };
        (part.state, part.attempts, part.quarantine) = (JobState::Queued, 0, None);
        self.jobs.entry(job.clone()).and_modify(|job| job.cancelled = false);
        self.see_whether_it_ended(&job);
        self.count("job redriven");
    }

    /// Deliveries that are nowhere any more were taken away.
    pub(super) fn deliveries_are_lost(&mut self) {
        let mut changed = Vec::new();
        for (id, job) in &mut self.jobs {
            for part in job.parts.iter_mut().filter(|part| part.void || !part.state.is_end()) {
                let consumer = self.consumers.get(&part.consumer);
                if consumer.is_some_and(|c| c.log.contains(&part.at) || c.pending.contains_key(&part.at)) {
                    continue;
                }
                (part.state, part.void) = (JobState::Cancelled, false);
                changed.push(id.clone());
            }
        }
        for id in changed {
            self.see_whether_it_ended(&id);
            self.count("job lost a delivery");
        }
    }

    fn see_whether_it_ended(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let ends = job.state().is_end();
        if ends && job.ended_at.is_none() {
            job.ended_at = Some(self.now);
            job.ends += 1;
            job.owed = job.callback.is_some();
            self.jobs_ended.insert(id.clone());
            let name = job.state().name();
            *self.counts.entry(ended_as(name)).or_default() += 1;
        } else if !ends && job.ended_at.is_some() {
            job.ended_at = None;
            job.owed = false;
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let resting = self.jobs.iter().filter(|(_, job)| job.rests());
        let oldest = resting.min_by_key(|(id, job)| (job.ended_at, (*id).clone())).map(|(id, _)| id.clone());
        oldest.is_some_and(|id| self.jobs.remove(&id).is_some())
    }

    /// After all inputs of a tick: ends are told, callbacks are put into their queue, old jobs are forgotten, and
    /// consumers come to what was cancelled.
    pub(super) fn jobs_are_tended(&mut self, answers: &mut Answers<'_>, disk: &Disk) -> Checked {
        let mut told = Vec::new();
        while let Some(Effect::JobEnded { id, state }) = answers.take_if(|e| matches!(e, Effect::JobEnded { .. })) {
            told.push((id.clone(), *state));
        }
        let ended = std::mem::take(&mut self.jobs_ended).into_iter();
        let known = ended.filter_map(|id| Some((self.jobs.get(&id).filter(|job| job.ended_at.is_some())?.state(), id)));
        let wanted: Vec<_> = known.map(|(state, id)| (id, state)).collect();
        ensure!(told == wanted, "jobs that ended are {wanted:?}, and not what is told: {told:?}");
        self.callbacks_are_put(disk)?;
        let keep_ms = self.limits.job_keep_ms;
        for _ in 0..FORGOTTEN_MAX {
            let resting = self.jobs.values().filter(|job| job.rests());
            let is_old = resting.filter_map(|job| job.ended_at).min().is_some_and(|at| at.plus_ms(keep_ms) <= self.now);
            let bytes: u64 = self.jobs.values().map(ModelJob::result_bytes).sum();
            if !is_old && bytes <= self.limits.job_results_bytes_max {
                break;
            }
            if !self.forget_oldest() {
                break;
            }
            self.count(if is_old { "job forgotten" } else { "job forgotten for its result" });
        }
        self.void_are_dropped(disk);
        Ok(())
    }

    /// The engine says by its cursor and its pending deliveries that it came to a cancelled one; when it does is its
    /// own choice, until somebody waits who would get it.
    fn void_are_dropped(&mut self, disk: &Disk) {
        for consumer in self.consumers.values_mut() {
            consumer.dropped_pending = 0;
        }
        let mut dropped = Vec::new();
        for (id, job) in &mut self.jobs {
            let kept = disk.jobs.get(id);
            for part in job.parts.iter_mut().filter(|part| part.void) {
                let same = kept.and_then(|r| r.deliveries.iter().find(|d| d.place() == (part.consumer, part.at)));
                if same.is_some_and(|delivery| !delivery.void) {
                    part.void = false;
                    dropped.push((part.consumer, part.at));
                }
            }
        }
        for (id, at) in dropped {
            if let Some(consumer) = self.consumers.get_mut(&id) {
                consumer.log.remove(&at);
                consumer.dropped_pending += usize::from(consumer.pending.remove(&at).is_some());
                consumer.suspects.remove(&at);
            }
            self.count("cancelled before it ran");
        }
    }

    fn callbacks_are_put(&mut self, disk: &Disk) -> Checked {
        let owed: Vec<JobId> = self.jobs.iter().filter(|(_, job)| job.owed).map(|(id, _)| id.clone()).collect();
        if self.callbacks_closed_until > self.now {
            return Ok(());
        }
        for id in owed.into_iter().take(CALLBACKS_MAX) {
            let name = wasmill_delivery::name::QueueName::new(CALLBACK_QUEUE).expect("a name");
            let queue = self.queue_id(&name).filter(|queue| !self.is_full(*queue, 1));
            let Some(queue) = queue else {
                self.callbacks_closed_until = self.now.plus_ms(CALLBACK_RETRY_MS);
                self.count("callback waits for room");
                return Ok(());
            };
            let at = self.queues[&queue].ends_of(Priority::LOWEST).next;
            let Some(message) = disk.queues.get(&queue).and_then(|queue| queue.message(at)) else {
                violated!("job {id} is owed a callback, and it is not in its queue on disk");
            };
            let job = &self.jobs[&id];
            self.is_callback_of(&id, job, message)?;
            let message = message.clone();
            self.append(queue, &message);
            self.jobs.entry(id).and_modify(|job| job.owed = false);
            self.count("callback put");
        }
        Ok(())
    }

    fn is_callback_of(&self, id: &JobId, job: &ModelJob, message: &Message) -> Checked {
        let wanted = format!("{id}-{}", job.ends);
        ensure!(message.id.as_str() == wanted, "{} is put as the callback {wanted}", message.id);
        let url = message.headers.iter().find(|(name, _)| name == CALLBACK_URL_HEADER).map(|(_, url)| url);
        ensure!(url == job.callback.as_ref(), "callback {wanted} goes to {url:?}, not {:?}", job.callback);
        let text = String::from_utf8_lossy(&message.data);
        let state = format!("\"state\":\"{}\"", job.state().name());
        ensure!(text.contains(&state), "callback {wanted} does not say {state}: {text}");
        Ok(())
    }

    pub(super) fn compare_jobs(&self, disk: &Disk, engine: &Engine) -> Checked {
        let wanted: BTreeSet<&JobId> = self.jobs.keys().collect();
        let kept: BTreeSet<&JobId> = disk.jobs.keys().collect();
        ensure!(wanted == kept, "jobs are {wanted:?}, on disk {kept:?}");
        ensure!(engine.jobs_len() == wanted.len() as u64, "the engine shows {} jobs", engine.jobs_len());
        for (id, job) in &self.jobs {
            self.compare_job(id, job, &disk.jobs[id], engine)?;
            let kept = disk.job_results.get(id);
            ensure!(job.result.as_ref() == kept, "the result of {id} is {:?}, on disk {kept:?}", job.result);
        }
        ensure!(disk.job_results.keys().all(|id| self.jobs.contains_key(id)), "there are results without a job");
        Ok(())
    }

    fn compare_job(&self, id: &JobId, job: &ModelJob, kept: &JobRecord, engine: &Engine) -> Checked {
        let wanted = (&job.message, &job.callback, job.submitted_at, job.delayed, job.cancelled);
        let found = (&kept.message, &kept.callback, kept.submitted_at, kept.delayed, kept.cancelled_at.is_some());
        ensure!(wanted == found, "job {id} is {wanted:?}, on disk {found:?}");
        let wanted = (job.state(), job.ended_at, job.ends, job.owed, job.result.as_ref().map(JobResult::head));
        let found = (kept.state(), kept.ended_at, kept.ends, kept.callback_owed, kept.result.clone());
        ensure!(wanted == found, "job {id} has (state, end, ends, owed, result) {wanted:?}, on disk {found:?}");
        ensure!(job.parts.len() == kept.deliveries.len(), "job {id} has {} deliveries", kept.deliveries.len());
        let Some(shown) = engine.job(id) else { violated!("the engine does not show job {id}") };
        for (part, (kept, shown)) in job.parts.iter().zip(kept.deliveries.iter().zip(&shown.deliveries)) {
            let wanted = (part.consumer, part.at, part.state, part.attempts, part.quarantine, part.void);
            let found = (kept.consumer, kept.sequence, kept.state, kept.attempts, kept.quarantine, kept.void);
            ensure!(wanted == found, "a delivery of job {id} is {wanted:?}, on disk {found:?}");
            let leased = self.consumers.get(&part.consumer).is_some_and(|c| c.leased.contains_key(&part.at));
            let runs = leased && !part.state.is_end();
            ensure!((shown.state == JobState::Running) == runs, "a delivery of job {id} runs: {runs}, shown {shown:?}");
        }
        Ok(())
    }

    /// When something of a job is due.
    pub(super) fn next_job_wanted(&self) -> Option<Timestamp> {
        let resting = self.jobs.values().filter(|job| job.rests());
        let forgotten = resting.filter_map(|job| job.ended_at).map(|at| at.plus_ms(self.limits.job_keep_ms));
        let owed = self.jobs.values().any(|job| job.owed).then_some(self.callbacks_closed_until);
        forgotten.chain(owed).min()
    }
}

fn result_of<'a>(job: &JobId, effects: &'a Effects) -> Option<&'a Message> {
    let topic = job.reply_topic();
    let reply = effects.published.iter().rfind(|entry| entry.message.topic.as_str() == topic);
    reply.map(|entry| &*entry.message)
}

fn ended_as(state: &'static str) -> &'static str {
    match state {
        "done" => "job done",
        "quarantined" => "job quarantined",
        "expired" => "job expired",
        _ => "job ended by a cancel or a loss",
    }
}
