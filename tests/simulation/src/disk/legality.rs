//! Which writes the store may be asked for. A write that breaks a rule here would damage a real store.

use std::{collections::BTreeSet, sync::Arc};

use wasmill_delivery::{
    cursor::Cursor,
    limits::EVIDENCE_ATTEMPTS_MAX,
    message::Message,
    name::{ConsumerId, QueueId, Sequence},
    priority::Priority,
    record::{ConsumerRecord, PendingKey, PendingRecord, QuarantineRecord},
    write::Write,
};

use super::Disk;
use crate::violation::{Checked, ensure};

impl Disk {
    pub(super) fn check(&self, write: &Write) -> Checked {
        match write {
            Write::Append { queue, first, bytes_before, messages } => {
                self.check_append(*queue, *first, *bytes_before, messages)
            }
            Write::Trim { queue, below } => self.check_trim(*queue, *below),
            Write::PutCursor { consumer, cursor } => self.check_cursor(*consumer, cursor),
            Write::PutPending { key, record } => self.check_pending(key, record),
            Write::DeletePending { key } => {
                ensure!(self.pending.contains_key(key), "DeletePending names {key:?}, which is not there");
                Ok(())
            }
            Write::PutDelayed { key, .. } => {
                let twice = self.delayed.keys().find(|other| other.number == key.number);
                ensure!(twice.is_none(), "PutDelayed of {key:?}, but {twice:?} is the same message");
                Ok(())
            }
            Write::DeleteDelayed { key } => {
                ensure!(self.delayed.contains_key(key), "DeleteDelayed names {key:?}, which is not there");
                Ok(())
            }
            Write::PutRunning { consumer, sequence, .. } => {
                ensure!(self.consumers.contains_key(consumer), "PutRunning for {consumer:?}, which is not there");
                ensure!(sequence.0 > 0, "PutRunning of {consumer:?} {sequence:?}");
                Ok(())
            }
            Write::DeleteRunning { .. } => Ok(()),
            Write::PutQuarantine { record, .. } => self.check_quarantine(record),
            Write::DeleteQuarantine { id } => {
                ensure!(self.quarantine.contains_key(id), "DeleteQuarantine names {id}, which is not there");
                Ok(())
            }
            Write::DeleteSchedule { name } => {
                ensure!(self.schedules.contains_key(name), "DeleteSchedule names {name}, which is not there");
                Ok(())
            }
            Write::PutSchedule { record } => {
                let old = self.schedules.get(&record.name);
                let kept = old.is_none_or(|old| old.fired <= record.fired && old.last <= record.last);
                ensure!(kept, "schedule {} goes back from {old:?} to {record:?}", record.name);
                Ok(())
            }
            Write::PutJob { record } => {
                let old = self.jobs.get(&record.id);
                let kept = old.is_none_or(|old| old.ends <= record.ends && old.submitted_at == record.submitted_at);
                ensure!(kept, "job {} goes back from {old:?} to {record:?}", record.id);
                Ok(())
            }
            Write::PutJobResult { id, .. } | Write::DeleteJob { id } => {
                ensure!(self.jobs.contains_key(id), "{write:?} names a job that is not there");
                Ok(())
            }
            Write::PutState { .. } | Write::DeleteState { .. } | Write::DeleteDedup { .. } => Ok(()),
            Write::AddState { handler, key, .. } => {
                let value = self.state.get(handler, key);
                ensure!(
                    crate::state::integer(value.as_ref()).is_some(),
                    "AddState on {handler}/{key}, which holds {value:?}"
                );
                Ok(())
            }
            Write::PutDedup { ids, .. } => {
                let unique: BTreeSet<_> = ids.iter().collect();
                ensure!(!ids.is_empty() && unique.len() == ids.len(), "PutDedup with ids {ids:?}");
                Ok(())
            }
            Write::PutQueue { record } => {
                let namesake = self.queues.values().find(|queue| queue.record.name == record.name);
                ensure!(namesake.is_none_or(|queue| queue.record.id == record.id), "two queues {}", record.name);
                Ok(())
            }
            Write::DeleteQueue { queue } => {
                ensure!(self.queues.contains_key(queue), "DeleteQueue names {queue:?}, which is not there");
                let consumer = self.consumers.values().find(|consumer| consumer.queue == *queue);
                ensure!(consumer.is_none(), "{queue:?} is deleted under {consumer:?}");
                Ok(())
            }
            Write::PutConsumer { record } => self.check_consumer(record),
            Write::DeleteConsumer { consumer } => {
                ensure!(self.consumers.contains_key(consumer), "DeleteConsumer names {consumer:?}, not there");
                Ok(())
            }
            Write::PutHandler { .. } => Ok(()),
            Write::DeleteHandler { name } => {
                ensure!(self.handlers.contains_key(name), "DeleteHandler names {name}, which is not there");
                let user = self.consumers.values().find(|consumer| consumer.config.handler.as_ref() == Some(name));
                ensure!(user.is_none(), "handler {name} is deleted under {user:?}");
                Ok(())
            }
            Write::PutCounters { counters } => {
                let old = &self.counters;
                let grows = counters.queue >= old.queue
                    && counters.consumer >= old.consumer
                    && counters.quarantine >= old.quarantine
                    && counters.delayed >= old.delayed
                    && counters.fence >= old.fence;
                ensure!(grows, "counters go back from {old:?} to {counters:?}");
                Ok(())
            }
        }
    }

