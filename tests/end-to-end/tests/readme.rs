//! README.md does what it says: the commands of its section "Look after it" run, as they are written, against a host with
//! the configuration that it shows.

use std::fs;

use anyhow::{Context, Result, ensure};
use end_to_end::{PATIENCE, TestHost, quarantined};
use host_process::{guest, project_root};
use reqwest::Method;

/// The ids that stand in README.md for the reader's own: of a message, of the job, of the delayed message.
const ID_SHOWN: &str = "01993c8e-…";
const JOB_SHOWN: &str = "0199a0c2-…";
const DELAYED_SHOWN: &str = "1790000000000-3";

/// What is in the first fence that begins like this, behind that heading.
fn fence<'a>(readme: &'a str, heading: &str, opening: &str) -> Result<&'a str> {
    let section = readme.split_once(heading).with_context(|| format!("README.md has no {heading:?}"))?.1;
    let behind = section.split_once(opening).with_context(|| format!("{heading:?} has no {opening:?}"))?.1;
    Ok(behind.split_once("\n```").context("the fence does not end")?.0)
}

#[test]
fn the_commands_run_as_they_are_written() -> Result<()> {
    let readme = fs::read_to_string(project_root().join("README.md"))?;
    let component = guest("guest-replier")?.display().to_string();
    let config = fence(&readme, "## Run the host", "```toml\n")?;
    ensure!(config.contains("\"alert.wasm\""), "the configuration names no component: {config}");
    let host = TestHost::start(&config.replace("alert.wasm", &component))?;
    let commands = fence(&readme, "## Look after it", "```\n")?;

    // What the reader would have: deliveries in quarantine, a file with better data, a message to ask about.
    for broken in 0..8_u8 {
        let publish = host.client().request(Method::POST, "/v1/topics/quakes.broken/messages").body(vec![0xFF, broken]);
        publish.send()?.error_for_status()?;
    }
    host.client().wait_until_settled(PATIENCE)?;
    assert_eq!(quarantined(host.client(), "alert")?.len(), 8, "the component rejects what is no text");
    fs::copy(guest("guest-noop")?, host.path("fixed.wasm"))?;
    fs::write(host.path("corrected.json"), r#"{"magnitude": 6.2, "place": "Hualien"}"#)?;
    let published = host.client().post("/v1/topics/quakes.asked/messages", "application/json", "{}")?;
    let published: serde_json::Value = serde_json::from_str(&published)?;
    let id = published["id"].as_str().context("an id")?;

    let mut said = Vec::new();
    for line in commands.lines() {
        ensure!(line.starts_with("wasmill "), "this test runs nothing but wasmill: {line}");
        let mut command = line.replace(ID_SHOWN, id);
        for (shown, path, list) in [(JOB_SHOWN, "/v1/jobs", "jobs"), (DELAYED_SHOWN, "/v1/delayed", "delayed")] {
            if command.contains(shown) {
                let own = &host.client().get(path)?[list][0]["id"];
                command = command.replace(shown, own.as_str().with_context(|| format!("{path} lists none"))?);
            }
        }
        said.push((line, host.shell(&command)?));
    }
    let shown = |command: &str| {
        said.iter()
            .find_map(|(line, said)| line.starts_with(command).then_some(said.as_str()))
            .with_context(|| format!("README.md no longer shows `{command}`; mend this test"))
    };
    for (command, word) in [
        ("wasmill request", "HIHIFO"),
        ("wasmill pull", "three strong quakes"),
        ("wasmill job wait", "NEIAFU"),
        ("wasmill delayed cancel", "is cancelled"),
        ("wasmill quarantine summary", "8  alert"),
        ("wasmill quarantine show", "quarantined   7"),
        ("wasmill quarantine redrive --all", "50 in a second"),
        ("wasmill schedule put", "+0"),
        ("wasmill why", "quakes.asked"),
    ] {
        assert!(shown(command)?.contains(word), "{command} does not say {word:?}: {}", shown(command)?);
    }
    assert!(shown("wasmill quarantine export").is_ok() && host.path("failures.ndjson").is_file());
    Ok(())
}
