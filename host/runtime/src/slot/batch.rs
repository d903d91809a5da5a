//! A run of a handler that takes batches: few calls with many deliveries each.
//!
//! What a call did belongs to all its deliveries, so they are settled as a group, which commits as a whole or not at
//! all. When a call does not end with an answer, its halves are called, until the delivery to blame is alone.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use wasmill_delivery::{
    input::{AttemptResult, PublishEntry},
    outcome::Outcome,
    record::{AttemptRecord, DeliveryOrder},
};
use wasmill_sandbox::{BatchAttempt, BatchResult, Delivery, Session, StagedState};

use super::{
    Held, Slot, Tried, expired,
    halving::{CallMax, Calls},
    settled, wrote_state,
};
use crate::{
    broker::{Broker, Leased, Settled},
    observer::AttemptSeen,
    registry::Version,
};

/// Deliveries of one call of a handler that takes batches.
pub(super) const BATCH_DELIVERIES_MAX: u32 = 100;
/// Data of all messages of one call, in bytes; a single message may be larger.
pub(super) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

type LeasedBy<B> = Leased<<B as Broker>::Token>;
/// What goes to one version.
type Part<B> = (Arc<Version>, Vec<LeasedBy<B>>);

impl<B: Broker> Slot<B> {
    /// What goes to one version in a row is tried together: in batches when it takes them, or else one by one.
    pub(super) async fn try_parts(
        &mut self,
        current: &Arc<Version>,
        run: B::Run,
        staged: &mut StagedState,
        tried: &mut Tried<B::Token>,
    ) {
        let mut held = Held::new(self.worked.config.order);
        let mut part: Option<Part<B>> = None;
        for leased in run {
            let version = current.chosen_for(&self.registry, &leased.message, &leased.earlier).await;
            match &mut part {
                Some((of, items)) if Arc::ptr_eq(of, &version) => items.push(leased),
                Some(_) | None => {
                    if let Some(part) = part.replace((version, vec![leased])) {
                        self.try_part(current, part, staged, &mut held, tried).await;
                    }
                }
            }
        }
        if let Some(part) = part {
            self.try_part(current, part, staged, &mut held, tried).await;
        }
    }

    async fn try_part(
        &mut self,
        current: &Arc<Version>,
        (version, items): Part<B>,
        staged: &mut StagedState,
        held: &mut Held,
        tried: &mut Tried<B::Token>,
    ) {
        let first = tried.settled.len();
        let mut session = self.sessions.take(&version);
        if version.program.takes_batches() {
            self.try_batches(&mut session, staged, items, held, tried).await;
        } else {
            for leased in items {
                if *self.stop.borrow() || held.must_wait(&leased.message) {
                    self.broker.give_back(self.worked.id, vec![leased.token]);
                    continue;
                }
                let settled = self.try_one(&mut session, staged, leased).await;
                tried.wrote_state |= wrote_state(&settled.result);
                held.note(&settled);
                tried.settled.push(settled);
            }
        }
        if let Some(trial) = &mut tried.trial {
            let part = tried.settled[first..].iter();
            let sides = part.map(|settled| current.note_attempt(&version, &settled.result, &settled.earlier));
            trial.sides.extend(sides);
        }
        self.sessions.put(version, session, current);
    }

    async fn try_batches(
        &mut self,
        session: &mut Session,
        staged: &mut StagedState,
        items: Vec<Leased<B::Token>>,
        held: &mut Held,
        tried: &mut Tried<B::Token>,
    ) {
        let max = CallMax { items: BATCH_DELIVERIES_MAX as usize, bytes: BATCH_BYTES_MAX };
        // What failed before is not tried with others: then its failures are its own.
        let alone = |leased: &Leased<B::Token>| leased.attempt > 1 || !leased.earlier.is_empty();
        let mut calls = Calls::new(items, max, |leased| leased.message.data.len(), alone);
        while !*self.stop.borrow()
            && let Some(call) = calls.next()
        {
            let call = self.without_held(held, call);
            let call = self.without_late(&mut calls, call, tried);
            if !call.is_empty() {
                self.call(session, staged, (&mut calls, call), held, tried).await;
            }
        }
        self.broker.give_back(self.worked.id, calls.into_rest().map(|leased| leased.token).collect());
    }

    /// Give back what is ordered behind a failure.
    fn without_held(&self, held: &Held, call: Vec<Leased<B::Token>>) -> Vec<Leased<B::Token>> {
        let (behind, call): (Vec<_>, Vec<_>) = call.into_iter().partition(|leased| held.must_wait(&leased.message));
        self.broker.give_back(self.worked.id, behind.into_iter().map(|leased| leased.token).collect());
        call
    }

