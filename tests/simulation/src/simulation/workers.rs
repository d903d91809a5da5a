//! Workers: they wait for deliveries, run the model of a handler on each, and settle or return them, in time or not.

use std::{collections::VecDeque, mem};

use bytes::Bytes;
use wasmill_delivery::{
    effect::Effect,
    input::{AttemptResult, Effects, Input, Lease, Revision, Settlement, StateWrite, Ticket},
    name::{ConsumerId, Digest, HandlerName, MessageKey, QueueId},
    outcome::Outcome,
    record::{AttemptRecord, DelayedKey, DeliveryOrder, PendingRecord},
};

use super::Simulation;
use crate::{
    handler::{Execution, Notes, program},
    sabotage::Sabotage,
    violation::{Checked, Violation, ensure, violated},
};

/// A worker with a run of leases.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) consumer: ConsumerId,
    queue: QueueId,
    handler: HandlerName,
    /// The engine's revision when it got the leases.
    leased_at: Revision,
    pub(super) rest: VecDeque<Lease>,
    current: Option<Current>,
    done: Vec<Settlement>,
    notes: Vec<Notes>,
    /// What successes of this run wrote.
    staged: Vec<StateWrite>,
    /// Whether most of it fails.
    stormy: bool,
}

#[derive(Clone, Debug)]
struct Current {
    lease: Lease,
    delivery: PendingRecord,
    execution: Execution,
}

/// A settle that was sent once.
#[derive(Clone, Debug)]
pub(super) struct OldSettle {
    consumer: ConsumerId,
    settlements: Vec<Settlement>,
    notes: Vec<Notes>,
}

const OLD_SETTLES: usize = 8;

impl Run {
    pub(super) fn is_through(&self) -> bool {
        self.rest.is_empty() && self.current.is_none()
    }
}

impl Simulation {
    pub(super) fn request_lease(&mut self) {
        let consumers: Vec<ConsumerId> = self.disk.consumers.keys().copied().collect();
        let known = self.random.pick(&consumers).copied();
        let consumer = known.filter(|_| !self.random.chance(3)).unwrap_or(ConsumerId(self.random.small(0, 20)));
        let waiting = self.requests.values().filter(|waiting| **waiting == consumer).count();
        if waiting < 3 {
            let most = if self.random.chance(3) { 0 } else { self.random.small(1, 6) };
            self.request(consumer, most);
        }
    }

    pub(super) fn request(&mut self, consumer: ConsumerId, deliveries_max: u32) {
        let ticket = self.ticket();
        self.requests.insert(ticket, consumer);
        self.say(format!("{ticket:?}: lease up to {deliveries_max} of {consumer:?}"));
        self.mailbox.push_back(Input::Lease { ticket, consumer, deliveries_max });
    }

    pub(super) fn cancel_lease(&mut self) {
        let waiting: Vec<_> = self.requests.iter().map(|(ticket, consumer)| (*ticket, *consumer)).collect();
        if let Some((ticket, consumer)) = self.random.pick(&waiting).copied() {
            self.requests.remove(&ticket);
            self.cancelled.insert(ticket);
            self.say(format!("cancel lease {ticket:?} of {consumer:?}"));
            self.count("lease cancelled");
            self.mailbox.push_back(Input::CancelLease { ticket, consumer });
        }
    }

    /// Effects reach whom they are for.
    pub(super) fn deliver(&mut self, effects: Vec<Effect>) -> Checked {
        for effect in effects {
            match effect {
                Effect::Leased { ticket, consumer, queue, leases } => {
                    self.say(format!("{ticket:?} gets {} leases of {consumer:?}", leases.len()));
                    if self.stops_waiting(ticket)? {
                        let run = self.new_run(consumer, queue, leases);
                        self.runs.push(run);
                    } else {
                        self.count("leases for nobody");
                        self.mailbox.push_back(Input::Return { consumer, leases });
                    }
                }
                Effect::LeaseEnded { ticket } => {
                    self.stops_waiting(ticket)?;
                    self.count("lease ended");
                }
                Effect::Settled { ticket, .. } => drop(self.notes.remove(&ticket)),
                Effect::Published { .. }
                | Effect::Ordered { .. }
                | Effect::Paused { .. }
                | Effect::Resumed { .. }
                | Effect::JobEnded { .. }
                | Effect::Reply { .. } => {}
                Effect::Read { queue, from, limit } => {
                    let messages = self.disk.log_page(queue, from, limit);
                    self.say(format!("{} messages of {queue:?} from {from:?} were asked for", messages.len()));
                    self.mailbox.push_back(Input::Messages { queue, from, messages });
                }
                Effect::ReadDelayed { keys } => {
                    self.say(format!("{} delayed messages were asked for", keys.len()));
                    let read = |key: &DelayedKey| Some((*key, self.disk.delayed.get(key)?.clone()));
                    let entries = keys.iter().filter_map(read).collect();
                    self.mailbox.push_back(Input::Delayed { entries });
                }
                Effect::Crashed { consumer, queue, leases } => self.settle_crashed(consumer, queue, &leases)?,
            }
        }
        Ok(())
    }

