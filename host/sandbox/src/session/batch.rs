//! Many deliveries in one call of a handler that takes them.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use wasmill_delivery::{
    input::{AttemptResult, Effects},
    outcome::Outcome,
    record::AttemptRecord,
};

use super::{Instance, Run, Session, WALL_CLOCK_MS_CEILING};
use crate::{
    attempt::{Attempt, Delivery},
    bindings::wasmill::handler::types::Failure,
    deadline::{Elapsed, within},
    host_state::Current,
    judge::{self, Ended},
    lanes,
    overlay::StagedState,
};

/// What came of one call.
#[derive(Debug)]
pub enum BatchResult {
    /// Every delivery succeeded. What the call did belongs to all of them.
    Succeeded(Effects),
    /// Some failed, each with its record; the others are none and have to be called again. What the call did is void.
    SomeFailed(Vec<Option<AttemptRecord>>),
    /// The call did not end with an answer, by the fault of one of them or of the host. What it did is void.
    Broke(AttemptRecord),
}

/// What came of one call, and what it took.
#[derive(Debug)]
pub struct BatchAttempt {
    /// See there.
    pub result: BatchResult,
    /// Units of fuel that the call used.
    pub fuel_used: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// All memories of its instance together, in bytes.
    pub memory_bytes_peak: u64,
    /// What it printed, cut at its limit.
    pub log: String,
    /// What it takes to replay it, when one delivery was alone and failed. Of a call with several there is none.
    pub capsule: Option<Bytes>,
}

impl Session {
    /// Run several deliveries in one call, in their order. The program must take batches; one delivery is as good as
    /// [`Session::run`].
    ///
    /// # Panics
    /// When there is no delivery.
    pub async fn run_batch(&mut self, deliveries: &[Delivery], staged: &mut StagedState) -> BatchAttempt {
        let first = deliveries.first().expect("a batch has deliveries");
        if deliveries.len() == 1 {
            return alone(self.run(first, staged).await);
        }
        if self.refused_limits.is_some() {
            return for_all(alone(self.run(first, staged).await));
        }
        let started = Instant::now();
        let wall_clock_ms = self.context.limits.wall_clock_ms_max.min(WALL_CLOCK_MS_CEILING);
        let deadline = started + Duration::from_millis(wall_clock_ms);
        // What they publish has come as far as the one that has come farthest.
        let parent = deliveries.iter().rev().max_by_key(|delivery| delivery.message.lineage.hops).unwrap_or(first);
        let mut current = Current::new(parent.clone(), deadline, std::mem::take(staged));
        current.batch = Some(fingerprint(deliveries));
        let (instance, fresh) = self.take_instance(current);
        let call = instance.call_batch_within(deadline, deliveries.to_vec());
        let (mut instance, ended) = match self.program.slow_lane() {
            Some(slow) => lanes::run(Box::pin(call), deliveries.len(), slow).await,
            None => call.await,
        };
        let (ended, mut answers) = match ended {
            Ok(answers) => {
                let failed = answers.iter().any(Result::is_err);
                // What is recorded of it is said for each below.
                let whole = if failed { Err(Failure::Defer(0)) } else { Ok(()) };
                (Ended::Answered(whole), Some(answers).filter(|_| failed))
            }
            Err(ended) => (ended, None),
        };
        let run = Run { delivery: parent, started, fresh, fuel_given: fuel_of(self, deliveries.len()) };
        let attempt = self.conclude(&mut instance, ended, &run, staged);
        self.keep(instance, &attempt).await;
        let Attempt { result, fuel_used, duration_us, memory_bytes_peak, log, .. } = attempt;
        let result = match result {
            AttemptResult::Succeeded(effects) => BatchResult::Succeeded(effects),
            AttemptResult::SucceededWithNext => BatchResult::Succeeded(Effects::default()),
            AttemptResult::Failed(record) => match answers.take() {
                Some(answers) if !matches!(record.outcome, Outcome::HostFault { .. }) => {
                    BatchResult::SomeFailed(self.each(&record, deliveries, answers))
                }
                Some(_) | None => BatchResult::Broke(record),
            },
        };
        BatchAttempt { result, fuel_used, duration_us, memory_bytes_peak, log, capsule: None }
    }

    fn each(
        &self,
        record: &AttemptRecord,
        deliveries: &[Delivery],
        answers: Vec<Result<(), Failure>>,
    ) -> Vec<Option<AttemptRecord>> {
        let secrets = &self.context.secrets;
        let records = deliveries.iter().zip(answers).map(|(delivery, answer)| {
            let outcome = judge::answered(answer.err()?, secrets);
            Some(AttemptRecord { attempt: delivery.attempt, outcome, ..record.clone() })
        });
        records.collect()
    }
}

fn fuel_of(session: &Session, deliveries: usize) -> u64 {
    session.context.limits.fuel_max.saturating_mul(deliveries as u64)
}

fn alone(attempt: Attempt) -> BatchAttempt {
    let Attempt { result, fuel_used, duration_us, memory_bytes_peak, log, capsule, .. } = attempt;
    let result = match result {
        AttemptResult::Succeeded(effects) => BatchResult::Succeeded(effects),
        AttemptResult::SucceededWithNext => BatchResult::Succeeded(Effects::default()),
        AttemptResult::Failed(record) => BatchResult::SomeFailed(vec![Some(record)]),
    };
    BatchAttempt { result, fuel_used, duration_us, memory_bytes_peak, log, capsule }
}

/// What ended before there was a call is the same for each of its deliveries.
fn for_all(mut attempt: BatchAttempt) -> BatchAttempt {
    if let BatchResult::SomeFailed(records) = &mut attempt.result
        && let Some(record) = records.pop().flatten()
    {
        attempt.result = BatchResult::Broke(record);
    }
    attempt
}

/// Which deliveries a call has: what it publishes gets other ids than what a call with others of them publishes.
fn fingerprint(deliveries: &[Delivery]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for delivery in deliveries {
        hash.update(delivery.sequence.0.to_be_bytes());
    }
    hash.finalize().into()
}

impl Instance {
    async fn call_batch_within(
        mut self: Box<Self>,
        deadline: Instant,
        deliveries: Vec<Delivery>,
    ) -> (Box<Self>, Result<Vec<Result<(), Failure>>, Ended>) {
        let ended = {
            let call = pin!(self.call_batch(&deliveries));
            within(deadline, call).await.unwrap_or_else(|Elapsed| Err(Ended::TimedOut))
        };
        (self, ended)
    }

    async fn call_batch(&mut self, deliveries: &[Delivery]) -> Result<Vec<Result<(), Failure>>, Ended> {
        let fuel_max = self.store.data().context.limits.fuel_max.saturating_mul(deliveries.len() as u64);
        self.refuel(fuel_max).map_err(Ended::NotStarted)?;
        if self.handler.is_none() {
            self.handler = Some(self.program.start(&mut self.store).await.map_err(Ended::NotStarted)?);
        }
        let handler = self.handler.as_ref().expect("it was just started");
        self.calls += 1;
        handler.handle_batch(&mut self.store, deliveries).await.map_err(Ended::Broke)
    }
}
