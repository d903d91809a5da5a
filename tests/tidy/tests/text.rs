//! Sizes and words.

use tidy::{root, sources};

/// A file longer than this is looked for in vain.
const RUST_LINES_MAX: usize = 600;
/// Room for one sentence and its code.
const LINE_CHARS_MAX: usize = 140;

#[test]
fn files_are_of_a_size_to_be_read() {
    // WASI's own WIT files are as they are.
    for file in sources(&[".rs", ".wit"]).expect("git").iter().filter(|file| !file.path.contains("/deps/")) {
        let lines = file.text.lines().count();
        assert!(lines <= RUST_LINES_MAX, "{} has {lines} lines; split it below {RUST_LINES_MAX}", file.path);
        for (index, line) in file.text.lines().enumerate() {
            let long = line.chars().count() > LINE_CHARS_MAX && !line.contains("http");
            assert!(!long, "{}:{} is longer than {LINE_CHARS_MAX} characters", file.path, index + 1);
        }
    }
}

/// A plugin that is longer is a program.
const PLUGIN_LINES_MAX: usize = 150;

#[test]
fn plugins_are_short() {
    let mut lines = std::collections::BTreeMap::<String, usize>::new();
    for file in sources(&[".rs"]).expect("git") {
        let Some((name, path)) = file.path.strip_prefix("plugins/").and_then(|path| path.split_once('/')) else {
            continue;
        };
        if name == "common" || path.ends_with("tests.rs") {
            continue;
        }
        let code = file.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
        let code = code.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"));
        *lines.entry(name.to_owned()).or_default() += code.count();
    }
    assert!(!lines.is_empty(), "there are no plugins; mend this test");
    for (name, lines) in lines {
        assert!(lines <= PLUGIN_LINES_MAX, "plugins/{name} has {lines} lines of code; at most {PLUGIN_LINES_MAX}");
    }
}

#[test]
fn nothing_is_left_open() {
    // Built from halves, so that this file does not find itself.
    let halves = [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("XX", "X"),
        ("todo", "!("),
        ("unimplement", "ed!("),
        ("#[ign", "ore"),
        ("db", "g!("),
    ];
    for file in sources(&[".rs", ".wit", ".toml", ".md", ".py", ".js", ".ts"]).expect("git") {
        for (left, right) in halves {
            let word = format!("{left}{right}");
            let found = file.lines_with(&word).next().map(|(number, _)| number);
            assert!(found.is_none(), "{}:{} says {word}", file.path, found.unwrap_or_default());
        }
    }
}

/// Words that the glossary has another word for.
#[test]
fn the_glossary_is_kept() {
    let instead =
        [("dead letter", "quarantine"), ("dead-letter", "quarantine"), ("DLQ", "quarantine"), ("requeue", "redrive")];
    for file in sources(&[".rs", ".wit"]).expect("git").iter().filter(|file| file.path != "tests/tidy/tests/text.rs") {
        for (word, right) in instead {
            let found = file.lines_with(word).next().map(|(number, _)| number);
            assert!(found.is_none(), "{}:{} says {word}; we say {right}", file.path, found.unwrap_or_default());
        }
    }
}

#[test]
fn the_commands_of_the_readme_exist() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let xtask = std::fs::read_to_string(root().join("tests/xtask/src/main.rs")).expect("xtask");
    let mut seen = 0;
    for line in readme.lines().filter_map(|line| line.trim().strip_prefix("cargo xtask ")) {
        let command = line.split_whitespace().next().unwrap_or_default();
        let variant = command[..1].to_uppercase() + &command[1..];
        let known = xtask.contains(&format!("    {variant},")) || xtask.contains(&format!("    {variant}("));
        assert!(known, "README.md says `cargo xtask {line}`, and xtask has no {variant}");
        seen += 1;
    }
    assert!(seen >= 2, "README.md must show the two commands");
    let ci = std::fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    assert!(ci.contains("cargo xtask test"), ".ci/run must call the second command of README.md");
}