    /// Deliveries that ran alone when the host stopped failed by that.
    fn settle_crashed(&mut self, consumer: ConsumerId, queue: QueueId, leases: &[Lease]) -> Checked {
        for lease in leases {
            let Some(delivery) = self.disk.delivery(consumer, queue, lease) else {
                if self.auditor.holds(consumer, lease) {
                    violated!("{lease:?} of {consumer:?} ran alone, but its message is not on disk");
                }
                continue;
            };
            let record = AttemptRecord { outcome: Outcome::HostCrash, fresh: false, ..self.evidence(lease) };
            let PendingRecord { message, attempts: earlier, .. } = delivery;
            let result = AttemptResult::Failed(record);
            let settlements = vec![Settlement { lease: *lease, message, earlier, result, capsule: None }];
            self.send_settle(OldSettle { consumer, settlements, notes: Vec::new() });
        }
        Ok(())
    }

    /// Whether somebody still waits with that ticket; the cancel of one who does not may be on its way.
    fn stops_waiting(&mut self, ticket: Ticket) -> Result<bool, Violation> {
        let waits = self.requests.remove(&ticket).is_some();
        ensure!(waits || self.cancelled.remove(&ticket), "{ticket:?} waits no more and is answered");
        Ok(waits)
    }

    fn new_run(&self, consumer: ConsumerId, queue: QueueId, leases: Vec<Lease>) -> Run {
        Run {
            consumer,
            queue,
            handler: self.disk.consumers[&consumer].config.handler.clone().expect("every consumer has a handler"),
            leased_at: self.engine().revision(),
            rest: leases.into(),
            current: None,
            done: Vec::new(),
            notes: Vec::new(),
            staged: Vec::new(),
            stormy: self.step / 40 % 4 == 3,
        }
    }

    /// One worker goes on with its run, a little.
    pub(super) fn work(&mut self) -> Checked {
        if self.runs.is_empty() {
            return Ok(());
        }
        let index = self.random.index(self.runs.len());
        let mut run = self.runs.swap_remove(index);
        let ops = if self.random.chance(50) { 100 } else { self.random.index(4) };
        if self.go_on(&mut run, ops, false)? {
            self.runs.push(run);
        } else {
            self.settle(run);
        }
        Ok(())
    }

    /// Go on with a run; answers whether its leases are still good enough to go on.
    pub(super) fn go_on(&mut self, run: &mut Run, ops: usize, draining: bool) -> Result<bool, Violation> {
        if run.current.is_none() {
            let Some(lease) = run.rest.pop_front() else { return Ok(true) };
            let Some(delivery) = self.disk.delivery(run.consumer, run.queue, &lease) else {
                return self.unreadable(run, lease);
            };
            let mut topics = if draining { Vec::new() } else { vec![self.topic(), self.topic()] };
            topics.extend(self.reply_topic(&delivery.message, draining));
            let program = program(&mut self.random, &topics);
            let now = self.engine().revision();
            let revision = if self.random.chance(30) { run.leased_at } else { now };
            let message = delivery.message.clone();
            let execution = Execution::new(run.handler.clone(), message, program, run.staged.clone(), revision);
            run.current = Some(Current { lease, delivery, execution });
        }
        let through =
            run.current.as_mut().is_some_and(|current| current.execution.advance(&self.disk, self.clock, ops));
        if through && let Some(current) = run.current.take() {
            self.end_attempt(run, current, draining);
        }
        Ok(true)
    }

