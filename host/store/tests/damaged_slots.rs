//! Slots and pointers that changed under the store: it is told of the chunk, nothing is written over, and the others are there.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::fs;

use common::{Log, change, check_slots, messages, open, page, pointers, queue, raw, slot_key, trim, with_two_chunks};
use wasmill_delivery::{
    name::{QueueId, Sequence},
    write::Write,
};
use wasmill_store::{Store, StoreError};

/// What a use of the store says after an entry was changed.
fn after(damage: impl Fn(&sled::Db), using: impl Fn(&Store) -> Result<(), StoreError>) -> String {
    let folder = tempfile::tempdir().unwrap();
    with_two_chunks(folder.path());
    change(folder.path(), damage);
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
    let bend = |db: &sled::Db| {
        let (_, key) = slot_of(db, 51);
        let mut pointer = db.get(&key).unwrap().unwrap().to_vec();
        pointer[11] ^= 1;
        db.insert(key, pointer).unwrap();
    };
    let cut = |db: &sled::Db| drop(db.insert(slot_of(db, 51).1, &[u8::MAX; 9]).unwrap());
    for damage in [&flip as &dyn Fn(&sled::Db), &swap, &lose, &bend, &cut] {
        for error in [after(damage, read), after(damage, recover)] {
            assert!(error.contains("log of queue 1, chunk at 51 is damaged"), "{error}");
        }
    }
    assert!(after(lose, read).contains("should lie in slot"));
}

/// Deleting what is damaged must not delete what lies in the slot of another.
#[test]
fn a_damaged_chunk_can_be_trimmed_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    with_two_chunks(folder.path());
    let key = |first: u64| [b"l".as_slice(), &1_u32.to_be_bytes(), &first.to_be_bytes()].concat();
    // The first now says that it lies where the second does.
    change(folder.path(), |db| db.insert(key(1), db.get(key(51)).unwrap().unwrap()).unwrap());
    let mut store = open(folder.path());
    store.commit(&[trim(1, 51)]).unwrap();
    assert_eq!(page(&store, 1, 51).len(), 50);
    drop(store);
    assert_eq!(page(&open(folder.path()), 1, 1).len(), 50);
}

#[test]
fn a_chunk_whose_slot_holds_another_ones_can_be_trimmed_and_that_stays() {
    let folder = tempfile::tempdir().unwrap();
    with_two_chunks(folder.path());
    let (slots, other) = change(folder.path(), |db| {
        let slots: Vec<u32> = pointers(db).into_values().collect();
        let other = db.get(slot_key(slots[1])).unwrap().unwrap();
        db.insert(slot_key(slots[0]), other.clone()).unwrap();
        (slots, other)
    });
    let mut store = open(folder.path());
    store.commit(&[trim(1, 51)]).unwrap();
    drop(store);
    let db = raw(folder.path());
    assert_eq!(pointers(&db).len(), 1);
    assert_eq!(db.get(slot_key(slots[0])).unwrap().unwrap(), other);
}

/// Nobody knows then that the slot is taken. Nothing is written over, so the chunk is there again when the pointer is.
#[test]
fn what_a_damaged_pointer_pointed_to_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::default();
    let mut store = open(folder.path());
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    let mut next = 1;
    let mut append = |store: &mut Store, count: u64| {
        store.commit(&[log.append(1, messages(next, count, 4_500))]).unwrap();
        next += count;
    };
    (0..25).for_each(|_| append(&mut store, 20));
    drop(store);
    let (key, pointer) = change(folder.path(), |db| {
        let (key, _) = pointers(db).into_iter().nth(30).unwrap();
        let pointer = db.get(&key).unwrap().unwrap();
        let mut damaged = pointer.to_vec();
        damaged[11] ^= 1;
        db.insert(&key, damaged).unwrap();
        (key, pointer)
    });
    let mut store = open(folder.path());
    // As many as are trimmed, so that slots are taken again, and then more in one commit than were given back.
    for below in (21..=161).step_by(20) {
        store.commit(&[trim(1, below)]).unwrap();
        append(&mut store, 20);
    }
    append(&mut store, 400);
    drop(store);
    change(folder.path(), |db| db.insert(key, pointer).unwrap());
    let kept = page(&open(folder.path()), 1, 161);
    assert_eq!(kept.iter().map(|(sequence, _)| sequence.0).collect::<Vec<_>>(), (161..=1_060).collect::<Vec<_>>());
    check_slots(folder.path());
}

/// After a kill all pointers are read. One page of them that cannot be read takes no others along.
#[test]
fn a_page_of_pointers_that_cannot_be_read_does_not_keep_a_store_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::default();
    let mut store = open(folder.path());
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    // Several of sled's segments, so that it does not read the first of them when it is opened.
    for first in (1..=149_900).step_by(100) {
        store.commit(&[log.append(1, messages(first, 100, 300))]).unwrap();
    }
    drop(store);
    let (key, pointer) = change(folder.path(), |db| {
        // As after a kill.
        db.remove("b").unwrap();
        db.scan_prefix("l").map(Result::unwrap).nth(25).unwrap()
    });
    let lost = u64::from_be_bytes(*key.last_chunk().unwrap());
    // Once more, so that sled has a snapshot and does not read its log as far as that.
    drop(raw(folder.path()));
    let path = folder.path().join("db/db");
    let mut bytes = fs::read(&path).unwrap();
    let found: Vec<usize> =
        bytes.windows(pointer.len()).enumerate().filter(|(_, found)| *found == &*pointer).map(|(at, _)| at).collect();
    found.iter().for_each(|at| bytes[*at] ^= 1);
    fs::write(&path, bytes).unwrap();

    let mut store = open(folder.path());
    assert!(store.reader().messages(QueueId(1), &[Sequence(lost)]).is_err(), "it should be damaged");
    store.commit(&[Write::PutQueue { record: queue(2) }]).unwrap();
    let mut other = Log::default();
    for first in (1..=4_900).step_by(100) {
        store.commit(&[other.append(2, messages(first, 100, 300))]).unwrap();
    }
    assert_eq!(page(&store, 2, 1).len(), 4_900);
    for sequence in [1, 149_900] {
        let found = store.reader().messages(QueueId(1), &[Sequence(sequence)]).unwrap();
        assert_eq!(found[0].as_ref().unwrap().id.as_str(), format!("id-{sequence}"));
    }
}
