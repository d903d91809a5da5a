//! The leases that programs outside hold: who holds which, and until when. No clock, no waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;
use wasmill_delivery::{
    input::{AttemptResult, Lease},
    message::Message,
    name::{ConsumerId, ConsumerName, Fence, QueueName, Sequence},
    outcome::Outcome,
    record::AttemptRecord,
    time::Timestamp,
};

use crate::broker::Settled;

/// What bounds the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableLimits {
    /// Leases that are out at once.
    pub(super) leases_max: usize,
    /// Messages of leases that are out. The last one may pass it.
    pub(super) bytes_max: u64,
}

/// One lease that is out, with all that is needed to settle it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) consumer: ConsumerId,
    /// Its queue's name and its own.
    pub(super) place: Arc<(QueueName, ConsumerName)>,
    pub(super) lease: Lease,
    pub(super) message: Arc<Message>,
    pub(super) earlier: Vec<AttemptRecord>,
    /// When it was handed out, by the clock on the wall.
    pub(super) started_at: Timestamp,
    /// When it was handed out.
    pub(super) since: Instant,
    /// When it is over.
    pub(super) deadline: Instant,
}

impl Held {
    pub(super) fn record(&self, outcome: Outcome) -> AttemptRecord {
        let duration_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        AttemptRecord { duration_us, ..AttemptRecord::without_sandbox(self.lease.attempt, self.started_at, outcome) }
    }

    pub(super) fn settled(self, result: AttemptResult) -> Settled<Lease> {
        let sequence = self.lease.sequence.original();
        Settled { token: self.lease, message: self.message, sequence, earlier: self.earlier, result, capsule: None }
    }
}

/// Which lease a program outside means. All three must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) consumer: ConsumerId,
    pub(super) sequence: Sequence,
    pub(super) fence: Fence,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    limits: TableLimits,
    /// A fence is given once, so it alone tells leases apart.
    out: BTreeMap<Fence, Held>,
    deadlines: BTreeSet<(Instant, Fence)>,
    bytes: u64,
}

impl Table {
    pub(super) const fn new(limits: TableLimits) -> Self {
        Self { limits, out: BTreeMap::new(), deadlines: BTreeSet::new(), bytes: 0 }
    }

