//! What a crash leaves in the write-ahead log and in the tree: each commit is there wholly or not at all, and none
//! that was answered is missing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and tells what it saw")]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use common::{Log, check_slots, copy_of, handler_name, message, open, queue, raw};
use tempfile::TempDir;
use wasmill_delivery::{
    name::{QueueId, Sequence},
    write::Write,
};
use wasmill_store::{Durability, Store, StoreError, StoreOptions};

/// Messages that one commit appends to the first queue: their chunk lies in a slot.
const MESSAGES: u64 = 30;
/// Commits during which the host is killed. Every fourth is too long for the write-ahead log.
const COMMITS: u64 = 9;
/// Of the bytes that a commit wrote, where they end: in steps of so many.
const STEP: usize = 700;
const CUTS_MAX: usize = 40;
const WAL: [&str; 2] = ["wal-0", "wal-1"];
const BLOCK: usize = 4096;
/// Of a file of the log.
const FILE_BLOCKS: usize = 2_048;

fn state(key: &str, value: u64) -> Write {
    Write::PutState { handler: handler_name(1), key: key.to_owned(), value: value.to_string().into_bytes().into() }
}

/// The commit with this number, from 1 on. It changes entries of several kinds.
fn commit(store: &mut Store, logs: &mut [Log; 2], number: u64) {
    let first = (number - 1) * MESSAGES + 1;
    let long = if is_long(number) { 1_200_000 } else { 20 };
    let writes = [
        state("a", number),
        logs[0].append(1, (first..first + MESSAGES).map(|number| message(number, 300)).collect()),
        logs[1].append(2, vec![message(number, long)]),
        Write::Trim { queue: QueueId(1), below: Sequence(first.saturating_sub(3 * MESSAGES).max(1)) },
        Write::PutState { handler: handler_name(1), key: "m".to_owned(), value: vec![b'x'; long].into() },
        state("z", number),
    ];
    store.commit(&writes).unwrap();
}

fn is_long(number: u64) -> bool {
    number.is_multiple_of(4)
}

fn number_in(value: Option<impl AsRef<[u8]>>) -> u64 {
    value.map_or(0, |value| std::str::from_utf8(value.as_ref()).unwrap().parse().unwrap())
}

/// Which commit was the last. All that a store has says the same.
fn last_commit(store: &Store) -> u64 {
    let reader = store.reader();
    let last = number_in(reader.state(&handler_name(1), "a").unwrap());
    assert_eq!(number_in(reader.state(&handler_name(1), "z").unwrap()), last);
    let log = reader.log_page(QueueId(1), Sequence(1), 100_000).unwrap();
    let until = last * MESSAGES;
    let expected: Vec<u64> = (until.saturating_sub(log.len() as u64) + 1..=until).collect();
    assert!(log.len() as u64 >= last.min(4) * MESSAGES, "{} messages", log.len());
    assert_eq!(log.iter().map(|(sequence, _)| sequence.0).collect::<Vec<_>>(), expected);
    for (sequence, found) in &log {
        assert_eq!(**found, *message(sequence.0, 300));
    }
    assert_eq!(reader.log_page(QueueId(2), Sequence(1), 100_000).unwrap().len() as u64, last);
    last
}

/// The folder of a store as a kill leaves it: as it is on the disk while it is open.
fn kill(folder: &Path, store: Store) -> TempDir {
    let killed = copy_of(folder);
    drop(store);
    killed
}

/// What the files of the folder of a store say, from where on they differ, and until where.
fn changed(before: &[u8], after: &[u8]) -> (usize, usize) {
    let at = |at: usize| before.get(at) != after.get(at);
    let first = (0..after.len()).find(|index| at(*index)).unwrap();
    let last = (0..after.len()).rfind(|index| at(*index)).unwrap();
    (first, last + 1)
}

/// The last one of two files that changed, by name: a commit changes one.
fn file_changed(before: &Path, after: &Path, names: &[&'static str]) -> &'static str {
    let read = |folder: &Path, name: &str| fs::read(folder.join(name)).unwrap();
    names.iter().rfind(|name| read(before, name) != read(after, name)).unwrap()
}

/// Two empty logs.
fn declare(store: &mut Store) -> [Log; 2] {
    store.commit(&[Write::PutQueue { record: queue(1) }, Write::PutQueue { record: queue(2) }]).unwrap();
    [Log::default(), Log::default()]
}

#[test]
fn wherever_a_commit_was_cut_off_it_is_whole_or_was_never_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut logs = declare(&mut store);
    for number in 1..=COMMITS {
        let before = copy_of(folder.path());
        commit(&mut store, &mut logs, number);
        cut_off(before.path(), copy_of(folder.path()).path(), number);
    }
}

/// It writes the first block of a file too, over records of another host or of an earlier pass.
#[test]
fn wherever_the_first_commit_of_a_file_was_cut_off_it_is_whole_or_was_never_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut logs = declare(&mut store);
    (1..=4).for_each(|number| commit(&mut store, &mut logs, number));
    let folder = kill(folder.path(), store);
    let mut store = open(folder.path());
    let mut logs = [Log::of(&store, 1), Log::of(&store, 2)];
    for (number, name) in (5..).zip([WAL[0], WAL[1], WAL[0]]) {
        if number > 5 {
            fill_the_file(folder.path(), &mut store);
        }
        let before = copy_of(folder.path());
        commit(&mut store, &mut logs, number);
        let after = copy_of(folder.path());
        assert_eq!(file_changed(before.path(), after.path(), &WAL), name);
        cut_off(before.path(), after.path(), number);
    }
}

