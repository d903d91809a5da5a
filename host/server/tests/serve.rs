//! A host as a process: how it starts, what it refuses, and how it stops.

mod support;

use std::{io::Write as _, net::TcpStream, path::Path, process::Command};

use rustix::process::Signal;
use support::{Served, guest, run, wasmill};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("our own folder");
}

#[test]
fn it_starts_without_configuration_and_stops_when_asked() {
    let folder = folder();
    for signal in [Signal::TERM, Signal::INT] {
        let mut host = Served::start(folder.path(), &["--address-file", "address"]);
        assert!(host.ready.ends_with("store ./wasmill-data, 0 handlers, 0 queues, 0 consumers\n"), "{}", host.ready);
        assert!(host.json(&["queue", "list"])["queues"].as_array().expect("a list").is_empty());
        host.signal(signal);
        host.wait_for_log("everything that was under way is settled");
        let address = std::fs::read_to_string(folder.path().join("address")).expect("an address file");
        assert_eq!(host.url, format!("http://{}", address.trim_end()));
        assert_eq!(host.wait().code(), Some(0));
    }
}

#[test]
fn what_was_published_and_declared_is_there_after_a_restart() {
    let folder = folder();
    let host = Served::start(folder.path(), &[]);
    host.ok(&["queue", "put", "kept", "--bind", "kept.#"]);
    host.ok(&["publish", "kept.one", "hello", "--id", "m-1"]);
    assert_eq!(host.stop().code(), Some(0));
    let host = Served::start(folder.path(), &[]);
    assert_eq!(host.json(&["queue", "messages", "kept"])["messages"][0]["id"], "m-1");
}

#[test]
fn the_file_wins_for_what_it_names_and_leaves_the_rest() {
    let folder = folder();
    write(
        folder.path(),
        "wasmill.toml",
        "[queue.named]\nbindings = [\"a.#\"]\n[handler.later]\nconfig = { k = \"v\" }\n",
    );
    let host = Served::start(folder.path(), &[]);
    assert_eq!(host.json(&["handler", "show", "later"])["config"]["k"], "v");
    host.ok(&["queue", "put", "named", "--bind", "changed"]);
    host.ok(&["queue", "put", "other", "--bind", "b"]);
    host.stop();
    let host = Served::start(folder.path(), &["--config", "wasmill.toml"]);
    assert_eq!(host.json(&["queue", "show", "named"])["bindings"][0], "a.#");
    assert_eq!(host.json(&["queue", "show", "other"])["bindings"][0], "b");
}

#[track_caller]
fn check_refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let arguments: Vec<&str> = ["serve"].iter().chain(arguments).copied().collect();
    let said = run(folder, &arguments);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    for part in parts {
        assert!(said.err.contains(part), "nothing of {part:?} in {}", said.err);
    }
}

#[test]
fn what_cannot_be_served_is_refused_with_the_way_out() {
    let folder = folder();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = listener.local_addr().expect("bound").to_string();
    check_refused(folder.path(), &["--listen", &taken], &[&taken, "another program", "--listen 127.0.0.1:PORT"]);
    check_refused(folder.path(), &["--listen", "0.0.0.0:0"], &["0.0.0.0:0", "allow-remote = true"]);
    check_refused(folder.path(), &["--config", "none.toml"], &["cannot read the configuration none.toml"]);
    write(folder.path(), "wrong.toml", "[server]\ndrian = \"1s\"\n");
    check_refused(folder.path(), &["--config", "wrong.toml"], &["wrong.toml:2:1", "did you mean `drain`?"]);
    write(folder.path(), "gone.toml", "[handler.gone]\nfile = \"gone.wasm\"\n");
    let free = ["--listen", "127.0.0.1:0"];
    let with = |file| [&["--config", file][..], &free].concat();
    check_refused(folder.path(), &with("gone.toml"), &["[handler.gone]", "cannot read gone.wasm"]);
    write(folder.path(), "nobody.toml", "[queue.q.consumer.c]\nhandler = \"nobody\"\n");
    check_refused(folder.path(), &with("nobody.toml"), &["[queue.q.consumer.c]", "there is no handler nobody"]);
}

#[test]
fn folders_that_are_none_are_named() {
    let folder = folder();
    write(folder.path(), "handlers", "a file where a folder should be");
    let free = ["--listen", "127.0.0.1:0"];
    check_refused(folder.path(), &free, &["cannot read the handlers folder ./handlers"]);
    write(folder.path(), "store", "likewise");
    check_refused(folder.path(), &["--store", "store", free[0], free[1]], &["store"]);
}

#[test]
fn a_store_belongs_to_one_host() {
    let folder = folder();
    let _host = Served::start(folder.path(), &[]);
    check_refused(folder.path(), &["--listen", "127.0.0.1:0"], &["wasmill-data"]);
}

#[test]
fn remote_addresses_and_json_logs_when_the_file_says_so() {
    let folder = folder();
    write(folder.path(), "wasmill.toml", "[server]\nallow-remote = true\n[log]\nformat = \"json\"\n");
    let mut command = wasmill(folder.path());
    command.args(["serve", "--listen", "0.0.0.0:0"]);
    let mut host = Served::start_command(folder.path(), command);
    let ready: serde_json::Value = serde_json::from_str(&host.ready).expect("one line of JSON");
    assert!(ready["listening"].as_str().expect("an address").starts_with("http://0.0.0.0:"), "{ready}");
    assert_eq!((&ready["queues"], &ready["store"]), (&0.into(), &"./wasmill-data".into()));
    host.signal(Signal::TERM);
    let line = host.wait_for_log("is settled");
    let line: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(line["level"], "INFO");
}

