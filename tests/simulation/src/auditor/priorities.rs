//! Urgent messages go first, and nobody starves.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_delivery::{
    name::{ConsumerId, Sequence},
    priority::Priority,
    time::Timestamp,
};

use super::{Auditor, ModelConsumer};
use crate::violation::{Checked, ensure, violated};

/// At most one of so many deliveries goes to another than the most urgent.
const LESS_URGENT_EVERY: u64 = 10;
/// Whatever is ready gets one of so many deliveries.
const TURN_AT_LEAST_EVERY: u64 = 100;

/// What a consumer was given of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// Deliveries since the last one that was not the most urgent.
    since_less_urgent: Option<u64>,
    /// For each priority that has had something ready ever since, how many deliveries went elsewhere.
    passed_over: BTreeMap<Priority, u64>,
}

impl Auditor {
    pub(super) fn runs_by_priority(&mut self, id: ConsumerId, at: Sequence) -> Checked {
        let (now, pending_max) = (self.now, self.limits.pending_max);
        let Some(consumer) = self.consumers.get_mut(&id) else { violated!("{id:?} is gone") };
        let Some(queue) = self.queues.get(&consumer.record.queue) else { violated!("{id:?} has no queue") };
        if !queue.record.config.priorities || self.alone == Some((id, at)) {
            return Ok(());
        }
        let void = self.jobs.values().flat_map(|job| job.void_of(id)).collect();
        let ready = consumer.ready(now, pending_max, &void);
        let given = Priority::of(at);
        let highest = ready.last().copied().unwrap_or(given);
        let history = &mut consumer.given;
        if given < highest {
            let since = history.since_less_urgent;
            let in_turn = since.is_none_or(|since| since + 1 >= LESS_URGENT_EVERY);
            ensure!(in_turn, "{id:?} is given {at:?} while {highest} is ready, {since:?} after the last such one");
            history.since_less_urgent = Some(0);
            *self.counts.entry("less urgent in turn").or_default() += 1;
        } else if let Some(since) = &mut history.since_less_urgent {
            *since += 1;
        }
        history.passed_over.retain(|priority, _| ready.contains(priority) && *priority != given);
        for priority in ready.into_iter().filter(|priority| *priority != given) {
            let times = history.passed_over.entry(priority).or_default();
            *times += 1;
            ensure!(*times < TURN_AT_LEAST_EVERY, "{id:?} has {priority} ready and passed over {times} times");
        }
        if given < highest || given > Priority::LOWEST {
            *self.counts.entry("leased by priority").or_default() += 1;
        }
        Ok(())
    }
}

impl ModelConsumer {
    /// The priorities of which something could be leased now, besides what was cancelled.
    fn ready(&self, now: Timestamp, pending_max: u64, void: &BTreeSet<Sequence>) -> BTreeSet<Priority> {
        let free = |at: &Sequence| !self.leased.contains_key(at) && !self.suspects.contains(at) && !void.contains(at);
        // What was cancelled still counted when this tick's deliveries were chosen.
        let log_is_open = ((self.pending.len() + self.dropped_pending) as u64) < pending_max;
        let log = self.log.iter().filter(|_| log_is_open);
        let due = self.pending.iter().filter(|(_, waiting)| waiting.due <= now).map(|(at, _)| at);
        log.chain(due).copied().filter(free).map(Priority::of).collect()
    }
}
