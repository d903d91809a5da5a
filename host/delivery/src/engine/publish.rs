//! Messages come in: routed, checked against limits, given their places.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use serde_json::json;

use super::{
    Engine,
    queue::Queue,
    tick::{Appended, Tick},
};
use crate::{
    effect::{Effect, PublishRefusal, Receipt},
    input::{Destination, PublishEntry, Ticket},
    message::Message,
    name::{QueueId, QueueName, Sequence},
    priority::Priority,
    time::Timestamp,
    write::Write,
};

/// What happens to a message that no queue takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unrouted {
    /// Its publisher is told so.
    #[default]
    Refuse,
    /// It is dropped.
    Drop,
    /// This queue takes it.
    Park(QueueName),
}

/// Where one message of a delivery goes.
pub(super) enum Place {
    /// Into these queues, now.
    Queues(Rc<[QueueId]>),
    /// Into whatever takes it then.
    Later(Timestamp),
    /// To whoever waits for a reply.
    Reply,
}

impl Engine {
    pub(super) fn publish(&mut self, tick: &mut Tick, ticket: Ticket, entries: &[PublishEntry]) {
        self.forget_published(tick);
        let answers = entries.iter().map(|entry| self.publish_entry(tick, entry)).collect();
        tick.effects.push(Effect::Published { ticket, answers });
    }

    /// An id past its window is not known any more, even when nothing was published since.
    pub(super) fn forget_published(&mut self, tick: &mut Tick) {
        if let Some(before) = self.dedup.forget(tick.now) {
            tick.writes.push(Write::DeleteDedup { before });
        }
    }

    pub(super) fn publish_entry(&mut self, tick: &mut Tick, entry: &PublishEntry) -> Result<Receipt, PublishRefusal> {
        let dedup = entry.dedup.filter(|_| self.limits.dedup_window_ms > 0);
        if dedup.is_some_and(|id| self.dedup.knows(id)) {
            return Ok(Receipt { duplicate: true, places: Vec::new(), delayed: None });
        }
        if entry.message.topic.is_reply() {
            tick.effects.push(Effect::Reply { message: Arc::clone(&entry.message) });
            return Ok(Receipt { duplicate: false, places: Vec::new(), delayed: None });
        }
        let queues = self.destinations(tick, &entry.message, &entry.to)?;
        let delayed_until = entry.deliver_at.filter(|due| *due > tick.now);
        match delayed_until {
            Some(_) => self.check_delayed(1)?,
            None => {
                if let Err(refusal) = self.check_rooms(&queues, entry.message.size_bytes()) {
                    self.tell_full(tick, &refusal);
                    return Err(refusal);
                }
            }
        }
        if let Some(id) = dedup {
            self.dedup.remember(id);
            tick.dedup_ids.push(id);
        }
        let delayed = delayed_until.map(|due| self.delay(tick, entry, due));
        let places = match delayed {
            Some(_) => Vec::new(),
            None => self.append_to(tick, &queues, &entry.message),
        };
        Ok(Receipt { duplicate: false, places, delayed })
    }

    pub(super) fn check_rooms(&self, queues: &[QueueId], bytes: u64) -> Result<(), PublishRefusal> {
        queues.iter().try_for_each(|queue| self.queues[queue].check_room(1, bytes))
    }

    /// The queues that take the message; none when policy drops it.
    pub(super) fn destinations(
        &self,
        tick: &mut Tick,
        message: &Message,
        to: &Destination,
    ) -> Result<Rc<[QueueId]>, PublishRefusal> {
        match to {
            Destination::Topic => self.route(tick, message),
            Destination::Queue(queue) => self.by_name(queue),
        }
    }

    fn by_name(&self, queue: &QueueName) -> Result<Rc<[QueueId]>, PublishRefusal> {
        match self.queue_ids.get(queue) {
            Some(id) => Ok(Rc::from([*id])),
            None => Err(PublishRefusal::UnknownQueue { queue: queue.clone() }),
        }
    }

    fn route(&self, tick: &mut Tick, message: &Message) -> Result<Rc<[QueueId]>, PublishRefusal> {
        let queues = self.bound(tick, message);
        if !queues.is_empty() {
            return Ok(queues);
        }
        match &self.limits.unrouted {
            Unrouted::Refuse => Err(PublishRefusal::Unroutable { topic: message.topic.to_string() }),
            Unrouted::Drop => Ok(queues),
            Unrouted::Park(queue) => self.by_name(queue),
        }
    }

    /// The queues that bind the message.
    pub(super) fn bound(&self, tick: &mut Tick, message: &Message) -> Rc<[QueueId]> {
        match &tick.routed {
            Some((routed, route)) if *routed == message.topic => route.of(message),
            _ => {
                let route = self.routes.matching(&message.topic);
                let queues = route.of(message);
                tick.routed = Some((message.topic.clone(), route));
                queues
            }
        }
    }

    pub(super) fn append_to(
        &mut self,
        tick: &mut Tick,
        queues: &[QueueId],
        message: &Arc<Message>,
    ) -> Vec<(QueueId, Sequence)> {
        let bytes = message.size_bytes();
        queues.iter().map(|queue| (*queue, self.append(tick, *queue, message, bytes))).collect()
    }

