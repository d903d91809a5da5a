//! Schedules as their users meet them: the file, the command line, and a host that is killed.

mod support;

use std::{collections::BTreeSet, path::Path};

use rustix::process::Signal;
use serde_json::Value;
use support::{Served, run};

fn write_config(folder: &Path, schedule: &str) {
    let text = format!("[queue.ticks]\nbindings = [\"ticks\"]\n\n[schedule.tick]\n{schedule}");
    std::fs::write(folder.join("wasmill.toml"), text).expect("our own folder");
}

const EVERY_SECOND: &str = "cron = \"* * * * * *\"\ntopic = \"ticks\"\ndata = \"now\"\nmissed = \"all\"\n";

fn ids(answer: &Value) -> Vec<String> {
    let messages = answer["messages"].as_array().expect("messages");
    messages.iter().map(|message| message["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_host_that_is_killed_by_sigkill_fires_each_planned_time_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_config(folder.path(), EVERY_SECOND);
    let page = ["queue", "messages", "ticks", "--limit", "1000"];
    let mut seen = 0;
    for _ in 0..3 {
        let host = Served::start(folder.path(), &[]);
        seen = ids(&host.json_until(&page, |answer| ids(answer).len() > seen + 1)).len();
        host.signal(Signal::KILL);
        host.wait();
    }
    let host = Served::start(folder.path(), &[]);
    let all = ids(&host.json_until(&page, |answer| ids(answer).len() > seen + 1));
    let different: BTreeSet<&String> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "a planned time fired twice: {all:?}");
    let second = |id: &String| -> i64 {
        let time: jiff::Timestamp = id.strip_prefix("tick@").expect("its name").parse().expect("a time");
        time.as_second()
    };
    for pair in all.windows(2) {
        assert_eq!(second(&pair[1]) - second(&pair[0]), 1, "{} after {}", pair[1], pair[0]);
    }
}

#[test]
fn the_command_line_declares_shows_runs_pauses_and_removes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let headers = "headers = [[\"Region\", \"eu\"], [\"region\", \"us\"]]\n";
    write_config(folder.path(), &format!("cron = \"@yearly\"\ntopic = \"ticks\"\n{headers}"));
    let host = Served::start(folder.path(), &[]);
    let put = ["schedule", "put", "nightly", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin"];
    let rest =
        ["--topic", "ticks", "--data", "sweep", "--missed", "all", "--missed-max", "3", "--header", "tenant=acme"];
    let said = host.ok(&[&put[..], &rest].concat());
    assert!(said.starts_with("schedule nightly is declared; it fires next at 20"), "{said}");
    let list = host.ok(&["schedule", "list"]);
    assert!(list.contains("nightly") && list.contains("Europe/Berlin") && list.contains("tick"), "{list}");
    let show = host.ok(&["schedule", "show", "nightly", "--upcoming", "2"]);
    assert!(show.contains("sweep") && show.contains("all, at most 3"), "{show}");
    assert!(host.ok(&["schedule", "run", "nightly"]).starts_with("schedule nightly published message "));
    assert_eq!(host.json(&["queue", "messages", "ticks"])["messages"][0]["data_text"], "sweep");
    host.ok(&["schedule", "run", "tick"]);
    let messages = host.json(&["queue", "messages", "ticks"])["messages"].clone();
    let header_of = |at: usize, wanted: &str| -> Vec<Value> {
        let headers = messages[at]["headers"].as_array().expect("headers");
        headers.iter().filter(|header| header[0] == wanted).map(|header| header[1].clone()).collect()
    };
    assert_eq!(
        (header_of(0, "tenant"), header_of(0, "wasmill-schedule")),
        (vec!["acme".into()], vec!["nightly".into()])
    );
    assert_eq!(header_of(1, "region"), ["eu", "us"], "the file gives headers, and their names are lower case");
    assert!(show.contains("tenant: acme"), "{show}");
    assert_eq!(host.ok(&["schedule", "pause", "tick"]), "schedule tick rests\n");
    assert_eq!(host.json(&["schedule", "show", "tick"])["paused"], true);
    assert_eq!(host.ok(&["schedule", "delete", "nightly"]), "schedule nightly is removed\n");
    assert!(host.refused(&["schedule", "show", "nightly"]).contains("there is no schedule nightly"));
    host.stop();
    let host = Served::start(folder.path(), &[]);
    assert_eq!(host.json(&["schedule", "show", "tick"])["paused"], true, "the file says nothing of a pause");
    assert_eq!(host.ok(&["schedule", "resume", "tick"]), "schedule tick goes on\n");
    let wrong = ["schedule", "put", "x", "--topic", "ticks", "--cron", "61 * * * *"];
    assert!(host.refused(&wrong).contains("field 1, the minute, is \"61\""));
}

#[test]
fn a_file_with_a_bad_schedule_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (schedule, words) in [
        ("cron = \"* * * *\"\ntopic = \"ticks\"\n", "wasmill.toml:5:8: schedule.tick.cron: "),
        ("cron = \"@daily\"\ntimezone = \"Mars\"\ntopic = \"ticks\"\n", "there is no time zone \"Mars\""),
        ("cron = \"@daily\"\ntopic = \"ticks\"\nmissed-max = 1001\n", "1000"),
        ("cron = \"@daily\"\ntopic = \"t\"\nheaders = { \"a b\" = \"1\" }\n", "schedule.tick.headers: "),
        ("cron = \"@daily\"\ntopics = \"ticks\"\n", "did you mean `topic`?"),
    ] {
        write_config(folder.path(), schedule);
        let said = run(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
        assert!(said.code == 1 && said.err.contains(words), "{said:?}");
    }
}
