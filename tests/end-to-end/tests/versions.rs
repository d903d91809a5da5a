//! Versions of a handler come, are tried, and go: by themselves, by an operator, over a restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use end_to_end::{PATIENCE, TestHost};
use host_process::{Client, release};
use serde_json::{Value, json};

const WASM: &str = "application/wasm";
/// A handler that publishes to `out`, with a queue that keeps what comes there.
const CONFIG: &str = r#"
[handler.work]
config = { to = "out" }
canary = { deliveries = 60, margin = "5%" }
[queue.work]
bindings = ["work"]
[queue.work.consumer.work]
handler = "work"
attempts = 4
backoff = { fixed = "50ms", jitter = false }
order = "key"
[queue.out]
bindings = ["out"]
retention = { messages = 100000 }
"#;

fn start() -> Result<TestHost> {
    let config = format!("[handlers]\nfolder = \"./handlers\"\n{CONFIG}");
    let host = TestHost::start(&config)?;
    load(host.client(), "ok01", "")?;
    Ok(host)
}

fn load(client: &Client, mark: &str, query: &str) -> Result<Value> {
    Ok(serde_json::from_str(&client.put(&format!("/v1/handlers/work{query}"), WASM, release(mark)?)?)?)
}

fn publish(client: &Client, key: usize, data: &str) -> Result<()> {
    let line = json!({ "topic": "work", "key": format!("k{key}"), "data_text": data });
    client.publish_lines("/v1/messages", &format!("{line}\n")).map(|_| ())
}

fn publish_many(client: &Client, keys: std::ops::Range<usize>, data: &str) -> Result<()> {
    let line = |key| format!("{}\n", json!({ "topic": "work", "key": format!("k{key}"), "data_text": data }));
    let answers = client.publish_lines("/v1/messages", &keys.map(line).collect::<String>())?;
    ensure!(answers.iter().all(|answer| answer["id"].is_string()), "{answers:?}");
    Ok(())
}

/// What came out: of which message, by which release, with which key.
fn outputs(client: &Client) -> Result<Vec<(String, String, String)>> {
    let (mut all, mut from) = (Vec::new(), 1);
    loop {
        let page = client.get(&format!("/v1/queues/out/messages?limit=1000&from={from}"))?;
        for message in page["messages"].as_array().context("no messages")? {
            let headers: BTreeMap<String, String> = message["headers"]
                .as_array()
                .context("no headers")?
                .iter()
                .map(|pair| {
                    (pair[0].as_str().unwrap_or_default().to_owned(), pair[1].as_str().unwrap_or_default().to_owned())
                })
                .collect();
            let key = message["key"].as_str().unwrap_or_default().to_owned();
            all.push((headers["of"].clone(), headers["release"].clone(), key));
        }
        match page["next"].as_u64() {
            Some(next) => from = next,
            None => return Ok(all),
        }
    }
}

fn history(client: &Client) -> Result<Value> {
    client.get("/v1/handlers/work/history")
}