#[test]
fn a_second_signal_does_not_wait() {
    let folder = folder();
    let mut host = Served::start(folder.path(), &[]);
    // A request that never ends keeps the first stop waiting.
    let mut endless = TcpStream::connect(host.url.trim_start_matches("http://")).expect("it listens");
    endless
        .write_all(b"POST /v1/topics/t/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nhalf")
        .expect("it reads");
    // An answer on another connection shows that the host has come round to both.
    host.ok(&["queue", "list"]);
    host.signal(Signal::TERM);
    host.wait_for_log("SIGTERM: stopping");
    host.signal(Signal::INT);
    host.wait_for_log("SIGINT again");
    assert_eq!(host.wait().code(), Some(1));
}

#[test]
fn handlers_of_the_folder_run_and_are_replaced_when_their_file_is() {
    let folder = folder();
    let handlers = folder.path().join("handlers");
    std::fs::create_dir(&handlers).expect("our own folder");
    std::fs::copy(guest("guest-noop"), handlers.join("first.wasm")).expect("a copy");
    let mut host = Served::start(folder.path(), &[]);
    assert!(host.ready.ends_with("1 handler (first), 1 queue, 1 consumer\n"), "{}", host.ready);
    assert_eq!(host.json(&["queue", "show", "first"])["bindings"], serde_json::json!(["first", "first.#"]));
    host.ok(&["publish", "first.a.b", "{}"]);
    let settled = |consumer: &serde_json::Value| consumer["floor"] == 2 && consumer["pending"] == 0;
    let consumer = host.json_until(&["consumer", "show", "first/first"], settled);
    assert_eq!(consumer["quarantined"], 0);

    // What does not fit is refused, and the old one stays.
    let digest = host.json(&["handler", "show", "first"])["digest"].clone();
    std::fs::write(handlers.join("first.wasm"), "half of a compon").expect("our own folder");
    host.wait_for_log("refused, and what was there stays");
    let shown = host.json(&["handler", "show", "first"]);
    assert_eq!((&shown["digest"], &shown["problem"]), (&digest, &serde_json::Value::Null));

    // What fits takes over, and what is new gets its own queue.
    std::fs::copy(guest("guest-echo"), handlers.join("first.wasm")).expect("a copy");
    host.json_until(&["handler", "show", "first"], |shown| shown["digest"] != digest);
    std::fs::copy(guest("guest-noop"), handlers.join("second.wasm")).expect("a copy");
    host.json_until(&["consumer", "list"], |list| list["consumers"].as_array().is_some_and(|all| all.len() == 2));
    assert_eq!(host.json(&["queue", "show", "second"])["consumers"][0], "second");
}

#[test]
fn what_the_file_says_of_a_handler_holds_after_a_restart() {
    let folder = folder();
    let echo = guest("guest-echo");
    for to in ["first", "second", "third"] {
        let config = format!(
            concat!(
                "[handler.echo]\nfile = {echo:?}\nconfig = {{ to = {to:?} }}\n",
                "[queue.in]\nbindings = [\"in\"]\n[queue.in.consumer.echo]\n",
                "[queue.{to}]\nbindings = [{to:?}]\n",
            ),
            echo = echo,
            to = to,
        );
        write(folder.path(), "wasmill.toml", &config);
        let host = Served::start(folder.path(), &[]);
        host.ok(&["publish", "in", "x"]);
        host.json_until(&["consumer", "show", "in/echo"], |consumer| consumer["lag"] == 0);
        assert_eq!(host.json(&["queue", "show", to])["messages"], 1, "it was published by an older configuration");
        assert_eq!(host.stop().code(), Some(0));
    }
}

/// A limit on the size of files stands for a disk that is full.
#[test]
fn a_host_whose_store_fails_says_so_and_ends() {
    let folder = folder();
    let mut command = Command::new("sh");
    let limited = "trap '' XFSZ; ulimit -f 40000; exec \"$0\" serve --listen 127.0.0.1:0";
    command.args(["-c", limited, env!("CARGO_BIN_EXE_wasmill")]).current_dir(folder.path());
    let mut host = Served::start_command(folder.path(), command);
    host.ok(&["queue", "put", "q", "--bind", "t"]);
    let data = folder.path().join("data");
    std::fs::write(&data, vec![b'x'; 1_000_000]).expect("our own folder");
    let kept = (0..100).take_while(|_| host.cli(&["publish", "t", "--file", "data"]).code == 0).count();
    assert!(kept < 100, "the limit was never reached");
    host.wait_for_log("the host failed and stops");
    assert_eq!(host.wait().code(), Some(1));
    let host = Served::start(folder.path(), &[]);
    let messages = host.json(&["queue", "show", "q"])["messages"].as_u64().expect("a number");
    assert!(messages >= kept as u64, "{kept} were answered and {messages} are there");
}

#[test]
fn a_handlers_folder_that_comes_later_is_noticed() {
    let folder = folder();
    let host = Served::start(folder.path(), &[]);
    std::fs::create_dir(folder.path().join("handlers")).expect("our own folder");
    std::fs::copy(guest("guest-noop"), folder.path().join("handlers/late.wasm")).expect("a copy");
    host.json_until(&["consumer", "list"], |list| list["consumers"][0]["name"] == "late");
}
