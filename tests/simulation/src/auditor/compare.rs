//! The model against the disk and against what the engine shows of itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use wasmill_delivery::{
    engine::Engine,
    name::{ConsumerId, QueueId, Sequence},
    priority::Priority,
    record::{CapsuleKept, PendingKey, QueueRecord},
};

use super::{Auditor, ModelConsumer, ModelQueue};
use crate::{
    disk::Disk,
    handler::{BUMPS_KEY, COMMITS_KEY},
    state::integer,
    violation::{Checked, ensure, violated},
};

impl Auditor {
    /// Everything is where the model has it.
    ///
    /// # Errors
    /// Names the first thing that is somewhere else.
    pub fn compare(&self, disk: &Disk, engine: &Engine) -> Checked {
        self.compare_declarations(disk)?;
        self.queues.iter().try_for_each(|(id, queue)| self.compare_queue(*id, queue, disk, engine))?;
        self.consumers.iter().try_for_each(|(id, consumer)| self.compare_consumer(*id, consumer, disk))?;
        self.compare_quarantine(disk, engine)?;
        let shown: Vec<_> = engine.schedules().collect();
        let wanted: Vec<_> = self.schedules.values().collect();
        ensure!(shown == wanted, "schedules are {wanted:?}, the engine shows {shown:?}");
        ensure!(self.schedules == disk.schedules, "schedules are {wanted:?}, on disk {:?}", disk.schedules);
        ensure!(
            self.delayed == disk.delayed,
            "delayed are {:?}, on disk {:?}",
            self.delayed.keys(),
            disk.delayed.keys()
        );
        ensure!(engine.delayed_len() == self.delayed.len() as u64, "the engine shows {} delayed", engine.delayed_len());
        self.compare_jobs(disk, engine)?;
        self.compare_views(engine)?;
        if let Some(difference) = self.state.difference(&disk.state) {
            violated!("state in commit order and on disk differ: {difference}");
        }
        self.compare_counters()?;
        let due = engine.next_due();
        let wanted = self.next_wanted();
        ensure!(wanted.is_none() || due.is_some_and(|due| Some(due) <= wanted), "wakes at {due:?}, not {wanted:?}");
        Ok(())
    }

    fn compare_declarations(&self, disk: &Disk) -> Checked {
        let queues: Vec<&QueueRecord> = self.queues.values().map(|queue| &queue.record).collect();
        let kept: Vec<&QueueRecord> = disk.queues.values().map(|queue| &queue.record).collect();
        ensure!(queues == kept, "queues are {queues:?}, on disk {kept:?}");
        ensure!(self.handlers == disk.handlers, "handlers are {:?}, on disk {:?}", self.handlers, disk.handlers);
        let consumers: BTreeMap<_, _> = self.consumers.iter().map(|(id, c)| (*id, c.record.clone())).collect();
        ensure!(consumers == disk.consumers, "consumers are {consumers:?}, on disk {:?}", disk.consumers);
        Ok(())
    }

    fn compare_queue(&self, id: QueueId, queue: &ModelQueue, disk: &Disk, engine: &Engine) -> Checked {
        let kept = &disk.queues[&id];
        for (priority, ends) in &queue.ends {
            let on_disk = kept.log(*priority).next;
            ensure!(on_disk == ends.next, "{id:?} ends at {:?}, on disk at {on_disk:?}", ends.next);
            for (at, message) in queue.log.range(ends.first..ends.next) {
                let found = kept.message(*at);
                ensure!(found == Some(message), "{id:?} has {} at {at:?}, on disk {found:?}", message.id);
            }
        }
        let Some(view) = engine.queue(id) else { violated!("the engine does not show {id:?}") };
        let shown = (view.first, view.needed, view.next, view.messages);
        let plain = queue.ends_of(Priority::LOWEST);
        let wanted = (plain.first, plain.needed, plain.next, queue.messages());
        ensure!(shown == wanted, "{id:?} is {wanted:?}, the engine shows {shown:?}");
        ensure!(view.record == queue.record, "{id:?} is {:?}, the engine shows {:?}", queue.record, view.record);
        ensure!(view.messages > 0 || view.bytes == 0, "{id:?} is empty and has {} bytes", view.bytes);
        Ok(())
    }

    fn compare_consumer(&self, id: ConsumerId, consumer: &ModelConsumer, disk: &Disk) -> Checked {
        for (priority, ends) in &self.queues[&consumer.record.queue].ends {
            let cursor = disk.cursor(id, *priority);
            for at in (cursor.floor.0..ends.next.0).map(Sequence) {
                let (wanted, settled) = (!consumer.log.contains(&at), cursor.is_settled(at));
                ensure!(wanted == settled, "{id:?} at {at:?}: settled is {wanted}, on disk {settled}");
            }
            let lowest = consumer.log.range(priority.first()..ends.next).next();
            let floor = cursor.floor;
            ensure!(lowest.is_none_or(|at| *at >= floor), "{id:?} needs {lowest:?}, its floor is {floor:?}");
            let to = consumer.dispatched_to.get(priority).copied().unwrap_or(Sequence(0));
            let bound = cursor.dispatch_bound;
            ensure!(to <= bound, "{id:?} leased to {to:?}, bound {bound:?}");
        }
        let low = PendingKey { consumer: id, due: wasmill_delivery::time::Timestamp(0), sequence: Sequence(0) };
        let high = PendingKey { consumer: ConsumerId(id.0 + 1), ..low };
        let mut count = 0;
        for (key, record) in disk.pending.range(low..high) {
            count += 1;
            let Some(waiting) = consumer.pending.get(&key.sequence) else { violated!("{key:?} must not be pending") };
            let wanted = (waiting.due, waiting.attempts_made, waiting.evidence);
            let found = (key.due, record.attempts_made, record.attempts.len());
            ensure!(wanted == found, "{key:?} has (due, attempts, evidence) {found:?}, not {wanted:?}");
            ensure!(record.message == waiting.message, "{key:?} has another message");
        }
        ensure!(count == consumer.pending.len(), "{id:?} has {count} pending on disk, not {}", consumer.pending.len());
        Ok(())
    }

