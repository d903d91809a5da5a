//! Building every component of the project into `target/guests`.
//!
//! A package is a component when its manifest says `[package.metadata.wasmill] handler = true`.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::shell::{cargo, output_of, project_root, run, say};

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "guest";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    metadata: Option<BTreeMap<String, serde_json::Value>>,
}

impl Package {
    fn is_guest(&self) -> bool {
        let wasmill = self.metadata.as_ref().and_then(|metadata| metadata.get("wasmill"));
        wasmill.is_some_and(|wasmill| wasmill["handler"] == true)
    }
}

/// Build them all. Answers with the names of their packages.
pub(crate) fn build() -> Result<Vec<String>> {
    add_target()?;
    let metadata = metadata()?;
    let guests: Vec<String> =
        metadata.packages.iter().filter(|package| package.is_guest()).map(|package| package.name.clone()).collect();
    say(&format!("building {} components", guests.len()));
    let mut command = cargo(["build", "--quiet", "--locked", "--profile", PROFILE, "--target", TARGET]);
    command.args(guests.iter().flat_map(|name| ["--package", name]));
    run(command)?;
    let built = metadata.target_directory.join(TARGET).join(PROFILE);
    let folder = project_root().join("target/guests");
    std::fs::create_dir_all(&folder)?;
    for name in &guests {
        let from = built.join(format!("{}.wasm", name.replace('-', "_")));
        copy_if_changed(&from, &folder.join(format!("{name}.wasm")))
            .with_context(|| format!("component {name} was not built to {}", from.display()))?;
    }
    Ok(guests)
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    Ok(metadata()?.target_directory)
}

/// A running host watches its files, so one that did not change is left alone.
pub(crate) fn copy_if_changed(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    let new = std::fs::read(from)?;
    if std::fs::read(to).ok().as_deref() != Some(&new) {
        std::fs::write(to, new)?;
    }
    Ok(())
}

fn metadata() -> Result<Metadata> {
    let text = output_of(cargo(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    serde_json::from_str(&text).context("cannot read what cargo metadata printed")
}

/// Rust compiles to components by a target that rustup has to add once.
fn add_target() -> Result<()> {
    let mut list = std::process::Command::new("rustup");
    list.args(["target", "list", "--installed"]).current_dir(project_root());
    let installed =
        output_of(list).context("rustup is needed to add the target wasm32-wasip2; see https://rustup.rs")?;
    if installed.lines().any(|line| line == TARGET) {
        return Ok(());
    }
    say(&format!("adding the compilation target {TARGET}"));
    let mut add = std::process::Command::new("rustup");
    add.args(["target", "add", TARGET]).current_dir(project_root());
    run(add)
}
