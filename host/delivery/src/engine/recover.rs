//! The engine after a start: what the store gives back, put together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, EngineLimits, consumer::Consumer, queue::Queue};
use crate::{
    dedup::Dedup,
    input::Revision,
    name::{QueueId, Sequence},
    routing::Routes,
    state_window::StateWindow,
    time::Timestamp,
    write::{Counters, Recovered},
};

/// An engine that is being put together. Feed it what the store gives, in its order, then [`Recovery::finish`].
#[derive(Debug)]
pub struct Recovery {
    engine: Engine,
}

impl Recovery {
    /// Nothing yet.
    #[must_use]
    pub const fn new(limits: EngineLimits) -> Self {
        Self {
            engine: Engine {
                limits,
                now: Timestamp(0),
                revision: Revision(0),
                counters: Counters { queue: 1, consumer: 1, quarantine: 1 },
                queues: BTreeMap::new(),
                queue_ids: BTreeMap::new(),
                routes: Routes::new(),
                consumers: BTreeMap::new(),
                handlers: BTreeMap::new(),
                quarantined: BTreeMap::new(),
                dedup: Dedup::new(limits.dedup_window_ms, limits.dedup_ids_max),
                state: StateWindow::new(),
                leases_by_revision: BTreeMap::new(),
                alarms: BTreeSet::new(),
                next_fence: 0,
            },
        }
    }

    /// Take one thing that the store kept.
    pub fn take(&mut self, recovered: Recovered) {
        let engine = &mut self.engine;
        match recovered {
            Recovered::Counters(counters) => engine.counters = counters,
            Recovered::Handler(record) => {
                engine.handlers.insert(record.name.clone(), record);
            }
            Recovered::Queue { record, log } => {
                for pattern in &record.config.bindings {
                    engine.routes.bind(pattern, record.id);
                }
                engine.queue_ids.insert(record.name.clone(), record.id);
                engine.queues.insert(record.id, Queue::new(record, log));
            }
            Recovered::Consumer { record, cursor } => {
                if let Some(queue) = engine.queues.get_mut(&record.queue) {
                    queue.consumers.insert(record.id);
                    engine.consumers.insert(record.id, Consumer::new(record, cursor));
                }
            }
            Recovered::Pending { key, attempts_made } => {
                if let Some(consumer) = engine.consumers.get_mut(&key.consumer) {
                    consumer.pending.insert((key.due, key.sequence), attempts_made);
                }
            }
            Recovered::Quarantined { id, consumer } => {
                engine.quarantined.insert(id, consumer);
            }
            Recovered::Dedup { at, ids } => engine.dedup.restore(at, ids),
        }
    }

    /// The engine, ready for its first tick.
    #[must_use]
    pub fn finish(mut self) -> Engine {
        let ids: Vec<QueueId> = self.engine.queues.keys().copied().collect();
        for id in ids {
            self.forget_settled(id);
        }
        self.engine
    }

    /// The store may still have messages that every consumer settled.
    fn forget_settled(&mut self, id: QueueId) {
        let Engine { queues, consumers, .. } = &mut self.engine;
        let Some(queue) = queues.get_mut(&id) else { return };
        let floors = queue.consumers.iter().map(|consumer| consumers[consumer].cursor().floor);
        let floor: Option<Sequence> = floors.min();
        if let Some(floor) = floor {
            queue.trim(floor);
        }
    }
}
