//! What handlers may reach: HTTP by grants, secrets, and the approval of components that ask for more.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;
use end_to_end::{PATIENCE, TestHost, handler_with_queue, quarantined, server::SlowServer};
use host_process::{Client, guest};
use reqwest::Method;
use serde_json::{Value, json};

fn fetcher(name: &str, more: &str) -> Result<String> {
    handler_with_queue(name, "guest-fetch", more)
}

fn ask(client: &Client, handler: &str, words: &str) -> Result<()> {
    client.post(&format!("/v1/topics/{handler}/messages"), "text/plain", words.to_owned())?;
    client.wait_until_settled(PATIENCE)
}

/// The reason and the log of the last attempt of the only delivery of that handler in quarantine.
fn refusal(client: &Client, handler: &str) -> Result<(String, String)> {
    let records = quarantined(client, handler)?;
    assert_eq!(records.len(), 1, "{handler}: {records:?}");
    let last = records[0]["attempts"].as_array().and_then(|attempts| attempts.last()).expect("an attempt").clone();
    Ok((last.to_string(), last["log"].as_str().unwrap_or_default().to_owned()))
}

#[test]
fn requests_go_where_the_operator_lets_them_and_nowhere_else() -> Result<()> {
    let (server, other) = (SlowServer::start(Duration::ZERO)?, SlowServer::start(Duration::ZERO)?);
    let (origin, port) = (server.origin(), server.port());
    let by_name = format!("http://localhost:{port}");
    let mut config = "[queue.fetched]\nbindings = [\"fetched\"]\n".to_owned();
    config += &fetcher("granted", &format!("grants = {{ http = [\"{origin}\"] }}"))?;
    config += &fetcher("elsewhere", &format!("grants = {{ http = [\"{origin}\"] }}"))?;
    config += &fetcher("nothing", "")?;
    config += &fetcher("named", &format!("grants = {{ http = [\"{by_name}\"] }}"))?;
    config +=
        &fetcher("ranged", &format!("grants = {{ http = [\"{by_name}\"], addresses = [\"127.0.0.0/8\", \"::1\"] }}"))?;
    let host = TestHost::start(&config)?;
    let client = host.client();

    ask(client, "granted", &format!("GET {origin}/plain?x=1"))?;
    ask(client, "ranged", &format!("POST {by_name}/ranged 100000"))?;
    let paths: Vec<String> = server.answered().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/plain?x=1", "/ranged"]);
    assert_eq!(client.get("/v1/queues/fetched")?["messages"], 2, "both got their answer");

    for (handler, url, why) in [
        ("elsewhere", format!("{}/", other.origin()), "is not granted"),
        ("nothing", format!("{origin}/"), "is not granted"),
        ("named", format!("{by_name}/"), "which is no address of the open internet"),
    ] {
        ask(client, handler, &format!("GET {url}"))?;
        let (reason, log) = refusal(client, handler)?;
        assert!(reason.contains("is not allowed for this handler"), "{handler}: {reason}");
        assert!(log.contains(why), "{handler}: {log:?}");
    }
    assert_eq!((server.answered().len(), other.answered().len()), (2, 0), "nothing that was denied got out");
    Ok(())
}

#[test]
fn every_limit_of_http_stops_what_passes_it() -> Result<()> {
    let server = SlowServer::start(Duration::ZERO)?;
    let origin = server.origin();
    let grants = format!("grants = {{ http = [\"{origin}\"] }}\n");
    let mut config = "[queue.fetched]\nbindings = [\"fetched\"]\n".to_owned();
    let cases = [
        ("answer", "http-received-bytes = \"10KiB\"", format!("GET {origin}/size/20000"), "or its answer is too large"),
        ("sum", "http-received-bytes = \"10KiB\"", format!("MANY {origin}/size/4000 3"), "request 3: "),
        ("body", "http-sent-bytes = \"10KiB\"", format!("POST {origin}/body 20000"), "or its answer is too large"),
        ("count", "http-requests = 3", format!("MANY {origin}/many 5"), "request 4: "),
        ("head", "wall-clock = \"20s\"", format!("GET {origin}/head/300000"), "HttpResponseHeaderSectionSize"),
        ("slow", "wall-clock = \"300ms\"", format!("GET {origin}/hang"), "timed-out"),
    ];
    for (name, limit, ..) in &cases {
        config += &fetcher(name, &format!("{grants}limits = {{ {limit} }}"))?;
    }
    let host = TestHost::start(&config)?;
    for (name, _, words, expected) in &cases {
        ask(host.client(), name, words)?;
        let (attempt, _) = refusal(host.client(), name)?;
        assert!(attempt.contains(expected), "{name}: {attempt}");
    }
    assert_eq!(server.waiting(), 0, "the connection of a handler that was cut is closed");
    assert_eq!(server.abandoned(), 2, "once for each attempt of the one that hung");
    assert_eq!(host.client().get("/v1/queues/fetched")?["messages"], 0, "none of them succeeded");
    Ok(())
}

