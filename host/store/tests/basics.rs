//! What a commit does, one write at a time, and what is there after the store is opened again.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that panics has failed")]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Log, handler_name, message, open, pending, put_consumer, quarantined, queue, recovered};
use wasmill_delivery::{
    cursor::Cursor,
    message::Message,
    name::{ConsumerId, Digest, QuarantineId, QueueId, Sequence},
    record::PendingKey,
    time::Timestamp,
    write::{DedupId, LogBounds, Recovered, Write},
};
use wasmill_store::{Durability, Reader, Store, StoreOptions};

const QUEUE: QueueId = QueueId(1);

fn at(reader: &Reader, sequence: u64) -> Option<Arc<Message>> {
    reader.messages(QUEUE, &[Sequence(sequence)]).unwrap().remove(0)
}

fn bounds(store: &Store) -> LogBounds {
    let found = recovered(store).into_iter().find_map(|recovered| match recovered {
        Recovered::Queue { logs, .. } => Some(logs[0]),
        Recovered::Counters(_)
        | Recovered::Handler(_)
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
    found.unwrap()
}

#[test]
fn a_large_message_is_kept_in_pieces_and_never_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut log = Log::default();
    let messages: Vec<_> = [10, 16 << 20, 1 << 20, 20, 5 << 20].map(|bytes| message(bytes as u64, bytes)).into();
    let big = PendingKey { consumer: ConsumerId(1), due: Timestamp(1), sequence: Sequence(1) };
    let mut writes = vec![Write::PutQueue { record: queue(1) }, log.append(1, messages.clone())];
    writes.extend(put_consumer(1, 1));
    writes.push(Write::PutPending { key: big, record: pending(3, 3 << 20) });
    writes.push(Write::PutQuarantine { record: Box::new(quarantined(1, 2 << 20)), capsule: None });
    store.commit(&writes).unwrap();
    let more: Vec<_> = (0..64).map(|number| message(number, 1 << 20)).collect();
    store.commit(&[log.append(1, more.clone())]).unwrap();
    drop(store);

    let store = open(folder.path());
    let reader = store.reader();
    let all: Vec<_> = messages.iter().chain(&more).cloned().collect();
    for (sequence, expected) in (1..).zip(&all) {
        assert_eq!(at(&reader, sequence).as_ref(), Some(expected), "{sequence}");
    }
    assert_eq!(reader.pending(big).unwrap(), Some(pending(3, 3 << 20)));
    assert_eq!(reader.quarantine(QuarantineId(1)).unwrap(), Some(quarantined(1, 2 << 20)));
    assert_eq!(bounds(&store).bytes_before_next, common::sizes(&all));
    assert_eq!(fs::read_dir(folder.path().join("db/blobs")).unwrap().count(), 0, "sled made files of its own");
}

#[test]
fn a_large_value_that_is_replaced_or_deleted_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let handler = handler_name(1);
    let put =
        |bytes: usize| Write::PutState { handler: handler.clone(), key: "k".to_owned(), value: vec![1; bytes].into() };
    store.commit(&[put(1 << 20), put(700_000)]).unwrap();
    assert_eq!(store.reader().state(&handler, "k").unwrap().unwrap().len(), 700_000);
    store.commit(&[put(300_000)]).unwrap();
    assert_eq!(store.reader().state(&handler, "k").unwrap().unwrap().len(), 300_000);
    store.commit(&[Write::DeleteState { handler: handler.clone(), key: "k".to_owned() }]).unwrap();
    drop(store);
    assert_eq!(common::left(folder.path()), 0);
}

#[test]
fn a_log_is_read_in_pages_over_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut log = Log::default();
    let all: Vec<_> = (1..=2_000).map(|number| message(number, 100)).collect();
    for part in all.chunks(300) {
        store.commit(&[Write::PutQueue { record: queue(1) }, log.append(1, part.to_vec())]).unwrap();
    }
    drop(store);
    let reader = open(folder.path()).reader();
    let mut from = Sequence(1);
    let mut read = Vec::new();
    loop {
        let page = reader.log_page(QUEUE, from, 170).unwrap();
        let Some((last, _)) = page.last() else { break };
        from = last.next();
        read.extend(page);
    }
    let expected: Vec<_> = (1..).map(Sequence).zip(all).collect();
    assert_eq!(read, expected);
    assert_eq!(reader.log_page(QueueId(2), Sequence(1), 10).unwrap(), []);
}

