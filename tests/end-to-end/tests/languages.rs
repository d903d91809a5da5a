//! One suite for the handlers of all languages, run by the command that their writers use.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use host_process::{project_root, wasmill_binary};
use serde_json::Value;

/// Cases of the suite: a file that is not found would otherwise make it pass.
const CASES: usize = 51;

fn component(language: &str, name: &str) -> Result<PathBuf> {
    let file = project_root().join(format!("target/languages/{language}/{name}.wasm"));
    ensure!(file.is_file(), "{} is not there; run `cargo xtask languages` first", file.display());
    Ok(file)
}

fn test(language: &str, name: &str, cases: &str) -> Result<Output> {
    let mut wasmill = Command::new(wasmill_binary()?);
    wasmill.args(["test", "--json", "--component"]).arg(component(language, name)?);
    Ok(wasmill.arg(project_root().join(cases)).output()?)
}

/// Run them, and answer how many there were.
fn pass(language: &str, name: &str, cases: &str) -> Result<usize> {
    let output = test(language, name, cases)?;
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{language}: {said}{complaint}");
    let report: Value = serde_json::from_str(&said).with_context(|| said.clone().into_owned())?;
    Ok(report["cases"].as_array().context("a list of cases")?.len())
}

fn conforms(language: &str) -> Result<()> {
    let passed = pass(language, "conformance", "tests/conformance/cases")?;
    ensure!(passed >= CASES, "only {passed} cases were run");
    let passed = pass(language, "quake-alert", "examples/quake-alerts/cases.test.toml")?;
    ensure!(passed >= 6, "only {passed} cases were run");
    Ok(())
}

#[test]
fn rust() -> Result<()> {
    conforms("rust")
}

#[test]
fn javascript() -> Result<()> {
    conforms("javascript")
}

#[test]
fn typescript() -> Result<()> {
    conforms("typescript")
}

#[test]
fn python() -> Result<()> {
    conforms("python")
}

#[test]
fn c() -> Result<()> {
    conforms("c")
}

#[test]
fn zig() -> Result<()> {
    conforms("zig")
}

/// The suite tells one handler from another: what passes for quake alerts does not pass here.
#[test]
fn another_handler_does_not_conform() -> Result<()> {
    let output = test("rust", "quake-alert", "tests/conformance/cases")?;
    ensure!(output.status.code() == Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
