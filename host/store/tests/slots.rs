//! Where chunks lie: no slot is held twice, none is lost, and what is damaged is named.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use common::{Log, message, open, queue, raw, recovered};
use wasmill_delivery::{
    message::Message,
    name::{QueueId, Sequence},
    write::Write,
};
use wasmill_store::{Store, StoreError};

fn messages(first: u64, count: u64, bytes: usize) -> Vec<Arc<Message>> {
    (first..first + count).map(|number| message(number, bytes)).collect()
}

fn trim(queue: u32, below: u64) -> Write {
    Write::Trim { queue: QueueId(queue), below: Sequence(below) }
}

fn page(store: &Store, queue: u32, from: u64) -> Vec<(Sequence, Arc<Message>)> {
    store.reader().log_page(QueueId(queue), Sequence(from), 100_000).unwrap()
}

fn slot_key(slot: u32) -> Vec<u8> {
    [b"v".as_slice(), &slot.to_be_bytes(), &[0]].concat()
}

/// The slot of each chunk and part that lies in one.
fn pointers(db: &sled::Db) -> BTreeMap<Vec<u8>, u32> {
    let entries = db.scan_prefix("l").chain(db.scan_prefix("~l")).map(Result::unwrap);
    let pointers = entries.filter(|(_, value)| value.len() == 7);
    pointers.map(|(key, value)| (key.to_vec(), u32::from_le_bytes(value[1..5].try_into().unwrap()))).collect()
}

/// What holds at any time. Answers how many slots there are, and how many are taken.
#[track_caller]
fn check(folder: &Path) -> (usize, usize) {
    let db = raw(folder);
    let pointers = pointers(&db);
    let taken: BTreeSet<u32> = pointers.values().copied().collect();
    assert_eq!(taken.len(), pointers.len(), "two chunks lie in one slot");
    let mut marked = BTreeSet::new();
    for entry in db.scan_prefix("b") {
        let (key, value) = entry.unwrap();
        let map = u32::from_be_bytes(key[1..5].try_into().unwrap());
        for (byte, bits) in (0..).zip(&value[11..]) {
            marked.extend((0..8).filter(|bit| bits & (1 << bit) != 0).map(|bit| map * 2_048 + byte * 8 + bit));
        }
    }
    assert_eq!(marked, taken, "the maps say otherwise");
    let mut slots = 0;
    for entry in db.scan_prefix("v") {
        let (key, value) = entry.unwrap();
        let slot = u32::from_be_bytes(key[1..5].try_into().unwrap());
        slots += usize::from(key[5] == 0);
        assert_eq!(!value.is_empty(), key[5] == 0 && taken.contains(&slot), "slot {slot}, filling {}", key[5]);
    }
    (slots, taken.len())
}

#[test]
fn slots_are_taken_again_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut log = Log::default();
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    let mut next = 1;
    for round in 0..200_u64 {
        // Every tenth is of several parts, every seventh is small and lies in no slot.
        let (count, bytes) = match round {
            round if round % 10 == 0 => (1, 150_000),
            round if round % 7 == 0 => (1, 10),
            _ => (100, 256),
        };
        let kept = next;
        next += count;
        store.commit(&[log.append(1, messages(kept, count, bytes)), trim(1, kept)]).unwrap();
        if round % 50 == 25 {
            drop(store);
            let (slots, taken) = check(folder.path());
            assert!((1..=20).contains(&taken) && slots <= 96, "{taken} of {slots} slots");
            store = open(folder.path());
        }
    }
    let all = page(&store, 1, 1);
    assert_eq!(all.last().unwrap().0, Sequence(next - 1));
    // The large ones are the hundredth round's and the like.
    for (sequence, found) in all {
        assert_eq!(found.id.as_str(), format!("id-{}", sequence.0));
    }
}

#[test]
fn a_removed_queue_gives_its_slots_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let (mut log, mut other) = (Log::default(), Log::default());
    store.commit(&[Write::PutQueue { record: queue(1) }, Write::PutQueue { record: queue(2) }]).unwrap();
    // More chunks than one commit sweeps.
    for first in 0..30 {
        store.commit(&[log.append(1, messages(first * 1_000, 1_000, 300))]).unwrap();
    }
    store.commit(&[other.append(2, messages(0, 500, 300))]).unwrap();
    store.commit(&[Write::DeleteQueue { queue: QueueId(1) }]).unwrap();
    while store.is_sweeping() {
        store.commit(&[]).unwrap();
    }
    drop(store);
    let (slots, taken) = check(folder.path());
    assert!(taken < 10 && slots > 300, "{taken} of {slots}");
    let mut store = open(folder.path());
    for first in 0..30 {
        store.commit(&[other.append(2, messages(500 + first * 1_000, 1_000, 300))]).unwrap();
    }
    assert_eq!(page(&store, 2, 1).len(), 30_500);
    drop(store);
    assert_eq!(check(folder.path()).0, slots, "no new ones were made");
}