#[test]
fn a_trim_deletes_whole_chunks_and_keeps_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut log = Log::default();
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    for first in [1, 11, 21] {
        let messages = (first..first + 10).map(|number| message(number, 10)).collect();
        store.commit(&[log.append(1, messages)]).unwrap();
    }
    let before = bounds(&store);
    for (below, first) in [(1, 1), (10, 1), (11, 11), (15, 11), (21, 21), (31, 21), (1_000, 21)] {
        store.commit(&[Write::Trim { queue: QUEUE, below: Sequence(below) }]).unwrap();
        let after = bounds(&store);
        assert_eq!((after.first, after.next), (Sequence(first), before.next), "trim below {below}");
        assert_eq!(after.bytes_before_next, before.bytes_before_next, "trim below {below}");
        assert_eq!(at(&store.reader(), first - 1), None, "trim below {below}");
        assert!(at(&store.reader(), first).is_some(), "trim below {below}");
    }
    drop(store);
    let store = open(folder.path());
    assert_eq!(bounds(&store).first, Sequence(21));
    assert_eq!(at(&store.reader(), 20), None);
}

/// Chunks of one message each, so that there is more than one commit sweeps.
fn store_with_chunks(folder: &std::path::Path, count: u64) -> Store {
    let options = StoreOptions { chunk_bytes: 1, ..StoreOptions::default() };
    let mut store = Store::open(folder, options).unwrap();
    let mut log = Log::default();
    let messages = (1..=count).map(|number| message(number, 10)).collect();
    store.commit(&[Write::PutQueue { record: queue(1) }, log.append(1, messages)]).unwrap();
    store
}

fn sweep(store: &mut Store) -> usize {
    let mut steps = 0;
    while store.is_sweeping() {
        store.commit(&[]).unwrap();
        steps += 1;
    }
    steps
}

#[test]
fn a_long_trim_goes_on_in_later_commits() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store_with_chunks(folder.path(), 1_000);
    store.commit(&[Write::Trim { queue: QUEUE, below: Sequence(901) }]).unwrap();
    assert!(store.is_sweeping());
    assert_eq!(bounds(&store).first, Sequence(901), "readers pass over what is not swept yet");
    assert_eq!(store.reader().log_page(QUEUE, Sequence(1), 1).unwrap()[0].0, Sequence(901));
    assert!(sweep(&mut store) >= 2);
    drop(store);
    assert_eq!(bounds(&open(folder.path())).first, Sequence(901));
}

#[test]
fn a_removed_queue_is_gone_at_once_and_swept_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store_with_chunks(folder.path(), 1_000);
    store.commit(&[Write::DeleteQueue { queue: QUEUE }]).unwrap();
    assert_eq!(recovered(&store), []);
    assert_eq!((at(&store.reader(), 1), at(&store.reader(), 1_000)), (None, None));
    assert!(store.is_sweeping());
    drop(store);
    let mut store = open(folder.path());
    assert!(store.is_sweeping());
    assert_eq!((at(&store.reader(), 500), at(&store.reader(), 1_000)), (None, None));
    assert!(sweep(&mut store) >= 2);
    drop(store);
    assert!(!open(folder.path()).is_sweeping());
    assert_eq!(common::left(folder.path()), 0);
}

#[test]
fn a_removed_consumer_takes_its_cursor_and_pending_deliveries_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let key = |consumer, sequence| PendingKey {
        consumer: ConsumerId(consumer),
        due: Timestamp(sequence),
        sequence: Sequence(sequence),
    };
    let mut writes = [put_consumer(1, 1), put_consumer(2, 1)].concat();
    for sequence in 1..=600 {
        writes.push(Write::PutPending { key: key(1, sequence), record: pending(sequence, 5) });
    }
    writes.push(Write::PutPending { key: key(2, 1), record: pending(1, 5) });
    store.commit(&writes).unwrap();
    let late = Write::PutPending { key: key(1, 999), record: pending(1, 5) };
    store.commit(&[late, Write::DeleteConsumer { consumer: ConsumerId(1) }]).unwrap();
    let reader = store.reader();
    assert_eq!(reader.pending_page(ConsumerId(1), None, 10).unwrap(), []);
    assert_eq!(reader.pending(key(1, 600)).unwrap(), None);
    assert_eq!(reader.pending_page(ConsumerId(2), None, 10).unwrap().len(), 1);
    assert_eq!(recovered(&store).len(), 2, "one consumer and its pending delivery");
    assert!(sweep(&mut store) >= 1);
    drop((reader, store));
    assert!(!open(folder.path()).is_sweeping());
}

#[test]
fn sums_stop_at_the_ends_and_see_what_the_commit_did_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let handler = handler_name(1);
    let add = |delta| Write::AddState { handler: handler.clone(), key: "n".to_owned(), delta };
    let put =
        |text: &'static str| Write::PutState { handler: handler.clone(), key: "n".to_owned(), value: text.into() };
    let delete = Write::DeleteState { handler: handler.clone(), key: "n".to_owned() };
    let cases = [
        (vec![add(5)], "5"),
        (vec![add(-7), add(1)], "-1"),
        (vec![put("40"), add(2)], "42"),
        (vec![add(i64::MAX), add(1)], "9223372036854775807"),
        (vec![delete, add(i64::MIN), add(-1)], "-9223372036854775808"),
    ];
    for (writes, expected) in cases {
        store.commit(&writes).unwrap();
        assert_eq!(store.reader().state(&handler, "n").unwrap().unwrap(), expected);
    }
}