    fn append(&mut self, tick: &mut Tick, id: QueueId, message: &Arc<Message>, bytes: u64) -> Sequence {
        while self.queues[&id].is_over(bytes) {
            self.drop_oldest(tick, id);
        }
        let queue = self.queues.get_mut(&id).expect("routes name only queues that exist");
        let lane = queue.lane(message);
        let log = &mut queue.logs[lane.index()];
        let appended = tick.appended.entry((id, lane)).or_insert_with(|| {
            tick.touched.extend(&queue.consumers);
            if queue.record.config.retention.is_some() || queue.consumers.is_empty() {
                tick.trimmable.insert(id);
            }
            Appended { first: log.next, bytes_before: log.bytes_before_next(), messages: Vec::new() }
        });
        appended.messages.push(Arc::clone(message));
        let sequence = log.append(bytes, tick.now);
        for consumer in &queue.ordered {
            let Some(consumer) = self.consumers.get_mut(consumer) else { continue };
            let hash = consumer.ordered_by(message.key_hash());
            let is_next = consumer.plain_lane().next == sequence;
            if let Some(sequencing) = &mut consumer.sequencing
                && is_next
                && sequencing.reading.is_none()
                && sequencing.window_len() < self.limits.order_window_max
            {
                sequencing.see(sequence, hash);
                consumer.lane_of_mut(sequence).next = sequence.next();
            }
        }
        sequence
    }

    /// A queue is full: told once, until it had room again.
    fn tell_full(&mut self, tick: &mut Tick, refusal: &PublishRefusal) {
        let PublishRefusal::QueueFull { queue: name, limit, .. } = refusal else { return };
        let id = self.queue_ids.get(name).copied();
        let Some(queue) = id.and_then(|id| self.queues.get_mut(&id)).filter(|queue| !queue.told_full) else { return };
        queue.told_full = true;
        Self::tell_limit(tick, json!({ "queue": name, "limit": limit, "messages": "refused" }));
    }

    /// The oldest message that somebody needs is not delivered any more.
    fn drop_oldest(&mut self, tick: &mut Tick, id: QueueId) {
        let Some(oldest) = self.queues.get(&id).and_then(Queue::oldest) else { return };
        self.jobs_lose_oldest(tick, id, oldest);
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let mut over = Vec::new();
        for consumer_id in &queue.consumers {
            let Some(consumer) = self.consumers.get_mut(consumer_id) else { continue };
            tick.touched.insert(*consumer_id);
            let dropped = consumer.drop_from_log(oldest, tick.now);
            over.extend(dropped.map(|in_flight| (*consumer_id, in_flight)));
        }
        let consumers = queue.consumers.iter().filter_map(|id| self.consumers.get(id));
        let floors = consumers.map(|consumer| consumer.lane_of(oldest).cursor.floor);
        let needed = floors.min().unwrap_or(oldest.next()).max(oldest.next());
        tick.trimmable.insert(id);
        queue.logs[Priority::of(oldest).index()].needed = needed;
        if !queue.told_full {
            queue.told_full = true;
            let (name, config) = (&queue.record.name, &queue.record.config);
            let limits = format!("messages-max = {}, bytes-max = {}", config.messages_max, config.bytes_max);
            Self::tell_limit(tick, json!({ "queue": name, "limit": limits, "messages": "oldest dropped" }));
        }
        for (consumer, in_flight) in over {
            self.lease_is_void(tick, consumer, &in_flight);
        }
    }

    /// Where each of the messages that one delivery published goes, if all of them can be taken.
    pub(super) fn check_published(
        &self,
        tick: &mut Tick,
        entries: &[PublishEntry],
    ) -> Result<Vec<Place>, PublishRefusal> {
        let mut wanted: BTreeMap<QueueId, (u64, u64)> = BTreeMap::new();
        let mut places = Vec::with_capacity(entries.len());
        let mut delayed = 0;
        for entry in entries {
            if entry.message.topic.is_reply() {
                places.push(Place::Reply);
                continue;
            }
            let queues = self.destinations(tick, &entry.message, &entry.to)?;
            if let Some(due) = entry.deliver_at.filter(|due| *due > tick.now) {
                delayed += 1;
                self.check_delayed(delayed)?;
                places.push(Place::Later(due));
                continue;
            }
            for queue in queues.iter() {
                let (count, bytes) = wanted.entry(*queue).or_default();
                *count += 1;
                *bytes += entry.message.size_bytes();
                self.queues[queue].check_room(*count, *bytes)?;
            }
            places.push(Place::Queues(queues));
        }
        Ok(places)
    }

    /// Publish what one delivery published; [`Self::check_published`] said where it goes.
    pub(super) fn append_published(&mut self, tick: &mut Tick, entries: &[PublishEntry], places: &[Place]) {
        for (entry, place) in entries.iter().zip(places) {
            match place {
                Place::Queues(queues) => drop(self.append_to(tick, queues, &entry.message)),
                Place::Later(due) => drop(self.delay(tick, entry, *due)),
                Place::Reply => tick.effects.push(Effect::Reply { message: Arc::clone(&entry.message) }),
            }
        }
    }
}