    fn check_append(&self, id: QueueId, first: Sequence, bytes_before: u64, messages: &[Arc<Message>]) -> Checked {
        let queue = self.queues.get(&id);
        ensure!(queue.is_some(), "Append to {id:?}, which is not there");
        ensure!(!messages.is_empty(), "Append of nothing to {id:?}");
        let log = queue.map(|queue| queue.log(Priority::of(first)));
        let end = log.map(|log| (log.next, log.bytes_before_next));
        ensure!(
            end == Some((first, bytes_before)),
            "Append to {id:?} at {first:?} after {bytes_before} bytes, but the log ends at {end:?}"
        );
        Ok(())
    }

    fn check_trim(&self, id: QueueId, below: Sequence) -> Checked {
        let queue = self.queues.get(&id);
        ensure!(queue.is_some(), "Trim of {id:?}, which is not there");
        let lane = Priority::of(below);
        let bounds = queue.map(|queue| queue.log(lane)).map(|log| (log.trimmed_below, log.next));
        ensure!(
            bounds.is_some_and(|(low, high)| low < below && below <= high),
            "Trim of {id:?} below {below:?}, outside {bounds:?}"
        );
        for consumer in self.consumers.values().filter(|consumer| consumer.queue == id) {
            let floor = self.cursor(consumer.id, lane).floor;
            ensure!(floor >= below, "Trim of {id:?} below {below:?}, but {} needs {floor:?}", consumer.name);
        }
        Ok(())
    }

    fn check_cursor(&self, id: ConsumerId, cursor: &Cursor) -> Checked {
        let consumer = self.consumers.get(&id);
        ensure!(consumer.is_some(), "PutCursor for {id:?}, which is not there");
        let apart = cursor.settled.windows(2).all(|pair| pair[0].1 < pair[1].0);
        let above = cursor.settled.first().is_none_or(|(start, _)| *start > cursor.floor);
        let filled = cursor.settled.iter().all(|(start, end)| start < end);
        ensure!(apart && above && filled, "{id:?} has a cursor out of shape: {cursor:?}");
        let lane = Priority::of(cursor.floor);
        let ours = cursor.settled.iter().all(|(start, _)| Priority::of(*start) == lane);
        ensure!(
            ours && Priority::of(cursor.dispatch_bound) == lane,
            "{id:?} has a cursor over several logs: {cursor:?}"
        );
        if let Some(old) = self.cursors.get(&(id, lane)) {
            let kept = old
                .settled
                .iter()
                .all(|(start, end)| (start.0..end.0).all(|sequence| cursor.is_settled(Sequence(sequence))));
            // The bound may go back after a rest; that it is above what is leased is the auditor's matter.
            let forward = cursor.floor >= old.floor && kept;
            ensure!(forward, "{id:?} goes back from {old:?} to {cursor:?}");
        }
        Ok(())
    }

