//! Schedules: each planned time fires once, and records of other hosts come in under numbers of their own.

use std::sync::Arc;

use wasmill_delivery::{
    effect::{OrderReceipt, OrderRefusal, PublishRefusal},
    input::PublishEntry,
    name::QuarantineId,
    record::{CapsuleKept, QuarantineRecord},
    schedule::{ScheduleName, ScheduleRecord},
    time::Timestamp,
};

use super::{Auditor, Resting};
use crate::violation::{Violation, ensure, violated};

type Answer = Result<OrderReceipt, OrderRefusal>;

impl Auditor {
    pub(super) fn put_schedule(&mut self, record: &ScheduleRecord, given: &Answer) -> Result<Answer, Violation> {
        let before = self.schedules.get(&record.name);
        let (last, fired) = before.map_or((record.last, record.fired), |before| (before.last, before.fired));
        let back = last.zip(record.next).is_some_and(|(last, next)| next <= last);
        if let Err(OrderRefusal::Contradiction { .. }) = given
            && back
        {
            return Ok(given.clone());
        }
        ensure!(!back, "schedule {} goes back to {:?} after {last:?}: {given:?}", record.name, record.next);
        let created = before.is_none();
        self.schedules.insert(record.name.clone(), ScheduleRecord { last, fired, ..record.clone() });
        Ok(Ok(OrderReceipt::Schedule { created }))
    }

    pub(super) fn delete_schedule(&mut self, name: &ScheduleName) -> Answer {
        let unknown = || OrderRefusal::UnknownSchedule { schedule: name.clone() };
        self.fired.retain(|(of, _), _| of != name);
        self.schedules.remove(name).map(|_| OrderReceipt::Done).ok_or_else(unknown)
    }

    pub(super) fn fire_schedule(
        &mut self,
        name: &ScheduleName,
        planned: Timestamp,
        next: Option<Timestamp>,
        entry: &PublishEntry,
        given: &Answer,
    ) -> Result<Answer, Violation> {
        let Some(record) = self.schedules.get(name).cloned() else {
            return Ok(Err(OrderRefusal::UnknownSchedule { schedule: name.clone() }));
        };
        if record.next != Some(planned) {
            return Ok(Ok(OrderReceipt::Fired { now: false }));
        }
        match (self.destinations(entry), given) {
            (Err(wanted), _) => return Ok(Err(OrderRefusal::Publish(wanted))),
            (Ok(queues), Err(OrderRefusal::Publish(PublishRefusal::NeverFits { queue, .. }))) => {
                self.never_fits(queue, &queues, entry.message.size_bytes())?;
                return Ok(given.clone());
            }
            (Ok(queues), Err(OrderRefusal::Publish(refusal))) => {
                self.may_refuse(refusal, &queues, 1)?;
                return Ok(given.clone());
            }
            (Ok(queues), _) => {
                if let Some(full) = queues.iter().find(|queue| self.is_full(**queue, 1)) {
                    violated!("schedule {name} fired into {full:?}, which is full");
                }
                self.append_to(&queues, &entry.message);
            }
        }
        let times = self.fired.entry((name.clone(), planned)).or_default();
        *times += 1;
        ensure!(*times == 1, "schedule {name} fired {planned:?} {times} times");
        let record = ScheduleRecord { next, last: Some(planned), fired: record.fired + 1, ..record };
        self.schedules.insert(name.clone(), record);
        self.count("schedule fired");
        Ok(Ok(OrderReceipt::Fired { now: true }))
    }

    pub(super) fn import(&mut self, record: &QuarantineRecord, given: &Answer) -> Result<Answer, Violation> {
        let Some(queue) = self.queue_id(&record.queue) else {
            return Ok(Err(OrderRefusal::UnknownQueue { queue: record.queue.clone() }));
        };
        let same = |c: &&super::ModelConsumer| c.record.queue == queue && c.record.name == record.consumer;
        let Some(consumer) = self.consumers.values().find(same).map(|consumer| consumer.record.id) else {
            let (queue, consumer) = (record.queue.clone(), record.consumer.clone());
            return Ok(Err(OrderRefusal::UnknownConsumer { queue, consumer }));
        };
        let max = self.limits.quarantine_max;
        if self.quarantine.len() as u64 >= max {
            return Ok(Err(OrderRefusal::TooMany { what: "quarantined deliveries", max }));
        }
        let Ok(OrderReceipt::Imported { id }) = given else { violated!("it can be imported, but: {given:?}") };
        ensure!(id.0 > self.last_quarantine.0, "quarantine number {id} was used before");
        self.last_quarantine = QuarantineId(id.0);
        let message = Arc::clone(&record.message);
        let sequence = record.sequence.imported();
        let (capsule, kept) = (None, CapsuleKept::None);
        let attempts_made = record.attempts_made;
        self.quarantine.insert(*id, Resting { consumer, sequence, message, attempts_made, capsule, kept });
        self.count("imported");
        Ok(Ok(OrderReceipt::Imported { id: *id }))
    }
}