    /// A delivery is not where its lease says: only a lease that is not valid any more may meet this.
    fn unreadable(&mut self, run: &mut Run, lease: Lease) -> Result<bool, Violation> {
        if self.auditor.holds(run.consumer, &lease) {
            violated!("{lease:?} of {:?} is valid, but its message is not on disk", run.consumer);
        }
        self.say(format!("{lease:?} of {:?} is void", run.consumer));
        self.count("lease void");
        run.rest.push_front(lease);
        Ok(false)
    }

    fn end_attempt(&mut self, run: &mut Run, current: Current, draining: bool) {
        let Current { lease, delivery, execution } = current;
        let (mut effects, notes) = execution.finish();
        if self.sabotage == Sabotage::WorkersHideReads {
            effects.state.reads.clear();
        }
        if self.sabotage == Sabotage::WorkersReadLater {
            effects.state.revision = Revision(u64::MAX);
        }
        let expired = delivery.message.is_expired(self.clock) && !draining;
        let success = draining || self.random.chance(if run.stormy { 20 } else { 65 });
        // A handler that is given several in one call: what they did is said with the last of them.
        let joined = !draining && success && self.random.chance(30);
        let mut notes = notes;
        let result = if expired {
            AttemptResult::Failed(AttemptRecord { outcome: Outcome::Expired, ..self.evidence(&lease) })
        } else if joined {
            notes = Notes { observed: Vec::new(), bumps: 0, ..notes };
            AttemptResult::SucceededWithNext
        } else if success {
            run.staged.extend(effects.state.writes.iter().cloned());
            AttemptResult::Succeeded(effects)
        } else {
            AttemptResult::Failed(self.evidence(&lease))
        };
        self.say(format!("{:?} ran {lease:?} of {:?}: {}", run.handler, run.consumer, result.outcome().name()));
        run.notes.push(notes);
        let failed = matches!(result, AttemptResult::Failed(_));
        let PendingRecord { message, attempts: earlier, .. } = delivery;
        let key = message.key.clone();
        let capsule = (failed && self.random.chance(70)).then(|| a_capsule(&lease));
        run.done.push(Settlement { lease, message, earlier, result, capsule });
        if failed && self.random.chance(80) {
            self.give_back_followers(run, key.as_ref());
        }
    }

    /// A worker does not try what is ordered behind a failure; one that does is told that it was out of order.
    fn give_back_followers(&mut self, run: &mut Run, key: Option<&MessageKey>) {
        let order = self.disk.consumers.get(&run.consumer).map_or(DeliveryOrder::None, |c| c.config.order);
        let follows = |lease: &Lease| match order {
            DeliveryOrder::None => false,
            DeliveryOrder::Strict => true,
            DeliveryOrder::Key => {
                let other = self.disk.delivery(run.consumer, run.queue, lease).and_then(|d| d.message.key.clone());
                key.is_some() && other.as_ref() == key
            }
        };
        let (back, rest): (Vec<Lease>, Vec<Lease>) = run.rest.iter().partition(|lease| follows(lease));
        run.rest = rest.into();
        if !back.is_empty() {
            self.say(format!("return {} followers of {:?}", back.len(), run.consumer));
            self.mailbox.push_back(Input::Return { consumer: run.consumer, leases: back });
        }
    }

    fn evidence(&mut self, lease: &Lease) -> AttemptRecord {
        AttemptRecord {
            attempt: lease.attempt,
            digest: Some(Digest([0; 32])),
            started_at: self.clock,
            duration_us: 1,
            outcome: self.failure(),
            fuel_used: 1 + self.random.below(5) / 4,
            memory_bytes_peak: 1,
            log: String::new(),
            backtrace: Vec::new(),
            fresh: self.random.chance(60),
        }
    }

