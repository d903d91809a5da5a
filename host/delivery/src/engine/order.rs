//! Orders of operators and of the host's own machinery: declarations, pauses, redrives.

mod quarantine;

use serde_json::json;

use super::{Engine, consumer::Consumer, lane::Lane, log::Log, queue::Queue, tick::Tick};
use crate::{
    consumer_config::DeliveryOrder,
    cursor::Cursor,
    effect::{Effect, OrderReceipt, OrderRefusal},
    input::{Lease, Order},
    limits,
    name::{ConsumerId, ConsumerName, HandlerName, QueueId, QueueName, Sequence},
    policy::Backoff,
    priority::Priority,
    queue_config::Overflow,
    record::{ConsumerConfig, ConsumerRecord, HandlerRecord, PauseReason, QueueConfig, QueueRecord, Start},
    time::Timestamp,
    write::{LogBounds, Write},
};

pub(super) type Answer = Result<OrderReceipt, OrderRefusal>;

impl Engine {
    pub(super) fn carry_out(&mut self, tick: &mut Tick, order: Order) -> Answer {
        match order {
            Order::PutQueue { name, config } => self.put_queue(tick, name, config),
            Order::DeleteQueue { name } => self.delete_queue(tick, name),
            Order::PutConsumer { queue, name, config, from } => self.put_consumer(tick, &queue, name, config, from),
            Order::DeleteConsumer { queue, name } => {
                let id = self.consumer_id(&queue, &name)?;
                self.remove_consumer(tick, id);
                Ok(OrderReceipt::Done)
            }
            Order::PutHandler { record } => Ok(self.put_handler(tick, *record)),
            Order::DeleteHandler { name } => self.delete_handler(tick, name),
            Order::Pause { consumer, reason } => self.pause(tick, consumer, &reason),
            Order::Resume { consumer } => self.resume(tick, consumer),
            Order::Redrive { record, message } => self.redrive(tick, *record, message),
            Order::ImportQuarantine { record } => self.import_quarantined(tick, *record),
            Order::PurgeQuarantine { ids } => Ok(self.purge_quarantine(tick, &ids)),
            Order::PutSchedule { record } => self.put_schedule(tick, *record),
            Order::DeleteSchedule { name } => self.delete_schedule(tick, name),
            Order::FireSchedule { name, planned, next, entry } => {
                self.fire_schedule(tick, &name, planned, next, &entry)
            }
            Order::SubmitJob { job, entry } => self.submit_job(tick, *job, &entry),
            Order::CancelJob { id } => self.cancel_job(tick, &id),
            Order::CancelDelayed { key } => self.cancel_delayed(tick, key),
            Order::Rest => Ok(self.rest(tick)),
        }
    }

    fn put_queue(&mut self, tick: &mut Tick, name: QueueName, config: QueueConfig) -> Answer {
        check_queue(&config)?;
        let known = self.queue_ids.get(&name).copied();
        if let Some(queue) = known.and_then(|id| self.queues.get(&id)) {
            queue.check_change(&config)?;
        }
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
                queue.open_lanes();
                for consumer in &queue.consumers {
                    self.consumers.get_mut(consumer).into_iter().for_each(|c| c.open_lanes(queue.logs.len()));
                }
                tick.trimmable.insert(id);
            }
            None => {
                self.queues.insert(id, Queue::new(record.clone(), &[LogBounds::empty(Priority::LOWEST)]));
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
        from: Option<Sequence>,
    ) -> Answer {
        check_consumer(&config)?;
        if let Some(handler) = config.handler.as_ref().filter(|handler| !self.handlers.contains_key(*handler)) {
            return Err(OrderRefusal::UnknownHandler { handler: handler.clone() });
        }
        if let Some(queue) = self.queue_ids.get(queue_name).and_then(|id| self.queues.get(id)) {
            queue.check_order(config.order)?;
        }
        match self.consumer_id(queue_name, &name) {
            Ok(id) => Ok(self.change_consumer(tick, id, config)),
            Err(OrderRefusal::UnknownConsumer { .. }) => self.add_consumer(tick, queue_name, name, config, from),
            Err(refusal) => Err(refusal),
        }
    }