    /// Whether one more lease may go out.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() < self.limits.leases_max && self.bytes < self.limits.bytes_max
    }

    /// A lease goes out. Whoever calls has looked whether there is room.
    pub(super) fn put(&mut self, held: Held) {
        debug_assert!(self.has_room(), "more leases are out than may be");
        let fence = held.lease.fence;
        self.bytes += held.message.size_bytes();
        self.deadlines.insert((held.deadline, fence));
        self.out.insert(fence, held);
    }

    /// Whoever settles a lease takes it out first, so that nobody else settles it too.
    pub(super) fn take(&mut self, claim: Claim) -> Option<Held> {
        self.find(claim)?;
        self.remove(claim.fence)
    }

    /// Let a lease last until `deadline`. Answers whether it is out.
    pub(super) fn extend(&mut self, claim: Claim, deadline: Instant) -> bool {
        let Some(before) = self.find(claim).map(|held| held.deadline) else { return false };
        self.deadlines.remove(&(before, claim.fence));
        self.deadlines.insert((deadline, claim.fence));
        if let Some(held) = self.out.get_mut(&claim.fence) {
            held.deadline = deadline;
        }
        true
    }

    /// Take out what is over, the longest first.
    pub(super) fn take_late(&mut self, now: Instant) -> Vec<Held> {
        let mut late = Vec::new();
        while let Some((_, fence)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            late.extend(self.remove(fence));
        }
        late
    }

    /// When the next lease is over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Forget the leases of consumers that are gone, or run a handler now: the engine has fenced them off.
    pub(super) fn forget(&mut self, is_gone: impl Fn(ConsumerId) -> bool) {
        let gone: Vec<Fence> =
            self.out.iter().filter(|(_, held)| is_gone(held.consumer)).map(|(fence, _)| *fence).collect();
        for fence in gone {
            self.remove(fence);
        }
    }

    fn find(&self, claim: Claim) -> Option<&Held> {
        let held = self.out.get(&claim.fence)?;
        (held.consumer == claim.consumer && held.lease.sequence == claim.sequence).then_some(held)
    }

    fn remove(&mut self, fence: Fence) -> Option<Held> {
        let held = self.out.remove(&fence)?;
        self.deadlines.remove(&(held.deadline, fence));
        self.bytes -= held.message.size_bytes();
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wasmill_delivery::{message::Lineage, name::MessageId, topic::Topic};

    use super::*;

    const CONSUMER: ConsumerId = ConsumerId(1);

    fn held(sequence: u64, since: Instant, lasts_s: u64) -> Held {
        let message = Message {
            id: MessageId::new("m").expect("an id"),
            topic: Topic::new("t").expect("a topic"),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: vec![0; 98].into(),
            published_at: Timestamp(0),
            expires_at: None,
            lineage: Lineage::default(),
        };
        let lease = Lease { sequence: Sequence(sequence), attempt: 1, fence: Fence(100 + sequence), pending_due: None };
        Held {
            consumer: CONSUMER,
            place: Arc::new((QueueName::new("q").expect("a name"), ConsumerName::new("c").expect("a name"))),
            lease,
            message: Arc::new(message),
            earlier: Vec::new(),
            started_at: Timestamp(0),
            since,
            deadline: since + Duration::from_secs(lasts_s),
        }
    }

    fn claim(sequence: u64) -> Claim {
        Claim { consumer: CONSUMER, sequence: Sequence(sequence), fence: Fence(100 + sequence) }
    }

    fn table(leases_max: usize, bytes_max: u64) -> Table {
        Table::new(TableLimits { leases_max, bytes_max })
    }

    #[test]
    fn a_lease_is_taken_once_and_by_who_knows_all_of_it() {
        let mut table = table(10, 10_000);
        table.put(held(1, Instant::now(), 1));
        for wrong in [
            Claim { consumer: ConsumerId(2), ..claim(1) },
            Claim { sequence: Sequence(2), ..claim(1) },
            Claim { fence: Fence(102), ..claim(1) },
        ] {
            assert!(table.take(wrong).is_none(), "{wrong:?}");
            assert!(!table.extend(wrong, Instant::now()), "{wrong:?}");
        }
        assert!(table.take(claim(1)).is_some());
        assert!(table.take(claim(1)).is_none());
        assert_eq!((table.next_deadline(), table.bytes), (None, 0));
    }

    #[test]
    fn leases_end_in_the_order_of_their_deadlines() {
        let mut table = table(10, 10_000);
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        for (sequence, lasts_s) in [(1, 3), (2, 1), (3, 2), (4, 9)] {
            table.put(held(sequence, start, lasts_s));
        }
        assert!(table.extend(claim(2), after(5)));
        assert_eq!(table.next_deadline(), Some(after(2)));
        let late: Vec<u64> = table.take_late(after(3)).iter().map(|held| held.lease.sequence.0).collect();
        assert_eq!(late, [3, 1]);
        assert!(table.take(claim(3)).is_none(), "the host was first");
        assert_eq!(table.next_deadline(), Some(after(5)));
    }

    #[test]
    fn the_table_is_bounded_by_count_and_by_bytes() {
        let now = Instant::now();
        let mut few = table(2, 10_000);
        let mut small = table(10, 150);
        for sequence in 1..=2 {
            assert!(few.has_room() && small.has_room());
            few.put(held(sequence, now, 1));
            small.put(held(sequence, now, 1));
        }
        assert!(!few.has_room() && !small.has_room());
        few.take(claim(1));
        small.forget(|consumer| consumer == CONSUMER);
        assert!(few.has_room() && small.has_room());
        assert_eq!(small.next_deadline(), None);
    }
}
