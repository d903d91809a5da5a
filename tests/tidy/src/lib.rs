//! Reads the project as text: which files there are, what they say, and which crate builds on which.
//!
//! The rules themselves are the tests in `tests/`, one file for each kind of rule.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A file of the project.
#[derive(Clone, Debug)]
pub struct Source {
    /// From the project's root, with `/` between folders.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Source {
    /// Whether it is below that folder.
    #[must_use]
    pub fn is_below(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Lines with their numbers from 1 that contain `what`.
    pub fn lines_with<'a>(&'a self, what: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(move |(_, line)| line.contains(what))
    }
}

/// The project's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files that git knows or would take, with these endings, as far as they are text.
///
/// # Errors
/// When git cannot be asked.
pub fn sources(endings: &[&str]) -> Result<Vec<Source>> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("git is needed to list the project's files")?;
    ensure!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout)?;
    let wanted = paths.lines().filter(|path| endings.iter().any(|ending| path.ends_with(ending)));
    Ok(wanted
        .filter_map(|path| {
            Some(Source { path: path.to_owned(), text: std::fs::read_to_string(root().join(path)).ok()? })
        })
        .collect())
}

/// Each crate of the workspace with the crates of the workspace that it builds on, test-only ones left out.
///
/// # Errors
/// When cargo cannot be asked.
pub fn dependencies() -> Result<BTreeMap<String, Vec<String>>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        dependencies: Vec<Dependency>,
    }
    #[derive(Deserialize)]
    struct Dependency {
        name: String,
        kind: Option<String>,
    }
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cannot read cargo metadata")?;
    let listed = metadata.packages.into_iter().map(|package| {
        let normal = package.dependencies.into_iter().filter(|dependency| dependency.kind.is_none());
        (package.name, normal.map(|dependency| dependency.name).collect())
    });
    Ok(listed.collect())
}
