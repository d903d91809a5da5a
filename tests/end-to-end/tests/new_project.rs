//! What `wasmill new` makes is built, loaded and tested by its own commands: the build of its `project.toml`, run by
//! `wasmill dev`, and `wasmill test`. Tools are those that `cargo xtask languages` installed, put where the project would
//! install them itself; that installing is the one step which is left out.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use host_process::{project_root, wasmill_binary};
use tempfile::TempDir;

/// Not what the templates are tested as elsewhere.
const NAME: &str = "strong-quakes";

struct Made(TempDir);

impl Made {
    fn new(language: &str) -> Result<Self> {
        let made = Self(tempfile::tempdir()?);
        made.run(made.0.path(), &["new", NAME, "--lang", language])?;
        Ok(made)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(NAME).join(name)
    }

    fn caches(&self) -> PathBuf {
        self.0.path().join("caches")
    }

    /// With caches of its own, and no `wasmill` in its path.
    fn run(&self, folder: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(wasmill_binary()?);
        command.args(arguments).current_dir(folder).env("XDG_CACHE_HOME", self.caches());
        // Zig's and cargo's own places, which need not be filled anew.
        command.env("ZIG_GLOBAL_CACHE_DIR", user_caches()?.join("zig")).env_remove("CARGO_TARGET_DIR");
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command.output()?;
        let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "wasmill {}: {said}{complaint}", arguments.join(" "));
        Ok(said.into_owned())
    }

    fn builds_and_passes(&self) -> Result<()> {
        let project = self.path("");
        let said = self.run(&project, &["dev", "--once", "--publish-samples"])?;
        ensure!(said.contains(&format!("loaded {NAME} ")) && said.contains("  success  "), "{said}");
        let said = self.run(&project, &["test"])?;
        ensure!(said.contains("ok    ") && said.contains(", 0 failed"), "{said}");
        Ok(())
    }
}

fn user_caches() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache"))).context("there is no HOME")
}

/// A folder below `target` that `cargo xtask languages` makes.
fn tools(name: &str) -> Result<PathBuf> {
    let folder = project_root().join("target").join(name).canonicalize();
    folder.with_context(|| format!("there is no target/{name}; run `cargo xtask languages` first"))
}

/// Put links to all that is in a folder into another. What is a link there points to the same as seen from here.
fn link(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = if entry.file_type()?.is_symlink() { fs::read_link(entry.path())? } else { entry.path() };
        symlink(target, to.join(entry.file_name()))?;
    }
    Ok(())
}

/// As `zig.sh` installs zig, in the version that it asks for.
fn with_zig(language: &str) -> Result<Made> {
    let made = Made::new(language)?;
    let script = ["wasmill/zig.sh", "wasmill/c/zig.sh"].map(|script| fs::read_to_string(made.path(script)));
    let script = script.into_iter().find_map(Result::ok).context("there is no zig.sh")?;
    let version = script.lines().find_map(|line| line.strip_prefix("zig_version=")).context("it names no version")?;
    let installed = made.caches().join("wasmill").join(format!("ziglang-{version}"));
    let ours = tools("zig/venv")?;
    ensure!(
        fs::read_to_string(ours.join("installed.txt"))?.ends_with(version),
        "zig.sh asks for {version}, and `cargo xtask languages` installs another"
    );
    link(&ours, &installed)?;
    fs::write(installed.join("installed"), "")?;
    Ok(made)
}

#[test]
fn c() -> Result<()> {
    with_zig("c")?.builds_and_passes()
}

#[test]
fn zig() -> Result<()> {
    with_zig("zig")?.builds_and_passes()
}

#[test]
fn python() -> Result<()> {
    let made = Made::new("python")?;
    link(&tools("python/venv")?, &made.path(".venv"))?;
    let installed = made.path(".venv/installed.txt");
    fs::remove_file(&installed)?;
    fs::copy(made.path("requirements.txt"), installed)?;
    made.builds_and_passes()
}

fn with_node_modules(language: &str) -> Result<Made> {
    let made = Made::new(language)?;
    let (from, to) = (tools("javascript/node_modules")?, made.path("node_modules"));
    // The SDK is a link to `../wasmill`: the one that the project brings.
    link(&from, &to)?;
    fs::remove_file(to.join(".bin"))?;
    link(&from.join(".bin"), &to.join(".bin"))?;
    Ok(made)
}

#[test]
fn javascript() -> Result<()> {
    with_node_modules("javascript")?.builds_and_passes()
}

#[test]
fn typescript() -> Result<()> {
    with_node_modules("typescript")?.builds_and_passes()
}

/// By its own lock. What it needs is built once, into `target/new-rust`.
#[test]
fn rust() -> Result<()> {
    let made = Made::new("rust")?;
    let target = project_root().join("target/new-rust");
    fs::create_dir_all(&target)?;
    symlink(target.canonicalize()?, made.path("target"))?;
    // Cargo puts the project's own package where its name belongs.
    let packages = || -> Result<BTreeSet<String>> {
        let lock = fs::read_to_string(made.path("Cargo.lock"))?;
        Ok(lock.split("[[package]]").map(|package| package.trim().to_owned()).collect())
    };
    let locked = packages()?;
    made.builds_and_passes()?;
    assert_eq!(packages()?, locked, "the lock is that of the manifest");
    Ok(())
}
