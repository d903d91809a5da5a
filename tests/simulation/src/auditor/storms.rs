//! What stops a consumer, or a key of it, for a while: storms and throttles.

use std::collections::VecDeque;

use wasmill_delivery::{
    effect::SettleAnswer,
    input::{Lease, Settlement},
    name::ConsumerId,
    record::{DeliveryOrder, PauseReason},
    time::Timestamp,
};

use super::Auditor;
use crate::violation::{Checked, ensure, violated};

/// What the engine said that it did to a consumer by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Paused(PauseReason),
    Resumed(PauseReason),
}

pub(super) type Changes = VecDeque<Change>;

impl Auditor {
    /// While a storm goes on no failure burns an attempt.
    pub(super) fn wait_out(&mut self, id: ConsumerId, settlement: &Settlement, answer: &SettleAnswer) -> Checked {
        let wanted = SettleAnswer::RetryAt { due: self.now, burned_attempt: false };
        ensure!(*answer == wanted, "{:?} failed in a storm: {answer:?}, not {wanted:?}", settlement.lease);
        self.put_off(id, settlement, self.now, settlement.lease.attempt - 1, 1);
        Ok(())
    }

    /// Note how a delivery ended; answers with the fingerprint that most of the last ones have.
    pub(super) fn storm_note(&mut self, id: ConsumerId, lease: &Lease, ended: Option<String>) -> Option<String> {
        let consumer = self.consumers.get_mut(&id)?;
        let policy = consumer.record.config.storm;
        let window = policy.deliveries as usize;
        if window == 0 {
            return None;
        }
        if ended.is_some() {
            consumer.recent.retain(|(at, _)| *at != lease.sequence);
        }
        consumer.recent.push((lease.sequence, ended.clone()));
        let surplus = consumer.recent.len().saturating_sub(window);
        consumer.recent.drain(..surplus);
        let same = consumer.recent.iter().filter(|(_, other)| *other == ended).count();
        let enough = same * 100 >= window * policy.percent as usize && same > 0;
        (ended.is_some() && consumer.recent.len() == window && enough).then_some(ended).flatten()
    }

    /// The engine paused or resumed the consumer by itself, and said so.
    pub(super) fn expect_change(
        &mut self,
        id: ConsumerId,
        changes: &mut Changes,
        paused: Option<PauseReason>,
    ) -> Checked {
        let change = changes.pop_front();
        let Some(consumer) = self.consumers.get_mut(&id) else { violated!("{id:?} is gone") };
        let wanted = match (&paused, &consumer.record.paused) {
            (Some(reason), _) => Some(Change::Paused(reason.clone())),
            (None, Some(reason)) => Some(Change::Resumed(reason.clone())),
            (None, None) => None,
        };
        ensure!(change == wanted, "{id:?} must change by {wanted:?}, told is {change:?}");
        if paused.is_none() {
            consumer.recent.clear();
        }
        consumer.record.paused = paused;
        Ok(())
    }

    /// Nothing ordered with this delivery goes out before `until`; when nothing is ordered with it, nothing at all.
    pub(super) fn close(&mut self, id: ConsumerId, settlement: &Settlement, until: Timestamp) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let key = settlement.message.key.as_ref().filter(|_| !settlement.lease.sequence.is_imported());
        match (consumer.record.config.order, key) {
            (DeliveryOrder::Strict, _) if settlement.lease.sequence.is_imported() => {
                consumer.closed_until = until.max(consumer.closed_until);
            }
            (DeliveryOrder::Key, Some(key)) => {
                let closed = consumer.keys_closed_until.entry(key.clone()).or_default();
                *closed = until.max(*closed);
            }
            // All are ordered with it, and it is the first: it waits until then, and they behind it.
            (DeliveryOrder::Strict, _) => {}
            (DeliveryOrder::None, _) | (DeliveryOrder::Key, None) => {
                consumer.closed_until = until.max(consumer.closed_until);
            }
        }
        self.count("throttled");
    }
}
