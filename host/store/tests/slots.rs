//! Where chunks lie: no slot is held twice, and none is lost.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and tells what it saw")]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use common::{
    Log, change, check_slots, message, messages, open, page, pointers, queue, raw, slot_key, trim, with_two_chunks,
};
use wasmill_delivery::{
    name::{QueueId, Sequence},
    write::{Recovered, Write},
};
use wasmill_store::{Durability, Store, StoreOptions};

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
            let (slots, taken) = check_slots(folder.path());
            assert!(taken <= 20 && slots <= 96, "{taken} of {slots} slots");
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
    let (slots, taken) = check_slots(folder.path());
    assert!(taken < 10 && slots > 300, "{taken} of {slots}");
    let mut store = open(folder.path());
    for first in 0..30 {
        store.commit(&[other.append(2, messages(500 + first * 1_000, 1_000, 300))]).unwrap();
    }
    assert_eq!(page(&store, 2, 1).len(), 30_500);
    drop(store);
    assert_eq!(check_slots(folder.path()).0, slots, "no new ones were made");
}

#[test]
fn a_store_of_format_1_is_read_and_becomes_one_of_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    with_two_chunks(folder.path());
    let format = folder.path().join("FORMAT");
    assert_eq!(fs::read_to_string(&format).unwrap(), "wasmill store format 5\n");
    let db = raw(folder.path());
    for (key, slot) in pointers(&db) {
        db.insert(key, db.get(slot_key(slot)).unwrap().unwrap()).unwrap();
    }
    for key in db.scan_prefix("v").keys().map(Result::unwrap).collect::<Vec<_>>() {
        db.remove(key).unwrap();
    }
    db.flush().unwrap();
    drop(db);
    fs::write(&format, "wasmill store format 1\n").unwrap();

    let mut store = open(folder.path());
    assert_eq!(fs::read_to_string(&format).unwrap(), "wasmill store format 5\n");
    assert_eq!(page(&store, 1, 1).len(), 100);
    let mut log = Log::default();
    drop(log.append(1, messages(1, 100, 300)));
    store.commit(&[log.append(1, messages(101, 50, 300)), trim(1, 60)]).unwrap();
    let kept: Vec<u64> = page(&store, 1, 1).iter().map(|(sequence, _)| sequence.0).collect();
    assert_eq!(kept, (51..=150).collect::<Vec<_>>());
    drop(store);
    assert_eq!(check_slots(folder.path()).1, 1);
}

/// Slots are filled and emptied under the reader, and it never calls that damage.
#[test]
fn a_log_is_read_while_its_slots_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        durability: Durability::Interval { flush_ms: 50 },
        log_cache_bytes: 0,
        ..StoreOptions::default()
    };
    let mut store = Store::open(folder.path(), options).unwrap();
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    let reader = store.reader();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = Log::default();
            for first in (1..=60_000).step_by(50) {
                let below = u64::saturating_sub(first, 500).max(1);
                store.commit(&[log.append(1, messages(first, 50, 300)), trim(1, below)]).unwrap();
            }
            ended.store(true, Ordering::Relaxed);
        });
        let (mut pages, mut firsts) = (0, BTreeSet::new());
        while !ended.load(Ordering::Relaxed) {
            let page = reader.log_page(QueueId(1), Sequence(1), 200).unwrap();
            for pair in page.windows(2) {
                let (last, next) = (pair[0].0.0, pair[1].0.0);
                // What a trim takes away while the page is read is missing in it, and gone.
                if last + 1 != next {
                    let missing = reader.messages(QueueId(1), &[Sequence(last + 1), Sequence(next - 1)]).unwrap();
                    assert_eq!(missing, [None, None], "a page has a hole behind {last}");
                }
            }
            for (sequence, found) in &page {
                assert_eq!(**found, *message(sequence.0, 300));
            }
            firsts.extend(page.first().map(|(sequence, _)| sequence.0));
            pages += 1;
        }
        println!("{pages} pages, from {} places", firsts.len());
        assert!(firsts.len() > 5, "{pages} pages, from {} places", firsts.len());
    });
}

/// The process may end while it makes slots.
#[test]
fn a_slot_that_is_half_made_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    with_two_chunks(folder.path());
    let db = raw(folder.path());
    let last: Vec<_> = db.scan_prefix("v").keys().rev().map(Result::unwrap).take(5).collect();
    let slots = db.scan_prefix("v").count() / 9;
    last.iter().for_each(|key| drop(db.remove(key).unwrap()));
    db.flush().unwrap();
    drop(db);
    let mut store = open(folder.path());
    let mut log = Log::default();
    drop(log.append(1, messages(1, 100, 300)));
    store.commit(&[log.append(1, messages(101, 10_000, 300))]).unwrap();
    drop(store);
    let db = raw(folder.path());
    let keys: Vec<_> = db.scan_prefix("v").keys().map(Result::unwrap).collect();
    assert_eq!(keys.len() % 9, 0);
    assert!(keys.len() / 9 > slots);
    drop(db);
    check_slots(folder.path());
    assert_eq!(page(&open(folder.path()), 1, 1).len(), 10_100);
}

