//! What the engine asks for: messages of logs, delayed messages, and deliveries that ran alone when the host stopped.

use std::{collections::BTreeSet, sync::Arc};

use wasmill_delivery::{
    effect::{Effect, PublishRefusal},
    engine::{DELAYED_RETRY_MS, DELAYED_UNROUTABLE_MS},
    input::{Lease, PublishEntry},
    job::JobId,
    name::{ConsumerId, QueueId, Sequence},
    record::{DelayedKey, DeliveryOrder},
};

use super::{Auditor, Waiting, answers::Answers};
use crate::{
    disk::Disk,
    violation::{Checked, Violation, ensure, violated},
};

impl Auditor {
    /// A delivery that ran alone when the host stopped is settled as that, before anything else runs.
    pub(super) fn crashed_is_told(&mut self, answers: &mut Answers<'_>) -> Checked {
        let Some((id, at)) = self.crashed_alone.take() else { return Ok(()) };
        let effect = answers.take("a delivery that ran alone when the host stopped")?;
        let Effect::Crashed { consumer, queue, leases } = effect else {
            violated!("{id:?} {at:?} ran alone: {effect:?}")
        };
        let told: Vec<Sequence> = leases.iter().map(|lease| lease.sequence).collect();
        ensure!((*consumer, told) == (id, vec![at]), "{id:?} {at:?} ran alone, but told is {effect:?}");
        let Some(model) = self.consumers.get_mut(&id) else { violated!("{id:?} is gone and told of") };
        ensure!(model.record.queue == *queue, "{id:?} is not on {queue:?}");
        for lease in leases {
            let attempt = model.pending.get(&at).map_or(1, |waiting| waiting.attempts_made + 1);
            ensure!(lease.attempt == attempt, "{lease:?} is told of, attempt {attempt} ran");
            ensure!(lease.fence.0 > self.last_fence, "{lease:?} has a fence from before {}", self.last_fence);
            self.last_fence = lease.fence.0;
            model.leased.insert(at, *lease);
        }
        self.alone = Some((id, at));
        self.count("host crash told");
        Ok(())
    }

    /// Whether somebody of this queue may want to read on.
    pub(super) fn may_read(&self, queue: QueueId) -> Checked {
        let ordered = |order| matches!(order, DeliveryOrder::Key | DeliveryOrder::Strict);
        let wants = self.consumers.values().any(|c| c.record.queue == queue && ordered(c.record.config.order));
        ensure!(wants, "nobody reads on in {queue:?}, but it is asked for");
        Ok(())
    }

    /// Messages behind one that is off the log may leave it too. They lose nothing by it.
    pub(super) fn parked(&mut self, queue: QueueId, disk: &Disk) -> Checked {
        let consumers: Vec<ConsumerId> =
            self.consumers.values().filter(|c| c.record.queue == queue).map(|c| c.record.id).collect();
        for id in consumers {
            let on_disk = disk.pending.iter().filter(|(key, _)| key.consumer == id);
            let moved: Vec<_> = on_disk
                .filter(|(key, _)| self.is_free_in_log(id, key.sequence))
                .map(|(key, record)| (*key, record.clone()))
                .collect();
            for (key, record) in moved {
                ensure!(key.due == self.now, "{key:?} was parked at {:?}", self.now);
                let fresh = (record.attempts_made, record.attempts.len()) == (0, 0);
                ensure!(fresh, "{key:?} was parked with attempts");
                let before = self.must_wait_for(id, key.sequence, &record.message, &BTreeSet::new());
                ensure!(before.is_some(), "{key:?} was parked behind nothing");
                let Some(consumer) = self.consumers.get_mut(&id) else { continue };
                consumer.log.remove(&key.sequence);
                let message = Arc::clone(&record.message);
                let waiting = Waiting { due: key.due, attempts_made: 0, message, evidence: 0 };
                consumer.pending.insert(key.sequence, waiting);
                self.count("parked behind its key");
            }
        }
        Ok(())
    }

    fn is_free_in_log(&self, id: ConsumerId, at: Sequence) -> bool {
        self.consumers.get(&id).is_some_and(|c| c.log.contains(&at) && !c.leased.contains_key(&at))
    }

    /// A message is to wait for its time.
    pub(super) fn delay(&mut self, entry: &PublishEntry) -> Result<DelayedKey, Violation> {
        let Some(due) = entry.deliver_at else { violated!("{} has no time to wait for", entry.message.id) };
        let most = self.limits.delayed_max;
        ensure!((self.delayed.len() as u64) < most, "{} is delayed beyond {most}", entry.message.id);
        let key = DelayedKey { due, number: self.next_delayed };
        self.next_delayed += 1;
        self.delayed.insert(key, PublishEntry { dedup: None, ..entry.clone() });
        self.count("delayed");
        Ok(key)
    }

