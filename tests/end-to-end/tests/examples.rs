//! The examples run, and what they print is what they promise.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use host_process::{project_root, wasmill_binary};

fn run(example: &str, arguments: &[&str]) -> Result<String> {
    let program = wasmill_binary()?.with_file_name(example);
    ensure!(program.is_file(), "{example} is not built; run `cargo build --workspace` first");
    let output = Command::new(program).args(arguments).current_dir(project_root()).output().context("cannot run it")?;
    ensure!(output.status.success(), "{example} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn quakes_has_the_same_summary_with_and_without_a_crash() -> Result<()> {
    let summary = |arguments: &[&str]| -> Result<serde_json::Value> {
        let mut summary: serde_json::Value = serde_json::from_str(&run("quakes", arguments)?)?;
        let speed = summary.as_object_mut().and_then(|summary| summary.remove("messages_per_second"));
        assert!(speed.and_then(|speed| speed.as_u64()) > Some(0));
        Ok(summary)
    };
    let plain = summary(&["--json"])?;
    assert_eq!(plain["published"], 1_715);
    assert_eq!(plain, summary(&["--json", "--crash"])?);
    Ok(())
}

#[test]
fn orders_tells_its_story() -> Result<()> {
    let text = run("orders", &[])?;
    assert!(text.contains("placed: 24 orders, each to 4 queues") && text.contains("quarantine: empty"), "{text}");
    Ok(())
}

#[test]
fn embed_hosts_a_handler_in_under_40_lines() -> Result<()> {
    assert!(run("embed", &[])?.contains("hello"));
    let source = std::fs::read_to_string(project_root().join("examples/embed/src/main.rs"))?;
    let code = source.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//")).count();
    assert!(code < 40, "examples/embed has {code} lines of code");
    Ok(())
}
