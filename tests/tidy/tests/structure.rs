//! Which room builds on which, and what each must not know.

use tidy::{Source, dependencies, root, sources};

/// What each crate of the host may build on, of our own crates and of those that make a room what it is.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("wasmill-delivery", &[]),
    ("wasmill-store", &["wasmill-delivery", "sled"]),
    ("wasmill-sandbox", &["wasmill-delivery", "wasmtime", "wasmtime-wasi", "tokio"]),
    ("wasmill-runtime", &["wasmill-delivery", "wasmill-store", "wasmill-sandbox", "tokio"]),
    ("wasmill-settings", &["wasmill-delivery"]),
    ("wasmill-testing", &["wasmill-delivery", "wasmill-runtime", "wasmill-settings", "tokio"]),
    (
        "wasmill-server",
        &["wasmill-delivery", "wasmill-runtime", "wasmill-settings", "wasmill-testing", "tokio", "axum", "clap"],
    ),
];

/// Crates that only those rooms may use that name them above.
const GUARDED: [&str; 14] = [
    "wasmill-delivery",
    "wasmill-store",
    "wasmill-sandbox",
    "wasmill-runtime",
    "wasmill-server",
    "wasmill-settings",
    "wasmill-testing",
    "wasmill",
    "sled",
    "wasmtime",
    "wasmtime-wasi",
    "tokio",
    "axum",
    "clap",
];

/// What lies at the top, besides what begins with a dot.
const TOP: [&str; 12] = [
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "deny.toml",
    "examples",
    "host",
    "plugins",
    "rustfmt.toml",
    "sdk",
    "tests",
    "wit",
];

/// A program that was started there may have left something.
#[test]
fn nothing_else_lies_at_the_top() {
    for file in sources(&[""]).expect("git") {
        let top = file.path.split('/').next().unwrap_or_default();
        assert!(top.starts_with('.') || TOP.contains(&top), "{} does not belong there", file.path);
    }
}

#[test]
fn dependencies_point_one_way() {
    let all = dependencies().expect("cargo metadata");
    for (name, may_use) in MAY_USE {
        let used = all.get(name).unwrap_or_else(|| panic!("crate {name} is gone; mend this list"));
        for dependency in used.iter().filter(|dependency| GUARDED.contains(&dependency.as_str())) {
            assert!(may_use.contains(&dependency.as_str()), "{name} must not build on {dependency}");
        }
    }
}

#[test]
fn host_and_sdk_meet_only_in_wit() {
    for (name, used) in dependencies().expect("cargo metadata") {
        let is_guest_side = used.iter().any(|dependency| dependency == "wasmill");
        let of_sdk = |dependency: &str| dependency == "wasmill-macros" || dependency.starts_with("wasmill-plugin-");
        let is_host_side = used.iter().any(|dependency| dependency.starts_with("wasmill-") && !of_sdk(dependency));
        assert!(!(is_guest_side && is_host_side), "{name} builds on the SDK and on the host");
    }
}

#[test]
fn plugins_build_on_the_sdk_and_what_they_share() {
    let all = dependencies().expect("cargo metadata");
    let plugins = all.iter().filter(|(name, _)| name.starts_with("wasmill-plugin-"));
    assert!(plugins.clone().count() >= 2, "there are no plugins; mend this test");
    for (name, used) in plugins {
        let ours = used.iter().filter(|dependency| all.contains_key(*dependency));
        let mut foreign =
            ours.filter(|dependency| !["wasmill", "wasmill-plugin-common"].contains(&dependency.as_str()));
        assert_eq!(foreign.next(), None, "{name} builds on more than the SDK and plugins/common");
    }
}

fn assert_absent(files: &[Source], folder: &str, words: &[&str], why: &str) {
    let below: Vec<&Source> = files.iter().filter(|file| file.is_below(folder)).collect();
    assert!(!below.is_empty(), "there is nothing below {folder}; mend this test");
    for file in below {
        for word in words {
            let found = file.lines_with(word).find(|(_, line)| !line.trim_start().starts_with("//"));
            if let Some((number, _)) = found {
                panic!("{}:{number} says {word}: {why}", file.path);
            }
        }
    }
}

#[test]
fn delivery_is_pure() {
    let files = sources(&[".rs"]).expect("git");
    let words = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::env",
        "std::process",
        "SystemTime",
        "Instant",
        "Mutex",
        "async ",
        "println!",
        "rand::",
    ];
    assert_absent(&files, "host/delivery/src", &words, "delivery does no IO, reads no clock and has one order");
    // A map with fixed keys that is looked up and never listed has one order too: none.
    let looked_up = |path: &str| path == "host/delivery/src/routing.rs";
    let files: Vec<_> = files.into_iter().filter(|file| !looked_up(&file.path)).collect();
    assert_absent(&files, "host/delivery/src", &["HashMap", "HashSet"], "the order of a hash map is random");
}

#[test]
fn each_engine_is_configured_in_one_room() {
    let files = sources(&[".rs"]).expect("git");
    for file in files.iter().filter(|file| file.is_below("host")) {
        if !file.is_below("host/store") {
            assert!(file.lines_with("sled::").next().is_none(), "{} uses sled: only the store knows bytes", file.path);
        }
        if !file.is_below("host/sandbox") {
            let found = file.lines_with("wasmtime::").next();
            assert!(found.is_none(), "{} uses wasmtime: only the sandbox does", file.path);
        }
    }
    let configs = files.iter().filter(|file| file.is_below("host")).filter(|file| {
        file.lines_with("Config::new()").any(|(_, line)| !line.contains("Pooling")) && file.text.contains("wasmtime")
    });
    let configs: Vec<&str> = configs.map(|file| file.path.as_str()).collect();
    assert!(configs.len() == 1, "one wasmtime::Config, please; found in {configs:?}");
}

#[test]
fn metrics_are_named_in_one_file() {
    let files = sources(&[".rs"]).expect("git");
    let naming: Vec<&str> = files
        .iter()
        .filter(|file| file.is_below("host/server/src"))
        .filter(|file| {
            ["_total\"", "_seconds\"", "_bytes\"", "_info\""]
                .iter()
                .any(|ending| file.lines_with(ending).next().is_some())
        })
        .map(|file| file.path.as_str())
        .collect();
    assert!(naming.len() <= 1, "telemetry names live in one file; found in {naming:?}");
}

#[test]
fn every_folder_is_on_the_map() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let manifests = sources(&["Cargo.toml"]).expect("git");
    for manifest in manifests.iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml")) {
        let parent = manifest.rsplit_once('/').map_or(manifest, |(parent, _)| parent);
        let is_named = map.contains(&format!("{manifest}/")) || map.contains(&format!("{parent}/*"));
        assert!(is_named, "ARCHITECTURE.md does not name {manifest}/ (nor {parent}/*)");
    }
}
