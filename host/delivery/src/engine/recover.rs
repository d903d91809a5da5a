//! The engine after a start: what the store gives back, put together.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Engine, EngineLimits, Quarantined,
    consumer::{Consumer, Pending},
    job::Jobs,
    lane::Lane,
    queue::Queue,
};
use crate::{
    consumer_config::DeliveryOrder,
    dedup::Dedup,
    input::Revision,
    name::QueueId,
    priority::Priority,
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
    pub fn new(limits: EngineLimits) -> Self {
        let dedup = Dedup::new(limits.dedup_window_ms, limits.dedup_ids_max);
        Self {
            engine: Engine {
                limits,
                now: Timestamp(0),
                revision: Revision(0),
                counters: Counters::FIRST,
                queues: BTreeMap::new(),
                queue_ids: BTreeMap::new(),
                routes: Routes::new(),
                consumers: BTreeMap::new(),
                handlers: BTreeMap::new(),
                schedules: BTreeMap::new(),
                jobs: Jobs::default(),
                quarantined: BTreeMap::new(),
                capsules_bytes: 0,
                dedup,
                state: StateWindow::new(),
                leases_by_revision: BTreeMap::new(),
                alarms: BTreeSet::new(),
                next_fence: 0,
                delayed: BTreeSet::new(),
                delayed_asked: BTreeSet::new(),
                delayed_closed_until: Timestamp(0),
                suspicious: BTreeSet::new(),
                alone: None,
                held_back: false,
                crashed: Vec::new(),
            },
        }
    }

    /// Take one thing that the store kept.
    pub fn take(&mut self, recovered: Recovered) {
        let engine = &mut self.engine;
        match recovered {
            Recovered::Counters(counters) => {
                engine.counters = counters;
                // Whatever was given out before the stop was below it.
                engine.next_fence = counters.fence;
            }
            Recovered::Handler(record) => {
                engine.handlers.insert(record.name.clone(), record);
            }
            Recovered::Queue { record, logs } => {
                for pattern in &record.config.bindings {
                    engine.routes.bind(pattern, record.id);
                }
                engine.queue_ids.insert(record.name.clone(), record.id);
                engine.queues.insert(record.id, Queue::new(record, &logs));
            }
            Recovered::Consumer { record, cursors } => {
                if let Some(queue) = engine.queues.get_mut(&record.queue) {
                    queue.consumers.insert(record.id);
                    if record.config.order != DeliveryOrder::None {
                        queue.ordered.insert(record.id);
                    }
                    let mut lanes: Vec<Lane> = Priority::all().take(queue.logs.len()).map(Lane::empty).collect();
                    for cursor in cursors {
                        if let Some(lane) = lanes.get_mut(Priority::of(cursor.floor).index()) {
                            *lane = Lane::new(cursor);
                        }
                    }
                    engine.consumers.insert(record.id, Consumer::new(record, lanes));
                }
            }
            Recovered::Pending { key, attempts_made, hash } => {
                if let Some(consumer) = engine.consumers.get_mut(&key.consumer) {
                    consumer.put_off(key.sequence, Pending { due: key.due, attempts_made, hash }, Timestamp(0));
                }
            }
            Recovered::Running { consumer, sequence, mark } => {
                if mark.alone {
                    engine.crashed.push((consumer, sequence));
                } else if let Some(suspected) = engine.consumers.get_mut(&consumer) {
                    suspected.suspects.insert(sequence);
                    engine.suspicious.insert(consumer);
                }
            }
            Recovered::Delayed { key } => drop(engine.delayed.insert(key)),
            Recovered::Quarantined { id, consumer, sequence, hash } => {
                engine.quarantined.insert(id, Quarantined { consumer, sequence, hash, capsule_bytes: 0 });
                if let Some(owner) = engine.consumers.get_mut(&consumer).filter(|owner| owner.poison_holds()) {
                    owner.hold(hash, sequence, Timestamp(0));
                }
            }
            Recovered::Capsule { id, bytes } => {
                if let Some(quarantined) = engine.quarantined.get_mut(&id) {
                    quarantined.capsule_bytes = bytes;
                    engine.capsules_bytes += bytes;
                }
            }
            Recovered::Schedule { record } => {
                engine.schedules.insert(record.name.clone(), record);
            }
            Recovered::Job { record } => engine.jobs.restore(record),
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
        self.suspect_leased();
        self.engine
    }

    /// The store may still have messages that every consumer settled.
    fn forget_settled(&mut self, id: QueueId) {
        let Engine { queues, consumers, .. } = &mut self.engine;
        let Some(queue) = queues.get_mut(&id) else { return };
        // What is trimmed was trimmed before, and is not told again.
        queue.trim_to_floors(consumers, Timestamp(0)).for_each(drop);
    }

    /// Messages of the log that may have been leased when the host stopped.
    fn suspect_leased(&mut self) {
        let Engine { queues, consumers, suspicious, crashed, .. } = &mut self.engine;
        for (id, consumer) in consumers.iter_mut().filter(|(_, consumer)| !consumer.is_pulled()) {
            let logs = queues.get(&consumer.record.queue).map_or(&[][..], |queue| &queue.logs);
            for (lane, log) in logs.iter().enumerate() {
                consumer.suspect_leased(log.next.min(consumer.lanes[lane].cursor.dispatch_bound));
            }
            for (_, sequence) in crashed.iter().filter(|(of, _)| of == id) {
                consumer.suspects.remove(sequence);
            }
            if !consumer.suspects.is_empty() {
                suspicious.insert(*id);
            }
        }
    }
}