/// A commit of so many blocks.
fn filler(blocks: usize) -> Write {
    Write::PutState { handler: handler_name(1), key: "b".to_owned(), value: vec![b'b'; (blocks - 1) * BLOCK].into() }
}

/// Commits until there is room for one block more at most.
fn fill_the_file(folder: &Path, store: &mut Store) {
    // As they are when they are whole.
    let read = || {
        WAL.map(|name| {
            let mut bytes = fs::read(folder.join(name)).unwrap();
            bytes.resize(FILE_BLOCKS * BLOCK, 0);
            bytes
        })
    };
    let mut blocks = 1;
    loop {
        let before = read();
        store.commit(&[filler(blocks)]).unwrap();
        let after = read();
        let active = (0..WAL.len()).find(|file| before[*file] != after[*file]).unwrap();
        let end = changed(&before[active], &after[active]).1.div_ceil(BLOCK);
        if end + 1 >= FILE_BLOCKS {
            return;
        }
        blocks = ((FILE_BLOCKS - end) / 2).clamp(1, 400);
    }
}

/// The commit with this number made these differences between two folders: whatever is left of them, it is whole or was
/// never there, and both happens.
fn cut_off(before: &Path, after: &Path, number: u64) {
    // A long one is in the tree alone; any other one was in the write-ahead log before it was in the tree.
    let (name, step, fills) = match is_long(number) {
        true => ("db/db", STEP * 40, 3),
        false => (file_changed(before, after, &WAL), STEP, 4),
    };
    let (old, new) = (fs::read(before.join(name)).unwrap(), fs::read(after.join(name)).unwrap());
    let (first, until) = changed(&old, &new);
    // A file may have grown by many zeros.
    let step = step.max((until - first) / CUTS_MAX);
    let mut ends = BTreeSet::new();
    let cuts: Vec<usize> = (first..until).step_by(step).chain([until - 1, until]).collect();
    for (cut, fill) in cuts.iter().copied().zip((0..fills).cycle()) {
        let killed = copy_of(before);
        let mut torn = new.clone();
        match fill {
            0 => torn[cut..until].fill(0),
            1 => torn[cut..until].iter_mut().for_each(|byte| *byte ^= 0x5A),
            // What was there before.
            2 => (cut..until).for_each(|at| torn[at] = old.get(at).copied().unwrap_or(0)),
            // The file has not grown.
            _ => torn.truncate(cut.next_multiple_of(BLOCK)),
        }
        fs::write(killed.path().join(name), torn).unwrap();
        let last = check(killed.path());
        assert!(last == number || last == number - 1, "commit {number}, cut at {cut}: {last}");
        assert!(cut < until || last == number, "commit {number} is whole and gone");
        ends.insert(last);
    }
    println!("commit {number}, {name}: {} cuts", cuts.len());
    assert_eq!(ends, [number - 1, number].into());
}

/// Which commit was the last; the store goes on from there.
fn check(folder: &Path) -> u64 {
    let store = open(folder);
    let last = last_commit(&store);
    drop(store);
    check_slots(folder);
    let mut store = open(folder);
    let mut logs = [Log::of(&store, 1), Log::of(&store, 2)];
    commit(&mut store, &mut logs, last + 1);
    let again = kill(folder, store);
    assert_eq!(last_commit(&open(again.path())), last + 1);
    last
}

/// Both files of the log are written several times over, and sled is flushed between.
#[test]
fn what_was_committed_is_there_after_a_kill_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut logs = [Log::default(), Log::default()];
    store.commit(&[Write::PutQueue { record: queue(1) }, Write::PutQueue { record: queue(2) }]).unwrap();
    for number in 1..=100 {
        commit(&mut store, &mut logs, number);
        if number % 11 == 0 {
            assert_eq!(last_commit(&open(copy_of(folder.path()).path())), number);
        }
    }
    // Short ones only, of one block each, and so many that a file has room for fewer.
    for number in 1..=1_500 {
        store.commit(&[state("b", number), state("c", number)]).unwrap();
        if number % 137 == 0 {
            let reader = open(copy_of(folder.path()).path()).reader();
            for key in ["b", "c"] {
                assert_eq!(number_in(reader.state(&handler_name(1), key).unwrap()), number);
            }
        }
    }
}

