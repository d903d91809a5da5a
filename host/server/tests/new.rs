//! `wasmill new`, as its user meets it. What every template must have is a unit test of the templates.

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use support::{run, wasmill};

#[test]
fn a_project_is_made_and_never_over_something() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = run(folder.path(), &["new", "strong-quakes", "--lang", "py"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("made strong-quakes with "), "{said:?}");
    assert!(said.out.contains("next:\n  cd strong-quakes\n") && said.out.contains("wasmill dev"), "{said:?}");
    let read = |path: &str| fs::read_to_string(folder.path().join("strong-quakes").join(path)).expect(path);
    assert!(read("project.toml").contains("build/strong-quakes.wasm"));
    assert!(read("wasmill.toml").contains("[handler.strong-quakes]"));
    let script = fs::metadata(folder.path().join("strong-quakes/build.sh")).expect("build.sh");
    assert!(script.permissions().mode() & 0o100 != 0, "build.sh can be run");

    fs::write(folder.path().join("strong-quakes/project.toml"), "mine").expect("our folder");
    let said = run(folder.path(), &["new", "strong-quakes", "--lang", "js"]);
    assert!(said.code == 1 && said.err.contains("is there and not empty"), "{said:?}");
    assert_eq!(read("project.toml"), "mine");

    fs::create_dir(folder.path().join("empty")).expect("our folder");
    assert_eq!(run(folder.path(), &["new", "empty", "--lang", "typescript"]).code, 0);
    fs::write(folder.path().join("file"), "").expect("our folder");
    let said = run(folder.path(), &["new", "file", "--lang", "py"]);
    assert!(said.code == 1 && said.err.contains("there is a file called file"), "{said:?}");
}

#[test]
fn mistakes_are_said_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (arguments, code, words) in [
        (vec!["new", "Quakes", "--lang", "py"], 1, "lower case letters"),
        (vec!["new", "../quakes", "--lang", "py"], 1, "lower case letters"),
        (vec!["new", "class", "--lang", "py"], 1, "class-messages"),
        (vec!["new", "quakes", "--lang", "pyton"], 1, "did you mean python?"),
        (vec!["new", "quakes", "--lang", "rst"], 1, "did you mean rust?"),
        (vec!["new", "quakes", "--lang", "cobol"], 1, "no template for \"cobol\". There are: "),
        (vec!["new", "quakes", "--lang", "go"], 1, "no template for \"go\". There are: "),
        (vec!["new", "quakes", "--lang", "java"], 1, "sdk/RECIPES.md"),
        (vec!["new", "quakes"], 2, "--lang"),
        (vec!["new"], 2, "required"),
    ] {
        let said = run(folder.path(), &arguments);
        assert!(said.code == code && said.err.contains(words), "{arguments:?}: {said:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("our folder").count(), 0);
}

#[test]
fn languages_are_listed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = run(folder.path(), &["new", "--list"]);
    for language in ["python", "javascript", "typescript"] {
        assert!(said.code == 0 && said.out.lines().any(|line| line.starts_with(language)), "{said:?}");
    }
    let said = run(folder.path(), &["new", "--list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert!(list.as_array().expect("a list").iter().any(|it| it["language"] == "python" && it["aliases"][0] == "py"));
}

#[test]
fn what_is_missing_is_told_and_the_folder_is_made_all_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = wasmill(folder.path());
    command.args(["new", "quakes", "--lang", "py", "--json"]).env("PATH", folder.path());
    let output = command.output().expect("wasmill runs");
    assert!(output.status.success(), "{output:?}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let missing = said["missing"].as_array().expect("a list");
    assert!(!missing.is_empty() && missing.iter().all(|need| need["how"].is_string()), "{said}");
    assert!(folder.path().join("quakes/project.toml").is_file());
}
