//! A served host, and a client for it.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;
use tokio::net::TcpListener;
use wasmill_runtime::{Durability, Host, HostOptions};
use wasmill_server::{
    http::{App, Draining, HttpLimits, router},
    telemetry::Metrics,
};

pub(super) const NDJSON: &str = "application/x-ndjson";
/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Instances of one host.
const INSTANCES_MAX: u32 = 100;

/// A host that is served on a port of its own.
pub(super) struct Server {
    pub(super) host: Host,
    pub(super) draining: Draining,
    url: String,
    client: Client,
    store: Arc<tempfile::TempDir>,
}

/// What the server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_with(HttpLimits::default(), |_| {}).await
    }

    pub(super) async fn start_with(limits: HttpLimits, change: impl FnOnce(&mut HostOptions)) -> Self {
        let store = tempfile::tempdir().expect("a folder");
        let metrics = Metrics::new();
        let mut options = HostOptions::new(store.path());
        options.store.durability = Durability::Interval { flush_ms: 50 };
        // Each instance reserves address space, and tests run side by side.
        options.instances_max = INSTANCES_MAX;
        options.observer = Arc::clone(&metrics) as _;
        change(&mut options);
        let host = Host::open(options).await.expect("the host opens");
        Self::serve(App { limits, ..App::new(host, metrics) }, Arc::new(store)).await
    }

    /// Serve the same host once more, on another port and with nothing kept by the first server.
    pub(super) async fn serve_again(&self) -> Self {
        Self::serve(App::new(self.host.clone(), Metrics::new()), Arc::clone(&self.store)).await
    }

    async fn serve(app: App, store: Arc<tempfile::TempDir>) -> Self {
        let host = app.host.clone();
        let draining = app.draining.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router(app)).await });
        let client = Client::builder().timeout(PATIENCE).build().expect("a client");
        Self { host, draining, url, client, store }
    }

    /// Where it is, as `http://127.0.0.1:PORT`.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// With a queue `orders` that binds `orders.#`.
    pub(super) async fn with_orders() -> Self {
        let server = Self::start().await;
        server.put_json("/v1/queues/orders", r#"{"bindings":["orders.#"]}"#).await.expect_status(201);
        server
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(super) fn post_to(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    pub(super) async fn put_json(&self, path: &str, json: &str) -> Answer {
        self.send(Method::PUT, path, "application/json", json.to_owned()).await
    }

    pub(super) async fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(Method::POST, path, content_type, body).await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        Answer::of(self.request(method, path).header("content-type", content_type).body(body)).await
    }

    /// The messages of queue `orders`.
    pub(super) async fn orders(&self) -> Vec<Value> {
        let page = self.get("/v1/queues/orders/messages").await.expect_status(200).json();
        page["messages"].as_array().expect("messages").clone()
    }

    /// Ask again and again until the answer is as it should be.
    pub(super) async fn get_until(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.get(path).await.expect_status(200).json();
            if holds(&answer) {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "waited for {what} in vain; the last answer was {answer:#}");
            tokio::task::yield_now().await;
        }
    }
}

impl Answer {
    pub(super) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("a whole answer") }
    }

    #[track_caller]
    pub(super) fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// That it is a problem with this status and code, for the path, with these words in the detail.
    #[track_caller]
    pub(super) fn expect_problem(self, status: u16, code: &str, words: &str) -> Self {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        let problem = self.json();
        assert_eq!(
            (problem["status"].as_u64(), problem["code"].as_str()),
            (Some(status.into()), Some(code)),
            "{problem}"
        );
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{problem}");
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["title"].as_str(), self.status.canonical_reason());
        assert!(problem["instance"].as_str().is_some_and(|path| path.starts_with('/')), "{problem}");
        self.expect_status(status)
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    #[track_caller]
    pub(super) fn lines(&self) -> Vec<Value> {
        assert_eq!(self.header("content-type"), Some(NDJSON));
        self.text.lines().map(|line| serde_json::from_str(line).expect("JSON on each line")).collect()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A guest of tests/guests, as it was built.
pub(super) fn guest(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/guests/guest-{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests` first", file.display()))
}
