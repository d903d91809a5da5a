//! Operators: they declare, change and remove, pause and resume, redrive and purge.

use std::{collections::BTreeMap, sync::Arc};

use wasmill_delivery::{
    input::{Input, Order, PublishEntry},
    job::CALLBACK_QUEUE,
    message::Lineage,
    name::{ConsumerId, ConsumerName, Digest, HandlerName, QuarantineId, QueueName, Sequence},
    policy::Backoff,
    record::{
        Binding, ConsumerConfig, DeliveryOrder, Expired, HandlerLimits, HandlerRecord, HeaderMatch, MatchMode,
        Overflow, PauseReason, Poison, QuarantineRecord, QueueConfig, Retention, Start, StormPolicy,
    },
    schedule::{Missed, ScheduleConfig, ScheduleName, ScheduleRecord},
    time::Timestamp,
    topic::TopicPattern,
};

use super::Simulation;

const PATTERNS: [&str; 9] =
    ["orders.*.created", "orders.#", "#.created", "logs.*", "back", "orders.eu.*", "#", "*", "orders.eu.created"];
const OLD_QUARANTINE: usize = 8;

impl Simulation {
    /// A world in which something can happen.
    pub(super) fn declare_first(&mut self) {
        for number in 0..3 {
            let record = self.handler_record(number, true);
            self.send_order(Order::PutHandler { record: Box::new(record) });
        }
        for number in 0..3 {
            let config = self.queue_config();
            self.send_order(Order::PutQueue { name: queue_name(number), config });
            for consumer in 0..=self.random.below(2) {
                let order = self.put_consumer(queue_name(number), consumer_name(consumer));
                self.send_order(order);
            }
        }
    }

    fn callback_queue(&mut self) -> Order {
        let name = QueueName::new(CALLBACK_QUEUE).expect("a name");
        let has_consumer = self.disk.queues.values().any(|queue| queue.record.name == name);
        match self.random.below(6) {
            0 => Order::DeleteQueue { name },
            1..=3 if has_consumer => self.put_consumer(name, consumer_name(0)),
            _ => {
                let config = QueueConfig { messages_max: self.random.between(1, 20), ..QueueConfig::default() };
                Order::PutQueue { name, config }
            }
        }
    }

    pub(super) fn order(&mut self) {
        if let Some(order) = self.random_order() {
            self.send_order(order);
        }
    }

    pub(super) fn send_order(&mut self, order: Order) {
        let ticket = self.ticket();
        let words: String = format!("{order:?}").chars().take(160).collect();
        self.say(format!("{ticket:?}: {words}"));
        self.mailbox.push_back(Input::Order { ticket, order });
    }

    fn random_order(&mut self) -> Option<Order> {
        let queue = queue_name(self.random.below(4));
        let name = consumer_name(self.random.below(3));
        let handler = self.random.below(4);
        let consumers: Vec<ConsumerId> = self.disk.consumers.keys().copied().collect();
        let consumer = self.random.pick(&consumers).copied().unwrap_or(ConsumerId(99));
        Some(match self.random.below(50) {
            0..=2 => Order::PutQueue { name: queue, config: self.queue_config() },
            3 => Order::DeleteQueue { name: queue },
            4..=8 => self.put_consumer(queue, name),
            9 | 10 => Order::DeleteConsumer { queue, name },
            11 | 12 => {
                let loaded = self.random.chance(80);
                Order::PutHandler { record: Box::new(self.handler_record(handler, loaded)) }
            }
            13 => Order::DeleteHandler { name: handler_name(handler) },
            14 | 15 => Order::Pause { consumer, reason: self.pause_reason() },
            16..=21 => Order::Resume { consumer },
            22..=28 => self.redrive()?,
            29 | 30 => Order::PurgeQuarantine { ids: self.some_quarantined() },
            31 if self.random.chance(30) => Order::Rest,
            32..=35 => self.schedule_order(),
            36 | 37 => self.import()?,
            38..=43 => self.submit_job(),
            44..=47 => self.cancel_job(),
            48 => self.cancel_delayed(),
            49 => self.callback_queue(),
            _ => Order::Resume { consumer: ConsumerId(self.random.small(0, 30)) },
        })
    }