    async fn call(
        &mut self,
        session: &mut Session,
        staged: &mut StagedState,
        (calls, call): (&mut Calls<LeasedBy<B>>, Vec<LeasedBy<B>>),
        held: &mut Held,
        tried: &mut Tried<B::Token>,
    ) {
        let deliveries: Vec<Delivery> = call.iter().map(|leased| self.delivery(leased)).collect();
        let attempt = session.run_batch(&deliveries, staged).await;
        match attempt.result {
            BatchResult::Succeeded(ref effects) => {
                tried.wrote_state |= !effects.state.writes.is_empty();
                let last = call.len() - 1;
                for (index, leased) in call.iter().enumerate() {
                    let published = if index == last { effects.published.as_slice() } else { &[] };
                    self.tell(&attempt, (index, call.len()), leased, (&Outcome::Success, published));
                }
                for (index, leased) in call.into_iter().enumerate() {
                    let result = if index == last {
                        AttemptResult::Succeeded(effects.clone())
                    } else {
                        AttemptResult::SucceededWithNext
                    };
                    tried.settled.push(settled(leased, result));
                }
            }
            BatchResult::SomeFailed(ref records) => {
                let mut first = Vec::new();
                let mut rest = Vec::new();
                let mut earlier = BTreeSet::new();
                let mut told = 0;
                for (leased, record) in call.into_iter().zip(records) {
                    let ordered_by = held.ordered_by(&leased.message);
                    let waits = ordered_by.is_some_and(|hash| earlier.contains(&hash));
                    match record {
                        Some(record) if !waits && rest.is_empty() => {
                            self.tell(&attempt, (told, records.len()), &leased, (&record.outcome, &[]));
                            told += 1;
                            fail(leased, record.clone(), attempt.capsule.clone(), held, tried);
                        }
                        // Its failure is void as long as an earlier one of its key is not settled: that one is called first.
                        Some(_) => rest.push(leased),
                        None if rest.is_empty() => {
                            earlier.extend(ordered_by);
                            first.push(leased);
                        }
                        None => rest.push(leased),
                    }
                }
                calls.again(rest);
                calls.again(first);
            }
            BatchResult::Broke(ref record) if matches!(record.outcome, Outcome::HostFault { .. }) => {
                for (index, leased) in call.into_iter().enumerate() {
                    let record = AttemptRecord { attempt: leased.attempt, ..record.clone() };
                    self.tell(&attempt, (index, 1), &leased, (&record.outcome, &[]));
                    fail(leased, record, None, held, tried);
                }
            }
            BatchResult::Broke(ref record) => {
                let (consumer, outcome, deliveries) = (&self.worked.name, record.outcome.name(), call.len());
                tracing::debug!(%consumer, outcome, deliveries, "a batch is halved");
                if let Some(leased) = calls.halve(call) {
                    self.tell(&attempt, (0, 1), &leased, (&record.outcome, &[]));
                    fail(leased, record.clone(), None, held, tried);
                }
            }
        }
    }

    /// Settle what came too late, and leave the others. With an order it is settled after what comes before it.
    fn without_late(
        &self,
        calls: &mut Calls<Leased<B::Token>>,
        mut call: Vec<Leased<B::Token>>,
        tried: &mut Tried<B::Token>,
    ) -> Vec<Leased<B::Token>> {
        if self.worked.config.order == DeliveryOrder::None {
            return self.expire(call, tried);
        }
        match call.iter().position(|leased| self.too_late_for(&leased.message).is_some()) {
            None => call,
            Some(0) => {
                calls.again(call.split_off(1));
                self.expire(call, tried)
            }
            Some(late) => {
                calls.again(call.split_off(late));
                call
            }
        }
    }

    /// Each delivery is an attempt, and has its part of what the call took.
    fn tell(
        &self,
        attempt: &BatchAttempt,
        (place, deliveries): (usize, usize),
        leased: &LeasedBy<B>,
        (outcome, published): (&Outcome, &[PublishEntry]),
    ) {
        let parts = deliveries.max(1) as u64;
        self.observer.attempted(&AttemptSeen {
            queue: &self.worked.queue,
            consumer: &self.worked.name,
            handler: &self.worked.handler,
            outcome,
            duration_us: attempt.duration_us / parts,
            fuel_used: attempt.fuel_used / parts,
            memory_bytes_peak: attempt.memory_bytes_peak,
            message: &leased.message,
            attempt: leased.attempt,
            log: &attempt.log,
            place_in_call: place,
            sequence: leased.sequence.original(),
            published,
        });
    }

    /// Settle what came too late, and leave the others.
    fn expire(&self, call: Vec<LeasedBy<B>>, tried: &mut Tried<B::Token>) -> Vec<LeasedBy<B>> {
        let mut in_time = Vec::with_capacity(call.len());
        for leased in call {
            match self.too_late_for(&leased.message) {
                Some(now) => tried.settled.push(expired(leased, now)),
                None => in_time.push(leased),
            }
        }
        in_time
    }
}

fn fail<T>(leased: Leased<T>, record: AttemptRecord, capsule: Option<Bytes>, held: &mut Held, tried: &mut Tried<T>) {
    let settled = Settled { capsule, ..settled(leased, AttemptResult::Failed(record)) };
    held.note(&settled);
    tried.settled.push(settled);
}
