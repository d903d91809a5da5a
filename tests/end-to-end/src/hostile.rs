//! The components of `tests/hostile`, and what must come of each.

use std::fs;

use anyhow::{Context, Result};
use host_process::project_root;

/// What a hostile handler is limited to unless it says otherwise, so that each takes a moment only.
const LIMITS: &str = r#"{"fuel_max": 50000000, "wall_clock_ms_max": 1500}"#;

/// What must come of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is not loaded, and the sentence that says so has these words.
    Refused(String),
    /// It answers.
    Success,
    /// Every attempt ends with this outcome.
    Outcome(String),
}

/// One that tries to do harm.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// The name of its file.
    pub name: String,
    /// The component.
    pub wasm: Vec<u8>,
    /// Limits of its handler, as JSON.
    pub limits: String,
    /// What must come of it.
    pub expected: Expected,
}

/// All of them, by name.
///
/// # Errors
/// When one is not written as `tests/hostile/README.md` says.
pub fn corpus() -> Result<Vec<Hostile>> {
    let folder = project_root().join("tests/hostile");
    let frame = fs::read_to_string(folder.join("frame.wat"))?;
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".wat")) else { continue };
        if name != "frame" {
            all.push(parse(name, &fs::read_to_string(&path)?, &frame).with_context(|| path.display().to_string())?);
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

fn parse(name: &str, text: &str, frame: &str) -> Result<Hostile> {
    let first = text.lines().next().unwrap_or_default();
    let (lesson, expected) = first.rsplit_once(" | ").context("the first line is not `;; LESSON | EXPECTED`")?;
    lesson.strip_prefix(";; ").context("the first line does not begin with `;; `")?;
    let expected = match expected.split_once(": ") {
        Some(("refused", words)) => Expected::Refused(words.to_owned()),
        Some(_) | None if expected == "success" => Expected::Success,
        Some(_) | None => Expected::Outcome(expected.to_owned()),
    };
    let setting =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(";;: ")?.strip_prefix(key)?.strip_prefix(' '));
    let hands_out = "(local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (global.set $heap (i32.add (local.get $at) (local.get 3)))
      (local.get $at)";
    let is_whole = text.lines().any(|line| line.starts_with("(component") || line.starts_with("(module"));
    let whole = if is_whole {
        text.to_owned()
    } else {
        frame
            .replace("{{memory}}", setting("memory").unwrap_or("2"))
            .replace("{{realloc}}", setting("realloc").unwrap_or(hands_out))
            .replace("{{done}}", setting("done").unwrap_or("(call $reset)"))
            .replace("{{guest}}", text)
    };
    let limits = setting("limits").unwrap_or(LIMITS).to_owned();
    Ok(Hostile { name: name.to_owned(), wasm: wat::parse_str(whole)?, limits, expected })
}
