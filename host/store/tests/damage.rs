//! Bytes that changed under the store: everything that reads them names the value and does not panic.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that panics has failed")]

mod common;

use std::path::Path;

use common::{Log, handler_name, message, open, pending, put_consumer, quarantined, queue, raw};
use wasmill_delivery::{
    name::{ConsumerId, QuarantineId, QueueId, Sequence},
    record::PendingKey,
    time::Timestamp,
    write::{Counters, DedupId, Write},
};
use wasmill_store::{Store, StoreError, StoreOptions};

const PENDING: PendingKey = PendingKey { consumer: ConsumerId(5), due: Timestamp(70), sequence: Sequence(9) };

/// One of everything; the log of queue 3 has three chunks.
fn fill(folder: &Path) {
    let mut store = open(folder);
    let mut log = Log::default();
    let mut writes = vec![
        Write::PutCounters { counters: Counters { queue: 4, ..Counters::default() } },
        Write::PutHandler { record: common::handler(1) },
        Write::PutQueue { record: queue(3) },
        Write::PutPending { key: PENDING, record: pending(9, 200_000) },
        Write::PutQuarantine { record: Box::new(quarantined(8, 10)), capsule: None },
        Write::PutState { handler: handler_name(1), key: "n".to_owned(), value: "1".into() },
        Write::PutDedup { at: Timestamp(6), ids: vec![DedupId(1)] },
    ];
    writes.extend(put_consumer(5, 3));
    store.commit(&writes).unwrap();
    for first in [1, 11, 21] {
        store.commit(&[log.append(3, (first..first + 10).map(|number| message(number, 10)).collect())]).unwrap();
    }
}

type Use = fn(&mut Store) -> Result<(), StoreError>;

fn recover(store: &mut Store) -> Result<(), StoreError> {
    store.recover(&mut |_| ())
}

/// Change one entry and return what the use of the store says.
fn after(change: impl Fn(&[u8], Vec<u8>) -> Option<Vec<u8>>, key: &[u8], using: Use) -> StoreError {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let db = raw(folder.path());
    let value = db.get(key).unwrap().expect("the key is there").to_vec();
    match change(key, value) {
        Some(value) => db.insert(key, value).unwrap(),
        None => db.remove(key).unwrap(),
    };
    db.flush().unwrap();
    drop(db);
    using(&mut open(folder.path())).expect_err("it is damaged")
}

fn log_key(first: u64) -> Vec<u8> {
    [b"l".as_slice(), &3_u32.to_be_bytes(), &first.to_be_bytes()].concat()
}

fn pending_key() -> Vec<u8> {
    [b"p".as_slice(), &5_u32.to_be_bytes(), &70_u64.to_be_bytes(), &9_u64.to_be_bytes()].concat()
}

fn uses() -> Vec<(Vec<u8>, &'static str, Vec<Use>)> {
    let with_u32 = |kind: &[u8], number: u32| [kind, &number.to_be_bytes()].concat();
    let page: Use = |store| store.reader().log_page(QueueId(3), Sequence(1), 100).map(drop);
    let message: Use = |store| store.reader().messages(QueueId(3), &[Sequence(15)]).map(drop);
    let pending: Use = |store| store.reader().pending(PENDING).map(drop);
    let pending_page: Use = |store| store.reader().pending_page(ConsumerId(5), None, 9).map(drop);
    let part = [b"~".as_slice(), &pending_key(), &1_u16.to_be_bytes()].concat();
    let add: Use = |store| store.commit(&[Write::AddState { handler: handler_name(1), key: "n".to_owned(), delta: 1 }]);
    vec![
        (b"n".to_vec(), "counters", vec![recover]),
        (b"hhandler-1".to_vec(), "handler handler-1", vec![recover]),
        (with_u32(b"q", 3), "queue 3", vec![recover]),
        (with_u32(b"c", 5), "consumer 5", vec![recover]),
        (with_u32(b"r", 5), "cursor of consumer 5", vec![recover]),
        (log_key(1), "log of queue 3, chunk at 1", vec![recover, page]),
        (log_key(11), "log of queue 3, chunk at 11", vec![message, page]),
        (log_key(21), "log of queue 3, chunk at 21", vec![recover, page]),
        (
            pending_key(),
            "pending delivery of consumer 5, sequence 9, due at 70 ms",
            vec![recover, pending, pending_page],
        ),
        (part, "pending delivery of consumer 5, sequence 9, due at 70 ms, part 1", vec![pending, pending_page]),
        (
            [b"x".as_slice(), &8_u64.to_be_bytes()].concat(),
            "quarantined delivery 8",
            vec![recover, |store| store.reader().quarantine(QuarantineId(8)).map(drop), |store| {
                store.reader().quarantine_page(None, 9).map(drop)
            }],
        ),
        (
            b"shandler-1\0n".to_vec(),
            "state \"n\" of handler handler-1",
            vec![|store| store.reader().state(&handler_name(1), "n").map(drop), add],
        ),
        (
            [b"d".as_slice(), &6_u64.to_be_bytes(), &0_u64.to_be_bytes()].concat(),
            "ids published at 6 ms, mark 0",
            vec![recover],
        ),
    ]
}

