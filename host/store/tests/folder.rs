//! Folders that are no good, or somebody else's: the message names the folder and says what to do.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that panics has failed")]

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use common::open;
use wasmill_store::{Store, StoreError, StoreOptions};

fn refused(path: &Path) -> StoreError {
    match Store::open(path, StoreOptions::default()) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

#[track_caller]
fn says(error: &StoreError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn a_file_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    says(&refused(&file), &[&file.display().to_string(), "a file is in the way: give a folder"]);
    let below = file.join("store");
    says(&refused(&below), &[&below.display().to_string(), "a file is in the way: give a folder"]);
}

#[test]
fn a_folder_in_the_place_of_a_file_is_named() {
    for name in ["FORMAT", "LOCK", "db/db"] {
        let folder = tempfile::tempdir().unwrap();
        if name.starts_with("db") {
            drop(open(folder.path()));
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        fs::create_dir(folder.path().join(name)).unwrap();
        says(
            &refused(folder.path()),
            &[&folder.path().join(Path::new(name).iter().next().unwrap()).display().to_string()],
        );
    }
}

#[test]
fn a_store_of_a_newer_format_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("FORMAT"), "wasmill store format 7\n").unwrap();
    let error = refused(folder.path());
    says(&error, &[&folder.path().display().to_string(), "has format 7", "knows formats up to 5"]);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["FORMAT"], "something was made");
}

#[test]
fn what_is_not_a_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("FORMAT"), "hello").unwrap();
    says(&refused(folder.path()), &["is not a store", "does not say a format"]);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("db")).unwrap();
    says(&refused(folder.path()), &["is not a store", "has a database and no file FORMAT"]);
}

#[test]
fn a_store_can_be_opened_once_until_its_last_reader_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let us = format!("in use by process {}", std::process::id());
    says(&refused(folder.path()), &[&us, &folder.path().display().to_string()]);
    let reader = store.reader();
    drop(store);
    says(&refused(folder.path()), &[&us]);
    drop(reader);
    open(folder.path());
}

const HOLD: &str = "WASMILL_STORE_TEST_HOLD";

/// The other process of the next test: this test run again, told so by the environment. It opens the store, says
/// so, and waits until its standard input ends.
#[test]
fn holds_the_store_for_another_test() {
    let Some(path) = std::env::var_os(HOLD) else { return };
    let _store = open(Path::new(&path));
    fs::write(Path::new(&path).with_extension("held"), "").unwrap();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

#[test]
fn a_second_process_is_refused_and_told_the_number_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_the_store_for_another_test"])
        .env(HOLD, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !path.with_extension("held").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the other process ended");
        std::thread::yield_now();
    }
    says(&refused(&path), &[&format!("in use by process {}", child.id()), &path.display().to_string()]);
    child.kill().unwrap();
    child.wait().unwrap();
    open(&path);
}

#[cfg(unix)]
#[test]
fn folders_are_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/store");
    open(&path);
    for name in ["", "db", "components", "compiled"] {
        let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{name}");
    }
}

/// Found by the crash test: sled writes its settings in two pieces before it makes its database.
#[test]
fn a_host_that_was_killed_while_it_made_its_store_starts_again() {
    let sound = tempfile::tempdir().unwrap();
    drop(open(sound.path()));
    let settings = fs::read(sound.path().join("db/conf")).unwrap();
    for length in 0..=settings.len() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("db/blobs")).unwrap();
        fs::copy(sound.path().join("FORMAT"), folder.path().join("FORMAT")).unwrap();
        fs::write(folder.path().join("db/conf"), &settings[..length]).unwrap();
        drop(open(folder.path()));
    }
}
