//! What commands bring to be stored, and how much of it one commit takes.

use wasmill_delivery::{
    input::{AttemptResult, Order, Settlement, StateWrite},
    message::Message,
};

/// What one commit takes together: 512 messages, as a run has at most, and 1 MiB. The rest waits for the next; what is left in
/// one piece is done in one, however long it is. What the engine asks for itself, as delayed messages, comes on top.
pub(super) const COMMIT_MAX: Load = Load { messages: 512, bytes: 1024 * 1024 };

/// What commands bring to be stored, as far as it is much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) messages: usize,
    /// Of messages, once each, also when they go to several queues; of state and of capsules.
    pub(super) bytes: u64,
}

impl Load {
    pub(super) fn sum(loads: impl Iterator<Item = Self>) -> Self {
        loads.fold(Self::default(), Self::plus)
    }

    pub(super) fn of(message: &Message) -> Self {
        Self { messages: 1, bytes: message.size_bytes() }
    }

    pub(super) fn of_settlement(settlement: &Settlement) -> Self {
        match &settlement.result {
            AttemptResult::Succeeded(effects) => {
                let published = Self::sum(effects.published.iter().map(|entry| Self::of(&entry.message)));
                let bytes = effects.state.writes.iter().map(StateWrite::size_bytes).sum();
                published.plus(Self { messages: 0, bytes })
            }
            AttemptResult::SucceededWithNext => Self::default(),
            // It is put off or quarantined, with its message.
            AttemptResult::Failed(_) => {
                let bytes = settlement.capsule.as_ref().map_or(0, |capsule| capsule.len() as u64);
                Self::of(&settlement.message).plus(Self { messages: 0, bytes })
            }
        }
    }

    pub(super) fn of_order(order: &Order) -> Self {
        match order {
            Order::SubmitJob { entry, .. } | Order::FireSchedule { entry, .. } => Self::of(&entry.message),
            Order::Redrive { message, .. } => Self::of(message),
            Order::ImportQuarantine { record } => Self::of(&record.message),
            Order::PutQueue { .. }
            | Order::DeleteQueue { .. }
            | Order::PutConsumer { .. }
            | Order::DeleteConsumer { .. }
            | Order::PutHandler { .. }
            | Order::DeleteHandler { .. }
            | Order::Pause { .. }
            | Order::Resume { .. }
            | Order::PurgeQuarantine { .. }
            | Order::PutSchedule { .. }
            | Order::DeleteSchedule { .. }
            | Order::CancelJob { .. }
            | Order::CancelDelayed { .. }
            | Order::Rest => Self::default(),
        }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self { messages: self.messages + other.messages, bytes: self.bytes + other.bytes }
    }

    pub(super) const fn is_nothing(self) -> bool {
        self.messages == 0 && self.bytes == 0
    }

    pub(super) const fn fits(self) -> bool {
        self.messages <= COMMIT_MAX.messages && self.bytes <= COMMIT_MAX.bytes
    }

    /// Whether `next` has room in a commit that has this already. What brings nothing has, and what comes first.
    pub(super) const fn has_room(self, next: Self) -> bool {
        self.is_nothing() || next.is_nothing() || self.plus(next).fits()
    }
}
