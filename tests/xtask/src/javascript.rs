//! Building the component in JavaScript, `tests/javascript`, into `target/guests/guest-javascript.wasm`.
//!
//! What builds it comes from npm in the versions that its `package.json` names, into `target/javascript`. A component that is
//! newer than what it is made of is left alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result, ensure};

use crate::shell::{output_of, project_root, say};

const WORLD: &str = "message-handler";
/// What the handler does not use, so that it is not built in and imported.
const WITHOUT: [&str; 2] = ["http", "fetch-event"];

/// Build it, unless it is there.
pub(crate) fn build() -> Result<()> {
    let root = project_root();
    let (source, tools) = (root.join("tests/javascript"), root.join("target/javascript"));
    let component = root.join("target/guests/guest-javascript.wasm");
    let mut inputs = files(&root.join("wit"))?;
    inputs.extend(files(&source)?);
    if modified(&component).is_some_and(|built| inputs.iter().all(|input| modified(input) < Some(built))) {
        return Ok(());
    }
    install(&source, &tools)?;
    say("building the component in JavaScript");
    let mut componentize = Command::new(tools.join("node_modules/.bin/componentize-js"));
    componentize.arg("--wit").arg(root.join("wit")).args(["--world-name", WORLD, "--disable"]).args(WITHOUT);
    componentize.arg("--out").arg(&component).arg(source.join("handler.js"));
    fs::create_dir_all(root.join("target/guests"))?;
    output_of(componentize).context("the component in JavaScript is not built")?;
    ensure!(component.is_file(), "componentize-js wrote no component and did not say why");
    Ok(())
}

/// Into a folder of its own, whole or not at all: what it was installed by is copied last.
fn install(source: &Path, tools: &Path) -> Result<()> {
    const LIST: &str = "package.json";
    let installed = tools.join("node_modules/.installed");
    let wanted = fs::read(source.join(LIST))?;
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    need_npm()?;
    say("installing componentize-js from npm into target/javascript (about 400 MB)");
    fs::create_dir_all(tools)?;
    fs::copy(source.join(LIST), tools.join(LIST))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error"]).current_dir(tools);
    output_of(npm).context("npm cannot install what builds the component in JavaScript; it must reach its registry")?;
    fs::write(installed, wanted)?;
    Ok(())
}

/// Node and its package manager, from Debian's packages when they are missing and can be had from there.
fn need_npm() -> Result<()> {
    let version = || {
        let mut npm = Command::new("npm");
        npm.arg("--version");
        output_of(npm)
    };
    if version().is_ok() {
        return Ok(());
    }
    say("installing Node and npm from Debian's packages");
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", "nodejs", "npm"]] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        output_of(apt).context("there is no npm, and apt-get cannot install it; install Node 20 or later with npm")?;
    }
    version().context("npm was installed and does not run").map(|_| ())
}

/// All files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}
