//! What is counted for one queue, one handler, or one handler on one queue.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use wasmill_delivery::{effect::SettleAnswer, outcome::Outcome, record::QuarantineReason};
use wasmill_runtime::{AttemptSeen, SettleSeen};

use super::{histogram::Histogram, names};

/// All reasons, in the order they are counted.
pub(super) const REASONS: [QuarantineReason; 5] = [
    QuarantineReason::Rejected,
    QuarantineReason::AttemptsExhausted,
    QuarantineReason::Loop,
    QuarantineReason::Deterministic,
    QuarantineReason::Expired,
];

/// Of one queue.
#[derive(Debug, Default)]
pub(super) struct QueueSeries {
    published: AtomicU64,
}

impl QueueSeries {
    pub(super) fn published(&self, messages: u64) {
        self.published.fetch_add(messages, Relaxed);
    }

    pub(super) fn published_total(&self) -> u64 {
        self.published.load(Relaxed)
    }
}

/// Of one handler.
#[derive(Debug, Default)]
pub(super) struct HandlerSeries {
    pub(super) duration: Histogram<{ names::PROCESS_BUCKETS_US.len() }>,
    pub(super) fuel_used: AtomicU64,
    pub(super) memory_bytes_peak: AtomicU64,
    pub(super) traps: [AtomicU64; names::KINDS.len()],
    /// In the order of [`names::CANARY_OUTCOMES`].
    pub(super) canaries: [AtomicU64; names::CANARY_OUTCOMES.len()],
}

impl HandlerSeries {
    pub(super) fn attempted(&self, attempt: &AttemptSeen<'_>) {
        self.duration.observe(attempt.duration_us, &names::PROCESS_BUCKETS_US);
        self.fuel_used.fetch_add(attempt.fuel_used, Relaxed);
        // The peak hardly ever moves, and looking is cheaper than writing.
        if attempt.memory_bytes_peak > self.memory_bytes_peak.load(Relaxed) {
            self.memory_bytes_peak.fetch_max(attempt.memory_bytes_peak, Relaxed);
        }
        if let Some(kind) = ended_by_sandbox(attempt.outcome) {
            count(&self.traps, &names::KINDS, kind);
        }
    }

    /// A version is not tried any more.
    pub(super) fn canary_ended(&self, promoted: bool) {
        self.canaries[usize::from(!promoted)].fetch_add(1, Relaxed);
    }

    /// Another version has another peak.
    pub(super) fn replaced(&self) {
        self.memory_bytes_peak.store(0, Relaxed);
    }
}

/// Of one handler on one queue.
#[derive(Debug)]
pub(super) struct SettledSeries {
    pub(super) outcomes: [AtomicU64; names::OUTCOMES.len()],
    pub(super) quarantined: [AtomicU64; REASONS.len()],
}

impl Default for SettledSeries {
    fn default() -> Self {
        Self { outcomes: array::from_fn(|_| AtomicU64::new(0)), quarantined: array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl SettledSeries {
    pub(super) fn settled(&self, settled: &SettleSeen<'_>) {
        let outcome = match settled.answer {
            SettleAnswer::Committed | SettleAnswer::RetryAt { .. } | SettleAnswer::Expired => settled.outcome,
            SettleAnswer::Quarantined { reason, .. } => {
                self.quarantined[*reason as usize].fetch_add(1, Relaxed);
                settled.outcome
            }
            SettleAnswer::Conflict => names::OUTCOME_CONFLICT,
            SettleAnswer::PublishRefused { .. } => names::OUTCOME_PUBLISH_REFUSED,
            SettleAnswer::Cancelled => names::OUTCOME_CANCELLED,
            SettleAnswer::OutOfOrder => names::OUTCOME_OUT_OF_ORDER,
            SettleAnswer::StaleFence => names::OUTCOME_STALE,
        };
        count(&self.outcomes, &names::OUTCOMES, outcome);
    }
}

/// Count under a word of the list; what is not in it counts under the last.
fn count<const N: usize>(counts: &[AtomicU64; N], words: &[&str; N], word: &str) {
    let index = words.iter().position(|known| *known == word).unwrap_or(N - 1);
    counts[index].fetch_add(1, Relaxed);
}

/// Whether the sandbox ended the attempt, and by which word.
fn ended_by_sandbox(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Success
        | Outcome::Retry { .. }
        | Outcome::Defer { .. }
        | Outcome::Throttle { .. }
        | Outcome::Reject { .. }
        | Outcome::Unroutable { .. }
        | Outcome::NeverFits { .. }
        | Outcome::Expired
        | Outcome::LeaseExpired { .. }
        | Outcome::HostCrash
        | Outcome::HostFault { .. } => None,
        Outcome::OutOfFuel { .. }
        | Outcome::OutOfMemory { .. }
        | Outcome::TimedOut { .. }
        | Outcome::StackOverflow
        | Outcome::PublishLimit { .. }
        | Outcome::StateLimit { .. }
        | Outcome::Trapped { .. }
        | Outcome::Exited { .. } => Some(outcome.name()),
    }
}
