//! A log that ends anywhere, as a crash leaves it: each commit is there wholly or not at all.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and tells what it saw")]

mod common;

use std::{collections::BTreeSet, fs, path::Path};

use common::{Log, check_slots, handler_name, message, open, queue, raw};
use tempfile::TempDir;
use wasmill_delivery::{
    name::{QueueId, Sequence},
    write::Write,
};
use wasmill_store::{Store, StoreError, StoreOptions};

/// Messages that one commit appends to the first queue: their chunk lies in a slot.
const MESSAGES: u64 = 30;
/// Commits whose log is cut. The first needs slots that nobody has named, the fourth is too long for a record.
const COMMITS: u64 = 9;
/// Where a log is cut: so many bytes before the end of a commit, and from there on.
const SMALL_BYTES: u64 = 1_600;
const STEP: usize = 100;

fn state(key: &str, value: u64) -> Write {
    Write::PutState { handler: handler_name(1), key: key.to_owned(), value: value.to_string().into_bytes().into() }
}

/// The commit with this number, from 1 on. It changes entries of several kinds; every fourth is too long for a redo record.
fn commit(store: &mut Store, logs: &mut [Log; 2], number: u64) {
    let first = (number - 1) * MESSAGES + 1;
    let long = if number.is_multiple_of(4) { 20_000 } else { 20 };
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

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// The folder of a store as a kill leaves it: as it is on the disk while it is open.
fn kill(folder: &Path, store: Store) -> TempDir {
    let killed = tempfile::tempdir().unwrap();
    copy(folder, killed.path());
    drop(store);
    killed
}

/// All entries but those that say how the store was left.
fn entries(folder: &Path) -> Vec<(sled::IVec, sled::IVec)> {
    raw(folder).iter().map(Result::unwrap).filter(|(key, _)| key[0] != b'a' && key[0] != b'b').collect()
}

#[test]
fn wherever_the_log_ends_commits_are_whole() {
    let whole = tempfile::tempdir().unwrap();
    let mut store = open(whole.path());
    let mut logs = [Log::default(), Log::default()];
    store.commit(&[Write::PutQueue { record: queue(1) }, Write::PutQueue { record: queue(2) }]).unwrap();
    let end = || fs::metadata(whole.path().join("db/db")).unwrap().len();
    // The small entries of a commit, in which it may be torn, are the last ones it writes.
    let mut cuts = vec![end()];
    for number in 1..=COMMITS {
        let began = end();
        commit(&mut store, &mut logs, number);
        let small = end().saturating_sub(SMALL_BYTES).max(began + 1);
        cuts.extend([began + (small - began) / 2].into_iter().chain((small..=end()).step_by(STEP)));
    }
    let killed = kill(whole.path(), store);
    let log = fs::read(killed.path().join("db/db")).unwrap();

    let (mut torn, mut ends) = (0, BTreeSet::new());
    let mut before = [0; 2];
    for (round, cut) in cuts.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        copy(killed.path(), folder.path());
        let mut cut_log = log.clone();
        let rest = &mut cut_log[usize::try_from(cut).unwrap()..];
        match round % 2 {
            0 => rest.fill(0),
            _ => rest.iter_mut().for_each(|byte| *byte ^= 0x5A),
        }
        fs::write(folder.path().join("db/db"), cut_log).unwrap();
        let looked_at = tempfile::tempdir().unwrap();
        copy(folder.path(), looked_at.path());
        let found = entries(looked_at.path());

        let store = open(folder.path());
        let last = last_commit(&store);
        // Zeros may be what was there, so only cuts of one kind follow each other.
        assert!(last >= before[round % 2], "cut at {cut}: {last} after {before:?}");
        before[round % 2] = last;
        ends.insert(last);
        drop(store);
        check_slots(folder.path());
        torn += usize::from(entries(folder.path()) != found);
        if round % 5 == 0 {
            // It goes on from there.
            let mut store = open(folder.path());
            let mut logs = [Log::of(&store, 1), Log::of(&store, 2)];
            commit(&mut store, &mut logs, last + 1);
            commit(&mut store, &mut logs, last + 2);
            assert_eq!(last_commit(&store), last + 2);
            drop(store);
            check_slots(folder.path());
        }
    }
    println!("{torn} cuts left a commit in part");
    assert_eq!(ends, (0..=COMMITS).collect());
    assert!(torn > 20, "{torn}");
}

/// Nobody knows then what the last commit was.
#[test]
fn a_damaged_redo_record_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.commit(&[state("a", 1)]).unwrap();
    let killed = kill(folder.path(), store);
    let db = raw(killed.path());
    let mut record = db.get("a").unwrap().unwrap().to_vec();
    *record.last_mut().unwrap() ^= 1;
    db.insert("a", record).unwrap();
    db.flush().unwrap();
    drop(db);
    let error = Store::open(killed.path(), StoreOptions::default()).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("redo record of the last commit is damaged"), "{error}");
}

/// One that was ended in order has none, so its format is the only thing that a host of an older one minds.
#[test]
fn a_store_that_was_closed_has_no_redo_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.commit(&[state("a", 1)]).unwrap();
    drop(store);
    assert_eq!(raw(folder.path()).get("a").unwrap(), None);
}
