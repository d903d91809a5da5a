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

/// The other process: this test run again under a limit, told so by the environment. It commits until it fails and
/// writes down how many were committed and what the last two said.
#[test]
fn fills_the_store_for_another_test() {
    let Some(path) = std::env::var_os(FILL) else { return };
    let mut store = open(Path::new(&path));
    let mut log = Log::default();
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    let (committed, first) = fill(&mut store, &mut log);
    let second = store.commit(&[log.append(1, vec![message(1, 1)])]).expect_err("a commit was taken");
    let again = match second {
        StoreError::Poisoned { first } => first,
        other => panic!("{other}"),
    };
    let report = format!("{committed}\n{first}\n{again}");
    fs::write(Path::new(&path).with_extension("report"), report).unwrap();
}

fn fill(store: &mut Store, log: &mut Log) -> (u64, StoreError) {
    for commit in 0.. {
        let messages = (0..20).map(|number| message(commit * 20 + number, 10_000)).collect();
        if let Err(error) = store.commit(&[log.append(1, messages)]) {
            return (commit, error);
        }
    }
    unreachable!("the loop has no end");
}

#[test]
fn a_full_disk_fails_a_commit_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 90000; exec timeout 100 \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "fills_the_store_for_another_test"])
        .env(FILL, &path)
        .status()
        .unwrap();
    assert!(status.success(), "the other process hung or failed: {status}");
    let report = fs::read_to_string(path.with_extension("report")).unwrap();
    let [committed, first, again] = report.lines().collect::<Vec<_>>()[..] else { panic!("{report}") };
    // A flush may have failed beside the commit, and before it.
    for error in [first, again] {
        assert!(error.contains(&path.join("db").display().to_string()), "{error}");
        assert!(error.contains("raise the limit of file sizes"), "{error}");
    }

    let committed: u64 = committed.parse().unwrap();
    assert!(committed > 20, "only {committed} commits fit");
    let reader = open(&path).reader();
    let page = reader.log_page(QueueId(1), Sequence(1), usize::MAX).unwrap();
    assert!(page.len() as u64 >= committed * 20, "{} of {} messages are left", page.len(), committed * 20);
    for (sequence, found) in page {
        assert_eq!(found, message(sequence.0 - 1, 10_000));
    }
}
