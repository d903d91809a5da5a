//! The guides of sdk/README.md do what they say: their commands run, as they are written and in their order, against a host
//! with the configuration that README.md shows.

use std::fs;

use anyhow::{Context, Result, ensure};
use end_to_end::{PATIENCE, TestHost};
use host_process::{guest, project_root};

/// The commands of a section, of all its fences that name no language.
fn commands<'a>(guides: &'a str, heading: &str) -> Result<Vec<&'a str>> {
    let behind = guides.split_once(heading).with_context(|| format!("sdk/README.md has no {heading:?}"))?.1;
    let section = behind.split_once("\n## ").map_or(behind, |(section, _)| section);
    let mut commands = Vec::new();
    let mut opening: Option<&str> = None;
    for line in section.lines() {
        match (line.strip_prefix("```"), opening) {
            (Some(_), Some(_)) => opening = None,
            (Some(language), None) => opening = Some(language),
            (None, Some("")) => commands.push(line),
            (None, Some(_) | None) => {}
        }
    }
    ensure!(!commands.is_empty(), "{heading:?} shows no command");
    Ok(commands)
}

#[test]
fn the_commands_run_as_they_are_written() -> Result<()> {
    let guides = fs::read_to_string(project_root().join("sdk/README.md"))?;
    let readme = fs::read_to_string(project_root().join("README.md"))?;
    let config = readme.split_once("## Run the host").context("the section is gone")?.1;
    let config = config.split_once("```toml\n").and_then(|(_, behind)| behind.split_once("\n```"));
    let config = config.context("the configuration is gone")?.0;
    let component = guest("guest-replier")?.display().to_string();
    let host = TestHost::start(&config.replace("alert.wasm", &component))?;
    // What the reader would have beside it.
    fs::copy(&component, host.path("alert.wasm"))?;
    fs::copy(guest("guest-noop")?, host.path("fixed.wasm"))?;
    fs::write(host.path("photo.png"), b"\x89PNG\r\n\xff\xff")?;

    let mut said = Vec::new();
    for heading in ["## Idempotency and effects", "## Ordering", "## Limits", "## Debugging a quarantined message"] {
        for command in commands(&guides, heading)? {
            ensure!(command.starts_with("wasmill "), "this test runs nothing but wasmill: {command}");
            said.push((command, host.shell(command)?));
            host.client().wait_until_settled(PATIENCE)?;
        }
    }
    let shown = |command: &str| {
        let mut all = said.iter().filter(|(line, _)| line.starts_with(command)).map(|(_, said)| said.as_str());
        all.next_back().with_context(|| format!("the guides no longer show `{command}`; mend this test"))
    };
    for (command, word) in [
        ("wasmill publish quakes.recorded '{\"magnitude\": 6.1, \"place\": \"Hualien\"}' --id", "nothing was added"),
        ("wasmill why", "us7000m9g4"),
        ("wasmill consumer show", "key"),
        ("wasmill inspect", "fuel"),
        ("wasmill handler show", "fuel"),
        ("wasmill quarantine summary", "alert"),
        ("wasmill quarantine show", "quarantined"),
        ("wasmill quarantine redrive --passing", "1 redriven"),
    ] {
        assert!(shown(command)?.contains(word), "{command} does not say {word:?}: {}", shown(command)?);
    }
    Ok(())
}
