//! Maps in memory that take the same writes as the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::common::{consumer, handler, handler_name, message, pending, quarantined, queue};
use bytes::Bytes;
use wasmill_delivery::{
    cursor::Cursor,
    input::PublishEntry,
    message::Message,
    name::{ConsumerId, HandlerName, QuarantineId, QueueId, Sequence},
    priority::Priority,
    record::{DelayedKey, PendingKey, PendingRecord, QuarantineRecord, RunningMark},
    time::Timestamp,
    write::{Counters, DedupId, Write},
};

use crate::random::Random;

pub(crate) struct ModelLog {
    pub(crate) first: u64,
    pub(crate) messages: Vec<Arc<Message>>,
    /// Nothing below is needed any more.
    pub(crate) below: u64,
}

impl ModelLog {
    pub(crate) fn new(lane: Priority) -> Self {
        Self { first: lane.first().0, messages: Vec::new(), below: lane.first().0 }
    }

    pub(crate) fn bytes_before(&self, sequence: u64) -> u64 {
        crate::common::sizes(&self.messages[..usize::try_from(sequence - self.first).unwrap()])
    }

    pub(crate) fn next(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&Arc<Message>> {
        self.messages.get(usize::try_from(sequence.checked_sub(self.first)?).unwrap())
    }
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) counters: Option<Counters>,
    pub(crate) handlers: BTreeSet<u32>,
    /// A queue has a log for what is not urgent, and others once something was put in them.
    pub(crate) logs: BTreeMap<(u32, Priority), ModelLog>,
    pub(crate) cursors: BTreeMap<u32, BTreeMap<Priority, Cursor>>,
    pub(crate) pending: BTreeMap<PendingKey, PendingRecord>,
    pub(crate) running: BTreeMap<(u32, u64), bool>,
    pub(crate) delayed: BTreeMap<DelayedKey, PublishEntry>,
    pub(crate) quarantine: BTreeMap<u64, QuarantineRecord>,
    pub(crate) capsules: BTreeMap<u64, Bytes>,
    pub(crate) state: BTreeMap<(HandlerName, String), Bytes>,
    pub(crate) dedup: Vec<(Timestamp, Vec<DedupId>)>,
    pub(crate) dedup_from: Timestamp,
    /// Numbers are never used again.
    pub(crate) used: u32,
    pub(crate) now: u64,
}

impl Model {
    /// Make a random change, here and as a write.
    pub(crate) fn write(&mut self, random: &mut Random) -> Vec<Write> {
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

    pub(crate) fn append(&mut self, random: &mut Random) -> Vec<Write> {
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

    pub(crate) fn trim(&mut self, random: &mut Random) -> Vec<Write> {
        let Some(place) = random.pick(self.logs.keys().copied()) else { return Vec::new() };
        let log = self.logs.get_mut(&place).unwrap();
        let below = log.first + random.below(log.next() - log.first + 1);
        log.below = log.below.max(below);
        vec![Write::Trim { queue: QueueId(place.0), below: Sequence(below) }]
    }

    pub(crate) fn cursor(&mut self, random: &mut Random) -> Vec<Write> {
        let Some(consumer) = random.pick(self.cursors.keys().copied()) else { return Vec::new() };
        let lane = a_lane(random);
        let mut cursor = Cursor::starting_at(lane.lane_start().plus(random.below(1_000)));
        let ranges = if random.below(8) == 0 { 20_000 } else { random.below(5) };
        let far = lane.lane_start().plus(1_000_000);
        cursor.settled = (0..ranges).map(|at| (far.plus(2 * at), far.plus(2 * at + 1))).collect();
        self.cursors.get_mut(&consumer).unwrap().insert(lane, cursor.clone());
        vec![Write::PutCursor { consumer: ConsumerId(consumer), cursor }]
    }

    pub(crate) fn put_pending(&mut self, random: &mut Random) -> Vec<Write> {
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

    pub(crate) fn delete_pending(&mut self, random: &mut Random) -> Vec<Write> {
        let Some(key) = random.pick(self.pending.keys().copied()) else { return Vec::new() };
        self.pending.remove(&key);
        vec![Write::DeletePending { key }]
    }

    pub(crate) fn put_quarantine(&mut self, random: &mut Random) -> Vec<Write> {
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

    pub(crate) fn running(&mut self, random: &mut Random) -> Vec<Write> {
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

    pub(crate) fn delayed(&mut self, random: &mut Random) -> Vec<Write> {
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

    pub(crate) fn delete_quarantine(&mut self, random: &mut Random) -> Vec<Write> {
        let id = random.below(30);
        self.quarantine.remove(&id);
        self.capsules.remove(&id);
        vec![Write::DeleteQuarantine { id: QuarantineId(id) }]
    }

    pub(crate) fn state(&mut self, random: &mut Random) -> Vec<Write> {
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

    pub(crate) fn put_dedup(&mut self, random: &mut Random) -> Vec<Write> {
        self.now += random.below(2);
        let at = Timestamp(self.now);
        let ids: Vec<_> = (0..random.below(5)).map(|_| DedupId(u128::from(random.below(u64::MAX)) << 40)).collect();
        self.dedup.push((at, ids.clone()));
        vec![Write::PutDedup { at, ids }]
    }

    pub(crate) fn delete_dedup(&mut self, random: &mut Random) -> Vec<Write> {
        let before = Timestamp(self.now.saturating_sub(random.below(4)));
        self.dedup_from = self.dedup_from.max(before);
        self.dedup.retain(|(at, _)| *at >= before);
        vec![Write::DeleteDedup { before }]
    }

    pub(crate) fn declare_queue(&mut self) -> Vec<Write> {
        self.used += 1;
        self.logs.insert((self.used, Priority::LOWEST), ModelLog::new(Priority::LOWEST));
        let counters = Counters { queue: self.used, ..Counters::default() };
        self.counters = Some(counters);
        vec![Write::PutQueue { record: queue(self.used) }, Write::PutCounters { counters }]
    }

    pub(crate) fn declare_consumer(&mut self, random: &mut Random) -> Vec<Write> {
        self.used += 1;
        let cursor = Cursor::starting_at(Sequence(1 + random.below(5)));
        self.cursors.insert(self.used, [(Priority::LOWEST, cursor.clone())].into());
        let record = consumer(self.used, 1);
        vec![Write::PutConsumer { record }, Write::PutCursor { consumer: ConsumerId(self.used), cursor }]
    }

    pub(crate) fn remove(&mut self, random: &mut Random) -> Vec<Write> {
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

    pub(crate) fn declare_handler(&mut self, random: &mut Random) -> Vec<Write> {
        let number = u32::try_from(random.below(4)).unwrap();
        if self.handlers.remove(&number) {
            return vec![Write::DeleteHandler { name: handler_name(number) }];
        }
        self.handlers.insert(number);
        vec![Write::PutHandler { record: handler(number) }]
    }
}

/// Mostly that of what is not urgent.
pub(crate) fn a_lane(random: &mut Random) -> Priority {
    Priority::all().nth(usize::try_from(random.below(20)).unwrap()).unwrap_or_default()
}