#[test]
fn a_secret_is_seen_by_its_handler_and_by_nobody_else() -> Result<()> {
    const SECRET: &str = "sk-live-4f9a7c31d2";
    // Cargo sets it for tests, and the host inherits it.
    let variable = "CARGO_PKG_DESCRIPTION";
    let from_env = std::env::var(variable)?;
    let server = SlowServer::start(Duration::ZERO)?;
    let origin = server.origin();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    fs::write(&file, format!("{SECRET}\n"))?;
    let grants = format!("grants = {{ http = [\"{origin}\"] }}\n");
    let mut config = "[queue.fetched]\nbindings = [\"fetched\"]\n".to_owned();
    config += &fetcher("filed", &format!("{grants}secrets = {{ API_KEY = {{ file = {:?} }} }}", file.display()))?;
    config += &fetcher("enved", &format!("{grants}secrets = {{ API_KEY = {{ env = \"{variable}\" }} }}"))?;
    let mut host = TestHost::start(&config)?;
    for handler in ["filed", "enved"] {
        host.client().post(&format!("/v1/topics/{handler}/messages"), "text/plain", format!("GET {origin}/"))?;
        ask(host.client(), handler, "LEAK")?;
    }
    let heads: Vec<String> = server.answered().into_iter().map(|request| request.head).collect();
    assert!(heads.iter().any(|head| head.contains(&format!("authorization: Bearer {SECRET}\r\n"))), "{heads:?}");
    assert!(heads.iter().any(|head| head.contains(&format!("authorization: Bearer {from_env}\r\n"))), "{heads:?}");

    let (attempt, log) = refusal(host.client(), "filed")?;
    assert_eq!(log, "the key is [secret API_KEY]\n");
    assert!(attempt.contains("it has 18 bytes: [secret API_KEY]"), "{attempt}");
    let shown = host.client().get("/v1/handlers/filed")?;
    assert_eq!(shown["secrets"], json!({ "API_KEY": { "file": file } }), "where it is, not what it is");
    for path in ["/v1/handlers", "/v1/handlers/filed", "/v1/quarantine?limit=100", "/v1/quarantine/export", "/metrics"]
    {
        let text = host.client().get_text(path).unwrap_or_default();
        assert!(!text.contains(SECRET) && !text.contains(&from_env), "{path} shows a secret: {text}");
    }
    // Kept across a restart by where it is, and read again.
    host.take_process()?.kill()?;
    host.start_again()?;
    ask(host.client(), "filed", &format!("GET {origin}/again"))?;
    let last = server.answered().pop().expect("a request");
    assert!(last.path == "/again" && last.head.contains(SECRET), "{}", last.head);
    host.take_process()?.terminate()?;
    for secret in [SECRET, &from_env] {
        let holding = files_with(&host.path("."), secret.as_bytes())?;
        assert!(holding.is_empty(), "{holding:?} hold a secret");
    }
    assert!(!files_with(&host.path("."), b"[secret API_KEY]")?.is_empty(), "this search must be able to find");
    Ok(())
}

fn files_with(folder: &Path, bytes: &[u8]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, bytes)?);
        } else if fs::read(&path)?.windows(bytes.len()).any(|window| window == bytes) {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

#[test]
fn a_secret_that_is_not_there_stops_the_start() -> Result<()> {
    let config = fetcher("work", "secrets = { API_KEY = { env = \"WASMILL_NO_SUCH_VARIABLE\" } }")?;
    let refused = format!("{:#}", TestHost::start(&config).expect_err("there is no such variable"));
    let words = "secret API_KEY is not there: the host's environment has no WASMILL_NO_SUCH_VARIABLE";
    assert!(refused.contains("[handler.work]") && refused.contains(words), "{refused}");
    Ok(())
}

#[test]
fn a_component_that_asks_for_more_needs_approval() -> Result<()> {
    let host = TestHost::start("")?;
    let client = host.client();
    let load = |query: &str, package: &str| -> Result<(u16, Value)> {
        let request = client.request(Method::PUT, &format!("/v1/handlers/work{query}"));
        let wasm = fs::read(guest(package)?)?;
        let answer = request.header("content-type", "application/wasm").body(wasm).send()?;
        Ok((answer.status().as_u16(), serde_json::from_str(&answer.text()?)?))
    };
    assert_eq!(load("", "guest-compute")?.0, 200, "the first one is what the operator chose");
    let before = client.get("/v1/handlers/work")?["digest"].clone();
    let (status, problem) = load("", "guest-fetch")?;
    assert_eq!((status, &problem["code"]), (409, &json!("needs-approval")), "{problem}");
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.contains("wasi:http/outgoing-handler")),
        "{problem}"
    );
    assert_eq!(client.get("/v1/handlers/work")?["digest"], before, "the old one stays");
    assert_eq!(load("?approve=true", "guest-fetch")?.0, 200);
    assert_eq!(load("", "guest-compute")?.0, 200, "asking for less needs nobody");
    assert_eq!(load("?approve=true", "guest-fetch")?.0, 200);

    let http = |field: &Value| field.to_string().contains("wasi:http/outgoing-handler");
    let shown = client.get("/v1/handlers/work")?;
    assert!(http(&shown["imports"]) && http(&shown["imports_not_granted"]), "{shown}");
    let grants = json!({ "grants": { "http": ["https://*.example.com:8443"], "addresses": ["10.0.0.0/8"] } });
    client.put("/v1/handlers/work", "application/json", grants.to_string())?;
    let shown = client.get("/v1/handlers/work")?;
    assert!(!http(&shown["imports_not_granted"]) && shown["grants"] == grants["grants"], "{shown}");
    assert_eq!(shown["grants_unused"], json!([]));
    assert_eq!(load("", "guest-compute")?.0, 200);
    let shown = client.get("/v1/handlers/work")?;
    assert_eq!(shown["grants_unused"], json!(["grants.http", "grants.addresses"]), "{shown}");
    for bad in ["https://a.example/path", "a.example", "http://127.1"] {
        let body = json!({ "grants": { "http": [bad] } }).to_string();
        let refused = client.put("/v1/handlers/work", "application/json", body).expect_err("it means nothing");
        assert!(format!("{refused:#}").contains(bad), "{refused:#}");
    }
    Ok(())
}
