//! Random writes on a store and on maps in memory, side by side; all readers and recovery must agree, also after the
//! store was opened again. A failure names the seed: run with `WASMILL_STORE_SEED=<seed>` to see it again.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that panics has failed")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use common::{consumer, handler, handler_name, message, pending, quarantined, queue, recovered};
use wasmill_delivery::{
    cursor::Cursor,
    input::PublishEntry,
    message::Message,
    name::{ConsumerId, HandlerName, QuarantineId, QueueId, Sequence},
    priority::{PRIORITIES, Priority},
    record::{DelayedKey, PendingKey, PendingRecord, QuarantineRecord, RunningMark},
    time::Timestamp,
    write::{Counters, DedupId, LogBounds, Recovered, Write},
};
use wasmill_store::{Durability, Reader, Store, StoreOptions};

/// SplitMix64 (Steele, Lea, Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % end
    }

    fn pick<T: Copy>(&mut self, from: impl IntoIterator<Item = T>) -> Option<T> {
        let all: Vec<T> = from.into_iter().collect();
        (!all.is_empty()).then(|| all[usize::try_from(self.below(all.len() as u64)).unwrap()])
    }
}

struct ModelLog {
    first: u64,
    messages: Vec<Arc<Message>>,
    /// Nothing below is needed any more.
    below: u64,
}

impl ModelLog {
    fn new(lane: Priority) -> Self {
        Self { first: lane.first().0, messages: Vec::new(), below: lane.first().0 }
    }

    fn bytes_before(&self, sequence: u64) -> u64 {
        common::sizes(&self.messages[..usize::try_from(sequence - self.first).unwrap()])
    }

    fn next(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    fn get(&self, sequence: u64) -> Option<&Arc<Message>> {
        self.messages.get(usize::try_from(sequence.checked_sub(self.first)?).unwrap())
    }
}

#[derive(Default)]
struct Model {
    counters: Option<Counters>,
    handlers: BTreeSet<u32>,
    /// A queue has a log for what is not urgent, and others once something was put in them.
    logs: BTreeMap<(u32, Priority), ModelLog>,
    cursors: BTreeMap<u32, BTreeMap<Priority, Cursor>>,
    pending: BTreeMap<PendingKey, PendingRecord>,
    running: BTreeMap<(u32, u64), bool>,
    delayed: BTreeMap<DelayedKey, PublishEntry>,
    quarantine: BTreeMap<u64, QuarantineRecord>,
    capsules: BTreeMap<u64, Bytes>,
    state: BTreeMap<(HandlerName, String), Bytes>,
    dedup: Vec<(Timestamp, Vec<DedupId>)>,
    dedup_from: Timestamp,
    /// Numbers are never used again.
    used: u32,
    now: u64,
}

impl Model {
    /// Make a random change, here and as a write.
    fn write(&mut self, random: &mut Random) -> Vec<Write> {
        match random.below(26) {
            0..=3 => self.append(random),
            4..=5 => self.trim(random),
            6..=7 => self.cursor(random),
            8..=9 => self.put_pending(random),
            10 => self.delete_pending(random),
            11 => self.put_quarantine(random),
            12 => self.delete_quarantine(random),
            13..=15 => self.state(random),
            16 => self.put_dedup(random),
            17 => self.delete_dedup(random),
            18 => self.declare_queue(),
            19 => self.declare_consumer(random),
            20 => self.remove(random),
            21..=22 => self.running(random),
            23..=24 => self.delayed(random),
            _ => self.declare_handler(random),
        }
    }

    fn append(&mut self, random: &mut Random) -> Vec<Write> {
        let Some((queue, _)) = random.pick(self.logs.keys().copied()) else { return Vec::new() };
        let lane = a_lane(random);
        let log = self.logs.entry((queue, lane)).or_insert_with(|| ModelLog::new(lane));
        let (first, bytes_before) = (log.next(), log.bytes_before(log.next()));
        let (count, bytes) = match random.below(10) {
            0 => (300, 5),
            1 => (1, 300_000),
            _ => (1 + random.below(20), random.below(200)),
        };
        let bytes = usize::try_from(bytes).unwrap();
        let messages: Vec<_> = (0..count).map(|at| message(first + at, bytes)).collect();
        log.messages.extend(messages.iter().cloned());
        vec![Write::Append { queue: QueueId(queue), first: Sequence(first), bytes_before, messages }]
    }

    fn trim(&mut self, random: &mut Random) -> Vec<Write> {
        let Some(place) = random.pick(self.logs.keys().copied()) else { return Vec::new() };
        let log = self.logs.get_mut(&place).unwrap();
        let below = log.first + random.below(log.next() - log.first + 1);
        log.below = log.below.max(below);
        vec![Write::Trim { queue: QueueId(place.0), below: Sequence(below) }]
    }