#[test]
fn a_flipped_byte_is_found_and_named_by_whoever_reads_it() {
    for (key, name, all) in uses() {
        for using in all {
            let flip = |_: &[u8], mut value: Vec<u8>| {
                *value.last_mut().unwrap() ^= 0x10;
                Some(value)
            };
            match after(flip, &key, using) {
                StoreError::Damaged { key, help, .. } => {
                    assert_eq!(key, name);
                    assert!(help.contains("backup"), "{help}");
                }
                other => panic!("{name}: {other}"),
            }
        }
    }
}

#[test]
fn a_value_that_is_cut_is_found_and_named() {
    for (key, name, all) in uses() {
        for length in [0, 12] {
            let cut = |_: &[u8], value: Vec<u8>| Some(value[..length.min(value.len() - 1)].to_vec());
            match after(cut, &key, all[0]) {
                StoreError::Damaged { key, .. } => assert_eq!(key, name),
                other => panic!("{name}: {other}"),
            }
        }
    }
}

#[test]
fn a_value_of_a_newer_version_asks_for_a_newer_program() {
    for (key, name, all) in uses() {
        let newer = |key: &[u8], mut value: Vec<u8>| {
            value[0] = 2;
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(key);
            hasher.update(&value[..1]);
            hasher.update(&value[5..]);
            value[1..5].copy_from_slice(&hasher.finalize().to_le_bytes());
            Some(value)
        };
        let error = after(newer, &key, all[0]);
        let expected = format!("{name} has version 2 and this program knows versions up to 1; run a newer wasmill");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_missing_cursor_or_part_is_named() {
    let cursor = [b"r".as_slice(), &5_u32.to_be_bytes()].concat();
    let part = [b"~".as_slice(), &pending_key(), &1_u16.to_be_bytes()].concat();
    let pending: Use = |store| store.reader().pending(PENDING).map(drop);
    for (key, name, using) in [
        (cursor, "cursor of consumer 5 is damaged: it is missing", recover as Use),
        (part, "pending delivery of consumer 5, sequence 9, due at 70 ms is damaged: a part", pending),
    ] {
        let error = after(|_, _| None, &key, using).to_string();
        assert!(error.starts_with(name), "{error}");
    }
}

#[test]
fn a_key_of_the_wrong_length_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let db = raw(folder.path());
    db.insert(b"d\x01\x02", b"x".as_slice()).unwrap();
    drop(db);
    let error = recover(&mut open(folder.path())).expect_err("damaged").to_string();
    assert!(error.starts_with("the entry with key [64, 01, 02] is damaged"), "{error}");
}

#[test]
fn after_a_failed_commit_none_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let put = Write::PutState { handler: handler_name(1), key: "n".to_owned(), value: "not a number".into() };
    store.commit(&[put]).unwrap();
    let add = Write::AddState { handler: handler_name(1), key: "n".to_owned(), delta: 1 };
    let queue = Write::PutQueue { record: queue(1) };
    let first = store.commit(&[queue.clone(), add]).expect_err("not a number").to_string();
    assert!(first.contains("state \"n\" of handler handler-1"), "{first}");
    for _ in 0..2 {
        match store.commit(std::slice::from_ref(&queue)) {
            Err(StoreError::Poisoned { first: again }) => assert_eq!(again, first),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(common::recovered(&store), [], "nothing of the failed commit is there");
    drop(store);
    Store::open(folder.path(), StoreOptions::default()).unwrap().commit(&[queue]).unwrap();
}