    /// Declare a schedule, remove it, or fire it: at its time, at one that fired already, or with its clock set back.
    fn schedule_order(&mut self) -> Order {
        let name = ScheduleName::new(format!("s{}", self.random.below(3))).expect("a name");
        let known = self.disk.schedules.get(&name).cloned();
        let soon = self.clock.plus_ms(self.random.below(300));
        match (self.random.below(8), known) {
            (0, Some(_)) => Order::DeleteSchedule { name },
            (1..=5, Some(record)) => {
                let planned = record.next.or(record.last).unwrap_or(soon);
                let planned = if self.random.chance(15) { record.last.unwrap_or(planned) } else { planned };
                let next = self.random.chance(90).then(|| planned.plus_ms(1 + self.random.below(200)));
                let entry = PublishEntry::new(Arc::new(self.message()));
                Order::FireSchedule { name, planned, next, entry }
            }
            (_, _) => {
                let config = ScheduleConfig {
                    cron: "@hourly".to_owned(),
                    timezone: "UTC".to_owned(),
                    topic: self.topic(),
                    key: None,
                    content_type: None,
                    headers: Vec::new(),
                    data: bytes::Bytes::new(),
                    missed: Missed::Once,
                    paused: false,
                };
                let record = ScheduleRecord { name, config, next: Some(soon), last: None, fired: 0 };
                Order::PutSchedule { record: Box::new(record) }
            }
        }
    }

    /// A record as another host would have exported it.
    fn import(&mut self) -> Option<Order> {
        let known: Vec<&QuarantineRecord> = self.disk.quarantine.values().collect();
        let record = (*self.random.pick(&known)?).clone();
        Some(Order::ImportQuarantine { record: Box::new(record) })
    }

    fn put_consumer(&mut self, queue: QueueName, name: ConsumerName) -> Order {
        let from = self.random.chance(80).then(|| Sequence(self.random.below(40)));
        let mut config = self.consumer_config();
        let on_priorities = self.disk.queues.values().any(|q| q.record.name == queue && q.record.config.priorities);
        if on_priorities && self.random.chance(85) {
            config.order = DeliveryOrder::None;
            config.start = if self.random.chance(20) { Start::End } else { Start::Beginning };
        }
        Order::PutConsumer { queue, name, config, from }
    }

    fn pause_reason(&mut self) -> PauseReason {
        let detail = "simulated".to_owned();
        match self.random.below(4) {
            0 => PauseReason::Operator,
            3 => PauseReason::Storm { fingerprint: detail },
            1 => PauseReason::Handler { detail },
            _ => PauseReason::Store { detail },
        }
    }

    fn some_quarantined(&mut self) -> Vec<QuarantineId> {
        let known: Vec<QuarantineId> = self.disk.quarantine.keys().copied().collect();
        let mut ids: Vec<QuarantineId> = known.into_iter().filter(|_| self.random.chance(30)).collect();
        ids.extend(ids.first().copied());
        ids.push(QuarantineId(self.random.below(100)));
        ids
    }

    /// Of a record that is there, or of one that was there.
    fn redrive(&mut self) -> Option<Order> {
        let known: Vec<&QuarantineRecord> = self.disk.quarantine.values().collect();
        if let Some(record) = self.random.pick(&known) {
            self.old_quarantine.push_back(Arc::new((*record).clone()));
        }
        if self.old_quarantine.len() > OLD_QUARANTINE {
            self.old_quarantine.pop_front();
        }
        let late = self.random.chance(30);
        let newest = self.old_quarantine.back().cloned();
        let record = if late { self.random.pick(self.old_quarantine.make_contiguous()).cloned() } else { newest };
        record.map(|record| self.redrive_of(&record))
    }

    pub(super) fn redrive_of(&mut self, record: &QuarantineRecord) -> Order {
        let mut message = self.message();
        // An operator may edit what is redriven, but its key stays.
        message.key.clone_from(&record.message.key);
        message.lineage = Lineage { redrive_of: Some((record.message.id.clone(), record.id)), ..Lineage::default() };
        Order::Redrive { record: Box::new(record.clone()), message: Arc::new(message) }
    }

