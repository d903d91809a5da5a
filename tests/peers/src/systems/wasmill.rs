//! The host as a process, and what all its clients have in common: queues by its HTTP API, and how far it is.

use std::{
    ops::AsyncFn,
    path::Path,
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{Audit, Handlers, Place};
use crate::{
    case::{Case, Work},
    process::{START_PATIENCE, Server, free_port},
};

/// Leased to one consumer at once: enough that its handlers are never short of work while what they did is made durable.
const IN_FLIGHT_MAX: u32 = 4_000;
/// How often it is asked how far it is, while there is load.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// Ask again until it succeeds.
pub async fn retry_until(what: &str, patience: Duration, ask: impl AsyncFn() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(()) => return Ok(()),
            Err(error) if begun.elapsed() > patience => {
                return Err(error.context(format!("{what} did not answer within {patience:?}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Who handles what is published.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Components in the host.
    Components,
    /// Clients that take deliveries.
    Pulled,
}

/// A host.
pub struct Host {
    server: Mutex<Server>,
    client: Client,
    pub url: String,
}

impl Host {
    pub async fn start(place: &Place, folder: &Path, handlers: &Handlers, more: &str) -> Result<Self> {
        let port = free_port()?;
        let config = folder.join("wasmill.toml");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n\n[log]\nlevel = \"warn\"\n\n[store]\nfolder = {:?}\n\n\
             [handlers]\nfolder = {:?}\n\n[handler.nothing]\nfile = {:?}\n\n[handler.forward]\nfile = {:?}\n\n{more}",
            folder.join("store"),
            folder.join("handlers"),
            handlers.nothing,
            handlers.forward,
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(&place.wasmill);
        command.arg("serve").arg("--config").arg(&config);
        let server = Server::start("wasmill", folder, command)?;
        let url = format!("http://127.0.0.1:{port}");
        let host = Self { server: Mutex::new(server), client: Client::builder().no_proxy().build()?, url };
        retry_until("wasmill serve", START_PATIENCE, async || {
            host.server.lock().expect("no panic").check()?;
            host.ask(Method::GET, "/readyz", None).await.map(drop)
        })
        .await?;
        Ok(host)
    }

    pub fn servers(&self) -> Vec<u32> {
        vec![self.server.lock().expect("no panic").id()]
    }

    pub fn stop(&self) -> Result<()> {
        self.server.lock().expect("no panic").stop()
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ask the API; what is no success is an error that says what the host said.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub async fn put(&self, path: &str, body: Value) -> Result<()> {
        self.ask(Method::PUT, path, Some(body)).await.map(drop)
    }

    /// The queues of a case, empty, with nobody consuming.
    pub async fn prepare(&self, case: &Case, handling: Handling) -> Result<()> {
        for queue in ["work", "out"] {
            self.remove(queue).await?;
        }
        self.put("/v1/queues/out", json!({ "bindings": ["out"] })).await?;
        // Keeps what is published until somebody asks for it.
        self.put("/v1/queues/out/consumers/keep", json!({})).await?;
        self.put("/v1/queues/work", json!({ "bindings": ["work"], "messages_max": 100_000_000 })).await?;
        let handler = match case.work {
            Work::Nothing => "nothing",
            Work::Forward => "forward",
        };
        for consumer in 0..case.consumers {
            if handling == Handling::Pulled {
                self.put(&consumer_path(consumer), json!({ "in_flight_max": IN_FLIGHT_MAX })).await?;
                continue;
            }
            self.put(&consumer_path(consumer), json!({ "handler": handler, "in_flight_max": IN_FLIGHT_MAX })).await?;
            self.ask(Method::POST, &format!("{}/pause", consumer_path(consumer)), None).await?;
        }
        Ok(())
    }

    async fn remove(&self, queue: &str) -> Result<()> {
        let path = format!("/v1/queues/{queue}");
        let known = self.client.get(format!("{}{path}", self.url)).send().await?.status().is_success();
        if known {
            let view = self.ask(Method::GET, &path, None).await?;
            for consumer in view["consumers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                self.ask(Method::DELETE, &format!("{path}/consumers/{consumer}"), None).await?;
            }
            self.ask(Method::DELETE, &path, None).await?;
        }
        Ok(())
    }

    pub async fn resume(&self, case: &Case) -> Result<()> {
        for consumer in 0..case.consumers {
            self.ask(Method::POST, &format!("{}/resume", consumer_path(consumer)), None).await?;
        }
        Ok(())
    }

    /// Messages that every consumer has settled, durably.
    pub async fn settled(&self, case: &Case) -> Result<u64> {
        let mut least = u64::MAX;
        for consumer in 0..case.consumers {
            let view = self.ask(Method::GET, &consumer_path(consumer), None).await?;
            let said = |name: &str| view[name].as_u64().with_context(|| format!("a consumer without {name}: {view}"));
            ensure!(said("quarantined")? == 0, "the handler fails: {view}");
            ensure!(view["paused"].is_null(), "a consumer is paused: {view}");
            least = least.min(said("floor")?.saturating_sub(FIRST_SEQUENCE));
        }
        Ok(least)
    }

    /// Wait until so many are settled by every consumer, looking without a pause or a few times in a second.
    pub async fn wait_settled(&self, case: &Case, messages: u64, at_once: bool) -> Result<()> {
        loop {
            if self.settled(case).await? >= messages {
                return Ok(());
            }
            if !at_once {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    pub async fn audit(&self, case: &Case, messages: u64) -> Result<Audit> {
        let mut audit = Audit::default();
        for consumer in 0..case.consumers {
            let view = self.ask(Method::GET, &consumer_path(consumer), None).await?;
            audit.left += ["lag", "in_flight", "pending", "quarantined"]
                .iter()
                .map(|name| view[*name].as_u64().unwrap_or(u64::MAX / 8))
                .sum::<u64>();
        }
        let work = self.ask(Method::GET, "/v1/queues/work", None).await?;
        let Some(next) = work["next_sequence"].as_u64() else { bail!("a queue without next_sequence: {work}") };
        let accepted = next - FIRST_SEQUENCE;
        audit.lost = messages.saturating_sub(accepted);
        audit.doubled = accepted.saturating_sub(messages);
        let out = self.ask(Method::GET, "/v1/queues/out", None).await?;
        audit.outputs = out["messages"].as_u64().context("a queue without messages")?;
        Ok(audit)
    }
}

/// The sequence of the first message of a queue.
const FIRST_SEQUENCE: u64 = 1;

/// The name of a consumer.
pub fn group(consumer: u32) -> String {
    format!("group-{consumer}")
}

fn consumer_path(consumer: u32) -> String {
    format!("/v1/queues/work/consumers/{}", group(consumer))
}