#[test]
fn ids_of_one_time_are_all_kept_also_from_before_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let put = |at, id| Write::PutDedup { at: Timestamp(at), ids: vec![DedupId(id), DedupId(u128::MAX - id)] };
    let mut store = open(folder.path());
    store.commit(&[put(7, 1), put(8, 2), put(7, 3)]).unwrap();
    drop(store);
    let mut store = open(folder.path());
    store.commit(&[put(7, 4), put(9, 5)]).unwrap();
    let ids = |store: &Store| -> Vec<_> {
        let all = recovered(store).into_iter();
        all.map(|recovered| match recovered {
            Recovered::Dedup { at, ids } => (at.0, ids[0].0),
            other => panic!("{other:?}"),
        })
        .collect()
    };
    assert_eq!(ids(&store), [(7, 1), (7, 3), (7, 4), (8, 2), (9, 5)]);
    store.commit(&[Write::DeleteDedup { before: Timestamp(8) }]).unwrap();
    assert_eq!(ids(&store), [(8, 2), (9, 5)]);
}

#[test]
fn a_large_cursor_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut cursor = Cursor::starting_at(Sequence(1 << 60));
    cursor.settled = (0..10_000).map(|at| (Sequence((1 << 61) + 2 * at), Sequence((1 << 61) + 2 * at + 1))).collect();
    let put = Write::PutCursor { consumer: ConsumerId(1), cursor: cursor.clone() };
    store.commit(&[Write::PutConsumer { record: common::consumer(1, 1) }, put]).unwrap();
    drop(store);
    let found = recovered(&open(folder.path()));
    assert_eq!(found, [Recovered::Consumer { record: common::consumer(1, 1), cursors: vec![cursor] }]);
}

#[test]
fn an_interval_store_is_durable_when_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::Interval { flush_ms: 3_600_000 }, ..StoreOptions::default() };
    let mut store = Store::open(folder.path(), options).unwrap();
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    drop(store);
    assert_eq!(recovered(&open(folder.path())).len(), 1);
}

#[test]
fn messages_are_served_from_the_tail_cache_as_they_were_given() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let given = message(1, 10);
    store.commit(&[Write::PutQueue { record: queue(1) }, Log::default().append(1, vec![Arc::clone(&given)])]).unwrap();
    assert!(Arc::ptr_eq(&at(&store.reader(), 1).unwrap(), &given));
    let cold = StoreOptions { log_cache_bytes: 0, ..StoreOptions::default() };
    drop(store);
    let reader = Store::open(folder.path(), cold).unwrap().reader();
    let (first, second) = (at(&reader, 1).unwrap(), at(&reader, 1).unwrap());
    assert!(first == given && second == given && !Arc::ptr_eq(&first, &second));
}

#[test]
fn components_are_kept_by_digest() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let components = store.components();
    let digest = Digest([0xAB; 32]);
    assert_eq!(components.get(digest).unwrap(), None);
    components.put(b"wasm", digest).unwrap();
    components.put(b"wasm", digest).unwrap();
    assert_eq!(components.get(digest).unwrap().unwrap(), b"wasm");
    assert_eq!(components.path(digest), folder.path().join(format!("components/{}.wasm", "ab".repeat(32))));
    assert_eq!(fs::read_dir(folder.path().join("components")).unwrap().count(), 1, "no temporary file is left");
}

/// A commit is a row of entries, and a reader comes between two commits or waits. Meanwhile they go to the tree.
#[test]
fn a_reader_never_sees_half_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::Interval { flush_ms: 1 }, ..StoreOptions::default() };
    let mut store = Store::open(folder.path(), options).unwrap();
    let key = |number: u32| format!("{number:03}");
    let reader = store.reader();
    let has_ended = AtomicBool::new(false);
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1_u32.. {
                let put = |number| Write::PutState {
                    handler: handler_name(1),
                    key: key(number),
                    value: round.to_be_bytes().to_vec().into(),
                };
                store.commit(&(0..100).map(put).collect::<Vec<_>>()).unwrap();
                if has_ended.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let mut seen = BTreeSet::new();
        let mut half = None;
        while half.is_none() && seen.len() < 500 && began.elapsed() < Duration::from_secs(30) {
            let [first, last] = [0, 99].map(|number| reader.state(&handler_name(1), &key(number)).unwrap());
            half = (last < first).then_some((first.clone(), last));
            seen.insert(first);
        }
        has_ended.store(true, Ordering::Relaxed);
        assert_eq!(half, None, "the first is there, and the last of an earlier commit");
        assert_eq!(seen.len(), 500, "so many commits were seen");
    });
}
