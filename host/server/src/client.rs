//! Speaks to a host over its HTTP API, for the commands and the benchmark.

pub(crate) mod model;

use anyhow::{Context as _, Result, anyhow, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::model::Problem;

/// Where a host is by default.
pub(crate) const URL_DEFAULT: &str = "http://127.0.0.1:7500";
/// What may stand in a path segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Speaks to one host.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    /// Of the host at this URL.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") {
            bail!("{url:?} is not the URL of a host; it begins with http://, for example {URL_DEFAULT}");
        }
        let http = reqwest::Client::builder().tcp_nodelay(true).build().context("cannot set up the HTTP client")?;
        Ok(Self { http, url })
    }

    /// A request that is not sent yet. `segments` are path segments, encoded here.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        for segment in segments {
            url.push('/');
            url.extend(utf8_percent_encode(segment, SEGMENT));
        }
        self.http.request(method, url)
    }

    /// `GET` JSON.
    pub(crate) async fn get(&self, segments: &[&str]) -> Result<Value> {
        self.json(self.request(Method::GET, segments)).await
    }

    /// Send, and read a JSON answer; nothing reads as null.
    pub(crate) async fn json(&self, request: RequestBuilder) -> Result<Value> {
        let body = self.send(request).await?.bytes().await.context("the answer broke off")?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).with_context(|| format!("{} answered what is not JSON", self.url))
    }

    /// Send; an answer that is not a success is an error in the host's words.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(anyhow!(problem.words())),
            Err(_) => bail!("{} answered {status}: {}", self.url, String::from_utf8_lossy(&body).trim()),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        if error.is_connect() {
            return anyhow!(
                "no host answers at {}; start one with `wasmill serve`, or say where it is with --url or WASMILL_URL",
                self.url
            );
        }
        anyhow::Error::new(error).context(format!("{} did not answer", self.url))
    }
}

/// The fields of an answer that a person is shown.
pub(crate) fn read<T: DeserializeOwned>(answer: &Value) -> Result<T> {
    serde::Deserialize::deserialize(answer).context("the host answered what this version does not understand")
}
