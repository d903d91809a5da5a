//! Schedules. Whoever knows calendars says what the next time is; here it is made sure that each time fires once.

use super::{
    Engine,
    order::{Answer, check_count},
    tick::Tick,
};
use crate::{
    effect::{OrderReceipt, OrderRefusal},
    input::PublishEntry,
    limits,
    schedule::{Missed, ScheduleName, ScheduleRecord},
    time::Timestamp,
    write::Write,
};

impl Engine {
    pub(super) fn put_schedule(&mut self, tick: &mut Tick, record: ScheduleRecord) -> Answer {
        let mut record = record;
        check_schedule(&record)?;
        let before = self.schedules.get(&record.name);
        let created = before.is_none();
        match before {
            Some(before) => (record.last, record.fired) = (before.last, before.fired),
            None => check_count("schedules", self.schedules.len(), limits::SCHEDULES_MAX)?,
        }
        check_later(record.last, record.next)?;
        self.keep_schedule(tick, record);
        Ok(OrderReceipt::Schedule { created })
    }

    pub(super) fn delete_schedule(&mut self, tick: &mut Tick, name: ScheduleName) -> Answer {
        if self.schedules.remove(&name).is_none() {
            return Err(OrderRefusal::UnknownSchedule { schedule: name });
        }
        tick.writes.push(Write::DeleteSchedule { name });
        Ok(OrderReceipt::Done)
    }

    pub(super) fn fire_schedule(
        &mut self,
        tick: &mut Tick,
        name: &ScheduleName,
        planned: Timestamp,
        next: Option<Timestamp>,
        entry: &PublishEntry,
    ) -> Answer {
        let Some(record) = self.schedules.get(name) else {
            return Err(OrderRefusal::UnknownSchedule { schedule: name.clone() });
        };
        if record.next != Some(planned) {
            return Ok(OrderReceipt::Fired { now: false });
        }
        check_later(Some(planned), next)?;
        let record = ScheduleRecord { next, last: Some(planned), fired: record.fired + 1, ..record.clone() };
        let queues = self.destinations(tick, &entry.message, &entry.to)?;
        self.check_rooms(&queues, entry.message.size_bytes())?;
        self.append_to(tick, &queues, &entry.message);
        self.keep_schedule(tick, record);
        Ok(OrderReceipt::Fired { now: true })
    }

    fn keep_schedule(&mut self, tick: &mut Tick, record: ScheduleRecord) {
        self.schedules.insert(record.name.clone(), record.clone());
        tick.writes.push(Write::PutSchedule { record });
    }

    /// All schedules, by name.
    pub fn schedules(&self) -> impl Iterator<Item = &ScheduleRecord> {
        self.schedules.values()
    }

    /// One schedule.
    #[must_use]
    pub fn schedule(&self, name: &ScheduleName) -> Option<&ScheduleRecord> {
        self.schedules.get(name)
    }
}

fn check_schedule(record: &ScheduleRecord) -> Result<(), OrderRefusal> {
    OrderRefusal::check_range("cron in bytes", record.config.cron.len() as u64, 1, limits::CRON_BYTES_MAX as u64)?;
    if let Missed::All { max } = record.config.missed {
        OrderRefusal::check_range("missed-max", max.into(), 1, limits::SCHEDULE_MISSED_CEILING.into())?;
    }
    if record.config.paused && record.next.is_some() {
        let problem = "a paused schedule has no next time: resume it, or leave the time out";
        return Err(OrderRefusal::Contradiction { problem: problem.to_owned() });
    }
    Ok(())
}