    /// What becomes of the inputs of a last attempt.
    pub(super) fn keeps_capsule(&mut self, capsule: Option<&Bytes>) -> (Option<Bytes>, CapsuleKept) {
        let Some(capsule) = capsule else { return (None, CapsuleKept::None) };
        let rest: usize = self.quarantine.values().filter_map(|resting| resting.capsule.as_ref()).map(Bytes::len).sum();
        let bytes = capsule.len() as u64;
        if rest as u64 + bytes > self.limits.capsules_bytes_max {
            self.count("no room for a capsule");
            return (None, CapsuleKept::NoRoom);
        }
        self.count("capsule kept");
        (Some(capsule.clone()), CapsuleKept::Kept { bytes })
    }

    fn compare_quarantine(&self, disk: &Disk, engine: &Engine) -> Checked {
        let (wanted, found) = (self.quarantine.len(), disk.quarantine.len());
        ensure!(wanted == found, "{wanted} rest in quarantine, on disk {found}");
        for (id, resting) in &self.quarantine {
            let Some(record) = disk.quarantine.get(id) else { violated!("{id} is not in quarantine on disk") };
            let wanted = (resting.consumer, resting.sequence, resting.attempts_made);
            let found = (record.consumer_id, record.sequence, record.attempts_made);
            ensure!(wanted == found, "quarantine {id} is {found:?}, not {wanted:?}");
            ensure!(record.message == resting.message, "quarantine {id} has another message");
            let (wanted, found) = (resting.kept, record.capsule);
            ensure!(wanted == found, "the capsule of quarantine {id} is {found:?}, not {wanted:?}");
            ensure!(disk.capsules.get(id) == resting.capsule.as_ref(), "quarantine {id} has another capsule on disk");
            ensure!(engine.is_quarantined(*id), "the engine does not know quarantine {id}");
        }
        let capsules = self.quarantine.values().filter(|resting| resting.capsule.is_some()).count();
        ensure!(disk.capsules.len() == capsules, "{capsules} capsules rest, on disk {}", disk.capsules.len());
        ensure!(engine.quarantined() == wanted as u64, "the engine shows {} in quarantine", engine.quarantined());
        Ok(())
    }

    fn compare_views(&self, engine: &Engine) -> Checked {
        let views: Vec<_> = engine.consumers().collect();
        ensure!(views.len() == self.consumers.len(), "the engine shows {} consumers", views.len());
        for view in views {
            let id = view.record.id;
            let Some(consumer) = self.consumers.get(&id) else { violated!("the engine shows {id:?}") };
            let quarantined = self.quarantine.values().filter(|resting| resting.consumer == id).count();
            let suspects = consumer.suspects.len();
            let wanted = [consumer.log.len(), consumer.leased.len(), consumer.pending.len(), quarantined, suspects];
            let wanted = wanted.map(|count| count as u64);
            let shown = [view.lag, view.in_flight, view.pending, view.quarantined, view.suspects];
            ensure!(
                shown == wanted,
                "{id:?} has lag, in flight, pending, quarantined, suspects {wanted:?}, shown {shown:?}"
            );
            ensure!(view.record == consumer.record, "{id:?} is {:?}, shown {:?}", consumer.record, view.record);
            let redriven = self.counts.get("redriven").copied().unwrap_or_default();
            // Suspects run whatever waits, or a host that was full when it crashed would never get rid of them.
            let suspects = self.counts.get("suspect ran alone").copied().unwrap_or_default();
            let most = self.limits.pending_max + u64::from(consumer.in_flight_max_ever) + redriven + suspects;
            ensure!(view.pending <= most, "{id:?} has {} pending, at most {most}", view.pending);
        }
        Ok(())
    }

    /// Effects happened exactly as often as deliveries were committed.
    fn compare_counters(&self) -> Checked {
        for (handler, commits) in &self.commits {
            let bumps = self.bumps.get(handler).copied().unwrap_or_default();
            for (key, wanted) in [(COMMITS_KEY, *commits), (BUMPS_KEY, bumps)] {
                let found = integer(self.state.get(handler, key).as_ref());
                ensure!(found == i64::try_from(wanted).ok(), "{handler} has {key} {found:?}, not {wanted}");
            }
        }
        Ok(())
    }

    /// Whether nothing is left to be delivered.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let settled = self.consumers.values().all(|consumer| consumer.log.is_empty() && consumer.pending.is_empty());
        // What nobody takes waits for somebody who does.
        settled && self.delayed.iter().all(|(key, entry)| self.cannot_go(*key, entry))
    }

    /// What is left to be delivered, in words.
    #[must_use]
    pub fn leftovers(&self) -> String {
        let open = self.consumers.iter().filter(|(_, c)| !c.log.is_empty() || !c.pending.is_empty());
        let words = open.map(|(id, c)| {
            format!("{id:?}: log {:?}, pending {:?}, leased {}", c.log, c.pending.keys(), c.leased.len())
        });
        let delayed = format!("; delayed {:?}", self.delayed.keys());
        words.collect::<Vec<_>>().join("; ") + &delayed
    }
}
