//! What may come of an order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wasmill_delivery::{
    effect::{Effect, OrderReceipt, OrderRefusal},
    input::{Order, Ticket},
    limits,
    message::Message,
    name::{ConsumerId, ConsumerName, HandlerName, QuarantineId, QueueId, QueueName, Sequence},
    policy::Backoff,
    priority::Priority,
    record::{
        ConsumerConfig, ConsumerRecord, DeliveryOrder, HandlerRecord, PauseReason, QuarantineRecord, QueueConfig,
        QueueRecord, Start,
    },
    time::Timestamp,
};

use super::{Auditor, Ends, ModelConsumer, ModelQueue, Waiting, answers::Answers, priorities::Given};
use crate::violation::{Checked, Violation, ensure, violated};

type Answer = Result<OrderReceipt, OrderRefusal>;

impl Auditor {
    pub(super) fn ordered(&mut self, ticket: Ticket, order: &Order, effects: &mut Answers<'_>) -> Checked {
        let ended = self.ended_by(order);
        self.expect_ended(&ended, effects)?;
        let gone: BTreeSet<QuarantineId> = match order {
            Order::Redrive { record, .. } => BTreeSet::from([record.id]),
            Order::PurgeQuarantine { ids } => ids.iter().copied().collect(),
            _ => BTreeSet::new(),
        };
        let before: BTreeSet<QuarantineId> = self.quarantine.keys().copied().collect();
        let mut resumed = Vec::new();
        while let Some(Effect::Resumed { consumer, reason }) = effects.take_if(|e| matches!(e, Effect::Resumed { .. }))
        {
            resumed.push((*consumer, reason.clone()));
        }
        let effect = effects.take("an order")?;
        let Effect::Ordered { ticket: answered, answer } = effect else { violated!("{order:?} got {effect:?}") };
        ensure!(*answered == ticket, "{ticket:?} ordered, {answered:?} is answered");
        let wanted = self.carry_out(order, answer)?;
        ensure!(*answer == wanted, "{order:?} is answered by {answer:?}, not {wanted:?}");
        let gone = before.intersection(&gone).filter(|id| !self.quarantine.contains_key(id)).copied().collect();
        let wanted = if matches!(order, Order::Redrive { .. } | Order::PurgeQuarantine { .. }) && answer.is_ok() {
            self.resume_behind(&gone)
        } else {
            Vec::new()
        };
        ensure!(resumed == wanted, "{order:?} resumes {wanted:?}, told is {resumed:?}");
        self.count(if answer.is_ok() { name(order) } else { "order refused" });
        Ok(())
    }

    /// Consumers that waited for what is gone from quarantine, or for room in it, go on.
    fn resume_behind(&mut self, gone: &BTreeSet<QuarantineId>) -> Vec<(ConsumerId, PauseReason)> {
        let room = (self.quarantine.len() as u64) < self.limits.quarantine_max;
        let mut resumed = Vec::new();
        for (id, consumer) in &mut self.consumers {
            let goes_on = match &consumer.record.paused {
                Some(PauseReason::QuarantineFull) => room,
                Some(PauseReason::Poison { quarantine }) => gone.contains(quarantine),
                Some(_) | None => false,
            };
            if goes_on && let Some(reason) = consumer.record.paused.take() {
                consumer.recent.clear();
                resumed.push((*id, reason));
            }
        }
        resumed
    }

    /// Consumers that an order removes, in the order of their numbers.
    fn ended_by(&self, order: &Order) -> Vec<ConsumerId> {
        match order {
            Order::DeleteQueue { name } => self.queue_id(name).map_or_else(Vec::new, |queue| self.consumers_of(queue)),
            Order::DeleteConsumer { queue, name } => self.consumer_id(queue, name).into_iter().collect(),
            Order::PutQueue { .. }
            | Order::PutConsumer { .. }
            | Order::PutHandler { .. }
            | Order::DeleteHandler { .. }
            | Order::Pause { .. }
            | Order::Resume { .. }
            | Order::Redrive { .. }
            | Order::PurgeQuarantine { .. }
            | Order::PutSchedule { .. }
            | Order::DeleteSchedule { .. }
            | Order::FireSchedule { .. }
            | Order::ImportQuarantine { .. }
            | Order::SubmitJob { .. }
            | Order::CancelJob { .. }
            | Order::CancelDelayed { .. }
            | Order::Rest => Vec::new(),
        }
    }

    fn consumers_of(&self, queue: QueueId) -> Vec<ConsumerId> {
        self.consumers.values().filter(|consumer| consumer.record.queue == queue).map(|c| c.record.id).collect()
    }

