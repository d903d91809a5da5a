//! A disk that takes no more: the commit that meets it fails with words, no later one is taken, and nothing that was
//! committed is lost. The limit of file sizes (`ulimit -f`) stands for the full disk: it needs no rights.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that panics has failed")]

mod common;

use std::{fs, path::Path, process::Command};

use common::{Log, message, open, queue};
use tempfile::TempDir;
use wasmill_delivery::{
    name::{QueueId, Sequence},
    write::Write,
};
use wasmill_store::{Store, StoreError};

const FILL: &str = "WASMILL_STORE_TEST_FILL";
const MESSAGES: &str = "WASMILL_STORE_TEST_MESSAGES";
const BYTES: &str = "WASMILL_STORE_TEST_BYTES";

/// The other process: this test run again under a limit, told so by the environment. It commits until it fails and
/// writes down how many were committed and what the last two said.
#[test]
fn fills_the_store_for_another_test() {
    let Some(path) = std::env::var_os(FILL) else { return };
    let number = |variable| std::env::var(variable).unwrap().parse().unwrap();
    let mut store = open(Path::new(&path));
    let mut log = Log::default();
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    let (committed, first) = fill(&mut store, &mut log, number(MESSAGES), number(BYTES));
    let second = store.commit(&[log.append(1, vec![message(1, 1)])]).expect_err("a commit was taken");
    let again = match second {
        StoreError::Poisoned { first } => first,
        other => panic!("{other}"),
    };
    fs::write(Path::new(&path).with_extension("report"), format!("{committed}\n{first}\n{again}")).unwrap();
}

/// Commits of so many messages of so many bytes.
fn fill(store: &mut Store, log: &mut Log, count: u64, bytes: u64) -> (u64, StoreError) {
    for commit in 0.. {
        let messages =
            (0..count).map(|number| message(commit * count + number, usize::try_from(bytes).unwrap())).collect();
        if let Err(error) = store.commit(&[log.append(1, messages)]) {
            return (commit, error);
        }
    }
    unreachable!("the loop has no end");
}

/// A store that was filled with commits of so many messages of so many bytes, by a process whose files have so many blocks of 512 B at
/// most.
struct Filled {
    folder: TempDir,
    messages: u64,
    bytes: u64,
    committed: u64,
    errors: [String; 2],
}

impl Filled {
    fn new(blocks: u32, messages: u64, bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let status = Command::new("sh")
            .args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec timeout 100 \"$@\""), "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "fills_the_store_for_another_test"])
            .env(FILL, &path)
            .envs([(MESSAGES, messages.to_string()), (BYTES, bytes.to_string())])
            .status()
            .unwrap();
        assert!(status.success(), "the other process hung or failed: {status}");
        let report = fs::read_to_string(path.with_extension("report")).unwrap();
        let [committed, first, again] = report.lines().collect::<Vec<_>>()[..] else { panic!("{report}") };
        let errors = [first, again].map(str::to_owned);
        Self { folder, messages, bytes, committed: committed.parse().unwrap(), errors }
    }

    /// What failed was a file of this name, and both errors say so.
    fn check_errors(&self, name: &str) {
        let path = self.folder.path().join("store").join(name).display().to_string();
        for error in &self.errors {
            assert!(error.contains(&path), "{error}");
            assert!(error.contains("raise the limit of file sizes"), "{error}");
        }
    }

    /// Each message is there, and no other but those of so many commits that were not answered.
    fn check_messages(&self, unanswered_max: u64) {
        let reader = open(&self.folder.path().join("store")).reader();
        let page = reader.log_page(QueueId(1), Sequence(1), usize::MAX).unwrap();
        let expected = self.committed * self.messages..=(self.committed + unanswered_max) * self.messages;
        assert!(expected.contains(&(page.len() as u64)), "{} messages are there instead of {expected:?}", page.len());
        for (sequence, found) in page {
            assert_eq!(found, message(sequence.0 - 1, usize::try_from(self.bytes).unwrap()));
        }
    }
}

#[test]
fn a_full_disk_fails_a_commit_and_loses_none() {
    let filled = Filled::new(90_000, 20, 10_000);
    // A flush may have failed beside the commit, and before it.
    filled.check_errors("db");
    assert!(filled.committed > 20, "only {} commits fit", filled.committed);
    filled.check_messages(1);
}

/// With commits for which sled writes little.
#[test]
fn a_log_that_cannot_grow_fails_a_commit_and_loses_none() {
    let filled = Filled::new(600, 1, 1);
    filled.check_errors("wal-0");
    // The first growth of 256 KiB has room for so many blocks.
    assert_eq!(filled.committed, 62);
    filled.check_messages(0);
}