    fn queue_config(&mut self) -> QueueConfig {
        let bindings = (0..self.random.between(0, 4)).filter_map(|_| self.binding()).collect();
        let defaults = QueueConfig::default();
        let messages_max = match self.random.below(12) {
            0 => 0,
            1..=5 => self.random.between(4, 20),
            _ => defaults.messages_max,
        };
        let bytes_max = match self.random.below(20) {
            0 => self.random.between(500, 2_000),
            1 => self.random.between(20, 80),
            _ => defaults.bytes_max,
        };
        let overflow = match self.random.below(6) {
            0 | 1 if bytes_max == defaults.bytes_max => Overflow::DropOldest,
            2 => Overflow::Wait { wait_ms: self.random.between(1, 50) },
            _ => Overflow::Refuse,
        };
        let messages = self.random.chance(25).then(|| self.random.below(30));
        let retention = messages.map(|messages| Retention { messages: Some(messages), ..Retention::default() });
        QueueConfig { bindings, messages_max, bytes_max, overflow, retention, priorities: self.random.chance(25) }
    }

    fn binding(&mut self) -> Option<Binding> {
        let topic = TopicPattern::new(PATTERNS[self.random.index(PATTERNS.len())]).ok()?;
        if self.random.chance(80) {
            return Some(topic.into());
        }
        let mode = if self.random.chance(50) { MatchMode::All } else { MatchMode::Any };
        let wanted = [("region", "eu"), ("tier", "1"), ("tier", "2")];
        let headers = wanted.into_iter().filter(|_| self.random.chance(60));
        let mut headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if headers.is_empty() {
            headers.push(("region".to_owned(), "eu".to_owned()));
        }
        Some(Binding { topic, headers: Some(HeaderMatch { mode, headers }) })
    }

    fn consumer_config(&mut self) -> ConsumerConfig {
        ConsumerConfig {
            concurrency: 2,
            in_flight_max: self.random.small(1, 8),
            attempts_max: self.random.small(1, 5),
            backoff: self.backoff(),
            start: match self.random.below(6) {
                0 => Start::End,
                1 => Start::Sequence(Sequence(self.random.below(40))),
                2 => Start::Time(Timestamp(0)),
                _ => Start::Beginning,
            },
            order: *self
                .random
                .pick(&[DeliveryOrder::None, DeliveryOrder::Key, DeliveryOrder::Strict])
                .unwrap_or(&DeliveryOrder::Key),
            poison: *self.random.pick(&[Poison::Park, Poison::Skip, Poison::Block]).unwrap_or(&Poison::Park),
            deterministic: self.random.chance(50),
            storm: StormPolicy {
                deliveries: if self.random.chance(60) { 0 } else { self.random.small(2, 5) },
                percent: self.random.small(50, 100),
                probe_ms: self.random.between(1, 100),
            },
            rate_per_second: self.random.chance(15).then(|| self.random.small(1, 40)),
            retry_share: *self.random.pick(&[1, 10, 50, 99]).unwrap_or(&50),
            expired: if self.random.chance(50) { Expired::Drop } else { Expired::Quarantine },
            ..ConsumerConfig::new(handler_name(self.random.below(4)))
        }
    }

    fn backoff(&mut self) -> Backoff {
        let jitter = self.random.chance(50);
        match self.random.below(3) {
            0 => Backoff::Fixed { fixed_ms: self.random.below(100), jitter },
            1 => {
                let delays_ms = (0..self.random.between(0, 3)).map(|_| self.random.below(150)).collect();
                Backoff::List { delays_ms, jitter }
            }
            _ => {
                let (initial_ms, cap_ms) = (self.random.below(50), self.random.below(200));
                Backoff::Exponential { initial_ms, factor: 2, cap_ms, jitter }
            }
        }
    }

    pub(super) fn handler_record(&mut self, number: u64, loaded: bool) -> HandlerRecord {
        HandlerRecord {
            name: handler_name(number),
            digest: loaded.then_some(Digest([self.random.bits().to_le_bytes()[0]; 32])),
            loaded_at: Timestamp(0),
            config: BTreeMap::new(),
            limits: HandlerLimits::default(),
            grants: Default::default(),
            secrets: Default::default(),
            imports: None,
            versions: Box::default(),
            replacing: Box::default(),
        }
    }
}

fn queue_name(number: u64) -> QueueName {
    QueueName::new(format!("q{number}")).expect("a name")
}

fn consumer_name(number: u64) -> ConsumerName {
    ConsumerName::new(format!("c{number}")).expect("a name")
}

fn handler_name(number: u64) -> HandlerName {
    HandlerName::new(format!("h{number}")).expect("a name")
}
