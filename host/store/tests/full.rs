//! A disk that takes no more: the commit that meets it fails with words, no later one is taken, and nothing that was
//! committed is lost. The limit of file sizes (`ulimit -f`) stands for the full disk: it needs no rights.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that panics has failed")]

mod common;

use std::{fs, path::Path, process::Command};

use common::{Log, message, open, queue};
use wasmill_delivery::{
    name::{QueueId, Sequence},
    write::Write,
};
use wasmill_store::{Store, StoreError};

const FILL: &str = "WASMILL_STORE_TEST_FILL";
const FILL_LOG: &str = "WASMILL_STORE_TEST_FILL_LOG";

/// The other process: this test run again under a limit, told so by the environment. It commits until it fails and
/// writes down how many were committed and what the last two said.
#[test]
fn fills_the_store_for_another_test() {
    let Some(path) = std::env::var_os(FILL) else { return };
    report(Path::new(&path), 20, 10_000);
}

/// As that, with commits for which sled writes little.
#[test]
fn fills_the_log_for_another_test() {
    let Some(path) = std::env::var_os(FILL_LOG) else { return };
    report(Path::new(&path), 1, 1);
}

fn report(path: &Path, messages: u64, bytes: usize) {
    let mut store = open(path);
    let mut log = Log::default();
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    let (committed, first) = fill(&mut store, &mut log, messages, bytes);
    let second = store.commit(&[log.append(1, vec![message(1, 1)])]).expect_err("a commit was taken");
    let again = match second {
        StoreError::Poisoned { first } => first,
        other => panic!("{other}"),
    };
    fs::write(path.with_extension("report"), format!("{committed}\n{first}\n{again}")).unwrap();
}

fn fill(store: &mut Store, log: &mut Log, count: u64, bytes: usize) -> (u64, StoreError) {
    for commit in 0.. {
        let messages = (0..count).map(|number| message(commit * count + number, bytes)).collect();
        if let Err(error) = store.commit(&[log.append(1, messages)]) {
            return (commit, error);
        }
    }
    unreachable!("the loop has no end");
}

/// Run one of these tests in a process whose files have so many blocks of 512 B at most. Answers how many were
/// committed, and what was said.
fn fill_under_a_limit(path: &Path, blocks: u32, test: &str, variable: &str) -> (u64, [String; 2]) {
    let status = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec timeout 100 \"$@\""), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(variable, path)
        .status()
        .unwrap();
    assert!(status.success(), "the other process hung or failed: {status}");
    let report = fs::read_to_string(path.with_extension("report")).unwrap();
    let [committed, first, again] = report.lines().collect::<Vec<_>>()[..] else { panic!("{report}") };
    (committed.parse().unwrap(), [first, again].map(str::to_owned))
}

/// Each of these messages is there, and no other but those of a commit that was not answered.
fn check(path: &Path, messages: u64, unanswered_max: u64, bytes: usize) {
    let reader = open(path).reader();
    let page = reader.log_page(QueueId(1), Sequence(1), usize::MAX).unwrap();
    let expected = messages..=messages + unanswered_max;
    assert!(expected.contains(&(page.len() as u64)), "{} messages are there instead of {expected:?}", page.len());
    for (sequence, found) in page {
        assert_eq!(found, message(sequence.0 - 1, bytes));
    }
}

#[test]
fn a_full_disk_fails_a_commit_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (committed, errors) = fill_under_a_limit(&path, 90_000, "fills_the_store_for_another_test", FILL);
    // A flush may have failed beside the commit, and before it.
    for error in errors {
        assert!(error.contains(&path.join("db").display().to_string()), "{error}");
        assert!(error.contains("raise the limit of file sizes"), "{error}");
    }
    assert!(committed > 20, "only {committed} commits fit");
    check(&path, committed * 20, 20, 10_000);
}

#[test]
fn a_log_that_cannot_grow_fails_a_commit_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (committed, errors) = fill_under_a_limit(&path, 600, "fills_the_log_for_another_test", FILL_LOG);
    for error in errors {
        assert!(error.contains(&path.join("wal-0").display().to_string()), "{error}");
        assert!(error.contains("raise the limit of file sizes"), "{error}");
    }
    // The first growth of 256 KiB has room for so many blocks.
    assert_eq!(committed, 62);
    check(&path, committed, 0, 1);
}
