//! The engine: the state of all queues and consumers that delivery needs in memory, and its one step.
//!
//! It holds sequence numbers, not messages: memory grows with what is in flight and pending, never with the
//! backlog. Whoever runs it gives it the time, makes its writes durable, and carries out its effects.

mod consumer;
mod delayed;
mod import;
mod job;
mod lane;
mod lease;
mod log;
mod news;
mod order;
mod publish;
mod queue;
mod rate;
mod recover;
mod schedule;
mod sequencing;
mod settle;
mod settle_group;
mod storm;
mod tick;
mod trace;
mod turns;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use self::{consumer::Consumer, job::Jobs, queue::Queue, tick::Tick};
use crate::{
    dedup::Dedup,
    effect::Effect,
    input::{Input, Revision},
    limits,
    name::{ConsumerId, HandlerName, KeyHash, QuarantineId, QueueId, QueueName, Sequence},
    record::{DelayedKey, HandlerRecord},
    routing::Routes,
    schedule::{ScheduleName, ScheduleRecord},
    state_window::StateWindow,
    time::Timestamp,
    write::{Counters, Write},
};

pub use self::{
    delayed::{DELAYED_RETRY_MS, DELAYED_UNROUTABLE_MS},
    publish::Unrouted,
    recover::Recovery,
    trace::DeliveryState,
    view::{ConsumerView, QueueView},
};

/// What bounds the whole engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// How long a published id is remembered, in milliseconds; 0 switches dedup off.
    pub dedup_window_ms: u64,
    /// How many published ids are remembered.
    pub dedup_ids_max: usize,
    /// How many deliveries may rest in quarantine.
    pub quarantine_max: u64,
    /// The capsules of all of them, in bytes.
    pub capsules_bytes_max: u64,
    /// How many deliveries of one consumer may wait for a retry or a delay.
    pub pending_max: u64,
    /// How many messages may wait for their time.
    pub delayed_max: u64,
    /// How many jobs are known.
    pub jobs_max: u64,
    /// How long a job is known after it has ended, in milliseconds.
    pub job_keep_ms: u64,
    /// The result of one job, in bytes.
    pub job_result_bytes_max: u64,
    /// The results of all jobs, in bytes.
    pub job_results_bytes_max: u64,
    /// How many messages of its log a consumer with an order looks at beyond the oldest that it has not settled.
    pub order_window_max: usize,
    /// What happens to a message that no queue takes.
    pub unrouted: Unrouted,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            dedup_window_ms: limits::DEDUP_WINDOW_MS_DEFAULT,
            dedup_ids_max: limits::DEDUP_IDS_MAX_DEFAULT,
            quarantine_max: limits::QUARANTINE_MAX_DEFAULT,
            capsules_bytes_max: limits::CAPSULES_BYTES_MAX_DEFAULT,
            pending_max: limits::PENDING_MAX_DEFAULT,
            delayed_max: limits::DELAYED_MAX_DEFAULT,
            jobs_max: limits::JOBS_MAX_DEFAULT,
            job_keep_ms: limits::JOB_KEEP_MS_DEFAULT,
            job_result_bytes_max: limits::JOB_RESULT_BYTES_MAX_DEFAULT,
            job_results_bytes_max: limits::JOB_RESULTS_BYTES_MAX_DEFAULT,
            order_window_max: limits::ORDER_WINDOW_MAX,
            unrouted: Unrouted::Refuse,
        }
    }
}