    fn failure(&mut self) -> Outcome {
        let reason = "simulated".to_owned();
        let wait_ms = if self.random.chance(5) { u64::MAX } else { self.random.below(300) };
        match self.random.below(24) {
            0 => Outcome::Retry { reason, after_ms: Some(self.random.below(300)) },
            1 => Outcome::Retry { reason, after_ms: None },
            2..=4 => Outcome::Defer { after_ms: wait_ms },
            5 => Outcome::Reject { reason },
            6 => Outcome::OutOfFuel { fuel_max: 1 },
            7 => Outcome::OutOfMemory { memory_bytes_max: 1 },
            8 => Outcome::TimedOut { wall_clock_ms_max: 1 },
            9 => Outcome::StackOverflow,
            10 => Outcome::PublishLimit { limit: reason },
            11 => Outcome::StateLimit { limit: reason },
            12 => Outcome::Trapped { trap: reason },
            13 => Outcome::Exited { success: true },
            14 => Outcome::Unroutable { topic: reason },
            15 => Outcome::LeaseExpired { lease_ms: 5 },
            16 => Outcome::NeverFits { limit: reason },
            17 => Outcome::Throttle { after_ms: wait_ms.min(1_000_000) },
            18 | 19 => Outcome::HostFault { detail: reason },
            _ => Outcome::Trapped { trap: "unreachable".to_owned() },
        }
    }

    /// A worker settles what it ran and returns the rest.
    pub(super) fn settle_some(&mut self) {
        let ready: Vec<usize> = (0..self.runs.len()).filter(|index| self.runs[*index].is_through()).collect();
        let index = match self.random.pick(&ready) {
            Some(index) => *index,
            None if !self.runs.is_empty() && self.random.chance(20) => self.random.index(self.runs.len()),
            None => return,
        };
        let run = self.runs.swap_remove(index);
        self.settle(run);
    }

    pub(super) fn settle(&mut self, mut run: Run) {
        self.return_rest(&mut run);
        let Run { consumer, mut done, mut notes, .. } = run;
        if !self.random.chance(3) {
            end_groups(&mut done);
        }
        if self.random.chance(2)
            && let (Some(settlement), Some(note)) = (done.first().cloned(), notes.first().cloned())
        {
            // The same lease twice in one run.
            done.push(settlement);
            notes.push(note);
        }
        self.send_settle(OldSettle { consumer, settlements: done, notes });
    }

    fn send_settle(&mut self, settle: OldSettle) {
        if self.old_settles.len() == OLD_SETTLES {
            self.old_settles.pop_front();
        }
        self.old_settles.push_back(settle.clone());
        let ticket = self.ticket();
        let OldSettle { consumer, settlements, notes } = settle;
        self.say(format!("{ticket:?}: settle {} of {consumer:?}", settlements.len()));
        self.notes.insert(ticket, notes);
        self.mailbox.push_back(Input::Settle { ticket, consumer, settlements });
    }

    fn return_rest(&mut self, run: &mut Run) {
        let current = run.current.take().map(|current| current.lease);
        let leases: Vec<Lease> = current.into_iter().chain(mem::take(&mut run.rest)).collect();
        if !leases.is_empty() {
            self.say(format!("return {} leases of {:?}", leases.len(), run.consumer));
            self.mailbox.push_back(Input::Return { consumer: run.consumer, leases });
        }
    }

    /// A worker gives everything back, and may settle it later all the same.
    pub(super) fn return_run(&mut self) {
        if self.runs.is_empty() {
            return;
        }
        let index = self.random.index(self.runs.len());
        let mut run = self.runs.swap_remove(index);
        self.return_rest(&mut run);
        let leases = run.done.iter().map(|settlement| settlement.lease).collect();
        self.mailbox.push_back(Input::Return { consumer: run.consumer, leases });
        self.old_settles.push_back(OldSettle { consumer: run.consumer, settlements: run.done, notes: run.notes });
    }

    /// A settle that was sent before, or whose leases were returned.
    pub(super) fn settle_late(&mut self) {
        if let Some(settle) = self.random.pick(self.old_settles.make_contiguous()).cloned() {
            self.say("an old settle once more");
            self.send_settle(settle);
        }
    }

    /// Data of a message.
    pub(super) fn data(&mut self) -> Bytes {
        Bytes::from(vec![0; self.random.index(40)])
    }
}

/// Inputs of an attempt, unlike those of any other.
fn a_capsule(lease: &Lease) -> Bytes {
    format!("{} {} {}", lease.sequence.0, lease.attempt, lease.fence.0).into()
}

/// A group ends with a success that has its effects; one that was cut short did nothing.
fn end_groups(done: &mut [Settlement]) {
    for index in 0..done.len() {
        let goes_on = done.get(index + 1).is_some_and(|next| !matches!(next.result, AttemptResult::Failed(_)));
        if !goes_on && matches!(done[index].result, AttemptResult::SucceededWithNext) {
            done[index].result = AttemptResult::Succeeded(Effects::default());
        }
    }
}
