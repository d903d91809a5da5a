//! Orders of operators and of the host's own machinery: declarations, pauses, redrives.

use std::{collections::BTreeSet, sync::Arc};

use super::{Engine, consumer::Consumer, queue::Queue, tick::Tick};
use crate::{
    cursor::Cursor,
    effect::{Effect, OrderReceipt, OrderRefusal},
    input::{Lease, Order},
    limits,
    message::Message,
    name::{ConsumerId, ConsumerName, HandlerName, QuarantineId, QueueId, QueueName},
    record::{
        ConsumerConfig, ConsumerRecord, HandlerRecord, PauseReason, PendingKey, PendingRecord, QuarantineRecord,
        QueueConfig, QueueRecord, Start,
    },
    write::{LogBounds, Write},
};

type Answer = Result<OrderReceipt, OrderRefusal>;

impl Engine {
    pub(super) fn carry_out(&mut self, tick: &mut Tick, order: Order) -> Answer {
        match order {
            Order::PutQueue { name, config } => self.put_queue(tick, name, config),
            Order::DeleteQueue { name } => self.delete_queue(tick, name),
            Order::PutConsumer { queue, name, config } => self.put_consumer(tick, &queue, name, config),
            Order::DeleteConsumer { queue, name } => {
                let id = self.consumer_id(&queue, &name)?;
                self.remove_consumer(tick, id);
                Ok(OrderReceipt::Done)
            }
            Order::PutHandler { record } => Ok(self.put_handler(tick, record)),
            Order::DeleteHandler { name } => self.delete_handler(tick, name),
            Order::Pause { consumer, reason } => self.pause(tick, consumer, reason),
            Order::Resume { consumer } => self.resume(tick, consumer),
            Order::Redrive { record, message } => self.redrive(tick, *record, message),
            Order::PurgeQuarantine { ids } => Ok(self.purge_quarantine(tick, &ids)),
        }
    }

    fn put_queue(&mut self, tick: &mut Tick, name: QueueName, config: QueueConfig) -> Answer {
        check_range("bindings", config.bindings.len() as u64, 0, limits::BINDINGS_PER_QUEUE_MAX as u64)?;
        check_range("messages-max", config.messages_max, 1, u64::MAX)?;
        check_range("bytes-max", config.bytes_max, 1, u64::MAX)?;
        let known = self.queue_ids.get(&name).copied();
        let id = match known {
            Some(id) => id,
            None => self.new_queue_id(tick, &name)?,
        };
        let record = QueueRecord { id, name, config };
        tick.routed = None;
        match self.queues.get_mut(&id) {
            Some(queue) => {
                for pattern in &queue.record.config.bindings {
                    self.routes.unbind(pattern, id);
                }
                queue.record = record.clone();
            }
            None => {
                self.queues.insert(id, Queue::new(record.clone(), LogBounds::EMPTY));
            }
        }
        for pattern in &record.config.bindings {
            self.routes.bind(pattern, id);
        }
        tick.writes.push(Write::PutQueue { record });
        Ok(OrderReceipt::Queue { id, created: known.is_none() })
    }

    fn new_queue_id(&mut self, tick: &mut Tick, name: &QueueName) -> Result<QueueId, OrderRefusal> {
        check_count("queues", self.queues.len(), limits::QUEUES_MAX)?;
        tick.counters_before.get_or_insert(self.counters);
        let id = QueueId(self.counters.queue);
        self.counters.queue += 1;
        self.queue_ids.insert(name.clone(), id);
        Ok(id)
    }

    fn delete_queue(&mut self, tick: &mut Tick, name: QueueName) -> Answer {
        let Some(id) = self.queue_ids.remove(&name) else {
            return Err(OrderRefusal::UnknownQueue { queue: name });
        };
        tick.routed = None;
        let queue = self.queues.remove(&id).expect("every name has its queue");
        for pattern in &queue.record.config.bindings {
            self.routes.unbind(pattern, id);
        }
        for consumer in queue.consumers {
            self.remove_consumer(tick, consumer);
        }
        tick.writes.push(Write::DeleteQueue { queue: id });
        Ok(OrderReceipt::Done)
    }

