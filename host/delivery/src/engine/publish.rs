//! Messages come in: routed, checked against limits, given their places.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use super::{
    Engine,
    tick::{Appended, Tick},
};
use crate::{
    effect::{Effect, PublishRefusal, Receipt},
    input::{Destination, PublishEntry, Ticket},
    message::Message,
    name::{QueueId, Sequence},
    topic::Topic,
    write::Write,
};

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

    fn publish_entry(&mut self, tick: &mut Tick, entry: &PublishEntry) -> Result<Receipt, PublishRefusal> {
        let dedup = entry.dedup.filter(|_| self.limits.dedup_window_ms > 0);
        if dedup.is_some_and(|id| self.dedup.knows(id)) {
            return Ok(Receipt { duplicate: true, places: Vec::new() });
        }
        let queues = self.destinations(tick, entry)?;
        let bytes = entry.message.size_bytes();
        for queue in queues.iter() {
            self.queues[queue].check_room(1, bytes)?;
        }
        if let Some(id) = dedup {
            self.dedup.remember(id);
            tick.dedup_ids.push(id);
        }
        let places = queues.iter().map(|queue| (*queue, self.append(tick, *queue, &entry.message, bytes))).collect();
        Ok(Receipt { duplicate: false, places })
    }

    fn destinations(&self, tick: &mut Tick, entry: &PublishEntry) -> Result<Rc<[QueueId]>, PublishRefusal> {
        match &entry.to {
            Destination::Topic => self.route(tick, &entry.message.topic),
            Destination::Queue(queue) => match self.queue_ids.get(queue) {
                Some(id) => Ok(Rc::from([*id])),
                None => Err(PublishRefusal::UnknownQueue { queue: queue.clone() }),
            },
        }
    }

    fn route(&self, tick: &mut Tick, topic: &Topic) -> Result<Rc<[QueueId]>, PublishRefusal> {
        let queues = match &tick.routed {
            Some((routed, queues)) if routed == topic => Rc::clone(queues),
            _ => {
                let queues: Rc<[QueueId]> = self.routes.matching(topic).into();
                tick.routed = Some((topic.clone(), Rc::clone(&queues)));
                queues
            }
        };
        if queues.is_empty() {
            return Err(PublishRefusal::Unroutable { topic: topic.to_string() });
        }
        Ok(queues)
    }

    fn append(&mut self, tick: &mut Tick, id: QueueId, message: &Arc<Message>, bytes: u64) -> Sequence {
        let queue = self.queues.get_mut(&id).expect("routes name only queues that exist");
        let appended = tick.appended.entry(id).or_insert_with(|| {
            tick.touched.extend(&queue.consumers);
            Appended { first: queue.next, bytes_before: queue.bytes_before_next(), messages: Vec::new() }
        });
        appended.messages.push(Arc::clone(message));
        queue.append(bytes)
    }

    /// Where each of the messages that one delivery published goes, if all of them can be taken.
    pub(super) fn check_published(
        &self,
        tick: &mut Tick,
        messages: &[Arc<Message>],
    ) -> Result<Vec<Rc<[QueueId]>>, PublishRefusal> {
        let mut wanted: BTreeMap<QueueId, (u64, u64)> = BTreeMap::new();
        let mut routes = Vec::with_capacity(messages.len());
        for message in messages {
            let queues = self.route(tick, &message.topic)?;
            for queue in queues.iter() {
                let (count, bytes) = wanted.entry(*queue).or_default();
                *count += 1;
                *bytes += message.size_bytes();
                self.queues[queue].check_room(*count, *bytes)?;
            }
            routes.push(queues);
        }
        Ok(routes)
    }

    /// Publish what one delivery published; [`Self::check_published`] said where it goes.
    pub(super) fn append_published(&mut self, tick: &mut Tick, messages: &[Arc<Message>], routes: &[Rc<[QueueId]>]) {
        for (message, queues) in messages.iter().zip(routes) {
            let bytes = message.size_bytes();
            for queue in queues.iter() {
                self.append(tick, *queue, message, bytes);
            }
        }
    }
}
