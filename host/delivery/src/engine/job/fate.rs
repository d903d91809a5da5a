//! What the deliveries of jobs do, and what it makes of the jobs.

use super::{Place, rests_since};
use crate::{
    effect::SettleAnswer,
    engine::{Engine, tick::Tick},
    input::PublishEntry,
    job::{JobId, JobResult, JobState},
    message::Message,
    name::{ConsumerId, QueueId, Sequence},
    time::Timestamp,
    write::Write,
};

impl Engine {
    /// What became of a delivery when it was settled.
    pub(in crate::engine) fn job_is_settled(
        &mut self,
        tick: &mut Tick,
        place: Place,
        attempt: u32,
        answer: &SettleAnswer,
    ) {
        let Some((id, delivery)) = self.jobs.delivery(place) else { return };
        delivery.due = None;
        match answer {
            SettleAnswer::Committed => (delivery.state, delivery.attempts) = (JobState::Done, attempt),
            SettleAnswer::Expired => (delivery.state, delivery.attempts) = (JobState::Expired, attempt - 1),
            SettleAnswer::RetryAt { due, burned_attempt } => {
                delivery.state = JobState::Retrying;
                delivery.attempts = if *burned_attempt { attempt } else { attempt - 1 };
                delivery.due = Some(*due);
            }
            SettleAnswer::PublishRefused { due, refusal } => {
                delivery.state = JobState::Retrying;
                delivery.due = Some(*due);
                delivery.last_outcome = Some(refusal.to_string());
            }
            SettleAnswer::Quarantined { id: quarantine, .. } => {
                (delivery.state, delivery.attempts) = (JobState::Quarantined, attempt);
                delivery.quarantine = Some(*quarantine);
            }
            // It is where it was.
            SettleAnswer::Conflict | SettleAnswer::OutOfOrder | SettleAnswer::StaleFence => return,
            // Told by whoever found it.
            SettleAnswer::Cancelled => return,
        }
        self.job_has_changed(tick, &id);
    }

    /// A quarantined delivery runs again as a new message in its place: the job goes on.
    pub(in crate::engine) fn job_is_redriven(&mut self, tick: &mut Tick, place: Place, due: Timestamp) {
        let Some((id, delivery)) = self.jobs.delivery(place) else { return };
        delivery.state = JobState::Queued;
        delivery.attempts = 0;
        delivery.due = Some(due);
        delivery.quarantine = None;
        if let Some(record) = self.jobs.records.get_mut(&id) {
            // It is wanted again. Other deliveries of it that were cancelled stay so.
            record.cancelled_at = None;
        }
        self.job_has_changed(tick, &id);
    }

    /// A delivery will never run, because somebody took it away.
    fn job_loses(&mut self, tick: &mut Tick, place: Place, why: &str) {
        if self.jobs.void.contains(&place) {
            self.void_is_gone(tick, place);
            return;
        }
        let Some((id, delivery)) = self.jobs.delivery(place) else { return };
        if delivery.state.is_end() {
            return;
        }
        delivery.state = JobState::Cancelled;
        delivery.due = None;
        delivery.last_outcome = Some(why.to_owned());
        self.job_has_changed(tick, &id);
    }

    pub(in crate::engine) fn jobs_lose_consumer(&mut self, tick: &mut Tick, id: ConsumerId) {
        let of_consumer = (id, Sequence(0))..=(id, Sequence(u64::MAX));
        let places: Vec<Place> = self.jobs.places.range(of_consumer).map(|(place, _)| *place).collect();
        for place in places {
            self.job_loses(tick, place, "consumer removed");
        }
    }

    /// A full queue drops its oldest message: consumers that have it in the log do not get it.
    pub(in crate::engine) fn jobs_lose_oldest(&mut self, tick: &mut Tick, queue: QueueId, oldest: Sequence) {
        if self.jobs.places.is_empty() {
            return;
        }
        let Some(queue) = self.queues.get(&queue) else { return };
        let has_it =
            |id: &&ConsumerId| self.consumers.get(id).is_some_and(|c| !c.lane_of(oldest).cursor.is_settled(oldest));
        let losers: Vec<ConsumerId> = queue.consumers.iter().filter(has_it).copied().collect();
        for consumer in losers {
            self.job_loses(tick, (consumer, oldest), "dropped from a full queue");
        }
    }

    /// Which limit the result of this delivery's job is over, if it is.
    pub(in crate::engine) fn job_result_over(&self, place: Place, published: &[PublishEntry]) -> Option<String> {
        let result = self.job_result(place, published)?;
        let (bytes, max) = (result.data.len() as u64, self.limits.job_result_bytes_max);
        (bytes > max).then(|| format!("result of the job, {bytes} bytes: result-bytes-max = {max}"))
    }

    /// What a delivery published to the reply topic of its own job; the last one counts.
    fn job_result<'a>(&self, place: Place, published: &'a [PublishEntry]) -> Option<&'a Message> {
        if self.jobs.places.is_empty() || published.is_empty() {
            return None;
        }
        let id = self.jobs.places.get(&place)?;
        let reply = published.iter().rfind(|entry| id.is_replied_by(&entry.message.topic));
        reply.map(|entry| &*entry.message)
    }

    /// The delivery is committed, and the result of its job with it.
    pub(in crate::engine) fn keep_job_result(&mut self, tick: &mut Tick, place: Place, published: &[PublishEntry]) {
        let Some(result) = self.job_result(place, published).map(JobResult::of) else { return };
        let Some(id) = self.jobs.places.get(&place).cloned() else { return };
        let Some(record) = self.jobs.records.get_mut(&id) else { return };
        let head = result.head();
        self.jobs.result_bytes += head.bytes;
        let before = record.result.replace(head);
        self.jobs.result_bytes -= before.map_or(0, |before| before.bytes);
        self.jobs.changed.insert(id.clone());
        tick.writes.push(Write::PutJobResult { id, result });
    }

    /// A delivery of the job changed: see whether it has ended, or goes on.
    pub(super) fn job_has_changed(&mut self, tick: &mut Tick, id: &JobId) {
        let Some(record) = self.jobs.records.get_mut(id) else { return };
        self.jobs.changed.insert(id.clone());
        match (record.ended_at, record.state()) {
            (None, state) if state.is_end() => {
                record.ended_at = Some(tick.now);
                record.ends += 1;
                record.callback_owed = record.callback.is_some();
                if record.callback_owed {
                    self.jobs.owed.insert(id.clone());
                }
                self.jobs.ended_now.insert(id.clone());
            }
            (Some(at), state) if !state.is_end() => {
                self.jobs.ended.remove(&(at, id.clone()));
                record.ended_at = None;
                record.callback_owed = false;
                self.jobs.owed.remove(id);
            }
            (Some(_) | None, _) => {}
        }
        if let Some(at) = rests_since(record) {
            self.jobs.ended.insert((at, id.clone()));
        }
    }
}