    fn change_consumer(&mut self, tick: &mut Tick, id: ConsumerId, config: ConsumerConfig) -> OrderReceipt {
        let Some(consumer) = self.consumers.get(&id) else { return OrderReceipt::Consumer { id, created: false } };
        let before = consumer.record.config.clone();
        // What runs under another handler than the one that takes over read and wrote that one's state, so it must
        // not be committed under the new one: its deliveries are ready again, and its leases are stale.
        if before.handler != config.handler {
            self.fence_off(tick, id);
        }
        let reordered = before.order != config.order || before.poison != config.poison;
        if reordered {
            self.fence_off(tick, id);
        }
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.record.config = config;
            tick.touched.insert(id);
            tick.writes.push(Write::PutConsumer { record: consumer.record.clone() });
        }
        if reordered {
            self.order_anew(id, tick.now);
        }
        OrderReceipt::Consumer { id, created: false }
    }

    fn fence_off(&mut self, tick: &mut Tick, id: ConsumerId) {
        let Some(consumer) = self.consumers.get(&id) else { return };
        let leases: Vec<Lease> = consumer.in_flight.values().map(|in_flight| in_flight.lease).collect();
        self.return_leases(tick, id, &leases);
    }

    /// Put a consumer together again from what is durable, because what waits for what has changed.
    pub(super) fn order_anew(&mut self, id: ConsumerId, now: Timestamp) {
        let Some(old) = self.consumers.remove(&id) else { return };
        let changed: Vec<bool> = old.lanes.iter().map(|lane| lane.cursor_changed).collect();
        let lanes = old.lanes.into_iter().map(|lane| Lane::new(lane.cursor)).collect();
        let mut new = Consumer::new(old.record, lanes);
        new.lanes.iter_mut().zip(changed).for_each(|(lane, changed)| lane.cursor_changed = changed);
        new.suspects = old.suspects;
        new.waiting = old.waiting;
        new.alarm = old.alarm;
        new.closed_until = old.closed_until;
        new.storm = old.storm;
        new.bucket = old.bucket;
        for (sequence, pending) in old.pending {
            new.put_off(sequence, pending, now);
        }
        let queue = new.record.queue;
        self.consumers.insert(id, new);
        self.hold_behind_quarantined(id, now);
        if let (Some(queue), Some(consumer)) = (self.queues.get_mut(&queue), self.consumers.get(&id)) {
            if consumer.sequencing.is_some() {
                queue.ordered.insert(id)
            } else {
                queue.ordered.remove(&id)
            };
        }
    }

    /// Quarantined deliveries hold what is ordered behind them, if policy says so.
    fn hold_behind_quarantined(&mut self, id: ConsumerId, now: Timestamp) {
        let Some(consumer) = self.consumers.get_mut(&id).filter(|consumer| consumer.poison_holds()) else { return };
        for held in self.quarantined.values().filter(|quarantined| quarantined.consumer == id) {
            consumer.hold(held.hash, held.sequence, now);
        }
    }

    fn add_consumer(
        &mut self,
        tick: &mut Tick,
        queue_name: &QueueName,
        name: ConsumerName,
        config: ConsumerConfig,
        from: Option<Sequence>,
    ) -> Answer {
        check_count("consumers", self.consumers.len(), limits::CONSUMERS_MAX)?;
        let queue_id = self.queue_ids[queue_name];
        let queue = self.queues.get_mut(&queue_id).expect("every name has its queue");
        queue.check_start(config.start)?;
        tick.counters_before.get_or_insert(self.counters);
        let id = ConsumerId(self.counters.consumer);
        self.counters.consumer += 1;
        queue.consumers.insert(id);
        let start = |log: &Log| match config.start {
            Start::Beginning => log.first,
            Start::End => log.next,
            Start::Sequence(sequence) => sequence,
            Start::Time(_) => from.unwrap_or(log.first),
        };
        let starts = queue.logs.iter().map(|log| start(log).clamp(log.first, log.next));
        let cursors: Vec<Cursor> = starts.map(Cursor::starting_at).collect();
        if config.order != DeliveryOrder::None {
            queue.ordered.insert(id);
        }
        let record = ConsumerRecord { id, queue: queue_id, name, config, paused: None };
        tick.writes.push(Write::PutConsumer { record: record.clone() });
        tick.writes.extend(cursors.iter().map(|cursor| Write::PutCursor { consumer: id, cursor: cursor.clone() }));
        self.consumers.insert(id, Consumer::new(record, cursors.into_iter().map(Lane::new).collect()));
        tick.touched.insert(id);
        tick.trimmable.insert(queue_id);
        Ok(OrderReceipt::Consumer { id, created: true })
    }

    pub(super) fn consumer_id(&self, queue: &QueueName, name: &ConsumerName) -> Result<ConsumerId, OrderRefusal> {
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
            self.lease_is_void(tick, id, in_flight);
        }
        for sequence in consumer.suspects {
            tick.writes.push(Write::DeleteRunning { consumer: id, sequence });
        }
        tick.touched.remove(&id);
        self.forget_suspicion(tick, id);
        if let Some(alarm) = consumer.alarm {
            self.alarms.remove(&(alarm, id));
        }
        if let Some(queue) = self.queues.get_mut(&consumer.record.queue) {
            queue.consumers.remove(&id);
            queue.ordered.remove(&id);
            tick.trimmable.insert(consumer.record.queue);
        }
        self.jobs_lose_consumer(tick, id);
        tick.writes.push(Write::DeleteConsumer { consumer: id });
    }

    /// Declare a handler. Consumers that were paused because they had no good one take deliveries again.
    fn put_handler(&mut self, tick: &mut Tick, record: HandlerRecord) -> OrderReceipt {
        let waits = |consumer: &&Consumer| {
            let runs_it = consumer.record.config.handler.as_ref() == Some(&record.name);
            runs_it && matches!(consumer.record.paused, Some(PauseReason::Handler { .. }))
        };
        let waiting: Vec<ConsumerId> = self.consumers.values().filter(waits).map(|c| c.record.id).collect();
        for id in waiting {
            if record.digest.is_some() && self.set_paused(tick, id, None).is_err() {
                break;
            }
        }
        let before = self.handlers.insert(record.name.clone(), record.clone());
        let old = before.and_then(|before| before.digest);
        if let Some(new) = record.digest.filter(|new| old.is_some_and(|old| old != *new)) {
            Self::tell_handler(tick, json!({ "handler": record.name, "digest": new, "before": old }));
        }
        tick.writes.push(Write::PutHandler { record });
        OrderReceipt::Done
    }

    fn delete_handler(&mut self, tick: &mut Tick, name: HandlerName) -> Answer {
        if let Some(consumer) =
            self.consumers.values().find(|consumer| consumer.record.config.handler.as_ref() == Some(&name))
        {
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

    fn pause(&mut self, tick: &mut Tick, id: ConsumerId, reason: &PauseReason) -> Answer {
        self.set_paused(tick, id, Some(reason)).map(|_| OrderReceipt::Done)
    }

    fn resume(&mut self, tick: &mut Tick, id: ConsumerId) -> Answer {
        self.set_paused(tick, id, None).map(|_| OrderReceipt::Done)
    }

    /// Answers with why it was paused before.
    pub(super) fn set_paused(
        &mut self,
        tick: &mut Tick,
        id: ConsumerId,
        paused: Option<&PauseReason>,
    ) -> Result<Option<PauseReason>, OrderRefusal> {
        let consumer = self.consumers.get_mut(&id).ok_or(OrderRefusal::ConsumerGone)?;
        let before = consumer.record.paused.clone();
        if before.as_ref() == paused {
            return Ok(before);
        }
        consumer.record.paused = paused.cloned();
        consumer.storm.resumed(paused.is_none());
        tick.touched.insert(id);
        tick.writes.push(Write::PutConsumer { record: consumer.record.clone() });
        match (&before, paused) {
            (_, Some(reason)) => self.tell_paused(tick, id, reason),
            (Some(reason), None) => self.tell_resumed(tick, id, reason),
            (None, None) => {}
        }
        Ok(before)
    }

    /// The host stops in an orderly way: what is not leased now is under no suspicion at the next start.
    fn rest(&mut self, tick: &mut Tick) -> OrderReceipt {
        for (id, consumer) in &mut self.consumers {
            for lane in consumer.lanes.iter_mut().filter(|_| consumer.in_flight.is_empty()) {
                if lane.cursor.dispatch_bound != lane.cursor.floor {
                    lane.cursor.dispatch_bound = lane.cursor.floor;
                    lane.cursor_changed = true;
                    tick.touched.insert(*id);
                }
            }
        }
        OrderReceipt::Done
    }
}

fn check_queue(config: &QueueConfig) -> Result<(), OrderRefusal> {
    OrderRefusal::check_range("bindings", config.bindings.len() as u64, 0, limits::BINDINGS_PER_QUEUE_MAX as u64)?;
    OrderRefusal::check_range("messages-max", config.messages_max, 1, u64::MAX)?;
    OrderRefusal::check_range("bytes-max", config.bytes_max, 1, u64::MAX)?;
    for headers in config.bindings.iter().filter_map(|binding| binding.headers.as_ref()) {
        OrderRefusal::check_range(
            "headers of a binding",
            headers.headers.len() as u64,
            1,
            limits::BINDING_HEADERS_MAX as u64,
        )?;
    }
    if config.priorities && config.retention.is_some() {
        let problem = "a queue has either priorities or retention; use another queue for one of the two".to_owned();
        return Err(OrderRefusal::Contradiction { problem });
    }
    if let Overflow::Wait { wait_ms } = config.overflow {
        OrderRefusal::check_range("overflow wait in ms", wait_ms, 1, limits::PUBLISH_WAIT_MS_MAX)?;
    }
    Ok(())
}

fn check_consumer(config: &ConsumerConfig) -> Result<(), OrderRefusal> {
    OrderRefusal::check_range("concurrency", config.concurrency.into(), 1, limits::CONCURRENCY_CEILING.into())?;
    OrderRefusal::check_range("in-flight-max", config.in_flight_max.into(), 1, limits::IN_FLIGHT_MAX_CEILING.into())?;
    OrderRefusal::check_range("attempts", config.attempts_max.into(), 1, limits::ATTEMPTS_MAX_CEILING.into())?;
    OrderRefusal::check_range("lease in ms", config.lease_ms, 1, limits::LEASE_MS_MAX)?;
    OrderRefusal::check_range(
        "storm deliveries",
        config.storm.deliveries.into(),
        0,
        limits::STORM_DELIVERIES_CEILING.into(),
    )?;
    OrderRefusal::check_range("storm percent", config.storm.percent.into(), 1, 100)?;
    OrderRefusal::check_range("retry share in percent", config.retry_share.into(), 1, 99)?;
    OrderRefusal::check_range("storm probe in ms", config.storm.probe_ms, 1, limits::STORM_PROBE_MS_MAX)?;
    let rates = [("rate per second", config.rate_per_second), ("rate per second and key", config.key_rate_per_second)];
    for (what, rate) in rates {
        rate.map_or(Ok(()), |rate| {
            OrderRefusal::check_range(what, rate.into(), 1, limits::RATE_PER_SECOND_MAX.into())
        })?;
    }
    if config.key_rate_per_second.is_some() && config.order == DeliveryOrder::None {
        let problem =
            "a rate for each key needs an order by key: set order to \"key\", or use the rate of the consumer";
        return Err(OrderRefusal::Contradiction { problem: problem.to_owned() });
    }
    match &config.backoff {
        Backoff::Exponential { factor, .. } => OrderRefusal::check_range("backoff factor", (*factor).into(), 1, 100)?,
        Backoff::List { delays_ms, .. } => {
            OrderRefusal::check_range("backoff delays", delays_ms.len() as u64, 1, limits::BACKOFF_DELAYS_MAX as u64)?;
        }
        Backoff::Fixed { .. } => {}
    }
    OrderRefusal::check_range("backoff cap in ms", config.backoff.longest_ms(), 0, limits::HANDLER_DELAY_MS_MAX)
}

pub(super) fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), OrderRefusal> {
    if count < max { Ok(()) } else { Err(OrderRefusal::TooMany { what, max: max as u64 }) }
}