/// A store with two large chunks of queue 1.
fn with_two_chunks(folder: &Path) {
    let mut store = open(folder);
    let mut log = Log::default();
    store.commit(&[Write::PutQueue { record: queue(1) }, log.append(1, messages(1, 50, 300))]).unwrap();
    store.commit(&[log.append(1, messages(51, 50, 300))]).unwrap();
}

#[test]
fn a_store_of_format_1_is_read_and_becomes_one_of_format_2() {
    let folder = tempfile::tempdir().unwrap();
    with_two_chunks(folder.path());
    let format = folder.path().join("FORMAT");
    assert_eq!(fs::read_to_string(&format).unwrap(), "wasmill store format 2\n");
    let db = raw(folder.path());
    for (key, slot) in pointers(&db) {
        db.insert(key, db.get(slot_key(slot)).unwrap().unwrap()).unwrap();
    }
    for key in db.scan_prefix("v").keys().chain(db.scan_prefix("b").keys()).map(Result::unwrap).collect::<Vec<_>>() {
        db.remove(key).unwrap();
    }
    db.flush().unwrap();
    drop(db);
    fs::write(&format, "wasmill store format 1\n").unwrap();

    let mut store = open(folder.path());
    assert_eq!(fs::read_to_string(&format).unwrap(), "wasmill store format 2\n");
    assert_eq!(page(&store, 1, 1).len(), 100);
    let mut log = Log::default();
    drop(log.append(1, messages(1, 100, 300)));
    store.commit(&[log.append(1, messages(101, 50, 300)), trim(1, 60)]).unwrap();
    let kept: Vec<u64> = page(&store, 1, 1).iter().map(|(sequence, _)| sequence.0).collect();
    assert_eq!(kept, (51..=150).collect::<Vec<_>>());
    drop(store);
    assert_eq!(check(folder.path()).1, 1);
}

/// What a use of the store says after an entry was changed.
fn after(change: impl Fn(&sled::Db), using: impl Fn(&Store) -> Result<(), StoreError>) -> String {
    let folder = tempfile::tempdir().unwrap();
    with_two_chunks(folder.path());
    let db = raw(folder.path());
    change(&db);
    db.flush().unwrap();
    drop(db);
    using(&open(folder.path())).expect_err("it is damaged").to_string()
}

#[test]
fn what_is_wrong_with_a_slot_is_told_of_the_chunk() {
    let slot_of = |db: &sled::Db, first: u64| {
        let key = [b"l".as_slice(), &1_u32.to_be_bytes(), &first.to_be_bytes()].concat();
        (pointers(db)[&key], key)
    };
    let read = |store: &Store| store.reader().messages(QueueId(1), &[Sequence(60)]).map(drop);
    let recover = |store: &Store| store.recover(&mut |_| ());
    let flip = |db: &sled::Db| {
        let (slot, _) = slot_of(db, 51);
        let mut value = db.get(slot_key(slot)).unwrap().unwrap().to_vec();
        value[100] ^= 1;
        db.insert(slot_key(slot), value).unwrap();
    };
    let swap = |db: &sled::Db| {
        let ((_, first), (_, second)) = (slot_of(db, 1), slot_of(db, 51));
        db.insert(second, db.get(first).unwrap().unwrap()).unwrap();
    };
    let lose = |db: &sled::Db| drop(db.remove(slot_key(slot_of(db, 51).0)).unwrap());
    for change in [&flip as &dyn Fn(&sled::Db), &swap, &lose] {
        for error in [after(change, read), after(change, recover)] {
            assert!(error.contains("log of queue 1, chunk at 51 is damaged"), "{error}");
        }
    }
    assert!(after(lose, read).contains("which is missing"));
}

#[test]
fn a_map_that_is_damaged_is_named() {
    let folder = tempfile::tempdir().unwrap();
    with_two_chunks(folder.path());
    assert_eq!(recovered(&open(folder.path())).len(), 1);
    let db = raw(folder.path());
    let (key, value) = db.scan_prefix("b").next().unwrap().unwrap();
    let mut value = value.to_vec();
    *value.last_mut().unwrap() ^= 1;
    db.insert(key, value).unwrap();
    db.flush().unwrap();
    drop(db);
    let error = Store::open(folder.path(), Default::default()).map(drop).expect_err("it is damaged").to_string();
    assert!(error.contains("map 0 of slots is damaged"), "{error}");
}