/// Also when the host does nothing after a commit.
#[test]
fn with_an_interval_a_commit_is_durable_some_time_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::Interval { flush_ms: 20 }, ..StoreOptions::default() };
    let mut store = Store::open(folder.path(), options).unwrap();
    for number in 1..=3 {
        store.commit(&[state("a", number)]).unwrap();
        let begun = Instant::now();
        let last_durable = || {
            let reader = open(copy_of(folder.path()).path()).reader();
            number_in(reader.state(&handler_name(1), "a").unwrap())
        };
        while last_durable() != number {
            assert!(begun.elapsed() < Duration::from_secs(30), "commit {number} is not durable");
        }
    }
}

/// Also when a later commit fails, and with somebody who still reads.
#[test]
fn with_an_interval_what_was_committed_is_durable_when_the_store_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::Interval { flush_ms: 3_600_000 }, ..StoreOptions::default() };
    let mut store = Store::open(folder.path(), options).unwrap();
    let reader = store.reader();
    let no_number = Write::PutState { handler: handler_name(1), key: "n".to_owned(), value: "x".into() };
    store.commit(&[no_number]).unwrap();
    store.commit(&[state("a", 1)]).unwrap();
    let add = Write::AddState { handler: handler_name(1), key: "n".to_owned(), delta: 1 };
    store.commit(&[add]).unwrap_err();
    drop(store);
    let copied = copy_of(folder.path());
    assert_eq!(number_in(open(copied.path()).reader().state(&handler_name(1), "a").unwrap()), 1);
    drop(reader);
}

/// Nobody knows then what the missing commit was.
#[test]
fn a_log_with_a_hole_is_named_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    (1..=3).for_each(|number| store.commit(&[state("a", number)]).unwrap());
    let killed = kill(folder.path(), store);
    let path = killed.path().join(WAL[0]);
    let mut wal = fs::read(&path).unwrap();
    // The first block has the salt, and each of these commits has one.
    wal[2 * BLOCK + 20] ^= 1;
    fs::write(&path, &wal).unwrap();
    for _ in 0..2 {
        let error = Store::open(killed.path(), StoreOptions::default()).err().unwrap();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&killed.path().display().to_string()), "{text}");
        assert!(text.contains("commit 2 is missing or not what was written, and commit 3 is there"), "{text}");
    }
    wal[0] ^= 1;
    fs::write(&path, &wal).unwrap();
    let error = Store::open(killed.path(), StoreOptions::default()).err().unwrap().to_string();
    assert!(error.contains("wal-0 is damaged: its first block is not what was written"), "{error}");
    wal[0] ^= 1;
    // Of the last one the host was writing when it was killed.
    wal[2 * BLOCK + 20] ^= 1;
    wal[3 * BLOCK + 20] ^= 1;
    fs::write(&path, &wal).unwrap();
    let reader = open(killed.path()).reader();
    assert_eq!(number_in(reader.state(&handler_name(1), "a").unwrap()), 2);
}

/// A restored tree with the log of a later time, say.
#[test]
fn a_log_that_does_not_go_with_the_tree_is_refused() {
    let [old, new] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    drop(open(old.path()));
    let mut store = open(new.path());
    (0..60).for_each(|_| store.commit(&[filler(400)]).unwrap());
    let killed = kill(new.path(), store);
    for name in WAL {
        fs::copy(killed.path().join(name), old.path().join(name)).unwrap();
    }
    let error = Store::open(old.path(), StoreOptions::default()).err().unwrap().to_string();
    assert!(error.contains("commit 1 is missing or not what was written"), "{error}");
}

/// What one host has put into its tree is not made again by the next one.
#[test]
fn a_store_that_was_closed_has_nothing_to_make_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.commit(&[state("a", 1)]).unwrap();
    drop(store);
    let db = raw(folder.path());
    let key = db.scan_prefix("s").keys().next().unwrap().unwrap();
    db.remove(key).unwrap();
    drop(db);
    assert_eq!(open(folder.path()).reader().state(&handler_name(1), "a").unwrap(), None);
}

/// It is of the last host, and what is committed is in the write-ahead log first.
#[test]
fn the_list_of_taken_slots_is_forgotten_before_anything_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    assert!(raw(folder.path()).contains_key("b").unwrap());
    let mut store = open(folder.path());
    store.commit(&[state("a", 1)]).unwrap();
    assert!(!raw(kill(folder.path(), store).path()).contains_key("b").unwrap());
}

#[test]
fn the_redo_record_of_a_killed_host_of_format_3_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let db = raw(folder.path());
    db.insert("a", "a record").unwrap();
    drop(db);
    let error = Store::open(folder.path(), StoreOptions::default()).err().unwrap().to_string();
    assert!(error.contains("start that version once, stop it with SIGTERM"), "{error}");
    let db = raw(folder.path());
    db.remove("a").unwrap();
    drop(db);
    drop(open(folder.path()));
}