    fn consumer_id(&self, queue: &QueueName, name: &ConsumerName) -> Option<ConsumerId> {
        let queue = self.queue_id(queue)?;
        let same = |consumer: &&ModelConsumer| consumer.record.queue == queue && consumer.record.name == *name;
        self.consumers.values().find(same).map(|consumer| consumer.record.id)
    }

    fn expect_ended(&self, ended: &[ConsumerId], effects: &mut Answers<'_>) -> Checked {
        for id in ended {
            for (ticket, _) in &self.consumers[id].waiting {
                let effect = effects.take("a lease of a consumer that is removed")?;
                ensure!(*effect == Effect::LeaseEnded { ticket: *ticket }, "{ticket:?} must end, but {effect:?}");
            }
        }
        Ok(())
    }

    /// The model's own answer; new numbers are taken from the engine's, if they were never used before.
    fn carry_out(&mut self, order: &Order, given: &Answer) -> Result<Answer, Violation> {
        Ok(match order {
            Order::PutQueue { name, config } => self.put_queue(name, config, given)?,
            Order::DeleteQueue { name } => self.delete_queue(name),
            Order::PutConsumer { queue, name, config, from } => self.put_consumer(queue, name, config, *from, given)?,
            Order::DeleteConsumer { queue, name } => self.delete_consumer(queue, name),
            Order::PutHandler { record } => self.put_handler(record),
            Order::DeleteHandler { name } => self.delete_handler(name),
            Order::Pause { consumer, reason } => self.set_paused(*consumer, Some(reason.clone())),
            Order::Resume { consumer } => self.set_paused(*consumer, None),
            Order::Redrive { record, message } => self.redrive(record, message),
            Order::PurgeQuarantine { ids } => self.purge(ids),
            Order::Rest => self.rest(),
            Order::PutSchedule { record } => self.put_schedule(record, given)?,
            Order::DeleteSchedule { name } => self.delete_schedule(name),
            Order::FireSchedule { name, planned, next, entry } => {
                self.fire_schedule(name, *planned, *next, entry, given)?
            }
            Order::ImportQuarantine { record } => self.import(record, given)?,
            Order::SubmitJob { job, entry } => self.submit(job, entry, given)?,
            Order::CancelJob { id } => self.cancel_job(id),
            Order::CancelDelayed { key } => self.cancel_delayed(*key),
        })
    }

    fn put_queue(&mut self, name: &QueueName, config: &QueueConfig, given: &Answer) -> Result<Answer, Violation> {
        if config.messages_max == 0 {
            return Ok(Err(OrderRefusal::OutOfRange { what: "messages-max", given: 0, min: 1, max: u64::MAX }));
        }
        if config.priorities && config.retention.is_some() {
            return Ok(Err(contradiction(given)?));
        }
        if let Some(id) = self.queue_id(name) {
            let ordered = |c: &&ModelConsumer| c.record.queue == id && c.record.config.order != DeliveryOrder::None;
            let somebody_ordered = self.consumers.values().any(|consumer| ordered(&consumer));
            let had = self.queues[&id].record.config.priorities;
            if had && !config.priorities || !had && config.priorities && somebody_ordered {
                return Ok(Err(contradiction(given)?));
            }
            self.queues.entry(id).and_modify(|queue| queue.record.config = config.clone());
            return Ok(Ok(OrderReceipt::Queue { id, created: false }));
        }
        let Ok(OrderReceipt::Queue { id, created: true }) = given else { violated!("queue {name} is new: {given:?}") };
        ensure!(*id > self.last_queue, "{id:?} was used before");
        self.last_queue = *id;
        let record = QueueRecord { id: *id, name: name.clone(), config: config.clone() };
        let ends = BTreeMap::from([(Priority::LOWEST, Ends::new(Priority::LOWEST))]);
        self.queues.insert(*id, ModelQueue { record, log: BTreeMap::new(), ends });
        Ok(Ok(OrderReceipt::Queue { id: *id, created: true }))
    }

    fn delete_queue(&mut self, name: &QueueName) -> Answer {
        let id = self.queue_id(name).ok_or_else(|| OrderRefusal::UnknownQueue { queue: name.clone() })?;
        self.queues.remove(&id);
        self.consumers.retain(|_, consumer| consumer.record.queue != id);
        self.nobody_runs_alone();
        Ok(OrderReceipt::Done)
    }

