//! The plugins do what their pages say: their cases hold, and the configuration that each page shows works as it stands.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use end_to_end::{PATIENCE, TestHost};
use host_process::{guest, project_root, wasmill_binary};

/// A plugin, a message for the queue that its page configures, and the queue where something of it arrives.
const PAGES: [(&str, &str, &str, Option<&str>); 8] = [
    ("dedupe", "orders.raw", r#"{"order": {"id": 7}}"#, Some("orders-unique")),
    ("filter-map", "quakes", r#"{"id": "a", "magnitude": 6.1, "place": "Suva"}"#, Some("strong-quakes")),
    ("join", "orders", r#"{"n": 1}"#, None),
    ("schema-check", "orders.new", r#"{"id": 1, "items": [{"price": 2}]}"#, Some("orders-checked")),
    ("split", "orders", r#"{"lines": [{"sku": "a"}]}"#, Some("order-lines")),
    ("throttle", "calls.new", "{}", Some("calls-paced")),
    ("webhook", "", "", None),
    ("window", "readings.kitchen", r#"{"sensor": "a", "celsius": 20.5, "at": "2026-01-01T00:00:00Z"}"#, None),
];

fn component(plugin: &str) -> String {
    format!("wasmill-plugin-{plugin}")
}

#[test]
fn the_cases_of_every_plugin_hold() -> Result<()> {
    for (plugin, ..) in PAGES {
        guest(&component(plugin))?;
        let cases = project_root().join("plugins").join(plugin).join("cases.test.toml");
        let output = Command::new(wasmill_binary()?).arg("test").arg(&cases).output()?;
        let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "wasmill test {}:\n{said}{complaint}", cases.display());
    }
    Ok(())
}

#[test]
fn every_plugin_is_in_the_list_above() -> Result<()> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(project_root().join("plugins"))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() && entry.file_name() != "common" {
            folders.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    folders.sort();
    assert_eq!(folders, PAGES.map(|(plugin, ..)| plugin));
    Ok(())
}

#[test]
fn the_configuration_of_every_page_works() -> Result<()> {
    for (plugin, topic, data, arrives_in) in PAGES {
        let page = fs::read_to_string(project_root().join("plugins").join(plugin).join("README.md"))?;
        let config = page.split_once("```toml\n").and_then(|(_, behind)| behind.split_once("\n```"));
        let config = config.with_context(|| format!("the page of {plugin} shows no configuration"))?.0;
        let file = format!("{}.wasm", component(plugin));
        ensure!(config.contains(&file), "the configuration of {plugin} names no component {file}");
        let config = config.replace(&file, &guest(&component(plugin))?.display().to_string());
        let key = Path::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let host = TestHost::start_with(&config, &[("WEBHOOK_KEY", key)]).with_context(|| plugin)?;
        if !topic.is_empty() {
            host.shell(&format!("wasmill publish {topic} '{data}' --key k")).with_context(|| plugin)?;
            host.client().wait_until_settled(PATIENCE).with_context(|| plugin)?;
        }
        // What was given up is settled too.
        let given_up = host.client().get("/v1/quarantine")?;
        let none = given_up["quarantined"].as_array().is_some_and(Vec::is_empty);
        ensure!(none, "{plugin} cannot handle what its page is about: {given_up}");
        if let Some(queue) = arrives_in {
            let messages = host.client().get(&format!("/v1/queues/{queue}/messages"))?;
            let found = messages["messages"].as_array().context("a list of messages")?.len();
            assert_eq!(found, 1, "{plugin} publishes to queue {queue}: {messages}");
        }
    }
    Ok(())
}