    fn put_consumer(
        &mut self,
        tick: &mut Tick,
        queue_name: &QueueName,
        name: ConsumerName,
        config: ConsumerConfig,
    ) -> Answer {
        check_consumer(&config)?;
        if !self.handlers.contains_key(&config.handler) {
            return Err(OrderRefusal::UnknownHandler { handler: config.handler });
        }
        match self.consumer_id(queue_name, &name) {
            Ok(id) => Ok(self.change_consumer(tick, id, config)),
            Err(OrderRefusal::UnknownConsumer { .. }) => self.add_consumer(tick, queue_name, name, config),
            Err(refusal) => Err(refusal),
        }
    }

    fn change_consumer(&mut self, tick: &mut Tick, id: ConsumerId, config: ConsumerConfig) -> OrderReceipt {
        self.fence_off_other_handler(tick, id, &config.handler);
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.record.config = config;
            tick.touched.insert(id);
            tick.writes.push(Write::PutConsumer { record: consumer.record.clone() });
        }
        OrderReceipt::Consumer { id, created: false }
    }

    /// What runs under another handler than the one that takes over read and wrote that one's state, so it must
    /// not be committed under the new one: its deliveries are ready again, and its leases are stale.
    fn fence_off_other_handler(&mut self, tick: &mut Tick, id: ConsumerId, handler: &HandlerName) {
        let Some(consumer) = self.consumers.get(&id).filter(|c| c.record.config.handler != *handler) else { return };
        let leases: Vec<Lease> = consumer.in_flight.values().map(|in_flight| in_flight.lease).collect();
        self.return_leases(tick, id, &leases);
    }

    fn add_consumer(
        &mut self,
        tick: &mut Tick,
        queue_name: &QueueName,
        name: ConsumerName,
        config: ConsumerConfig,
    ) -> Answer {
        check_count("consumers", self.consumers.len(), limits::CONSUMERS_MAX)?;
        tick.counters_before.get_or_insert(self.counters);
        let id = ConsumerId(self.counters.consumer);
        self.counters.consumer += 1;
        let queue_id = self.queue_ids[queue_name];
        let queue = self.queues.get_mut(&queue_id).expect("every name has its queue");
        queue.consumers.insert(id);
        let cursor = Cursor::starting_at(match config.start {
            Start::Beginning => queue.first,
            Start::End => queue.next,
        });
        let record = ConsumerRecord { id, queue: queue_id, name, config, paused: None };
        tick.writes.push(Write::PutConsumer { record: record.clone() });
        tick.writes.push(Write::PutCursor { consumer: id, cursor: cursor.clone() });
        self.consumers.insert(id, Consumer::new(record, cursor));
        tick.touched.insert(id);
        tick.trimmable.insert(queue_id);
        Ok(OrderReceipt::Consumer { id, created: true })
    }

    fn consumer_id(&self, queue: &QueueName, name: &ConsumerName) -> Result<ConsumerId, OrderRefusal> {
        let Some(id) = self.queue_ids.get(queue) else {
            return Err(OrderRefusal::UnknownQueue { queue: queue.clone() });
        };
        let same_name = |id: &&ConsumerId| self.consumers[*id].record.name == *name;
        self.queues[id]
            .consumers
            .iter()
            .find(same_name)
            .copied()
            .ok_or_else(|| OrderRefusal::UnknownConsumer { queue: queue.clone(), consumer: name.clone() })
    }

    fn remove_consumer(&mut self, tick: &mut Tick, id: ConsumerId) {
        let Some(consumer) = self.consumers.remove(&id) else { return };
        for (ticket, _) in consumer.waiting {
            tick.effects.push(Effect::LeaseEnded { ticket });
        }
        for in_flight in consumer.in_flight.values() {
            self.lease_is_over(in_flight.revision);
        }
        if let Some(alarm) = consumer.alarm {
            self.alarms.remove(&(alarm, id));
        }
        if let Some(queue) = self.queues.get_mut(&consumer.record.queue) {
            queue.consumers.remove(&id);
            tick.trimmable.insert(consumer.record.queue);
        }
        tick.writes.push(Write::DeleteConsumer { consumer: id });
    }

    /// Declare a handler. Consumers that were paused because they had no good one take deliveries again.
    fn put_handler(&mut self, tick: &mut Tick, record: HandlerRecord) -> OrderReceipt {
        for (id, consumer) in &mut self.consumers {
            let waits_for_handler = matches!(consumer.record.paused, Some(PauseReason::Handler { .. }));
            if waits_for_handler && consumer.record.config.handler == record.name && record.digest.is_some() {
                consumer.record.paused = None;
                tick.touched.insert(*id);
                tick.writes.push(Write::PutConsumer { record: consumer.record.clone() });
            }
        }
        self.handlers.insert(record.name.clone(), record.clone());
        tick.writes.push(Write::PutHandler { record });
        OrderReceipt::Done
    }

    fn delete_handler(&mut self, tick: &mut Tick, name: HandlerName) -> Answer {
        if let Some(consumer) = self.consumers.values().find(|consumer| consumer.record.config.handler == name) {
            return Err(OrderRefusal::HandlerInUse {
                handler: name,
                consumer: consumer.record.name.clone(),
                queue: self.queues[&consumer.record.queue].record.name.clone(),
            });
        }
        if self.handlers.remove(&name).is_none() {
            return Err(OrderRefusal::UnknownHandler { handler: name });
        }
        tick.writes.push(Write::DeleteHandler { name });
        Ok(OrderReceipt::Done)
    }

    pub(super) fn pause(&mut self, tick: &mut Tick, id: ConsumerId, reason: PauseReason) -> Answer {
        self.set_paused(tick, id, Some(reason))
    }

    fn resume(&mut self, tick: &mut Tick, id: ConsumerId) -> Answer {
        self.set_paused(tick, id, None)
    }

    fn set_paused(&mut self, tick: &mut Tick, id: ConsumerId, paused: Option<PauseReason>) -> Answer {
        let consumer = self.consumers.get_mut(&id).ok_or(OrderRefusal::ConsumerGone)?;
        if consumer.record.paused != paused {
            consumer.record.paused = paused;
            tick.touched.insert(id);
            tick.writes.push(Write::PutConsumer { record: consumer.record.clone() });
        }
        Ok(OrderReceipt::Done)
    }

    /// The new message takes the place of the old one, for the consumer that gave it up and for no other.
    fn redrive(&mut self, tick: &mut Tick, record: QuarantineRecord, message: Arc<Message>) -> Answer {
        let id = record.id;
        if !self.quarantined.contains_key(&id) {
            return Err(OrderRefusal::UnknownQuarantine { id });
        }
        let consumer = self
            .consumers
            .get_mut(&record.consumer_id)
            .ok_or(OrderRefusal::UnknownConsumer { queue: record.queue, consumer: record.consumer })?;
        let key = PendingKey { consumer: record.consumer_id, due: tick.now, sequence: record.sequence };
        consumer.pending.insert((key.due, key.sequence), 0);
        self.quarantined.remove(&id);
        tick.touched.insert(key.consumer);
        tick.writes.push(Write::DeleteQuarantine { id });
        let record = PendingRecord { message, attempts_made: 0, attempts: Vec::new() };
        tick.writes.push(Write::PutPending { key, record });
        Ok(OrderReceipt::Done)
    }

    fn purge_quarantine(&mut self, tick: &mut Tick, ids: &[QuarantineId]) -> OrderReceipt {
        let ids: BTreeSet<QuarantineId> = ids.iter().copied().collect();
        let known: Vec<QuarantineId> = ids.into_iter().filter(|id| self.quarantined.remove(id).is_some()).collect();
        tick.writes.extend(known.iter().map(|id| Write::DeleteQuarantine { id: *id }));
        OrderReceipt::Purged { count: known.len() as u64 }
    }
}

fn check_consumer(config: &ConsumerConfig) -> Result<(), OrderRefusal> {
    check_range("concurrency", config.concurrency.into(), 1, limits::CONCURRENCY_CEILING.into())?;
    check_range("in-flight-max", config.in_flight_max.into(), 1, limits::IN_FLIGHT_MAX_CEILING.into())?;
    check_range("attempts", config.attempts_max.into(), 1, limits::ATTEMPTS_MAX_CEILING.into())?;
    check_range("backoff factor", config.backoff.factor.into(), 1, 100)?;
    check_range("backoff cap in ms", config.backoff.cap_ms, 0, limits::HANDLER_DELAY_MS_MAX)
}

fn check_range(what: &'static str, given: u64, min: u64, max: u64) -> Result<(), OrderRefusal> {
    if (min..=max).contains(&given) { Ok(()) } else { Err(OrderRefusal::OutOfRange { what, given, min, max }) }
}

fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), OrderRefusal> {
    if count < max { Ok(()) } else { Err(OrderRefusal::TooMany { what, max: max as u64 }) }
}