    fn check_pending(&self, key: &PendingKey, record: &PendingRecord) -> Checked {
        ensure!(self.consumers.contains_key(&key.consumer), "PutPending for a consumer that is gone: {key:?}");
        let same = |other: &&PendingKey| (other.consumer, other.sequence) == (key.consumer, key.sequence);
        let twice = self.pending.keys().find(same);
        ensure!(twice.is_none(), "PutPending of {key:?}, but {twice:?} is the same delivery");
        ensure!(record.attempts.len() <= EVIDENCE_ATTEMPTS_MAX, "PutPending of {key:?} with too much evidence");
        Ok(())
    }

    fn check_quarantine(&self, record: &QuarantineRecord) -> Checked {
        let id = record.id;
        ensure!(!self.quarantine.contains_key(&id), "PutQuarantine of {id}, which is there already");
        ensure!(id.0 >= self.counters.quarantine, "PutQuarantine of {id}, a number that was used before");
        ensure!(record.attempts.len() <= EVIDENCE_ATTEMPTS_MAX, "PutQuarantine of {id} with too much evidence");
        ensure!(self.consumers.contains_key(&record.consumer_id), "PutQuarantine of {id} for a consumer that is gone");
        Ok(())
    }

    fn check_consumer(&self, record: &ConsumerRecord) -> Checked {
        let ConsumerRecord { id, queue, name, config, .. } = record;
        ensure!(self.queues.contains_key(queue), "PutConsumer {name} on {queue:?}, which is not there");
        let known = config.handler.as_ref().is_none_or(|handler| self.handlers.contains_key(handler));
        ensure!(known, "PutConsumer {name} without its handler");
        let twice = self.consumers.values().find(|other| other.queue == *queue && other.name == *name);
        ensure!(twice.is_none_or(|other| other.id == *id), "two consumers {name} on {queue:?}");
        Ok(())
    }

    /// What must hold once all writes of a commit are in.
    pub(super) fn check_whole(&self) -> Checked {
        for (id, consumer) in &self.consumers {
            ensure!(self.cursors.contains_key(&(*id, Priority::LOWEST)), "{id:?} has no cursor");
            for (_, cursor) in self.cursors.range((*id, Priority::LOWEST)..).take_while(|((of, _), _)| of == id) {
                let top = cursor.settled.last().map_or(cursor.floor, |(_, end)| *end);
                let log = self.queues.get(&consumer.queue).map(|queue| queue.log(Priority::of(top)));
                let end = log.map(|log| log.next);
                ensure!(Some(top) <= end, "{id:?} settled up to {top:?}, but its log ends at {end:?}");
            }
            ensure!(id.0 < self.counters.consumer, "{id:?} could be used again");
        }
        for id in self.queues.keys() {
            ensure!(id.0 < self.counters.queue, "{id:?} could be used again");
        }
        for id in self.quarantine.keys() {
            ensure!(id.0 < self.counters.quarantine, "quarantine number {id} could be used again");
        }
        for key in self.pending.keys() {
            let settled = self.is_settled(key.consumer, key.sequence);
            ensure!(settled || key.sequence.is_imported(), "{key:?} is pending and unsettled in the log at once");
        }
        for (consumer, sequence) in self.running.keys() {
            ensure!(self.consumers.contains_key(consumer), "{consumer:?} is gone and {sequence:?} of it runs");
            let settled = self.is_settled(*consumer, *sequence) || sequence.is_imported();
            let pending = self.pending.keys().any(|key| (key.consumer, key.sequence) == (*consumer, *sequence));
            ensure!(settled == pending, "{consumer:?} runs {sequence:?}, which is settled");
        }
        Ok(())
    }

    fn is_settled(&self, consumer: ConsumerId, at: Sequence) -> bool {
        self.cursor(consumer, Priority::of(at)).is_settled(at)
    }
}
