//! How many bytes go to the disk for what is stored. These tests count what their process writes and reads, so they take turns.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and tells what it saw")]

mod common;

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use common::{Log, handler, handler_name, message, open, put_consumer, queue, raw};
use wasmill_delivery::{
    cursor::Cursor,
    name::{ConsumerId, QueueId, Sequence},
    time::Timestamp,
    write::{DedupId, Write},
};
use wasmill_store::{Durability, Store, StoreOptions};

static ALONE: Mutex<()> = Mutex::new(());

/// Bytes that this process wrote to files, or read from them.
fn counted(figure: &str) -> u64 {
    let said = std::fs::read_to_string("/proc/self/io").unwrap();
    said.lines().find_map(|line| line.strip_prefix(figure)).unwrap().parse().unwrap()
}

fn written() -> u64 {
    counted("wchar: ")
}

fn read() -> u64 {
    counted("rchar: ")
}

/// A log that grows at one end and shrinks at the other, `behind` messages long: once to the write-ahead log, and little more than once
/// to the tree, or hardly at all when it is shorter than a file of the log. Without slots that alone is 4 and more.
#[test]
fn a_byte_of_a_log_is_written_little_more_than_twice_at_most() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (behind, expected) in [(200_u64, 1.2), (2_000, 1.5), (30_000, 2.4)] {
        // Until the files of the log are whole.
        let ready = (behind * 2).max(100_000);
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let mut log = Log::default();
        store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
        let (mut next, mut before, mut appended) = (0, 0, 0);
        while next < ready + 100_000 {
            if next == ready {
                (before, appended) = (written(), 0);
            }
            let messages: Vec<_> = (next..next + 200).map(|number| message(number, 256)).collect();
            appended += common::sizes(&messages);
            next += 200;
            let trim = Write::Trim { queue: QueueId(1), below: Sequence(next.saturating_sub(behind).max(1)) };
            store.commit(&[log.append(1, messages), trim]).unwrap();
        }
        let times = (written() - before) as f64 / appended as f64;
        println!("{behind} messages behind: {times:.2} bytes written for a byte of messages");
        assert!(times < expected, "{behind} messages behind: {times}");
    }
}

/// What this process has in memory, in MiB.
fn resident_mib() -> u64 {
    let said = std::fs::read_to_string("/proc/self/statm").unwrap();
    said.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096 / (1 << 20)
}

/// Long commits, which are flushed by who commits, and so few short ones that the thread that flushes for the log seldom does. It held 64
/// of sled's buffers then, of 16 MiB each.
#[test]
fn what_was_flushed_is_not_kept_in_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let put = |bytes: usize| {
        [Write::PutState { handler: handler_name(1), key: "k".to_owned(), value: vec![b'x'; bytes].into() }]
    };
    let before = resident_mib();
    let mut most = 0;
    for _ in 0..100 {
        (0..2).for_each(|_| store.commit(&put(2_200_000)).unwrap());
        (0..30).for_each(|_| store.commit(&put(10)).unwrap());
        most = most.max(resident_mib());
    }
    println!("{before} MiB before, then {most} at most");
    assert!(most < before + 100, "{most} MiB");
}

/// What a commit of a cursor writes, with a log of so many messages in one chunk, and ids that were published.
fn written_for_a_cursor(messages: u64, ids: u128) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::Interval { flush_ms: 1 }, ..StoreOptions::default() };
    let mut store = Store::open(folder.path(), options).unwrap();
    // Each commit alone.
    let mut flushed = |writes: &[Write]| {
        let before = written();
        store.commit(writes).unwrap();
        for _ in 0..5_000 {
            thread::sleep(Duration::from_millis(1));
            if written() > before {
                // To its end.
                thread::sleep(Duration::from_millis(2));
                return;
            }
        }
        panic!("it is not flushed");
    };
    flushed(&[Write::PutQueue { record: queue(1) }]);
    // So many that ids and cursors have pages of their own.
    flushed(&(1..=20).map(|number| Write::PutHandler { record: handler(number) }).collect::<Vec<_>>());
    flushed(&put_consumer(1, 1));
    let chunk = (1..=messages).map(|number| message(number, 256)).collect();
    flushed(&[Log::default().append(1, chunk)]);
    for at in 0..20 {
        flushed(&[Write::PutDedup { at: Timestamp(at), ids: (0..ids).map(DedupId).collect() }]);
    }
    let before = written();
    for floor in 1..=500 {
        flushed(&[Write::PutCursor { consumer: ConsumerId(1), cursor: Cursor::starting_at(Sequence(floor)) }]);
    }
    drop(store);
    (written() - before) / 500
}

/// sled writes an entry's neighbours with it. Other kinds lie beside the first slots.
#[test]
fn a_cursor_is_not_written_with_a_chunk_or_with_ids() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let without = written_for_a_cursor(5, 1);
    for (what, with) in [("a chunk", written_for_a_cursor(90, 1)), ("ids", written_for_a_cursor(5, 800))] {
        println!("bytes written for a cursor with {what}: {with}, without {without}");
        assert!(with < without * 3 / 2 + 100, "{with} with {what}, without {without}");
    }
}

/// How many slots are free, and how many of these still take more than 16 KiB of the disk.
fn free_and_large(folder: &Path) -> (usize, usize) {
    let slots = raw(folder).scan_prefix("v").filter(|entry| entry.as_ref().unwrap().0[5] == 0).count();
    let db = raw(folder);
    let (mut free, mut large) = (0, 0);
    for slot in 0..u32::try_from(slots).unwrap() {
        let before = read();
        let value = db.get([b"v".as_slice(), &slot.to_be_bytes(), &[0]].concat()).unwrap().unwrap();
        if value.len() <= 1 {
            free += 1;
            large += usize::from(read() - before > 16 * 1024);
        }
    }
    (free, large)
}

/// A backlog grows beside a log that comes and goes, so that slots are taken in all states; then all is drained.
#[test]
fn what_is_free_is_small() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut logs = [Log::default(), Log::default()];
    let mut next = [1, 1];
    store.commit(&[Write::PutQueue { record: queue(0) }, Write::PutQueue { record: queue(1) }]).unwrap();
    for round in 0..1_500 {
        let mut writes = Vec::new();
        for (queue, count) in [(0, 200), (1, 400)] {
            if queue == 1 || round < 500 {
                let messages = (next[queue]..next[queue] + count).map(|number| message(number, 300)).collect();
                writes.push(logs[queue].append(u32::try_from(queue).unwrap(), messages));
                next[queue] += count;
            }
        }
        let below = Sequence(next[1].saturating_sub(40_000).max(1));
        writes.push(Write::Trim { queue: QueueId(1), below });
        store.commit(&writes).unwrap();
    }
    for (queue, next) in (0..).zip(next) {
        for below in (1..=next).step_by(2_500) {
            store.commit(&[Write::Trim { queue: QueueId(queue), below: Sequence(below) }]).unwrap();
        }
    }
    while store.is_sweeping() {
        store.commit(&[]).unwrap();
    }
    drop(store);
    let (free, large) = free_and_large(folder.path());
    println!("{large} of {free} free slots are large");
    assert!(free > 1_000 && large * 100 < free, "{large} of {free}");
}
