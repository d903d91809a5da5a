//! The HTTP API, as a client sees it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{
    Method, StatusCode,
    blocking::{Client as Http, RequestBuilder},
};
use serde_json::Value;

/// Speaks to one host.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    url: String,
}

impl Client {
    /// A client of the host at this URL.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(url: &str) -> Result<Self> {
        let http = Http::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { http, url: url.to_owned() })
    }

    /// Where the host is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether `/readyz` says so.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.http.get(format!("{}/readyz", self.url)).send().is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// A request that is not sent yet.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// `GET` JSON.
    ///
    /// # Errors
    /// When the host does not answer with success.
    pub fn get(&self, path: &str) -> Result<Value> {
        let text = self.get_text(path)?;
        serde_json::from_str(&text).with_context(|| format!("GET {path} answered no JSON: {text}"))
    }

    /// `GET` text.
    ///
    /// # Errors
    /// When the host does not answer with success.
    pub fn get_text(&self, path: &str) -> Result<String> {
        send(self.request(Method::GET, path)).with_context(|| format!("GET {path}"))
    }

    /// `POST` a body.
    ///
    /// # Errors
    /// When the host does not answer with success.
    pub fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::blocking::Body>) -> Result<String> {
        let request = self.request(Method::POST, path).header("content-type", content_type).body(body);
        send(request).with_context(|| format!("POST {path}"))
    }

    /// `PUT` a body.
    ///
    /// # Errors
    /// When the host does not answer with success.
    pub fn put(&self, path: &str, content_type: &str, body: impl Into<reqwest::blocking::Body>) -> Result<String> {
        let request = self.request(Method::PUT, path).header("content-type", content_type).body(body);
        send(request).with_context(|| format!("PUT {path}"))
    }

    /// Publish lines of NDJSON and give back the answer of each.
    ///
    /// # Errors
    /// When the host does not answer; then it is not known which lines it kept.
    pub fn publish_lines(&self, path: &str, lines: &str) -> Result<Vec<Value>> {
        let answers = self.post(path, "application/x-ndjson", lines.to_owned())?;
        answers.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Everything that consumers still have to do: unsettled in the log, leased, or waiting for a retry.
    ///
    /// # Errors
    /// When the host does not answer.
    pub fn unsettled(&self) -> Result<u64> {
        let consumers = self.get("/v1/consumers")?;
        let number = |consumer: &Value, field: &str| consumer[field].as_u64().context("a number is missing");
        let list = consumers["consumers"].as_array().context("no list of consumers")?;
        list.iter().map(|consumer| Ok(number(consumer, "lag")? + number(consumer, "pending")?)).sum()
    }

    /// Wait until consumers have nothing to do.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub fn wait_until_settled(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let unsettled = self.unsettled()?;
            if unsettled == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{unsettled} deliveries are not settled after {patience:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn send(request: RequestBuilder) -> Result<String> {
    let answer = request.send()?;
    let status = answer.status();
    let text = answer.text()?;
    if !status.is_success() {
        bail!("answered {status}: {text}");
    }
    Ok(text)
}