    fn cursor(&mut self, random: &mut Random) -> Vec<Write> {
        let Some(consumer) = random.pick(self.cursors.keys().copied()) else { return Vec::new() };
        let lane = a_lane(random);
        let mut cursor = Cursor::starting_at(lane.lane_start().plus(random.below(1_000)));
        let ranges = if random.below(8) == 0 { 20_000 } else { random.below(5) };
        let far = lane.lane_start().plus(1_000_000);
        cursor.settled = (0..ranges).map(|at| (far.plus(2 * at), far.plus(2 * at + 1))).collect();
        self.cursors.get_mut(&consumer).unwrap().insert(lane, cursor.clone());
        vec![Write::PutCursor { consumer: ConsumerId(consumer), cursor }]
    }

    fn put_pending(&mut self, random: &mut Random) -> Vec<Write> {
        let Some(consumer) = random.pick(self.cursors.keys().copied()) else { return Vec::new() };
        let key = PendingKey {
            consumer: ConsumerId(consumer),
            due: Timestamp(random.below(4)),
            sequence: Sequence(random.below(6)),
        };
        let bytes = if random.below(5) == 0 { 300_000 } else { 10 };
        let record = pending(random.below(100), bytes);
        self.pending.insert(key, record.clone());
        vec![Write::PutPending { key, record }]
    }

    fn delete_pending(&mut self, random: &mut Random) -> Vec<Write> {
        let Some(key) = random.pick(self.pending.keys().copied()) else { return Vec::new() };
        self.pending.remove(&key);
        vec![Write::DeletePending { key }]
    }

    fn put_quarantine(&mut self, random: &mut Random) -> Vec<Write> {
        let bytes = if random.below(5) == 0 { 300_000 } else { 10 };
        let record = quarantined(random.below(30), bytes);
        let capsule = match random.below(3) {
            0 => None,
            1 => Some(Bytes::from_static(b"small")),
            _ => Some(Bytes::from(vec![7; 200_000])),
        };
        self.quarantine.insert(record.id.0, record.clone());
        match &capsule {
            Some(capsule) => self.capsules.insert(record.id.0, capsule.clone()),
            None => self.capsules.remove(&record.id.0),
        };
        vec![Write::PutQuarantine { record: Box::new(record), capsule }]
    }

    fn running(&mut self, random: &mut Random) -> Vec<Write> {
        let place = (u32::try_from(random.below(3)).unwrap(), random.below(20));
        let (consumer, sequence) = (ConsumerId(place.0), Sequence(place.1));
        if random.below(2) == 0 {
            self.running.remove(&place);
            return vec![Write::DeleteRunning { consumer, sequence }];
        }
        let alone = random.below(2) == 0;
        self.running.insert(place, alone);
        vec![Write::PutRunning { consumer, sequence, mark: RunningMark { alone } }]
    }

    fn delayed(&mut self, random: &mut Random) -> Vec<Write> {
        if random.below(2) == 0 {
            let Some(key) = random.pick(self.delayed.keys().copied()) else { return Vec::new() };
            self.delayed.remove(&key);
            return vec![Write::DeleteDelayed { key }];
        }
        let key = DelayedKey { due: Timestamp(random.below(300)), number: random.below(1_000) };
        let bytes = if random.below(5) == 0 { 100_000 } else { 10 };
        let entry = PublishEntry { deliver_at: Some(key.due), ..PublishEntry::new(message(key.number, bytes)) };
        self.delayed.insert(key, entry.clone());
        vec![Write::PutDelayed { key, entry }]
    }

    fn delete_quarantine(&mut self, random: &mut Random) -> Vec<Write> {
        let id = random.below(30);
        self.quarantine.remove(&id);
        self.capsules.remove(&id);
        vec![Write::DeleteQuarantine { id: QuarantineId(id) }]
    }

    fn state(&mut self, random: &mut Random) -> Vec<Write> {
        let handler = handler_name(u32::try_from(random.below(3)).unwrap());
        let key = ["a", "ab", "abc", "b", ""][usize::try_from(random.below(5)).unwrap()].to_owned();
        let place = (handler.clone(), key.clone());
        match random.below(4) {
            0 => {
                self.state.remove(&place);
                vec![Write::DeleteState { handler, key }]
            }
            1 => {
                let value = Bytes::from(random.below(100).to_string());
                self.state.insert(place, value.clone());
                vec![Write::PutState { handler, key, value }]
            }
            _ => {
                let delta = if random.below(5) == 0 { i64::MAX } else { i64::try_from(random.below(9)).unwrap() - 6 };
                let now: i64 =
                    self.state.get(&place).map_or(0, |value| std::str::from_utf8(value).unwrap().parse().unwrap());
                self.state.insert(place, now.saturating_add(delta).to_string().into());
                vec![Write::AddState { handler, key, delta }]
            }
        }
    }

    fn put_dedup(&mut self, random: &mut Random) -> Vec<Write> {
        self.now += random.below(2);
        let at = Timestamp(self.now);
        let ids: Vec<_> = (0..random.below(5)).map(|_| DedupId(u128::from(random.below(u64::MAX)) << 40)).collect();
        self.dedup.push((at, ids.clone()));
        vec![Write::PutDedup { at, ids }]
    }

