//! What the store's readers and its recovery must answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{consumer, handler, handler_name, queue, recovered};
use wasmill_delivery::{
    name::{ConsumerId, QuarantineId, QueueId, Sequence},
    priority::{PRIORITIES, Priority},
    record::{PendingKey, PendingRecord, RunningMark},
    write::{LogBounds, Recovered},
};
use wasmill_store::{Reader, Store};

use crate::{
    model::{Model, ModelLog},
    random::Random,
};

impl Model {
    pub(crate) fn check(&self, store: &Store, random: &mut Random) {
        self.check_recovered(store);
        let reader = store.reader();
        (0..=self.used).for_each(|queue| self.check_log(&reader, queue, random));
        (0..=self.used).for_each(|consumer| self.check_pending(&reader, ConsumerId(consumer)));
        self.check_quarantine(&reader);
        let delayed: Vec<_> = self.delayed.iter().map(|(key, entry)| (*key, entry.clone())).collect();
        assert_eq!(reader.delayed_page(None, usize::MAX).unwrap(), delayed);
        for (key, entry) in delayed {
            assert_eq!(reader.delayed(key).unwrap(), Some(entry));
        }
        self.check_state(&reader);
    }

    pub(crate) fn check_recovered(&self, store: &Store) {
        let found = recovered(store);
        let mut expected: Vec<Recovered> = self.counters.map(Recovered::Counters).into_iter().collect();
        expected.extend(self.handlers.iter().map(|number| Recovered::Handler(handler(*number))));
        for id in self.queues() {
            let logs = bounds(&found, id);
            self.check_bounds(id, &logs);
            expected.push(Recovered::Queue { record: queue(id), logs });
        }
        expected.extend(self.cursors.iter().map(|(id, cursors)| {
            let record = consumer(*id, 1);
            Recovered::Consumer { record, cursors: cursors.values().cloned().collect() }
        }));
        expected.extend(self.pending.iter().map(|(key, record)| {
            let attempts_made = record.attempts_made;
            Recovered::Pending { key: *key, attempts_made, hash: record.message.key_hash() }
        }));
        expected.extend(self.running.iter().map(|((consumer, sequence), alone)| {
            let (consumer, sequence) = (ConsumerId(*consumer), Sequence(*sequence));
            Recovered::Running { consumer, sequence, mark: RunningMark { alone: *alone } }
        }));
        expected.extend(self.delayed.keys().map(|key| Recovered::Delayed { key: *key }));
        expected.extend(self.quarantine.values().map(|record| {
            let (id, consumer) = (record.id, record.consumer_id);
            let hash = record.message.key_hash();
            Recovered::Quarantined { id, consumer, sequence: record.sequence, hash }
        }));
        expected.extend(self.capsules.iter().map(|(id, capsule)| {
            let (id, bytes) = (QuarantineId(*id), capsule.len() as u64);
            Recovered::Capsule { id, bytes }
        }));
        expected.extend(self.dedup.iter().map(|(at, ids)| Recovered::Dedup { at: *at, ids: ids.clone() }));
        let wanted = |recovered: &Recovered| match recovered {
            Recovered::Dedup { at, .. } => *at >= self.dedup_from,
            Recovered::Counters(_)
            | Recovered::Handler(_)
            | Recovered::Queue { .. }
            | Recovered::Consumer { .. }
            | Recovered::Pending { .. }
            | Recovered::Running { .. }
            | Recovered::Delayed { .. }
            | Recovered::Schedule { .. }
            | Recovered::Job { .. }
            | Recovered::Capsule { .. }
            | Recovered::Quarantined { .. } => true,
        };
        assert_eq!(found.into_iter().filter(wanted).collect::<Vec<_>>(), expected);
    }

    pub(crate) fn queues(&self) -> BTreeSet<u32> {
        self.logs.keys().map(|(queue, _)| *queue).collect()
    }

    /// The store may keep more than is needed, but must know what it keeps.
    pub(crate) fn check_bounds(&self, queue: u32, found: &[LogBounds]) {
        let lanes = self.logs.keys().filter(|(of, _)| *of == queue).count();
        assert_eq!(found.len(), if lanes > 1 { PRIORITIES } else { 1 });
        for (lane, found) in Priority::all().zip(found) {
            let none = ModelLog::new(lane);
            let log = self.logs.get(&(queue, lane)).unwrap_or(&none);
            assert_eq!(found.next, Sequence(log.next()));
            assert_eq!(found.bytes_before_next, log.bytes_before(log.next()));
            assert!(found.first.0 <= log.below, "{found:?} lacks messages from {}", log.below);
            assert_eq!(found.bytes_before_first, log.bytes_before(found.first.0));
        }
    }

