//! Where single deliveries are, for whoever asks what became of a message.

use std::collections::BTreeMap;

use super::{Engine, consumer::Consumer};
use crate::{
    name::{ConsumerId, QuarantineId, Sequence},
    time::Timestamp,
};

/// Where one delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is done with, or it is from before the consumer began.
    Settled,
    /// It waits in the log for its turn.
    Waiting,
    /// A lease is out for it.
    Running {
        /// Which run it is, from 1.
        attempt: u32,
    },
    /// It waits off the log for its next attempt.
    Retry {
        /// When it may run.
        due: Timestamp,
        /// Attempts that count so far.
        attempts_made: u32,
    },
    /// It waits until an earlier delivery of its key is settled.
    Parked {
        /// The place of that one.
        behind: Sequence,
    },
    /// It rests in quarantine.
    Quarantined {
        /// As this number.
        id: QuarantineId,
    },
}

impl Engine {
    /// The state of each of these deliveries; none when there is no such consumer, or its queue has not come so far.
    #[must_use]
    pub fn trace(&self, places: &[(ConsumerId, Sequence)]) -> Vec<Option<DeliveryState>> {
        let mut quarantined: BTreeMap<(ConsumerId, Sequence), Option<QuarantineId>> =
            places.iter().map(|place| (*place, None)).collect();
        for (id, held) in &self.quarantined {
            if let Some(found) = quarantined.get_mut(&(held.consumer, held.sequence)) {
                *found = Some(*id);
            }
        }
        places.iter().map(|place| self.trace_one(*place, quarantined.get(place).copied().flatten())).collect()
    }

    fn trace_one(&self, (id, sequence): (ConsumerId, Sequence), held: Option<QuarantineId>) -> Option<DeliveryState> {
        let consumer = self.consumers.get(&id)?;
        if let Some(in_flight) = consumer.in_flight.get(&sequence) {
            return Some(DeliveryState::Running { attempt: in_flight.lease.attempt });
        }
        if let Some(pending) = consumer.pending.get(&sequence) {
            let parked = consumer.waits_behind(sequence);
            let waits = DeliveryState::Retry { due: pending.due, attempts_made: pending.attempts_made };
            return Some(parked.map_or(waits, |behind| DeliveryState::Parked { behind }));
        }
        if let Some(id) = held {
            return Some(DeliveryState::Quarantined { id });
        }
        if sequence.is_imported() || consumer.lane_of(sequence).cursor.is_settled(sequence) {
            return Some(DeliveryState::Settled);
        }
        let end = self.queues.get(&consumer.record.queue)?.log_of(sequence)?.next;
        let parked = consumer.waits_behind(sequence);
        let waits = parked.map_or(DeliveryState::Waiting, |behind| DeliveryState::Parked { behind });
        (sequence < end).then_some(waits)
    }
}

impl Consumer {
    /// The earlier delivery that this one waits for.
    fn waits_behind(&self, sequence: Sequence) -> Option<Sequence> {
        let sequencing = self.sequencing.as_ref()?;
        let hash = match self.pending.get(&sequence) {
            Some(pending) => self.placed_by(sequence, pending.hash)?,
            None => sequencing.ordered_by(sequence)?,
        };
        sequencing.first_of(hash).filter(|first| *first != sequence)
    }
}