/// What fired once must not become due again.
fn check_later(last: Option<Timestamp>, next: Option<Timestamp>) -> Result<(), OrderRefusal> {
    match (last, next) {
        (Some(last), Some(next)) if next <= last => {
            let (last, next) = (last.0, next.0);
            let problem =
                format!("the next time {next} of a schedule is not after {last}, which has fired; plan a later one");
            Err(OrderRefusal::Contradiction { problem })
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        effect::Effect,
        engine::{EngineLimits, Recovery},
        input::{Input, Order, Ticket},
        message::{Lineage, Message},
        name::{MessageId, QueueName},
        record::QueueConfig,
        schedule::ScheduleConfig,
        topic::{Topic, TopicPattern},
    };

    struct Run {
        engine: Engine,
        writes: Vec<Write>,
    }

    impl Run {
        fn with_queue(messages_max: u64) -> Self {
            let engine = Recovery::new(EngineLimits::default()).finish();
            let bindings = vec![TopicPattern::new("t").expect("a pattern").into()];
            let config = QueueConfig { bindings, messages_max, ..QueueConfig::default() };
            let put = Order::PutQueue { name: QueueName::new("q").expect("a name"), config };
            let (run, answer) = Self { engine, writes: Vec::new() }.order(put);
            answer.expect("a queue");
            run
        }

        fn order(self, order: Order) -> (Self, Answer) {
            let mut writes = Vec::new();
            let input = Input::Order { ticket: Ticket(1), order };
            let kept = |all: &[Write]| {
                writes = all.to_vec();
                Ok::<(), ()>(())
            };
            let (engine, effects) = self.engine.tick(Timestamp(1_000), vec![input], kept).expect("no commit fails");
            let answer = effects
                .into_iter()
                .find_map(|effect| if let Effect::Ordered { answer, .. } = effect { Some(answer) } else { None });
            (Self { engine, writes }, answer.expect("an answer"))
        }

        fn record(&self) -> ScheduleRecord {
            self.engine.schedules().next().expect("a schedule").clone()
        }
    }

    fn record(name: &str, next: Option<u64>) -> ScheduleRecord {
        let config = ScheduleConfig {
            cron: "@daily".to_owned(),
            timezone: "UTC".to_owned(),
            topic: Topic::new("t").expect("a topic"),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: bytes::Bytes::new(),
            missed: Missed::Once,
            paused: false,
        };
        let name = ScheduleName::new(name).expect("a name");
        ScheduleRecord { name, config, next: next.map(Timestamp), last: None, fired: 0 }
    }

    fn put(name: &str, next: u64) -> Order {
        Order::PutSchedule { record: Box::new(record(name, Some(next))) }
    }

    fn fire(planned: u64, next: Option<u64>) -> Order {
        let message = Message {
            id: MessageId::new(format!("s@{planned}")).expect("an id"),
            topic: Topic::new("t").expect("a topic"),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: bytes::Bytes::new(),
            published_at: Timestamp(0),
            expires_at: None,
            lineage: Lineage::default(),
        };
        let name = ScheduleName::new("s").expect("a name");
        let entry = PublishEntry::new(Arc::new(message));
        Order::FireSchedule { name, planned: Timestamp(planned), next: next.map(Timestamp), entry }
    }

    #[test]
    fn a_planned_time_fires_once_and_its_message_and_the_next_time_are_one_commit() {
        let run = Run::with_queue(10);
        let (run, answer) = run.order(put("s", 5));
        assert_eq!(answer, Ok(OrderReceipt::Schedule { created: true }));
        let (run, answer) = run.order(fire(5, Some(9)));
        assert_eq!(answer, Ok(OrderReceipt::Fired { now: true }));
        let fired = ScheduleRecord { last: Some(Timestamp(5)), fired: 1, ..record("s", Some(9)) };
        assert!(run.writes.contains(&Write::PutSchedule { record: fired.clone() }));
        assert!(run.writes.iter().any(|write| matches!(write, Write::Append { messages, .. } if messages.len() == 1)));
        let (run, again) = run.order(fire(5, Some(9)));
        assert_eq!((again, run.writes.len()), (Ok(OrderReceipt::Fired { now: false }), 0));
        let (run, back) = run.order(put("s", 5));
        assert!(back.expect_err("a step back").to_string().contains("not after 5"));
        let (run, still) = run.order(fire(9, Some(9)));
        assert!(still.expect_err("no step").to_string().contains("not after 9"));
        assert_eq!(run.record(), fired, "what was refused changed nothing");
        let (run, changed) = run.order(put("s", 7));
        assert_eq!(changed, Ok(OrderReceipt::Schedule { created: false }));
        assert_eq!(run.record().fired, 1, "what fired stays known");
        let (run, last) = run.order(fire(7, None));
        assert_eq!((last, run.record().next), (Ok(OrderReceipt::Fired { now: true }), None));
    }

    #[test]
    fn a_full_queue_leaves_the_schedule_due() {
        let (run, _) = Run::with_queue(1).order(put("s", 5));
        let (run, _) = run.order(fire(5, Some(6)));
        let (run, full) = run.order(fire(6, Some(7)));
        assert!(full.expect_err("a full queue").to_string().contains("queue q is full"));
        assert_eq!((run.record().next, run.record().fired, run.writes.len()), (Some(Timestamp(6)), 1, 0));
    }

    #[test]
    fn there_are_only_so_many_schedules() {
        let mut run = Run::with_queue(1);
        for number in 0..limits::SCHEDULES_MAX {
            let name = ScheduleName::new(format!("n{number}")).expect("a name");
            run.engine.schedules.insert(name.clone(), record(name.as_str(), None));
        }
        let (run, full) = run.order(put("s", 5));
        assert!(full.expect_err("too many").to_string().contains("10000 schedules already"));
        let (run, _) = run.order(Order::DeleteSchedule { name: ScheduleName::new("n0").expect("a name") });
        let (run, answer) = run.order(put("s", 5));
        assert_eq!(answer, Ok(OrderReceipt::Schedule { created: true }));
        let unknown = run.order(Order::DeleteSchedule { name: ScheduleName::new("n0").expect("a name") }).1;
        assert!(unknown.expect_err("gone").to_string().contains("no schedule n0"));
        assert!(ScheduleName::new("n".repeat(limits::SCHEDULE_NAME_BYTES_MAX)).is_ok());
        assert!(ScheduleName::new("n".repeat(limits::SCHEDULE_NAME_BYTES_MAX + 1)).is_err());
    }
}
