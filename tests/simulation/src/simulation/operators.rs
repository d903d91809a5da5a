//! Operators: they declare, change and remove, pause and resume, redrive and purge.

use std::{collections::BTreeMap, sync::Arc};

use wasmill_delivery::{
    input::{Input, Order},
    message::Lineage,
    name::{ConsumerId, ConsumerName, Digest, HandlerName, QuarantineId, QueueName},
    policy::Backoff,
    record::{ConsumerConfig, HandlerLimits, HandlerRecord, PauseReason, QuarantineRecord, QueueConfig, Start},
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
            self.send_order(Order::PutHandler { record });
        }
        for number in 0..3 {
            let config = self.queue_config();
            self.send_order(Order::PutQueue { name: queue_name(number), config });
            for consumer in 0..=self.random.below(2) {
                let config = self.consumer_config();
                let name = consumer_name(consumer);
                self.send_order(Order::PutConsumer { queue: queue_name(number), name, config });
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
        Some(match self.random.below(32) {
            0..=2 => Order::PutQueue { name: queue, config: self.queue_config() },
            3 => Order::DeleteQueue { name: queue },
            4..=8 => Order::PutConsumer { queue, name, config: self.consumer_config() },
            9 | 10 => Order::DeleteConsumer { queue, name },
            11 | 12 => {
                let loaded = self.random.chance(80);
                Order::PutHandler { record: self.handler_record(handler, loaded) }
            }
            13 => Order::DeleteHandler { name: handler_name(handler) },
            14 | 15 => Order::Pause { consumer, reason: self.pause_reason() },
            16..=21 => Order::Resume { consumer },
            22..=28 => self.redrive()?,
            29 | 30 => Order::PurgeQuarantine { ids: self.some_quarantined() },
            _ => Order::Resume { consumer: ConsumerId(self.random.small(0, 30)) },
        })
    }

    fn pause_reason(&mut self) -> PauseReason {
        let detail = "simulated".to_owned();
        match self.random.below(3) {
            0 => PauseReason::Operator,
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
        message.lineage = Lineage { redrive_of: Some((record.message.id.clone(), record.id)), ..Lineage::default() };
        Order::Redrive { record: Box::new(record.clone()), message: Arc::new(message) }
    }

    fn queue_config(&mut self) -> QueueConfig {
        let bindings = (0..self.random.between(0, 4))
            .filter_map(|_| TopicPattern::new(PATTERNS[self.random.index(PATTERNS.len())]).ok())
            .collect();
        let defaults = QueueConfig::default();
        let messages_max = match self.random.below(12) {
            0 => 0,
            1..=5 => self.random.between(4, 20),
            _ => defaults.messages_max,
        };
        let bytes_max = if self.random.chance(10) { self.random.between(500, 2_000) } else { defaults.bytes_max };
        QueueConfig { bindings, messages_max, bytes_max }
    }

    fn consumer_config(&mut self) -> ConsumerConfig {
        ConsumerConfig {
            concurrency: 2,
            in_flight_max: self.random.small(1, 8),
            attempts_max: self.random.small(1, 5),
            backoff: Backoff {
                initial_ms: self.random.below(50),
                factor: 2,
                cap_ms: self.random.below(200),
                jitter: self.random.chance(50),
            },
            start: if self.random.chance(30) { Start::End } else { Start::Beginning },
            ..ConsumerConfig::new(handler_name(self.random.below(4)))
        }
    }

    pub(super) fn handler_record(&mut self, number: u64, loaded: bool) -> HandlerRecord {
        HandlerRecord {
            name: handler_name(number),
            digest: loaded.then_some(Digest([self.random.bits().to_le_bytes()[0]; 32])),
            loaded_at: Timestamp(0),
            config: BTreeMap::new(),
            limits: HandlerLimits::default(),
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