    pub(super) fn delayed_are_asked_for(&mut self, answers: &mut Answers<'_>) -> Checked {
        let Some(effect) = answers.take_if(|effect| matches!(effect, Effect::ReadDelayed { .. })) else {
            let late = self.delayed.keys().find(|key| key.due <= self.now);
            let may_wait = !self.delayed_asked.is_empty();
            ensure!(late.is_none() || may_wait, "{late:?} is due at {:?} and not asked for", self.now);
            return Ok(());
        };
        let Effect::ReadDelayed { keys } = effect else { return Ok(()) };
        for key in keys {
            ensure!(self.delayed.contains_key(key), "{key:?} is asked for and not delayed");
            ensure!(key.due <= self.now, "{key:?} is asked for at {:?}", self.now);
            ensure!(self.delayed_asked.insert(*key), "{key:?} is asked for twice");
        }
        Ok(())
    }

    /// Their time has come: each is published once, or waits a little more and stays.
    pub(super) fn delayed_came(&mut self, entries: &[(DelayedKey, PublishEntry)], disk: &Disk) -> Checked {
        for (key, entry) in entries {
            if !self.delayed_asked.remove(key) {
                continue;
            }
            ensure!(self.delayed.remove(key).as_ref() == Some(entry), "{key:?} came as another message");
            let queues = self.destinations(entry);
            let later = [DELAYED_RETRY_MS, DELAYED_UNROUTABLE_MS]
                .map(|wait_ms| DelayedKey { due: self.now.plus_ms(wait_ms), number: key.number });
            let kept = later.into_iter().find(|later| disk.delayed.contains_key(later));
            // Cancelled in the same tick, it waits on no disk.
            let is_cancelled = |id: &JobId| disk.jobs.get(id).is_none_or(|job| job.cancelled_at.is_some());
            let moved = self.delayed_job_id(*key).filter(is_cancelled).map(|_| later[0]);
            let came = queues.as_ref().is_ok_and(|queues| {
                let queue = queues.iter().map(|id| (self.queues[id].place_for(&entry.message), disk.queues.get(id)));
                queue.filter_map(|(at, queue)| queue?.message(at)).any(|message| message.id == entry.message.id)
            });
            let kept = kept.or(moved.filter(|_| !came));
            let unfollowed = queues.as_ref().is_ok_and(|queues| self.cannot_follow(*key, queues));
            match (queues, kept) {
                (Ok(_), Some(kept)) if unfollowed => {
                    self.keep_waiting(kept, entry);
                    self.count("delayed job without a consumer");
                }
                (Ok(queues), None) => {
                    ensure!(!unfollowed, "{key:?} is of a job and was published to nobody");
                    if let Some(full) = queues.iter().find(|queue| self.is_full(**queue, 1)) {
                        violated!("{key:?} was published to {full:?}, which is full");
                    }
                    let places = self.append_to(&queues, &entry.message);
                    self.delayed_job_starts(*key, &places);
                    self.count("delayed and published");
                }
                (Ok(queues), Some(kept)) => {
                    let small = |id: &QueueId| self.queues[id].record.config.bytes_max < 100_000;
                    let may = queues.iter().any(|queue| self.is_full(*queue, 1) || small(queue));
                    ensure!(may, "{key:?} waits on as {kept:?}, but its queues have room");
                    self.keep_waiting(kept, entry);
                }
                (Err(PublishRefusal::Unroutable { .. } | PublishRefusal::UnknownQueue { .. }), Some(kept)) => {
                    self.keep_waiting(kept, entry);
                }
                (Err(refusal), kept) => violated!("{key:?} cannot go ({refusal}) and is kept as {kept:?}"),
            }
        }
        self.delayed_asked.clear();
        Ok(())
    }

    fn keep_waiting(&mut self, key: DelayedKey, entry: &PublishEntry) {
        self.delayed.insert(key, PublishEntry { deliver_at: Some(key.due), ..entry.clone() });
        self.delayed_job_waits(key);
        self.count("delayed once more");
    }

    /// Whether this delivery runs while nothing else may.
    pub(super) fn runs_alone(&self, id: ConsumerId, lease: &Lease) -> bool {
        self.alone == Some((id, lease.sequence))
    }
}
