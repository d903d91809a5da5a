//! All tests, in the order in which they are quickest to fail.

use std::{process::Command, time::Instant};

use anyhow::{Context as _, Result};

use crate::shell::{cargo, output_of, run, say};

pub(crate) fn test() -> Result<()> {
    let started = Instant::now();
    step("formatting", || run(cargo(["fmt", "--all", "--check"])))?;
    step("components", crate::components)?;
    step("components in other languages", crate::languages)?;
    step("building every program (the first time Wasmtime is compiled: about ten minutes on two cores)", || {
        run(cargo(["build", "--quiet", "--locked", "--workspace"]))
    })?;
    step("what counts instructions", valgrind)?;
    step("tests", || run(cargo(["test", "--locked", "--workspace"])))?;
    step("lints", || {
        run(cargo(["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    })?;
    step("documentation", || {
        let mut doc = cargo(["doc", "--quiet", "--locked", "--workspace", "--no-deps"]);
        doc.env("RUSTDOCFLAGS", "--deny warnings");
        run(doc)
    })?;
    step("licences and sources of dependencies", deny)?;
    say(&format!("all passed in {} s", started.elapsed().as_secs()));
    Ok(())
}

fn step(what: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    say(what);
    let started = Instant::now();
    work()?;
    say(&format!("{} took {:.1} s", what.split(" (").next().unwrap_or(what), started.elapsed().as_secs_f64()));
    Ok(())
}

/// Without it the test of what a message costs counts no instructions.
fn valgrind() -> Result<()> {
    let version = || {
        let mut valgrind = Command::new("valgrind");
        valgrind.arg("--version");
        output_of(valgrind)
    };
    if version().is_ok() {
        return Ok(());
    }
    say("installing valgrind from Debian's packages");
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", "valgrind"]] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        output_of(apt).context("there is no valgrind, and apt-get cannot install it; install it")?;
    }
    version().context("valgrind was installed, and does not start").map(|_| ())
}

/// The version that `deny.toml` is written for.
const CARGO_DENY_VERSION: &str = "0.20.2";

fn deny() -> Result<()> {
    if output_of(cargo(["deny", "--version"])).is_err() {
        say("installing cargo-deny (about three minutes)");
        let mut install = cargo(["install", "--quiet", "--locked", "--debug", "cargo-deny", "--version"]);
        install.arg(CARGO_DENY_VERSION);
        run(install)?;
    }
    run(cargo(["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]))
}
