//! How many bytes go to the disk for a byte of a message. It counts what this process writes, so it is alone in it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed, and tells what it saw")]

mod common;

use common::{Log, message, open, queue};
use wasmill_delivery::{
    name::{QueueId, Sequence},
    write::Write,
};

/// Bytes that this process wrote to files.
fn written() -> u64 {
    let said = std::fs::read_to_string("/proc/self/io").unwrap();
    said.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

/// A log that grows at one end and shrinks at the other, `behind` messages long. Without slots it is 4 and more.
#[test]
fn a_byte_of_a_log_is_hardly_written_twice() {
    for behind in [2_000_u64, 30_000] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let mut log = Log::default();
        store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
        let (mut next, mut before, mut appended) = (0, 0, 0);
        while next < behind * 2 + 40_000 {
            if next == behind * 2 {
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
        assert!(times < 2.0, "{behind} messages behind: {times}");
    }
}
