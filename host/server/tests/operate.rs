//! What an operator does when handlers fail, by the commands, against running hosts.

mod support;

use serde_json::{Value, json};
use support::{Served, guest};

/// A host whose consumer `q/h` gave up three messages.
fn with_quarantined(folder: &std::path::Path) -> Served {
    let host = Served::start(folder, &[]);
    host.ok(&["handler", "load", "h", guest("guest-panic").to_str().expect("text")]);
    host.ok(&["queue", "put", "q", "--bind", "t.#"]);
    host.ok(&["consumer", "put", "q/h", "--attempts", "1"]);
    for id in ["m-1", "m-2", "m-3"] {
        host.ok(&["publish", "t.a", "1", "--id", id]);
    }
    host.json_until(&["quarantine", "summary"], |summary| summary["quarantined"] == 3);
    host
}

#[test]
fn the_quarantine_is_summed_up_exported_imported_and_redriven_at_a_rate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let host = with_quarantined(folder.path());
    let summary = host.ok(&["quarantine", "summary"]);
    assert!(summary.contains("COUNT  HANDLER  REASON") && summary.contains("trapped:wasm"), "{summary}");
    assert!(summary.ends_with("3 in quarantine\n"), "{summary}");
    let found = |filter: &[&str]| {
        let arguments: Vec<&str> = ["quarantine", "list"].iter().chain(filter).copied().collect();
        host.json(&arguments)["quarantined"].as_array().map(Vec::len)
    };
    assert_eq!((found(&["--fingerprint", "trapped*"]), found(&["--fingerprint", "trapped"])), (Some(3), Some(0)));
    assert_eq!((found(&["--topic", "t.*"]), found(&["--message", "m-2"])), (Some(3), Some(1)));
    assert_eq!((found(&["--since", "1h"]), found(&["--older-than", "1h"])), (Some(3), Some(0)));
    assert_eq!(host.ok(&["quarantine", "purge", "--all", "--older-than", "7d"]), "0 forgotten\n");

    let file = folder.path().join("export.ndjson");
    let file = file.to_str().expect("text");
    let said = host.cli(&["quarantine", "export", "--file", file, "--handler", "h"]);
    assert_eq!((said.code, said.err.as_str()), (0, format!("3 exported to {file}\n").as_str()), "{said:?}");
    assert_eq!(host.ok(&["quarantine", "export", "--message", "m-1"]).lines().count(), 1);
    assert_eq!(host.ok(&["quarantine", "import", file]), "0 imported, 3 were there already, 0 refused\n");

    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let other = Served::start(elsewhere.path(), &[]);
    let said = other.cli(&["quarantine", "import", file]);
    assert_eq!((said.code, said.out.as_str()), (1, "0 imported, 0 were there already, 3 refused\n"), "{said:?}");
    assert!(said.err.starts_with("line 1: there is no queue q;"), "{}", said.err);
    other.ok(&["handler", "load", "h", guest("guest-noop").to_str().expect("text")]);
    other.ok(&["queue", "put", "q"]);
    other.ok(&["consumer", "put", "q/h"]);
    assert_eq!(other.ok(&["quarantine", "import", file]), "3 imported, 0 were there already, 0 refused\n");
    assert!(other.ok(&["quarantine", "show", "1"]).contains("(of the host it was imported from)"));

    let redriven = other.ok(&["quarantine", "redrive", "--all", "--handler", "h", "--rate", "50/s"]);
    assert!(redriven.starts_with("redrive 1 sends 3 again, 50 in a second;"), "{redriven}");
    let done = |list: &Value| list["redrives"][0]["state"] == "done";
    let list = other.json_until(&["quarantine", "redrives", "list"], done);
    assert_eq!(list["redrives"][0]["redriven"], json!(3));
    assert!(other.ok(&["quarantine", "redrives", "list"]).contains("handler h"));
    assert!(other.ok(&["quarantine", "redrives", "cancel", "1"]).starts_with("redrive 1 is done; 3 of 3"));
    assert!(other.refused(&["quarantine", "redrives", "cancel", "9"]).contains("(unknown-redrive)"));
}

#[test]
fn imports_keep_apart_from_live_deliveries_across_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let host = with_quarantined(folder.path());
    let export = host.ok(&["quarantine", "export"]);
    host.ok(&["quarantine", "purge", "--all"]);
    let said = host.cli_with_input(&["quarantine", "import", "-"], export.as_bytes());
    assert_eq!(said.out, "3 imported, 0 were there already, 0 refused\n", "{said:?}");
    assert!(host.stop().success());
    let host = Served::start(folder.path(), &[]);
    let said = host.cli_with_input(&["quarantine", "import", "-"], export.as_bytes());
    assert_eq!(said.out, "0 imported, 3 were there already, 0 refused\n", "{said:?}");
    host.ok(&["handler", "load", "h", guest("guest-noop").to_str().expect("text")]);
    assert!(host.ok(&["quarantine", "redrive", "--all"]).ends_with("3 redriven\n"));
    let idle = |shown: &Value| shown["pending"] == 0 && shown["in_flight"] == 0 && shown["floor"] == 4;
    host.json_until(&["consumer", "show", "q/h"], idle);
}

#[test]
fn why_prints_the_tree() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let host = with_quarantined(folder.path());
    let why = host.ok(&["why", "m-1"]);
    assert!(
        why.starts_with("m-1  t.a, 20") && why.contains("  <- this one\n    in q at 1\n      h: quarantined as 1: "),
        "{why}"
    );
    assert!(why.contains("attempt 1 at 20") && why.contains("the handler trapped"), "{why}");
    assert_eq!(host.json(&["why", "m-1"])["message"]["id"], "m-1");
    let redriven = host.ok(&["quarantine", "redrive", "1"]);
    let new = redriven.trim_end().rsplit(' ').next().expect("an id").to_owned();
    let why = host.ok(&["why", &new]);
    assert!(why.contains(&format!("└ {new}  t.a, 20")) && why.contains("a redrive of quarantined 1"), "{why}");
    assert!(host.refused(&["why", "never"]).contains("nothing is kept of message never"));
}

#[test]
fn a_consumer_that_is_full_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("limits.toml");
    std::fs::write(&config, "[limits]\npending-max = 3\n").expect("our own folder");
    let host = Served::start(folder.path(), &["--config", config.to_str().expect("text")]);
    host.ok(&["handler", "load", "h", guest("guest-panic").to_str().expect("text")]);
    host.ok(&["queue", "put", "q", "--bind", "t.#"]);
    host.ok(&["consumer", "put", "q/h", "--backoff-fixed", "1h"]);
    let state = || host.ok(&["consumer", "list"]).lines().nth(1).expect("a row").to_owned();
    for (published, pending) in [(2, 2), (1, 3), (2, 3)] {
        (0..published).for_each(|_| drop(host.ok(&["publish", "t.a", "1"])));
        host.json_until(&["consumer", "show", "q/h"], |shown| shown["pending"] == pending && shown["in_flight"] == 0);
        assert!(state().ends_with(if pending == 3 { "full" } else { "running" }), "{}", state());
    }
    let shown = host.ok(&["consumer", "show", "q/h"]);
    assert!(shown.contains("full: 3 deliveries wait for a retry or a delay, so new messages wait"), "{shown}");
    assert!(shown.contains("3 (at most 3)"), "{shown}");
    assert_eq!(host.json(&["consumer", "show", "q/h"])["lag"], 2, "they wait in the log");
}