    fn put_consumer(
        &mut self,
        queue: &QueueName,
        name: &ConsumerName,
        config: &ConsumerConfig,
        from: Option<Sequence>,
        given: &Answer,
    ) -> Result<Answer, Violation> {
        if let Backoff::List { delays_ms, .. } = &config.backoff
            && delays_ms.is_empty()
        {
            let (min, max) = (1, limits::BACKOFF_DELAYS_MAX as u64);
            return Ok(Err(OrderRefusal::OutOfRange { what: "backoff delays", given: 0, min, max }));
        }
        if let Some(handler) = config.handler.as_ref().filter(|handler| !self.handlers.contains_key(*handler)) {
            return Ok(Err(OrderRefusal::UnknownHandler { handler: handler.clone() }));
        }
        let Some(queue_id) = self.queue_id(queue) else {
            return Ok(Err(OrderRefusal::UnknownQueue { queue: queue.clone() }));
        };
        let priorities = self.queues[&queue_id].record.config.priorities;
        if priorities && config.order != DeliveryOrder::None {
            return Ok(Err(contradiction(given)?));
        }
        if let Some(id) = self.consumer_id(queue, name) {
            self.change_consumer(id, config);
            return Ok(Ok(OrderReceipt::Consumer { id, created: false }));
        }
        if priorities && matches!(config.start, Start::Sequence(_) | Start::Time(_)) {
            return Ok(Err(contradiction(given)?));
        }
        let Ok(OrderReceipt::Consumer { id, created: true }) = given else { violated!("{name} is new: {given:?}") };
        ensure!(*id > self.last_consumer, "{id:?} was used before");
        self.last_consumer = *id;
        self.add_consumer(*id, queue_id, name, config, from);
        Ok(Ok(OrderReceipt::Consumer { id: *id, created: true }))
    }

    /// When another handler takes over, what the old one has in flight is not its matter any more.
    fn change_consumer(&mut self, id: ConsumerId, config: &ConsumerConfig) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let before = &consumer.record.config;
        let reordered = before.order != config.order || before.poison != config.poison;
        if (before.handler != config.handler || reordered) && !consumer.leased.is_empty() {
            let why = if reordered { "fenced off by a new order" } else { "fenced off by a new handler" };
            *self.counts.entry(why).or_default() += 1;
            if self.alone.is_some_and(|(of, _)| of == id) {
                self.alone = None;
            }
            consumer.leased.clear();
        }
        if reordered {
            consumer.keys_closed_until.clear();
        }
        if before.rate_per_second != config.rate_per_second {
            consumer.leased_at.clear();
        }
        consumer.record.config = config.clone();
        consumer.attempts_max_ever = consumer.attempts_max_ever.max(config.attempts_max);
        consumer.in_flight_max_ever = consumer.in_flight_max_ever.max(config.in_flight_max);
    }

    fn add_consumer(
        &mut self,
        id: ConsumerId,
        queue_id: QueueId,
        name: &ConsumerName,
        config: &ConsumerConfig,
        from: Option<Sequence>,
    ) {
        let queue = &self.queues[&queue_id];
        let start = |log: &Ends| match config.start {
            Start::Beginning => log.first,
            Start::End => log.next,
            Start::Sequence(at) => at.max(log.first).min(log.next),
            Start::Time(_) => from.map_or(log.first, |at| at.max(log.first).min(log.next)),
        };
        let starts = || queue.ends.iter().map(|(priority, log)| (*priority, start(log), log.next));
        let record = ConsumerRecord { id, queue: queue_id, name: name.clone(), config: config.clone(), paused: None };
        let consumer = ModelConsumer {
            record,
            log: starts().flat_map(|(_, start, next)| (start.0..next.0).map(Sequence)).collect(),
            pending: BTreeMap::new(),
            dropped_pending: 0,
            leased: BTreeMap::new(),
            waiting: VecDeque::new(),
            committed: BTreeMap::new(),
            attempts_max_ever: config.attempts_max,
            in_flight_max_ever: config.in_flight_max,
            dispatched_to: starts().map(|(priority, start, _)| (priority, start)).collect(),
            given: Given::default(),
            suspects: BTreeSet::new(),
            recent: Vec::new(),
            leased_at: Vec::new(),
            closed_until: Timestamp(0),
            keys_closed_until: BTreeMap::new(),
        };
        self.consumers.insert(id, consumer);
    }

    fn delete_consumer(&mut self, queue: &QueueName, name: &ConsumerName) -> Answer {
        if self.queue_id(queue).is_none() {
            return Err(OrderRefusal::UnknownQueue { queue: queue.clone() });
        }
        let unknown = || OrderRefusal::UnknownConsumer { queue: queue.clone(), consumer: name.clone() };
        let id = self.consumer_id(queue, name).ok_or_else(unknown)?;
        self.consumers.remove(&id);
        self.nobody_runs_alone();
        Ok(OrderReceipt::Done)
    }

    fn put_handler(&mut self, record: &HandlerRecord) -> Answer {
        let runs = |consumer: &&mut ModelConsumer| consumer.record.config.handler.as_ref() == Some(&record.name);
        for consumer in self.consumers.values_mut().filter(runs) {
            if record.digest.is_some() && matches!(consumer.record.paused, Some(PauseReason::Handler { .. })) {
                consumer.record.paused = None;
                consumer.recent.clear();
            }
        }
        self.handlers.insert(record.name.clone(), record.clone());
        Ok(OrderReceipt::Done)
    }

    fn delete_handler(&mut self, name: &HandlerName) -> Answer {
        if let Some(user) =
            self.consumers.values().find(|consumer| consumer.record.config.handler.as_ref() == Some(name))
        {
            return Err(OrderRefusal::HandlerInUse {
                handler: name.clone(),
                consumer: user.record.name.clone(),
                queue: self.queues[&user.record.queue].record.name.clone(),
            });
        }
        let unknown = || OrderRefusal::UnknownHandler { handler: name.clone() };
        self.handlers.remove(name).map(|_| OrderReceipt::Done).ok_or_else(unknown)
    }

    fn set_paused(&mut self, id: ConsumerId, paused: Option<PauseReason>) -> Answer {
        let consumer = self.consumers.get_mut(&id).ok_or(OrderRefusal::ConsumerGone)?;
        if paused.is_none() && consumer.record.paused.is_some() {
            consumer.recent.clear();
        }
        consumer.record.paused = paused;
        Ok(OrderReceipt::Done)
    }

    /// An orderly stop: what is not leased is under no suspicion if the host stops now.
    fn rest(&mut self) -> Answer {
        for consumer in self.consumers.values_mut().filter(|consumer| consumer.leased.is_empty()) {
            consumer.dispatched_to.clear();
        }
        Ok(OrderReceipt::Done)
    }

    /// After consumers were removed.
    fn nobody_runs_alone(&mut self) {
        if self.alone.is_some_and(|(id, _)| !self.consumers.contains_key(&id)) {
            self.alone = None;
        }
    }

    fn redrive(&mut self, record: &QuarantineRecord, message: &std::sync::Arc<Message>) -> Answer {
        if !self.quarantine.contains_key(&record.id) {
            return Err(OrderRefusal::UnknownQuarantine { id: record.id });
        }
        let unknown =
            || OrderRefusal::UnknownConsumer { queue: record.queue.clone(), consumer: record.consumer.clone() };
        let due = self.now;
        let consumer = self.consumers.get_mut(&record.consumer_id).ok_or_else(unknown)?;
        if consumer.pending.contains_key(&record.sequence) {
            let sequence = record.sequence.original().0;
            return Err(OrderRefusal::PlaceTaken { id: record.id, sequence });
        }
        let waiting = Waiting { due, attempts_made: 0, message: std::sync::Arc::clone(message), evidence: 0 };
        consumer.pending.insert(record.sequence, waiting);
        self.quarantine.remove(&record.id);
        self.job_is_redriven(record.consumer_id, record.sequence);
        Ok(OrderReceipt::Done)
    }

    fn purge(&mut self, ids: &[QuarantineId]) -> Answer {
        let ids: BTreeSet<QuarantineId> = ids.iter().copied().collect();
        let count = ids.iter().filter(|id| self.quarantine.remove(id).is_some()).count();
        Ok(OrderReceipt::Purged { count: count as u64 })
    }
}

