//! A commit that is durable before it is in the tree: who reads waits, and whatever happens between loses nothing.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use common::{Log, copy_of, handler_name, message, open, queue};
use wasmill_delivery::{
    name::{QueueId, Sequence},
    write::Write,
};
use wasmill_store::Reader;

fn state(value: &'static str) -> Write {
    Write::PutState { handler: handler_name(1), key: "k".to_owned(), value: value.into() }
}

fn found(reader: &Reader) -> Option<Vec<u8>> {
    reader.state(&handler_name(1), "k").unwrap().map(|value| value.to_vec())
}

/// What is found by reads that begin while a commit is ahead. They end when `go_on` was called.
fn read_meanwhile(reader: &Reader, go_on: impl FnOnce()) -> (Option<Vec<u8>>, Vec<String>) {
    let have_read = AtomicBool::new(false);
    thread::scope(|scope| {
        let value = scope.spawn(|| {
            let value = found(reader);
            have_read.store(true, Ordering::Release);
            value
        });
        let keys = scope.spawn(|| {
            let keys = reader.state_keys(&handler_name(1), "", None, 10).unwrap();
            have_read.store(true, Ordering::Release);
            keys
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!have_read.load(Ordering::Acquire), "it does not wait");
        go_on();
        (value.join().unwrap(), keys.join().unwrap())
    })
}

#[test]
fn who_reads_waits_for_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let reader = store.reader();
    store.commit_ahead(&[state("1")]).unwrap();
    let expected = |value: &[u8]| (Some(value.to_vec()), vec!["k".to_owned()]);
    assert_eq!(read_meanwhile(&reader, || store.catch_up().unwrap()), expected(b"1"));
    store.catch_up().unwrap();
    assert_eq!(found(&reader).as_deref(), Some(b"1".as_slice()));

    store.commit_ahead(&[state("2")]).unwrap();
    let (value, _) = read_meanwhile(&reader, || store.commit(&[state("3")]).unwrap());
    assert!([b"2", b"3"].iter().any(|read| value.as_deref() == Some(*read)), "{value:?}");

    store.commit_ahead(&[state("4")]).unwrap();
    assert_eq!(read_meanwhile(&reader, || drop(store)), expected(b"4"));
    drop(reader);
    assert_eq!(found(&open(folder.path()).reader()).as_deref(), Some(b"4".as_slice()));
}

/// Those who handle them need not wait.
#[test]
fn fresh_messages_are_there_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let reader = store.reader();
    store.commit(&[Write::PutQueue { record: queue(1) }]).unwrap();
    let messages: Vec<_> = (0..200).map(|number| message(number, 300)).collect();
    store.commit_ahead(&[Log::default().append(1, messages.clone())]).unwrap();
    let places: Vec<_> = (1..=200).map(Sequence).collect();
    let (sender, read) = mpsc::channel();
    thread::spawn(move || sender.send(reader.messages(QueueId(1), &places).unwrap()));
    let read = read.recv_timeout(Duration::from_secs(10)).expect("it does not wait");
    assert_eq!(read, messages.into_iter().map(Some).collect::<Vec<_>>());
}

#[test]
fn a_kill_before_it_is_in_the_tree_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for value in ["1", "2"] {
        store.commit_ahead(&[state(value)]).unwrap();
        let killed = copy_of(folder.path());
        assert_eq!(found(&open(killed.path()).reader()).as_deref(), Some(value.as_bytes()));
    }
}

/// What was answered is true, whatever becomes of it.
#[test]
fn a_commit_that_is_refused_leaves_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.commit_ahead(&[state("no number")]).unwrap();
    let add = Write::AddState { handler: handler_name(1), key: "k".to_owned(), delta: 1 };
    store.commit_ahead(&[add]).unwrap_err();
    assert_eq!(found(&store.reader()).as_deref(), Some(b"no number".as_slice()));
    drop(store);
    assert_eq!(found(&open(folder.path()).reader()).as_deref(), Some(b"no number".as_slice()));
}
