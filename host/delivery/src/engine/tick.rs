//! What one tick gathers, and how it is closed into one commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Engine, news::News};
use crate::{
    effect::Effect,
    input::Revision,
    message::Message,
    name::{ConsumerId, QueueId, Sequence},
    priority::Priority,
    routing::Route,
    time::Timestamp,
    topic::Topic,
    write::{Counters, DedupId, Write},
};

/// The work of one tick, until it is closed.
pub(super) struct Tick {
    pub(super) now: Timestamp,
    pub(super) revision: Revision,
    /// Writes in the order they were decided; appends and cursors come when the tick is closed.
    pub(super) writes: Vec<Write>,
    pub(super) effects: Vec<Effect>,
    pub(super) appended: BTreeMap<(QueueId, Priority), Appended>,
    pub(super) dedup_ids: Vec<DedupId>,
    /// Consumers that may have something to lease, or whose alarm may have changed.
    pub(super) touched: BTreeSet<ConsumerId>,
    /// Queues whose oldest needed message may have moved.
    pub(super) trimmable: BTreeSet<QueueId>,
    pub(super) counters_before: Option<Counters>,
    /// The last topic that was routed: messages of one tick often share it.
    pub(super) routed: Option<(Topic, Route)>,
    /// Whether every consumer may have something to lease.
    pub(super) touch_all: bool,
    /// Which consumers must read on in their logs, from where.
    pub(super) reads: BTreeMap<ConsumerId, (QueueId, Sequence)>,
    /// What happened that a handler may want to know.
    pub(super) news: Vec<News>,
}

/// Messages that one tick adds to one log.
pub(super) struct Appended {
    pub(super) first: Sequence,
    pub(super) bytes_before: u64,
    pub(super) messages: Vec<Arc<Message>>,
}

impl Tick {
    pub(super) const fn new(now: Timestamp, revision: Revision) -> Self {
        Self {
            now,
            revision,
            writes: Vec::new(),
            effects: Vec::new(),
            appended: BTreeMap::new(),
            dedup_ids: Vec::new(),
            touched: BTreeSet::new(),
            trimmable: BTreeSet::new(),
            counters_before: None,
            routed: None,
            touch_all: false,
            reads: BTreeMap::new(),
            news: Vec::new(),
        }
    }
}

impl Engine {
    /// Put the writes of the tick in their order: declarations first, then messages, then cursors, then what makes
    /// room.
    pub(super) fn close(&mut self, mut tick: Tick) -> (Vec<Write>, Vec<Effect>) {
        self.ask_for_reads(&mut tick);
        self.set_alarms(&tick);
        self.write_jobs(&mut tick);
        self.write_appended(&mut tick);
        self.write_cursors(&mut tick);
        self.write_trims(&mut tick);
        self.write_dedup(&mut tick);
        if tick.counters_before.is_some_and(|before| before != self.counters) {
            tick.writes.push(Write::PutCounters { counters: self.counters });
        }
        let oldest_reader = self.leases_by_revision.first_key_value().map_or(self.revision, |(first, _)| *first);
        self.state.forget(oldest_reader);
        (tick.writes, tick.effects)
    }

    fn write_appended(&self, tick: &mut Tick) {
        for ((queue, _), appended) in std::mem::take(&mut tick.appended) {
            if self.queues.contains_key(&queue) {
                let Appended { first, bytes_before, messages } = appended;
                tick.writes.push(Write::Append { queue, first, bytes_before, messages });
            }
        }
    }

    fn write_cursors(&mut self, tick: &mut Tick) {
        for id in &tick.touched {
            let Some(consumer) = self.consumers.get_mut(id) else { continue };
            let cursors = consumer.take_changed_cursors();
            tick.writes.extend(cursors.map(|cursor| Write::PutCursor { consumer: *id, cursor }));
        }
    }

    fn write_trims(&mut self, tick: &mut Tick) {
        for id in std::mem::take(&mut tick.trimmable) {
            let Some(queue) = self.queues.get_mut(&id) else { continue };
            for below in queue.trim_to_floors(&self.consumers, tick.now) {
                tick.writes.push(Write::Trim { queue: id, below });
            }
        }
    }

    fn write_dedup(&mut self, tick: &mut Tick) {
        if tick.dedup_ids.is_empty() {
            return;
        }
        let ids = std::mem::take(&mut tick.dedup_ids);
        self.dedup.stamp(tick.now, ids.clone());
        tick.writes.push(Write::PutDedup { at: tick.now, ids });
        self.forget_published(tick);
    }
}