/// The pure state machine of delivery.
#[derive(Clone, Debug)]
pub struct Engine {
    limits: EngineLimits,
    /// The last tick's time; time never goes back.
    now: Timestamp,
    /// The number of the last tick.
    revision: Revision,
    counters: Counters,
    queues: BTreeMap<QueueId, Queue>,
    queue_ids: BTreeMap<QueueName, QueueId>,
    routes: Routes,
    consumers: BTreeMap<ConsumerId, Consumer>,
    handlers: BTreeMap<HandlerName, HandlerRecord>,
    schedules: BTreeMap<ScheduleName, ScheduleRecord>,
    jobs: Jobs,
    quarantined: BTreeMap<QuarantineId, Quarantined>,
    /// The capsules of all of them.
    capsules_bytes: u64,
    dedup: Dedup,
    state: StateWindow,
    /// How many leases under way were given in which revision.
    leases_by_revision: BTreeMap<Revision, u32>,
    /// When which consumer has something to do that no input will tell of.
    alarms: BTreeSet<(Timestamp, ConsumerId)>,
    next_fence: u64,
    /// Messages that wait for their time, without those that were asked for.
    delayed: BTreeSet<DelayedKey>,
    delayed_asked: BTreeSet<DelayedKey>,
    /// None is asked for before.
    delayed_closed_until: Timestamp,
    /// Consumers that have suspects.
    suspicious: BTreeSet<ConsumerId>,
    /// The delivery that runs while nothing else does.
    alone: Option<(ConsumerId, Sequence)>,
    /// Whether consumers were not looked at because of it.
    held_back: bool,
    /// Deliveries that ran alone when the host stopped.
    crashed: Vec<(ConsumerId, Sequence)>,
}

/// A delivery in quarantine, as far as the engine must know it.
#[derive(Clone, Copy, Debug)]
struct Quarantined {
    consumer: ConsumerId,
    sequence: Sequence,
    /// What stands for its message's key.
    hash: Option<KeyHash>,
    capsule_bytes: u64,
}

impl Engine {
    /// One step: take what happened, make durable what it means, and say what is to be done.
    ///
    /// `commit` gets all writes of the step, in order, to be made durable together. It is not called when there are
    /// none. Time that goes back is taken for the time of the step before.
    ///
    /// # Errors
    /// Whatever `commit` answers. The engine is gone then: what it holds in memory is ahead of what is durable,
    /// so the only way on is to recover from the store.
    pub fn tick<E>(
        mut self,
        now: Timestamp,
        inputs: Vec<Input>,
        commit: impl FnOnce(&[Write]) -> Result<(), E>,
    ) -> Result<(Self, Vec<Effect>), E> {
        self.now = self.now.max(now);
        self.revision = Revision(self.revision.0 + 1);
        let mut tick = Tick::new(self.now, self.revision);
        self.judge_crashed(&mut tick);
        for input in inputs {
            self.take(&mut tick, input);
        }
        self.ring_alarms(&mut tick);
        self.publish_news(&mut tick);
        self.tend_jobs(&mut tick);
        self.lease_to_waiting(&mut tick);
        let (writes, effects) = self.close(tick);
        if !writes.is_empty() {
            commit(&writes)?;
        }
        Ok((self, effects))
    }

    fn take(&mut self, tick: &mut Tick, input: Input) {
        match input {
            Input::Publish { ticket, entries } => self.publish(tick, ticket, &entries),
            Input::Lease { ticket, consumer, deliveries_max } => {
                self.wait_for_lease(tick, ticket, consumer, deliveries_max)
            }
            Input::CancelLease { ticket, consumer } => self.cancel_lease(ticket, consumer),
            Input::Settle { ticket, consumer, settlements } => self.settle(tick, ticket, consumer, settlements),
            Input::Return { consumer, leases } => self.return_leases(tick, consumer, &leases),
            Input::Messages { queue, from, messages } => self.look_at(tick, queue, from, &messages),
            Input::Delayed { entries } => self.publish_delayed(tick, &entries),
            Input::Order { ticket, order } => {
                let answer = self.carry_out(tick, order);
                tick.effects.push(Effect::Ordered { ticket, answer });
            }
        }
    }

    /// The number of the last tick. What readers of the store see of a tick's writes is at least what was durable
    /// when this was read.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// When the engine must be stepped even if nothing happens.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let alarm = self.alarms.first().map(|(due, _)| *due);
        let crashed = self.crashed.first().map(|_| self.now);
        [alarm, self.next_delayed(), crashed, self.next_job_due()].into_iter().flatten().min()
    }
}