    fn delete_dedup(&mut self, random: &mut Random) -> Vec<Write> {
        let before = Timestamp(self.now.saturating_sub(random.below(4)));
        self.dedup_from = self.dedup_from.max(before);
        self.dedup.retain(|(at, _)| *at >= before);
        vec![Write::DeleteDedup { before }]
    }

    fn declare_queue(&mut self) -> Vec<Write> {
        self.used += 1;
        self.logs.insert((self.used, Priority::LOWEST), ModelLog::new(Priority::LOWEST));
        let counters = Counters { queue: self.used, ..Counters::default() };
        self.counters = Some(counters);
        vec![Write::PutQueue { record: queue(self.used) }, Write::PutCounters { counters }]
    }

    fn declare_consumer(&mut self, random: &mut Random) -> Vec<Write> {
        self.used += 1;
        let cursor = Cursor::starting_at(Sequence(1 + random.below(5)));
        self.cursors.insert(self.used, [(Priority::LOWEST, cursor.clone())].into());
        let record = consumer(self.used, 1);
        vec![Write::PutConsumer { record }, Write::PutCursor { consumer: ConsumerId(self.used), cursor }]
    }

    fn remove(&mut self, random: &mut Random) -> Vec<Write> {
        if random.below(2) == 0 {
            let Some((queue, _)) = random.pick(self.logs.keys().copied()) else { return Vec::new() };
            self.logs.retain(|(of, _), _| *of != queue);
            return vec![Write::DeleteQueue { queue: QueueId(queue) }];
        }
        let Some(consumer) = random.pick(self.cursors.keys().copied()) else { return Vec::new() };
        let consumer_id = ConsumerId(consumer);
        self.cursors.remove(&consumer);
        self.pending.retain(|key, _| key.consumer != consumer_id);
        vec![Write::DeleteConsumer { consumer: consumer_id }]
    }

    fn declare_handler(&mut self, random: &mut Random) -> Vec<Write> {
        let number = u32::try_from(random.below(4)).unwrap();
        if self.handlers.remove(&number) {
            return vec![Write::DeleteHandler { name: handler_name(number) }];
        }
        self.handlers.insert(number);
        vec![Write::PutHandler { record: handler(number) }]
    }

    fn check(&self, store: &Store, random: &mut Random) {
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

    fn check_recovered(&self, store: &Store) {
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

    fn queues(&self) -> BTreeSet<u32> {
        self.logs.keys().map(|(queue, _)| *queue).collect()
    }

    /// The store may keep more than is needed, but must know what it keeps.
    fn check_bounds(&self, queue: u32, found: &[LogBounds]) {
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

    fn check_log(&self, reader: &Reader, queue: u32, random: &mut Random) {
        Priority::all().for_each(|lane| self.check_lane(reader, queue, lane, random));
    }

    fn check_lane(&self, reader: &Reader, queue: u32, lane: Priority, random: &mut Random) {
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

    fn check_pending(&self, reader: &Reader, consumer: ConsumerId) {
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

    fn check_quarantine(&self, reader: &Reader) {
        for id in 0..30 {
            assert_eq!(reader.quarantine(QuarantineId(id)).unwrap().as_ref(), self.quarantine.get(&id));
            assert_eq!(reader.capsule(QuarantineId(id)).unwrap().as_ref(), self.capsules.get(&id));
        }
        let found = reader.quarantine_page(Some(QuarantineId(3)), 5).unwrap();
        let expected: Vec<_> = self.quarantine.range(4..).take(5).map(|(_, record)| record.clone()).collect();
        assert_eq!(found, expected);
    }

    fn check_state(&self, reader: &Reader) {
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

/// Mostly that of what is not urgent.
fn a_lane(random: &mut Random) -> Priority {
    Priority::all().nth(usize::try_from(random.below(20)).unwrap()).unwrap_or_default()
}

/// Small chunks and a small cache, so that few messages make many of them.
fn open(folder: &Path, random: &mut Random) -> Store {
    let options = StoreOptions {
        durability: if random.below(2) == 0 { Durability::Fsync } else { Durability::Interval { flush_ms: 1 } },
        chunk_bytes: [1, 700, 64 * 1024][usize::try_from(random.below(3)).unwrap()],
        log_cache_bytes: [0, 20_000, 1 << 20][usize::try_from(random.below(3)).unwrap()],
        ..StoreOptions::default()
    };
    Store::open(folder, options).unwrap()
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), &mut random);
    let mut model = Model::default();
    for _ in 0..80 {
        let count = random.below(12);
        let writes: Vec<_> = (0..count).flat_map(|_| model.write(&mut random)).collect();
        store.commit(&writes).unwrap();
        if random.below(4) == 0 {
            model.check(&store, &mut random);
        }
        if random.below(10) == 0 {
            drop(store);
            store = open(folder.path(), &mut random);
            model.check(&store, &mut random);
        }
    }
}

#[test]
fn store_and_model_agree() {
    let seeds = match std::env::var("WASMILL_STORE_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..12).collect(),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "seed {seed}: run again with WASMILL_STORE_SEED={seed}");
    }
}
