//! What failed on a host fails again in another process, with the same words, fuel and backtrace, when the host is
//! gone; and a candidate is told the same.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use end_to_end::{PATIENCE, TestHost, handler_with_queue, quarantined, server::SlowServer};
use host_process::{Client, guest, wasmill_binary};
use serde_json::{Value, json};

const SECRET: &str = "sk-live-4f9a7c31d2";

/// A command line that no host listens to.
fn offline(folder: &Path, arguments: &[&str]) -> Result<(bool, String, String)> {
    let output = Command::new(wasmill_binary()?)
        .arg("quarantine")
        .args(arguments)
        .env("WASMILL_URL", "http://127.0.0.1:9")
        .current_dir(folder)
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

fn json_of(text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| text.to_owned())
}

fn publish(client: &Client, handler: &str, words: &str) -> Result<()> {
    client.post(&format!("/v1/topics/{handler}/messages"), "text/plain", words.to_owned())?;
    client.wait_until_settled(PATIENCE)
}

/// Handlers that run `guest-evidence`, each with a queue of its own.
fn evidence(names: &[(&str, &str)], origin: &str, secret: &Path) -> Result<String> {
    let mut config = "[queue.seen]\nbindings = [\"seen\"]\n".to_owned();
    for (name, limits) in names {
        let more = format!(
            "grants = {{ http = [\"{origin}\"] }}\nsecrets = {{ API_KEY = {{ file = {secret:?} }} }}\n\
             config = {{ greeting = \"hello to you\" }}\nlimits = {{ {limits} }}"
        );
        config += &handler_with_queue(name, "guest-evidence", &more)?;
    }
    Ok(config)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn every_failure_comes_back_without_its_host() -> Result<()> {
    let server = SlowServer::start(Duration::ZERO)?;
    let origin = server.origin();
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("key");
    fs::write(&secret, SECRET)?;
    let cases = [
        ("trap", "", "trapped"),
        ("reject", "", "reject"),
        ("spin", "fuel = 50_000_000", "out-of-fuel"),
        ("allocate", "memory = \"8MiB\"", "out-of-memory"),
        ("publish", "published-max = 20", "publish-limit"),
        ("sleep", "wall-clock = \"1500ms\"", "timed-out"),
    ];
    let limits: Vec<(&str, &str)> = cases.iter().map(|(name, limits, _)| (*name, *limits)).collect();
    let mut host = TestHost::start(&evidence(&limits, &origin, &secret)?)?;
    for (name, ..) in &cases {
        publish(host.client(), name, "seed something worth reading")?;
        publish(host.client(), name, &format!("{name} {origin}/size/3000 {origin}/echo?key="))?;
        let id = quarantined(host.client(), name)?[0]["id"].clone();
        host.shell(&format!("wasmill quarantine export {id} --capsule {name}.capsule"))?;
    }
    let recorded: Vec<Value> =
        cases.iter().map(|(name, ..)| Ok(quarantined(host.client(), name)?.remove(0))).collect::<Result<_>>()?;
    drop(host.take_process()?);
    let requests = server.answered().len();
    drop(server);

    for ((name, _, outcome), recorded) in cases.iter().zip(&recorded) {
        let file = host.path(&format!("{name}.capsule"));
        let bytes = fs::read(&file)?;
        assert!(!contains(&bytes, SECRET), "{name}: the secret is in the capsule");
        let (good, said, complaint) =
            offline(&host.path(""), &["replay", "--json", "--file", &file.display().to_string()])?;
        let said = json_of(&said).context(complaint)?;
        let last = recorded["attempts"].as_array().and_then(|attempts| attempts.last()).context("no attempt")?;
        assert!(good, "{name}: {said:#}");
        assert_eq!(said["replayed"]["outcome"], *outcome, "{name}: {said:#}");
        assert_eq!(said["same"]["outcome"], true, "{name}: {said:#}");
        assert_eq!(said["same"]["backtrace"], true, "{name}: {said:#}");
        assert_eq!(said["replayed"]["fuel_used"], last["fuel_used"], "{name}: {said:#}");
        assert_eq!(said["replayed"]["log"], last["log"], "{name}: {said:#}");
        assert_eq!(said["replayed"]["backtrace"], last["backtrace"], "{name}");
        assert!(last["log"].to_string().contains("stored: something worth reading"), "{name}: {last:#}");
        assert!(last["log"].to_string().contains("the secret is [secret API_KEY]"), "{name}: {last:#}");
        assert!(last["log"].to_string().contains("answer: 200 28 "), "{name}: {last:#}");
        if *name == "trap" {
            assert!(!said["replayed"]["backtrace"].as_array().context("no list")?.is_empty(), "{said:#}");
        }
        assert_eq!(said["notes"], json!([]), "{name}: it went the same way");
    }
    assert_eq!(requests, cases.iter().map(|(name, ..)| if *name == "reject" { 2 } else { 4 }).sum::<usize>());

    let trap = host.path("trap.capsule").display().to_string();
    let mended = guest("guest-mended")?.display().to_string();
    let (good, said, _) = offline(folder.path(), &["replay", "--file", &trap, "--handler", &mended, "--json"])?;
    let said = json_of(&said)?;
    assert!(good && said["same_component"] == false, "{said:#}");
    let published = &said["replayed"]["effects"]["published"][0];
    assert_eq!(published["topic"], "seen");
    assert_eq!(said["notes"], json!([]), "the candidate asks for what was recorded: {said:#}");
    let (good, said, _) = offline(folder.path(), &["replay", "--file", &trap, "--handler", &mended])?;
    assert!(
        good && said.contains("pass: the candidate succeeds") && said.contains("published to seen: time: "),
        "{said}"
    );

    let bytes = fs::read(host.path("trap.capsule"))?;
    for (what, bytes, expected) in [
        ("foreign", b"{}".to_vec(), "this is not a capsule file"),
        ("cut", bytes[..bytes.len() - 1].to_vec(), "its checksum does not match"),
        (
            "flipped",
            {
                let mut bytes = bytes.clone();
                bytes[5_000] ^= 1;
                bytes
            },
            "its checksum does not match",
        ),
        (
            "newer",
            {
                let mut bytes = bytes.clone();
                bytes[16] = 9;
                bytes
            },
            "is of version 9",
        ),
        ("short", bytes[..20].to_vec(), "it is cut short"),
    ] {
        fs::write(host.path("bad.capsule"), bytes)?;
        let (good, _, complaint) = offline(&host.path(""), &["replay", "--file", "bad.capsule"])?;
        assert!(!good && complaint.contains(expected), "{what}: {complaint}");
    }
    Ok(())
}

#[test]
fn a_capsule_ends_at_its_limit_and_a_replay_says_so() -> Result<()> {
    let server = SlowServer::start(Duration::ZERO)?;
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("key");
    fs::write(&secret, SECRET)?;
    let host = TestHost::start(&evidence(&[("clock", "")], &server.origin(), &secret)?)?;
    publish(host.client(), "clock", "clock")?;
    let record = quarantined(host.client(), "clock")?.remove(0);
    let bytes = record["capsule"]["bytes"].as_u64().context("no capsule")?;
    assert!((100_000..=256 * 1024).contains(&bytes), "{record:#}");
    let said = json_of(&host.shell(&format!("wasmill quarantine replay --json {} || true", record["id"]))?)?;
    let notes = said["notes"].to_string();
    assert!(
        notes.contains("the capsule is not complete: ") && notes.contains("answers of the host did not fit"),
        "{said:#}"
    );
    assert_eq!(said["replayed"]["outcome"], "reject", "it goes on as well as it can: {said:#}");
    Ok(())
}

#[test]
fn only_what_passes_is_redriven() -> Result<()> {
    let server = SlowServer::start(Duration::ZERO)?;
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("key");
    fs::write(&secret, SECRET)?;
    let mut config = evidence(&[("trap", "")], &server.origin(), &secret)?;
    config += "[queue.pulled]\nbindings = [\"pulled\"]\n[queue.pulled.consumer.outside]\npull = true\n";
    let host = TestHost::start(&config)?;
    let client = host.client();
    for words in ["trap one", "reject two", "trap three"] {
        publish(client, "trap", words)?;
    }
    client.post("/v1/topics/pulled/messages", "text/plain", "x")?;
    let pulled = json_of(&host.shell("wasmill pull pulled outside")?)?;
    let place = format!("deliveries/{}/reject?fence={}", pulled["sequence"], pulled["fence"]);
    client.post(&format!("/v1/queues/pulled/consumers/outside/{place}"), "text/plain", "")?;
    let id = client.get("/v1/quarantine?queue=pulled")?["quarantined"][0]["id"].clone();
    let complaint = host.shell(&format!("wasmill quarantine replay {id}")).expect_err("nothing ran here").to_string();
    assert!(complaint.contains("consumer outside is pulled by a program outside"), "{complaint}");
    let complaint = host.shell("wasmill quarantine replay 77").expect_err("there is none").to_string();
    assert!(complaint.contains("77"), "{complaint}");
    let before = client.get("/v1/quarantine?handler=trap")?["quarantined"].as_array().context("no list")?.len();
    assert_eq!(before, 3);

    // On the version that is loaded all of them fail still.
    let table = host.shell("wasmill quarantine replay --all --of trap || true")?;
    assert!(table.contains("0 of 3 pass"), "{table}");
    assert!(host.shell("wasmill quarantine replay --all --of trap").is_err(), "and the exit code says so");

    let mended = guest("guest-mended")?.display().to_string();
    let table = host.shell(&format!("wasmill quarantine replay --all --of trap --handler {mended} || true"))?;
    assert!(table.contains("2 of 3 pass"), "{table}");
    let line = |word: &str| table.lines().find(|line| line.contains(word)).map(ToOwned::to_owned).unwrap_or_default();
    assert!(line("still not").contains("fail"), "{table}");
    let listed = client.get("/v1/quarantine?handler=trap")?["quarantined"].as_array().context("no list")?.len();
    assert_eq!(listed, 3, "a replay changes nothing");
    assert_eq!(client.get("/v1/queues/seen")?["messages"], 0, "and publishes nothing");

    host.shell(&format!("wasmill handler load trap {mended}"))?;
    let old = guest("guest-evidence")?.display().to_string();
    let said = host.shell(&format!("wasmill quarantine redrive --passing --handler trap --candidate {old} 2>&1"))?;
    assert!(said.contains("does not run this candidate now") && said.contains("0 redriven"), "{said}");
    let said = host.shell("wasmill quarantine redrive --passing --handler trap 2>&1")?;
    assert!(said.contains("redriving the 2 that pass; the 1 others stay in quarantine"), "{said}");
    client.wait_until_settled(PATIENCE)?;
    let left = quarantined(client, "trap")?;
    assert_eq!(left.len(), 1, "{left:#?}");
    assert!(left[0]["attempts"].to_string().contains("saw "), "the one that is still rejected");
    assert_eq!(client.get("/v1/queues/seen")?["messages"], 2);
    Ok(())
}