    pub(crate) fn check_log(&self, reader: &Reader, queue: u32, random: &mut Random) {
        Priority::all().for_each(|lane| self.check_lane(reader, queue, lane, random));
    }

    pub(crate) fn check_lane(&self, reader: &Reader, queue: u32, lane: Priority, random: &mut Random) {
        let none = ModelLog::new(lane);
        let log = self.logs.get(&(queue, lane)).unwrap_or(&none);
        let places = (log.first - 1..log.next() + 2).map(Sequence);
        let sequences: Vec<_> = places.filter(|_| random.below(3) > 0).collect();
        let found = reader.messages(QueueId(queue), &sequences).unwrap();
        for (sequence, found) in sequences.iter().zip(found) {
            let expected = log.get(sequence.0);
            let may_be_gone = sequence.0 < log.below;
            assert!(found.as_ref() == expected || may_be_gone && found.is_none(), "{queue} {sequence:?} {found:?}");
        }
        let from = log.first + random.below(log.next() - log.first + 1);
        let mut page = reader.log_page(QueueId(queue), Sequence(from), usize::MAX).unwrap();
        page.retain(|(sequence, _)| Priority::of(*sequence) == lane);
        let begins = log.next() - page.len() as u64;
        assert!(begins == from || begins > from && begins <= log.below, "page from {from} begins at {begins}");
        for (expected, (sequence, found)) in (begins..).zip(page) {
            assert_eq!((sequence, Some(&found)), (Sequence(expected), log.get(expected)));
        }
    }

    pub(crate) fn check_pending(&self, reader: &Reader, consumer: ConsumerId) {
        let expected: Vec<_> = self.pending.iter().filter(|(key, _)| key.consumer == consumer).collect();
        let mut found = Vec::new();
        loop {
            let after = found.last().map(|(key, _): &(PendingKey, PendingRecord)| *key);
            let page = reader.pending_page(consumer, after, 3).unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found.iter().map(|(key, record)| (key, record)).collect::<Vec<_>>(), expected);
        for (key, record) in expected {
            assert_eq!(reader.pending(*key).unwrap().as_ref(), Some(record));
        }
    }

    pub(crate) fn check_quarantine(&self, reader: &Reader) {
        for id in 0..30 {
            assert_eq!(reader.quarantine(QuarantineId(id)).unwrap().as_ref(), self.quarantine.get(&id));
            assert_eq!(reader.capsule(QuarantineId(id)).unwrap().as_ref(), self.capsules.get(&id));
        }
        let found = reader.quarantine_page(Some(QuarantineId(3)), 5).unwrap();
        let expected: Vec<_> = self.quarantine.range(4..).take(5).map(|(_, record)| record.clone()).collect();
        assert_eq!(found, expected);
    }

    pub(crate) fn check_state(&self, reader: &Reader) {
        for number in 0..3 {
            let name = handler_name(number);
            let values: BTreeMap<_, _> = self.state.iter().filter(|((handler, _), _)| *handler == name).collect();
            for ((_, key), value) in &values {
                assert_eq!(reader.state(&name, key).unwrap().as_ref(), Some(*value));
            }
            for (prefix, after, limit) in [("", None, 99), ("a", None, 2), ("a", Some("ab"), 9), ("", Some("a"), 9)] {
                let found = reader.state_keys(&name, prefix, after, limit).unwrap();
                let keys = values.keys().map(|(_, key)| key.as_str());
                let keys = keys.filter(|key| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
                assert_eq!(found, keys.take(limit).collect::<Vec<_>>(), "{prefix:?} {after:?}");
            }
        }
        assert_eq!(reader.state(&handler_name(0), "none").unwrap(), None);
    }
}

fn bounds(found: &[Recovered], id: u32) -> Vec<LogBounds> {
    let mut logs = found.iter().filter_map(|recovered| match recovered {
        Recovered::Queue { record, logs } if record.id.0 == id => Some(logs.clone()),
        Recovered::Counters(_)
        | Recovered::Handler(_)
        | Recovered::Queue { .. }
        | Recovered::Consumer { .. }
        | Recovered::Pending { .. }
        | Recovered::Running { .. }
        | Recovered::Delayed { .. }
        | Recovered::Schedule { .. }
        | Recovered::Job { .. }
        | Recovered::Quarantined { .. }
        | Recovered::Capsule { .. }
        | Recovered::Dedup { .. } => None,
    });
    logs.next_back().unwrap_or_else(|| panic!("queue {id} was not recovered"))
}
