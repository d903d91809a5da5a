//! What may become of a delivery that failed: another attempt, later or never.

use std::sync::Arc;

use wasmill_delivery::{
    effect::SettleAnswer,
    input::Settlement,
    limits::HANDLER_DELAY_MS_MAX,
    name::{ConsumerId, QuarantineId},
    outcome::Outcome,
    policy::HOST_FAULT_DELAY_MS,
    record::{AttemptRecord, DeliveryOrder, Expired, PauseReason, Poison, QuarantineReason},
};

use super::{Auditor, Resting, storms::Changes};
use crate::violation::{Checked, ensure, violated};

impl Auditor {
    /// The host itself refused what a handler had done.
    pub(super) fn host_failed(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        outcome: Outcome,
        answer: &SettleAnswer,
        paused: &mut Changes,
    ) -> Checked {
        let record = AttemptRecord::without_sandbox(settlement.lease.attempt, self.now, outcome);
        self.failed(id, settlement, &record, answer, paused)
    }

    pub(super) fn failed(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        record: &AttemptRecord,
        answer: &SettleAnswer,
        paused: &mut Changes,
    ) -> Checked {
        let (attempt, outcome) = (settlement.lease.attempt, &record.outcome);
        let config = self.consumers[&id].record.config.clone();
        if let Outcome::Throttle { after_ms } = outcome {
            self.close(id, settlement, self.now.plus_ms(*after_ms));
        }
        let counts = !matches!(
            outcome,
            Outcome::Defer { .. } | Outcome::Throttle { .. } | Outcome::Expired | Outcome::HostFault { .. }
        );
        if counts && matches!(self.consumers[&id].record.paused, Some(PauseReason::Storm { .. })) {
            self.count("failed in a storm");
            return self.wait_out(id, settlement, answer);
        }
        if counts
            && let Some(fingerprint) = self.storm_note(id, &settlement.lease, Some(outcome.fingerprint()))
            && self.consumers[&id].record.paused.is_none()
        {
            self.expect_change(id, paused, Some(PauseReason::Storm { fingerprint }))?;
            self.count("storm began");
            return self.wait_out(id, settlement, answer);
        }
        let asked_ms = match outcome {
            Outcome::Defer { after_ms } | Outcome::Throttle { after_ms } => {
                return self.deferred(id, settlement, answer, *after_ms);
            }
            Outcome::HostFault { .. } => return self.deferred(id, settlement, answer, HOST_FAULT_DELAY_MS),
            Outcome::Reject { .. } => {
                return self.given_up(id, settlement, answer, QuarantineReason::Rejected, 1, paused);
            }
            Outcome::Expired if config.expired == Expired::Quarantine => {
                return self.given_up(id, settlement, answer, QuarantineReason::Expired, 1, paused);
            }
            Outcome::Expired => {
                ensure!(*answer == SettleAnswer::Expired, "{:?} expired, but: {answer:?}", settlement.lease);
                ensure!(settlement.message.expires_at.is_some(), "{:?} cannot expire", settlement.lease);
                self.leave(id, &settlement.lease);
                self.count("expired");
                return Ok(());
            }
            Outcome::Success => violated!("the simulation failed with success"),
            Outcome::Retry { after_ms, .. } => *after_ms,
            Outcome::OutOfFuel { .. }
            | Outcome::OutOfMemory { .. }
            | Outcome::TimedOut { .. }
            | Outcome::StackOverflow
            | Outcome::PublishLimit { .. }
            | Outcome::StateLimit { .. }
            | Outcome::Trapped { .. }
            | Outcome::Exited { .. }
            | Outcome::Unroutable { .. }
            | Outcome::NeverFits { .. }
            | Outcome::LeaseExpired { .. }
            | Outcome::HostCrash => None,
        };
        if attempt >= config.attempts_max {
            return self.given_up(id, settlement, answer, QuarantineReason::AttemptsExhausted, 1, paused);
        }
        if config.deterministic && settlement.earlier.last().is_some_and(|last| repeats(last, record)) {
            return self.given_up(id, settlement, answer, QuarantineReason::Deterministic, 1, paused);
        }
        let SettleAnswer::RetryAt { due, burned_attempt: true } = answer else {
            violated!("attempt {attempt} of {} failed by {}: {answer:?}", config.attempts_max, outcome.name());
        };
        let wait_ms = due.ms_since(self.now);
        let (least, most) = asked_ms.map_or((0, config.backoff.longest_ms()), |asked| (asked, asked));
        ensure!((least..=most).contains(&wait_ms), "it waits {wait_ms} ms, not {least} to {most}");
        self.count("retry");
        self.put_off(id, settlement, *due, attempt, 1);
        Ok(())
    }