fn wait_for(client: &Client, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = history(client)?;
        if is_so(&now) {
            return Ok(now);
        }
        ensure!(Instant::now() < deadline, "{what} never comes: {now:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn no_canary(history: &Value) -> bool {
    history["candidate"].is_null()
}

fn refused(answer: Result<Value>) -> String {
    format!("{:#}", answer.expect_err("it must be refused"))
}

#[test]
fn rollback_goes_back_also_after_a_restart_and_says_when_it_cannot() -> Result<()> {
    let mut host = start()?;
    let first = history(host.client())?["digest"].clone();
    let nothing = refused(host.client().post("/v1/handlers/work/rollback", WASM, "").map(Value::from));
    assert!(nothing.contains("409") && nothing.contains("no-earlier-version"), "{nothing}");
    let second = load(host.client(), "ok02", "")?["digest"].clone();
    host.take_process()?.kill()?;
    host.start_again()?;
    let said = host.shell("wasmill handler rollback work")?;
    assert!(said.contains("runs this version now") && said.contains(first.as_str().context("digest")?), "{said}");
    publish(host.client(), 1, "x")?;
    host.client().wait_until_settled(PATIENCE)?;
    assert_eq!(outputs(host.client())?[0].1, "ok01");
    let now = history(host.client())?;
    assert_eq!((&now["digest"], &now["versions"][0]["rolled_back_from"]), (&first, &second));
    assert_eq!(now["versions"][1]["given_up"], true, "{now:#}");
    let again = refused(host.client().post("/v1/handlers/work/rollback", WASM, "").map(Value::from));
    assert!(again.contains("no-earlier-version"), "what was given up is not gone back to: {again}");

    let to = &second.as_str().context("digest")?[..8];
    let said = host.shell(&format!("wasmill handler rollback work --to {to} --json"))?;
    assert_eq!(serde_json::from_str::<Value>(&said)?["digest"], second);
    let table = host.shell("wasmill handler history work")?;
    assert!(table.contains("rolled-back, runs") && table.contains("loaded, given up"), "{table}");
    let unknown = refused(host.client().post("/v1/handlers/work/rollback?to=00000000", WASM, "").map(Value::from));
    assert!(unknown.contains("404") && unknown.contains("unknown-version"), "{unknown}");
    for path in ["/v1/handlers/nobody/rollback", "/v1/handlers/nobody/promote"] {
        assert!(refused(host.client().post(path, WASM, "").map(Value::from)).contains("unknown-handler"));
    }
    Ok(())
}

#[test]
fn a_version_that_was_rolled_back_from_does_not_come_back_from_its_file() -> Result<()> {
    let mut host = start()?;
    let first = history(host.client())?["digest"].clone();
    fs::create_dir_all(host.path("handlers"))?;
    fs::write(host.path("handlers/work.wasm"), release("ok02")?)?;
    let loaded = wait_for(host.client(), "the file's version", |now| now["digest"] != first)?;
    host.shell("wasmill handler rollback work")?;
    host.take_process()?.kill()?;
    host.start_again()?;
    assert_eq!(history(host.client())?["digest"], first, "the file is older than the operator's word");
    fs::write(host.path("handlers/work.wasm"), release("ok03")?)?;
    let third = wait_for(host.client(), "the file's next version", |now| now["digest"] != first)?;
    assert_ne!(third["digest"], loaded["digest"]);
    Ok(())
}

#[test]
fn a_version_that_fails_on_the_sample_is_refused_and_does_not_hold_up_delivery() -> Result<()> {
    let host = start()?;
    let digest = history(host.client())?["digest"].clone();
    fs::write(host.path("sample.json"), json!({ "topic": "work", "key": "s", "data_text": "bad" }).to_string())?;
    fs::write(host.path("trap.wasm"), release("tr02")?)?;
    let refusal = host.shell("wasmill handler load work trap.wasm --sample sample.json").expect_err("it traps");
    let refusal = format!("{refusal:#}");
    for word in ["sample-failed", "trapped", "this version traps on bad data"] {
        assert!(refusal.contains(word), "{word} is not in {refusal}");
    }
    assert_eq!(host.client().get("/v1/handlers/work")?["sample"]["data_text"], "bad");

    // One that never ends: other deliveries go on meanwhile, and nobody waits longer than the limit.
    host.client().put("/v1/handlers/work", "application/json", r#"{"limits":{"fuel_max":1000000000000}}"#)?;
    let began = Instant::now();
    let hanging = std::thread::spawn({
        let client = host.client().clone();
        move || client.put("/v1/handlers/work", WASM, release("lo02").expect("built"))
    });
    let mut settled = 0;
    while !hanging.is_finished() {
        publish(host.client(), settled, "x")?;
        host.client().wait_until_settled(PATIENCE)?;
        settled += 1;
    }
    let refusal = format!("{:#}", hanging.join().expect("no panic").expect_err("it never ends"));
    assert!(refusal.contains("422") && refusal.contains("10000 ms"), "{refusal}");
    assert!(settled > 20 && began.elapsed() < Duration::from_secs(25), "{settled} in {:?}", began.elapsed());

    assert_eq!(history(host.client())?["digest"], digest, "the old one stays");
    assert_eq!(host.client().get_text("/v1/handlers/work/state/count")?, settled.to_string(), "samples store nothing");
    assert_eq!(outputs(host.client())?.len(), settled, "samples publish nothing");
    assert_eq!(load(host.client(), "tr02", "?skip_sample=true")?["changed"], true);
    host.client().put("/v1/handlers/work", "application/json", r#"{"sample":null}"#)?;
    assert_eq!(load(host.client(), "tr03", "")?["changed"], true);
    Ok(())
}

#[test]
fn a_canary_that_traps_goes_back_by_itself_and_its_delivery_is_handled_by_the_old_version() -> Result<()> {
    let host = start()?;
    let old = history(host.client())?["digest"].clone();
    let begun = load(host.client(), "tr02", "?canary=50%25")?;
    assert_eq!(begun["canary_share_percent"], 50);
    publish_many(host.client(), 0..40, "good")?;
    host.client().wait_until_settled(PATIENCE)?;
    let both: BTreeSet<String> = outputs(host.client())?.into_iter().map(|(_, release, _)| release).collect();
    assert_eq!(both.len(), 2, "both versions run: {both:?}");
    publish_many(host.client(), 0..40, "bad")?;
    let gone_back = wait_for(host.client(), "the end of the canary", no_canary)?;
    host.client().wait_until_settled(PATIENCE)?;
    let event = &gone_back["versions"][0];
    assert_eq!((&gone_back["digest"], &event["change"]), (&old, &"given-back".into()));
    assert_eq!(event["reason"]["reason"], "trapped");
    assert!(event["why"].as_str().context("why")?.contains("where the current version did not"), "{event:#}");
    let all = outputs(host.client())?;
    assert_eq!(all.len(), 80, "each message is handled once: {} were", all.len());
    assert!(host.client().get("/v1/quarantine")?["quarantined"].as_array().is_some_and(Vec::is_empty));
    let metrics = host.client().get_text("/metrics")?;
    let counted = r#"wasmill_handler_canaries_ended_total{handler="work",outcome="given-back"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    assert!(host.shell("wasmill handler history work")?.contains("given-back, given up"));
    Ok(())
}

#[test]
fn a_canary_that_fails_more_often_goes_back_and_one_that_does_not_is_promoted() -> Result<()> {
    let host = start()?;
    let old = history(host.client())?["digest"].clone();
    load(host.client(), "re02", "?canary=50%25")?;
    publish_many(host.client(), 0..60, "bad")?;
    let gone_back = wait_for(host.client(), "the end of the canary", no_canary)?;
    assert_eq!((&gone_back["digest"], &gone_back["versions"][0]["reason"]["reason"]), (&old, &"failed-more".into()));
    host.client().wait_until_settled(PATIENCE)?;
    assert_eq!(outputs(host.client())?.len(), 60, "the old version handled what the other could not");

    // Success in the sandbox, failure when it is settled: what it publishes goes nowhere.
    load(host.client(), "no02", "?canary=50%25")?;
    publish_many(host.client(), 0..60, "x")?;
    let gone_back = wait_for(host.client(), "the end of the canary", no_canary)?;
    assert_eq!(gone_back["versions"][0]["reason"]["reason"], "failed-more");
    host.client().wait_until_settled(PATIENCE)?;

    let before = outputs(host.client())?.len();
    let new = load(host.client(), "ok02", "?canary=50%25")?["digest"].clone();
    publish_many(host.client(), 0..100, "x")?;
    host.client().wait_until_settled(PATIENCE)?;
    publish_many(host.client(), 0..100, "x")?;
    let promoted = wait_for(host.client(), "the end of the canary", no_canary)?;
    assert_eq!((&promoted["digest"], &promoted["versions"][0]["change"]), (&new, &"promoted".into()));
    assert_eq!(promoted["versions"][0]["counts"]["candidate_deliveries"], 60);
    host.client().wait_until_settled(PATIENCE)?;
    let mut sides: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, release, key) in outputs(host.client())?.into_iter().skip(before).take(100) {
        sides.entry(key).or_default().insert(release);
    }
    assert!(sides.values().all(|releases| releases.len() == 1), "a key has one side: {sides:?}");
    Ok(())
}

#[test]
fn a_canary_survives_a_crash_and_ends_by_hand_by_time_or_by_another() -> Result<()> {
    let mut host = start()?;
    let old = history(host.client())?["digest"].clone();
    let second = load(host.client(), "ok02", "?canary=50%25")?["digest"].clone();
    host.take_process()?.kill()?;
    host.start_again()?;
    assert_eq!(history(host.client())?["candidate"]["digest"], second);
    let deadline = Instant::now() + PATIENCE;
    while outputs(host.client())?.iter().all(|(_, release, _)| release != "ok02") {
        publish_many(host.client(), 0..10, "x")?;
        host.client().wait_until_settled(PATIENCE)?;
        ensure!(Instant::now() < deadline, "the candidate does not run after the crash");
    }
    assert_eq!(load(host.client(), "ok02", "?canary=10")?["changed"], false, "it is tried already");
    let third = load(host.client(), "ok03", "?canary=10")?["digest"].clone();
    let now = history(host.client())?;
    assert_eq!((&now["candidate"]["digest"], &now["versions"][0]["reason"]["reason"]), (&third, &"superseded".into()));
    assert!(host.shell("wasmill handler promote work")?.contains("runs this version now"));
    assert_eq!(history(host.client())?["digest"], third);
    let none = refused(host.client().post("/v1/handlers/work/promote", WASM, "").map(Value::from));
    assert!(none.contains("409") && none.contains("no-canary"), "{none}");

    load(host.client(), "ok04", "?canary=10")?;
    host.shell("wasmill handler rollback work")?;
    let now = history(host.client())?;
    assert_eq!((&now["digest"], &now["versions"][0]["reason"]["reason"]), (&third, &"operator".into()));
    host.client().put(
        "/v1/handlers/work",
        "application/json",
        r#"{"canary":{"duration_ms":300,"share_percent":20}}"#,
    )?;
    assert_eq!(load(host.client(), "ok05", "")?["canary_share_percent"], 20, "the handler's settings say so");
    let late = wait_for(host.client(), "the end of its time", no_canary)?;
    assert_eq!(late["versions"][0]["reason"]["reason"], "undecided");
    assert_eq!(
        load(host.client(), "ok06", "?canary=0")?["canary_share_percent"],
        Value::Null,
        "unless the caller says"
    );
    assert_ne!(history(host.client())?["digest"], old);
    for bad in ["?canary=100", "?canary=101", "?canary=x"] {
        assert!(refused(load(host.client(), "ok07", bad)).contains("422"), "{bad}");
    }
    Ok(())
}

#[test]
fn retries_move_on_or_stay_as_configured() -> Result<()> {
    for (retries, by) in [("move-on", "ok02"), ("stay", "fl01")] {
        let host = TestHost::start(&CONFIG.replace("50ms", "3s"))?;
        let client = host.client();
        client.put("/v1/handlers/work", "application/json", json!({ "retries": retries }).to_string())?;
        // Compiled before, so that it comes before the retry does.
        load(client, "ok02", "")?;
        load(client, "fl01", "")?;
        publish(client, 1, "x")?;
        let deadline = Instant::now() + PATIENCE;
        while client.get("/v1/consumers")?["consumers"][0]["pending"] != 1 {
            ensure!(Instant::now() < deadline, "the first attempt never fails");
        }
        load(client, "ok02", "")?;
        client.wait_until_settled(PATIENCE)?;
        assert_eq!(outputs(client)?[0].1, by, "{retries}");
        publish(client, 1, "x")?;
        client.wait_until_settled(PATIENCE)?;
        assert_eq!(outputs(client)?[1].1, "ok02", "what is new goes to the new version");
    }
    Ok(())
}

#[test]
fn history_and_components_are_bounded_and_nothing_of_use_is_removed() -> Result<()> {
    const VERSIONS_MAX: usize = 20;
    let mut host = start()?;
    let components = |host: &TestHost| -> Result<usize> { Ok(fs::read_dir(host.path("store/components"))?.count()) };
    for number in 2..VERSIONS_MAX + 5 {
        load(host.client(), &format!("ok{number:02}"), "")?;
    }
    let versions = history(host.client())?["versions"].as_array().map_or(0, Vec::len);
    assert_eq!((versions, components(&host)?), (VERSIONS_MAX, VERSIONS_MAX));
    load(host.client(), "ok99", "?canary=10")?;
    assert_eq!(components(&host)?, VERSIONS_MAX + 1, "the one that is tried is of use");
    let process = host.take_process()?;
    process.kill()?;
    let stray = host.path(&format!("store/components/{}.wasm", "0".repeat(64)));
    fs::write(&stray, "what a crash left before it was named")?;
    host.start_again()?;
    publish(host.client(), 1, "x")?;
    host.client().wait_until_settled(PATIENCE)?;
    assert!(!stray.exists() && components(&host)? == VERSIONS_MAX + 1);
    host.client().request(reqwest::Method::DELETE, "/v1/queues/work").send()?.error_for_status()?;
    let deleting = host.client().request(reqwest::Method::DELETE, "/v1/handlers/work");
    assert!(deleting.send()?.status().is_success(), "a handler can be removed while a version is tried");
    assert_eq!(components(&host)?, 0, "nobody needs them");
    std::thread::sleep(Duration::from_secs(1));
    assert!(host.client().is_ready(), "the end of its canary is nobody's any more");
    Ok(())
}

/// Kill the host while two clients load, roll back and promote. Whatever it was doing, what the record names is there
/// and runs.
/// What a quarantined delivery is replayed with outlives the handler's history, and goes when it does.
#[test]
fn a_component_stays_as_long_as_a_capsule_needs_it() -> Result<()> {
    let mut host = start()?;
    let digest = load(host.client(), "tr02", "")?["digest"].clone();
    publish(host.client(), 1, "bad")?;
    host.client().wait_until_settled(PATIENCE)?;
    for number in 3..50 {
        load(host.client(), &format!("ok{number:02}"), "")?;
    }
    let file = host.path(&format!("store/components/{}.wasm", digest.as_str().context("digest")?));
    assert!(file.is_file() && !history(host.client())?["versions"].to_string().contains(&digest.to_string()));
    host.take_process()?.kill()?;
    host.start_again()?;
    let said = host.shell("wasmill quarantine replay 1 2>&1")?;
    assert!(said.contains("trapped"), "{said}");
    host.shell("wasmill quarantine redrive 1")?;
    host.client().wait_until_settled(PATIENCE)?;
    load(host.client(), "ok50", "")?;
    assert!(!file.exists(), "nobody needs it any more");
    Ok(())
}

#[test]
fn a_crash_between_any_two_steps_leaves_a_version_that_runs() -> Result<()> {
    let mut host = start()?;
    for round in 0..6_u64 {
        let clients: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|side| {
                let client = host.client().clone();
                std::thread::spawn(move || {
                    for number in 0..100 {
                        let _ = load(&client, &format!("ok{side}{number}").replace(' ', "0")[..4], "?canary=30");
                        let _ = client.post("/v1/handlers/work/promote", WASM, "");
                        let _ = load(&client, &format!("ok{}{side}", number % 10), "");
                        if client.post("/v1/handlers/work/rollback", WASM, "").is_err() && !client.is_ready() {
                            return;
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300 + 137 * round));
        host.take_process()?.kill()?;
        for client in clients {
            client.join().expect("no panic");
        }
        host.start_again()?;
        let before = outputs(host.client())?.len();
        publish_many(host.client(), 0..20, "x")?;
        host.client().wait_until_settled(PATIENCE)?;
        assert_eq!(outputs(host.client())?.len(), before + 20);
        let handler = host.client().get("/v1/handlers/work")?;
        assert_eq!(handler["problem"], Value::Null, "{handler:#}");
        let candidate = &history(host.client())?["candidate"];
        assert!(candidate.is_null() || handler["candidate"]["digest"] == candidate["digest"]);
    }
    Ok(())
}