/// What is refused because it contradicts itself or what is there; the words are not the model's matter.
fn contradiction(given: &Answer) -> Result<OrderRefusal, Violation> {
    match given {
        Err(refusal @ OrderRefusal::Contradiction { .. }) => Ok(refusal.clone()),
        other => violated!("a contradiction is answered by {other:?}"),
    }
}

const fn name(order: &Order) -> &'static str {
    match order {
        Order::PutQueue { .. } => "queue declared",
        Order::DeleteQueue { .. } => "queue removed",
        Order::PutConsumer { .. } => "consumer declared",
        Order::DeleteConsumer { .. } => "consumer removed",
        Order::PutHandler { .. } => "handler declared",
        Order::DeleteHandler { .. } => "handler removed",
        Order::Pause { .. } => "paused",
        Order::Resume { .. } => "resumed",
        Order::Redrive { .. } => "redriven",
        Order::PurgeQuarantine { .. } => "purged",
        Order::Rest => "rested",
        Order::PutSchedule { .. } => "schedule declared",
        Order::DeleteSchedule { .. } => "schedule removed",
        Order::FireSchedule { .. } => "schedule asked to fire",
        Order::ImportQuarantine { .. } => "import carried out",
        Order::SubmitJob { .. } => "job submitted or known",
        Order::CancelJob { .. } => "job cancelled or cancelled before",
        Order::CancelDelayed { .. } => "delayed cancelled",
    }
}