    pub(super) fn deferred(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        answer: &SettleAnswer,
        after_ms: u64,
    ) -> Checked {
        let due = self.now.plus_ms(after_ms.min(HANDLER_DELAY_MS_MAX));
        let wanted = SettleAnswer::RetryAt { due, burned_attempt: false };
        ensure!(*answer == wanted, "{:?} is deferred: {answer:?}, not {wanted:?}", settlement.lease);
        self.count("deferred");
        self.put_off(id, settlement, due, settlement.lease.attempt - 1, 1);
        Ok(())
    }

    pub(super) fn given_up(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        answer: &SettleAnswer,
        reason: QuarantineReason,
        evidence: usize,
        paused: &mut Changes,
    ) -> Checked {
        let lease = &settlement.lease;
        if self.quarantine.len() as u64 >= self.limits.quarantine_max {
            return self.quarantine_full(id, settlement, answer, evidence, paused);
        }
        let SettleAnswer::Quarantined { id: number, reason: given } = answer else {
            violated!("{lease:?} is given up ({}), but: {answer:?}", reason.name());
        };
        ensure!(*given == reason, "{lease:?} is given up as {}, not {}", given.name(), reason.name());
        ensure!(number.0 > self.last_quarantine.0, "quarantine number {number} was used before");
        self.last_quarantine = QuarantineId(number.0);
        let message = Arc::clone(&settlement.message);
        let (capsule, kept) = self.keeps_capsule(settlement.capsule.as_ref());
        let (sequence, attempts_made) = (lease.sequence, lease.attempt);
        let resting = Resting { consumer: id, sequence, message, attempts_made, capsule, kept };
        self.quarantine.insert(*number, resting);
        self.leave(id, lease);
        self.count(reason.name());
        let consumer = &self.consumers[&id];
        let config = &consumer.record.config;
        let blocks = match config.order {
            DeliveryOrder::None => false,
            DeliveryOrder::Key => config.poison == Poison::Block,
            DeliveryOrder::Strict => config.poison != Poison::Skip,
        };
        if blocks && consumer.record.paused.is_none() {
            self.expect_change(id, paused, Some(PauseReason::Poison { quarantine: *number }))?;
            self.count("paused behind poison");
        }
        Ok(())
    }

    pub(super) fn quarantine_full(
        &mut self,
        id: ConsumerId,
        settlement: &Settlement,
        answer: &SettleAnswer,
        evidence: usize,
        paused: &mut Changes,
    ) -> Checked {
        let due = self.now.plus_ms(HOST_FAULT_DELAY_MS);
        let wanted = SettleAnswer::RetryAt { due, burned_attempt: false };
        ensure!(*answer == wanted, "the quarantine is full: {answer:?}, not {wanted:?}");
        if self.consumers[&id].record.paused.is_none() {
            self.expect_change(id, paused, Some(PauseReason::QuarantineFull))?;
        }
        self.count("quarantine full");
        self.put_off(id, settlement, due, settlement.lease.attempt - 1, evidence);
        Ok(())
    }
}

/// Whether two failures are so alike that a third would be too.
fn repeats(last: &AttemptRecord, record: &AttemptRecord) -> bool {
    let alike = (&last.outcome, last.fuel_used, last.digest) == (&record.outcome, record.fuel_used, record.digest);
    let certain = matches!(
        record.outcome,
        Outcome::OutOfFuel { .. }
            | Outcome::OutOfMemory { .. }
            | Outcome::StackOverflow
            | Outcome::PublishLimit { .. }
            | Outcome::StateLimit { .. }
            | Outcome::Trapped { .. }
            | Outcome::Exited { .. }
    );
    let later = last.attempt < record.attempt;
    alike && certain && later && last.fresh && record.fresh && record.digest.is_some()
}