fn bytes_of(number: u64) -> usize {
    match number % 37 {
        0 => 200_000,
        1..5 => 20_000,
        _ => 300,
    }
}

fn append_and_trim_for_ever(folder: &Path, seed: u64) -> ! {
    let durability = match seed % 2 {
        0 => Durability::Fsync,
        _ => Durability::Interval { flush_ms: 5 },
    };
    let options = StoreOptions { durability, cache_bytes: 1 << 20, ..StoreOptions::default() };
    let mut store = Store::open(folder, options).unwrap();
    let (mut next, mut bytes_before) = (1, 0);
    store
        .recover(&mut |found| {
            if let Recovered::Queue { logs, .. } = found {
                (next, bytes_before) = (logs[0].next.0.max(1), logs[0].bytes_before_next);
            }
        })
        .unwrap();
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    loop {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let messages: Vec<_> = (next..next + 1 + random % 60).map(|number| message(number, bytes_of(number))).collect();
        let (count, bytes) = (messages.len() as u64, common::sizes(&messages));
        let append = Write::Append { queue: QueueId(1), first: Sequence(next), bytes_before, messages };
        (next, bytes_before) = (next + count, bytes_before + bytes);
        let kept = 200 + (random >> 8) % 3_000;
        let mut writes = vec![append];
        if (random >> 20).is_multiple_of(3) {
            writes.push(trim(1, next.saturating_sub(kept).max(1)));
        }
        store.commit(&writes).unwrap();
    }
}

/// It runs itself in a process of its own, which it kills.
#[test]
fn a_process_that_is_killed_leaves_slots_in_order() {
    if let (Ok(folder), Ok(seed)) = (std::env::var("STORE_TO_BE_KILLED"), std::env::var("SEED")) {
        append_and_trim_for_ever(Path::new(&folder), seed.parse().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut ends = BTreeSet::new();
    for seed in 0..20_u64 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["a_process_that_is_killed_leaves_slots_in_order", "--exact"])
            .env("STORE_TO_BE_KILLED", folder.path())
            .env("SEED", seed.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(100 + seed * 7_919 % 300));
        assert!(process.try_wait().unwrap().is_none(), "it ended by itself");
        process.kill().unwrap();
        process.wait().unwrap();
        if seed % 3 == 1 {
            // The next process comes right after a kill.
            continue;
        }
        // Whoever opens it finishes what was under way.
        drop(open(folder.path()));
        check_slots(folder.path());
        let store = open(folder.path());
        let mut bounds = None;
        let mut note = |found| {
            if let Recovered::Queue { logs, .. } = found {
                bounds = Some((logs[0].first.0, logs[0].next.0));
            }
        };
        store.recover(&mut note).unwrap();
        let Some((first, next)) = bounds else { continue };
        let all = page(&store, 1, first);
        assert_eq!(all.len() as u64, next - first, "seed {seed}");
        for (expected, (sequence, found)) in (first..).zip(all) {
            assert_eq!((sequence.0, &*found), (expected, &*message(expected, bytes_of(expected))), "seed {seed}");
        }
        ends.insert(next);
    }
    assert!(ends.len() > 3, "hardly anything was written: {ends:?}");
}

#[test]
fn maps_of_format_2_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    with_two_chunks(folder.path());
    let before = check_slots(folder.path());
    change(folder.path(), |db| db.insert([b"b".as_slice(), &0_u32.to_be_bytes()].concat(), "a map").unwrap());
    fs::write(folder.path().join("FORMAT"), "wasmill store format 2\n").unwrap();
    let store = open(folder.path());
    assert_eq!(page(&store, 1, 1).len(), 100);
    drop(store);
    let db = raw(folder.path());
    assert_eq!(db.scan_prefix("b").keys().map(|key| key.unwrap().len()).collect::<Vec<_>>(), [1]);
    drop(db);
    assert_eq!(check_slots(folder.path()), before);
}

/// sled keeps the space of a page's old values until the page is written anew. Without the changes that make it do so the file grew
/// to 5.7 times of what the store ever held; with values under their own keys it was 3.
#[test]
fn the_space_of_what_is_drained_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut log = Log::default();
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    let (mut next, mut held) = (1, 0);
    let mut sizes = Vec::new();
    for _ in 0..8 {
        let first = next;
        held = 0;
        for _ in 0..250 {
            let messages = messages(next, 1_000, 300);
            held += common::sizes(&messages);
            store.commit(&[log.append(1, messages)]).unwrap();
            next += 1_000;
        }
        sizes.push(store.reader().size_on_disk_bytes().unwrap());
        for below in (first..=next).step_by(2_500) {
            store.commit(&[trim(1, below)]).unwrap();
        }
        while store.is_sweeping() {
            store.commit(&[]).unwrap();
        }
    }
    assert!(sizes.iter().all(|bytes| *bytes < held * 4), "{sizes:?}, held {held}");
}
