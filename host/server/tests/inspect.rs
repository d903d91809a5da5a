//! `wasmill inspect`, as its user meets it, on components of the project.

mod support;

use std::{fs, path::Path, process::Output};

use serde_json::Value;
use support::{guest, wasmill};

/// With a cache of its own, so that tests do not share one with whoever runs them.
fn inspect(cache: &Path, arguments: &[&str]) -> Output {
    let mut command = wasmill(cache);
    command.arg("inspect").args(arguments).env("XDG_CACHE_HOME", cache);
    command.output().expect("wasmill runs")
}

fn text(cache: &Path, arguments: &[&str]) -> (bool, String) {
    let output = inspect(cache, arguments);
    (output.status.success(), String::from_utf8(output.stdout).expect("text"))
}

fn json(cache: &Path, arguments: &[&str]) -> (bool, Value) {
    let output = inspect(cache, &[arguments, &["--json"]].concat());
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.success(), said)
}

fn path(name: &str) -> String {
    guest(name).display().to_string()
}

#[test]
fn a_handler_is_taken_apart() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let (good, said) = text(cache.path(), &[&path("guest-echo")]);
    assert!(good, "{said}");
    for words in [
        "world     wasmill:handler/message-handler",
        "wasmill:handler/handler@0.1.0: handle",
        "wasmill:handler/producer@0.1.0: publish",
        // The C is that of the standard library's own libc.
        "language  C11, Rust",
        "this host would load it",
        "config = { … }",
        "queues that bind the topics",
        "largest",
    ] {
        assert!(said.contains(words), "it does not say {words:?}:\n{said}");
    }
    let (_, said) = json(cache.path(), &[&path("guest-echo")]);
    assert_eq!((&said["kind"], &said["would_load"]), (&Value::from("component"), &Value::from(true)));
    let bytes = said["bytes"].as_u64().expect("a size");
    let modules: u64 = said["modules"].as_array().expect("a list").iter().filter_map(|it| it["bytes"].as_u64()).sum();
    assert!(modules > bytes / 2 && modules < bytes, "{said:#}");
    assert!(said["memory_bytes_initial"].as_u64().expect("a size") >= 65_536, "{said:#}");
    assert!(said["producers"]["processed-by"].get("rustc").is_some(), "a module's section counts: {said:#}");
}

#[test]
fn worlds_are_told_apart() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    for (name, world) in [
        ("guest-batch", "wasmill:handler/batch-message-handler"),
        ("guest-wasi-messaging", "wasi:messaging"),
        ("guest-wasmcloud", "wasmcloud:messaging"),
    ] {
        let (good, said) = json(cache.path(), &[&path(name)]);
        assert!(good && said["world"] == world, "{name}: {said:#}");
    }
}

#[test]
fn what_would_not_load_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("our folder");
        path.display().to_string()
    };
    let echo = fs::read(guest("guest-echo")).expect("it is built");
    for (path, words) in [
        (path("guest-wrong-world"), "exports none of"),
        (file("module.wasm", b"\0asm\x01\0\0\0"), "wasm-tools component new"),
        (file("text.wasm", b"(component)"), "text format"),
        (file("cut.wasm", &echo[..echo.len() / 2]), "cut short"),
    ] {
        let (good, said) = text(folder.path(), &[&path]);
        assert!(!good && said.contains("this host would not load it") && said.contains(words), "{path}: {said}");
    }
    let (_, said) = json(folder.path(), &[&file("module.wasm", b"\0asm\x01\0\0\0")]);
    assert_eq!((&said["kind"], &said["world"]), (&Value::from("module"), &Value::Null));
    let output = inspect(folder.path(), &["nowhere.wasm"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read nowhere.wasm"), "{output:?}");
}

#[test]
fn costs_are_measured() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let (good, said) = json(cache.path(), &[&path("guest-noop"), "--measure"]);
    assert!(good, "{said:#}");
    let cost = &said["cost"];
    let number = |pointer: &str| cost.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{said:#}"));
    assert!(number("/fresh/median_us") > number("/warm/median_us"), "a fresh instance is started besides: {cost:#}");
    assert!(number("/compile_ms") > number("/load_from_cache_ms"), "{cost:#}");
    assert!(number("/warm/calls") >= 10.0 && number("/fuel_used") > 0.0, "{cost:#}");

    let sample = cache.path().join("sample");
    fs::write(&sample, b"\xff not text").expect("our folder");
    let sample = sample.display().to_string();
    let (good, said) = text(cache.path(), &[&path("guest-replier"), "--measure", "--sample", &sample]);
    assert!(!good && said.contains("it fails on this delivery: the handler rejected it"), "{said}");
    assert!(said.contains("only an instance that succeeds is used again"), "{said}");

    let (good, said) = json(cache.path(), &[&path("guest-echo"), "--measure", "--config", "to=out"]);
    assert!(good && said["cost"]["outcome"] == "success", "{said:#}");
}

#[test]
fn a_project_says_what_to_inspect() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = inspect(folder.path(), &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no project.toml"), "{output:?}");
    let project = "build = \"make\"\ncomponent = \"h.wasm\"\nwatch = []\n";
    fs::write(folder.path().join("project.toml"), project).expect("our folder");
    let output = inspect(folder.path(), &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("build it first: make"), "{output:?}");
    fs::copy(guest("guest-noop"), folder.path().join("h.wasm")).expect("our folder");
    let (good, said) = json(folder.path(), &[]);
    assert!(good && said["file"] == "h.wasm", "{said:#}");
}
