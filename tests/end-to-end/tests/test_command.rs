//! `wasmill test` as its users meet it: files, flags, what is printed, and the exit status.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use host_process::{guest, wasmill_binary};
use serde_json::Value;

struct Ran {
    status: Option<i32>,
    out: String,
    error: String,
}

fn run(folder: &Path, arguments: &[&str]) -> Result<Ran> {
    let output = Command::new(wasmill_binary()?)
        .arg("test")
        .args(arguments)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .current_dir(folder)
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { status: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) })
}

fn cases(guest_path: &Path) -> String {
    format!(
        r#"component = {guest_path:?}

[settings]
consumer = {{ backoff = {{ fixed = "1h" }} }}

[[case]]
name = "it fails once"
publish = [{{ topic = "orders" }}]
expect = {{ outcomes = ["retry", "success"], elapsed = "1h", snapshot = "once.snap" }}

[[case]]
name = "it fails twice"
settings = {{ config = {{ fail-attempts = "2" }} }}
publish = [{{ topic = "orders" }}]
expect = {{ outcomes = ["retry", "retry", "success"], elapsed = "2h" }}
"#
    )
}

#[test]
fn cases_are_found_run_and_reported() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let nothing = run(folder, &[])?;
    assert_eq!(nothing.status, Some(1));
    assert!(nothing.error.contains("there is no *.test.toml below this folder; write cases"), "{}", nothing.error);

    let text = cases(&guest("guest-flaky")?);
    fs::create_dir(folder.join("deep"))?;
    fs::write(folder.join("deep/a.test.toml"), &text)?;
    let ran = run(folder, &["--update"])?;
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.error);
    assert!(ran.out.contains("ok    it fails once") && ran.out.contains("2 passed, 0 failed"), "{}", ran.out);
    let snapshot = fs::read_to_string(folder.join("deep/once.snap"))?;
    assert!(snapshot.contains("outcomes: retry, success") && snapshot.contains("attempt 2"), "{snapshot}");
    assert!(fs::read_dir(folder.join("cache/wasmill/compiled"))?.next().is_some(), "nothing is kept");
    assert_eq!(run(folder, &[])?.status, Some(0), "the snapshot is what was seen");

    fs::write(folder.join("deep/a.test.toml"), text.replace("\"2h\"", "\"3h\""))?;
    let ran = run(folder, &[])?;
    assert_eq!(ran.status, Some(1));
    for words in ["ok    it fails once", "FAIL  it fails twice", "elapsed", "10800s", "7200s", "attempt 3 of message-1"]
    {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    assert_eq!(run(folder, &["--case", "once"])?.status, Some(0), "the other one is left out");
    let none = run(folder, &["--case", "thrice"])?;
    assert!(none.error.contains("no case has \"thrice\" in its name"), "{}", none.error);

    let ran = run(folder, &["--json", "deep/a.test.toml"])?;
    let json: Value = serde_json::from_str(&ran.out).with_context(|| ran.out.clone())?;
    assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &1.into()));
    assert_eq!(json["cases"][1]["mismatches"][0]["what"], "elapsed");
    assert_eq!(json["cases"][1]["attempts"][2]["outcome"], "success");

    let noop = guest("guest-noop")?;
    let ran = run(folder, &["--component", &noop.to_string_lossy()])?;
    assert!(ran.out.contains("saw       success"), "another component is tested: {}", ran.out);
    Ok(())
}

#[test]
fn a_mistake_is_told_with_its_place_and_the_nearest_word() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let head = "component = \"x.wasm\"\n[[case]]\nname = \"c\"\n";
    for (text, words) in [
        ("publish = [{ topik = \"t\" }]", &["a.test.toml:4:", "unknown key `topik`; did you mean `topic`?"][..]),
        (
            "publish = [{ topic = \"t\" }]\nexpect.outcome = [\"success\"]",
            &["a.test.toml:5:", "did you mean `outcomes`?"],
        ),
        (
            "publish = [{ topic = \"t\" }]\nexpect.outcomes = [\"sucess\"]",
            &["a.test.toml:5:", "did you mean \"success\"?"],
        ),
        ("publish = [{ topic = \"t\", at = \"soon\" }]", &["a.test.toml:4:", "is not a duration"]),
        ("publish = [{ topic = \"t\", base64 = \"?\" }]", &["a.test.toml:4:", "is not base64"]),
        (
            "settings.consumer.atempts = 3\npublish = [{ topic = \"t\" }]",
            &["a.test.toml:4:", "did you mean `attempts`?"],
        ),
        ("", &["case \"c\"", "nothing is published"]),
        ("publish = [{ topic = \"t\" }]", &["x.wasm", "No such file"]),
    ] {
        fs::write(folder.join("a.test.toml"), format!("{head}{text}\n"))?;
        let ran = run(folder, &[])?;
        assert_eq!(ran.status, Some(1), "{text}");
        for word in words {
            assert!(ran.error.contains(word), "{text}: {word}: {}", ran.error);
        }
    }
    Ok(())
}

#[test]
fn a_project_says_what_its_cases_are_about() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    fs::write(folder.join("a.test.toml"), "[[case]]\nname = \"c\"\npublish = [{ topic = \"t\" }]\n")?;
    let ran = run(folder, &[])?;
    assert!(ran.error.contains("is about no component; write component ="), "{}", ran.error);
    let project = format!("build = \"make\"\ncomponent = {:?}\nwatch = []\n", guest("guest-noop")?);
    fs::write(folder.join("project.toml"), &project)?;
    assert_eq!(run(folder, &[])?.status, Some(0));
    fs::write(folder.join("project.toml"), project.replace("component", "componant"))?;
    let ran = run(folder, &[])?;
    assert!(ran.error.contains("project.toml") && ran.error.contains("componant"), "{}", ran.error);
    Ok(())
}
