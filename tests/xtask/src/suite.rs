//! All tests, in the order in which they are quickest to fail.

use std::time::Instant;

use anyhow::Result;

use crate::shell::{cargo, output_of, run, say};

pub(crate) fn test() -> Result<()> {
    let started = Instant::now();
    step("formatting", || run(cargo(["fmt", "--all", "--check"])))?;
    step("components", crate::components)?;
    step("components in other languages", crate::languages)?;
    step("building every program (the first time Wasmtime is compiled: about ten minutes on two cores)", || {
        run(cargo(["build", "--quiet", "--locked", "--workspace"]))
    })?;
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
