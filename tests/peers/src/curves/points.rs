//! One point of each curve.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Curve, DELIVERIES_PER_S, DISK_MIB, DRAIN_PER_S, Figures, MEMORY_MIB, MIB_PER_S, PER_S, PUBLISH_PER_S};
use crate::{
    case::{Case, Messages, Work},
    process::{MemoryWatch, disk_mib},
    systems::{
        Place,
        wasmill::{Handling, Host},
        wasmill_http::{publish_batches, topic_url},
    },
};

/// Publishers of every point.
const PRODUCERS: u32 = 4;
/// Lines of one request, two of which are under way for each publisher.
const BATCH_LINES: u64 = 250;
/// Data of one request at most.
const BATCH_BYTES: u64 = 4 << 20;
/// Data of all messages of one point at most.
const POINT_BYTES: u64 = 512 << 20;
const DATA_BYTES: usize = 256;
/// Queues with a handler: each takes an instance, of which a host has 4,096 at most. Queues beyond it have a consumer that is
/// pulled, and get no messages.
const ACTIVE_QUEUES_MAX: u64 = 1_000;
/// Requests that declare things at once.
const DECLARE_AT_ONCE: usize = 16;
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A consumer with as many retries waiting as `pending-max` says takes no new message; its default is the last point of that curve.
const CONFIG: &str = "[limits]\ninstances-max = 4096\npending-max = 2000000\ndata-bytes-max = \"2MiB\"\n";

/// A host with a folder of its own.
struct Fresh {
    host: Host,
    folder: PathBuf,
}

impl Fresh {
    async fn start(place: &Place) -> Result<Self> {
        let folder = place.folder.join("curves");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(Self { host: Host::start(place, &folder, &place.handlers, CONFIG).await?, folder })
    }

    /// A sum over all consumers.
    async fn sum(&self, figure: &str) -> Result<u64> {
        let view = self.host.ask(Method::GET, "/v1/consumers", None).await?;
        let consumers = view["consumers"].as_array().context("no consumers")?;
        for consumer in consumers {
            ensure!(consumer["quarantined"] == 0, "a handler fails: {consumer}");
        }
        Ok(consumers.iter().filter_map(|consumer| consumer[figure].as_u64()).sum())
    }

    /// Wait until no consumer has anything before it.
    async fn wait_drained(&self) -> Result<()> {
        while self.sum("lag").await? > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

pub(super) async fn measure(curve: Curve, value: u64, messages: u64, place: &Place) -> Result<Figures> {
    let fresh = Fresh::start(place).await?;
    let memory = MemoryWatch::start(fresh.host.servers());
    let measured = match curve {
        Curve::Backlog => backlog(&fresh, value).await,
        Curve::MessageSize => message_size(&fresh, value, messages).await,
        Curve::Queues => queues(&fresh, value, messages).await,
        Curve::Consumers => consumers(&fresh, value, messages).await,
        Curve::Handlers => handlers(&fresh, value, messages, place).await,
        Curve::Keys => keys(&fresh, value, messages).await,
        Curve::Retries => retries(&fresh, value, messages).await,
    };
    let memory = memory.finish();
    fresh.host.stop()?;
    let mut figures = measured?;
    figures.insert(MEMORY_MIB, memory);
    Ok(figures)
}

fn per_s(count: u64, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

fn plain_case() -> Case {
    Case::end_to_end(Work::Nothing, DATA_BYTES, PRODUCERS, 1_000)
}

/// Publish by all publishers at once; `lines` makes lines for the numbers of messages.
async fn publish(url: &str, messages: u64, batch: u64, lines: &(impl Fn(u64) -> Bytes + Sync)) -> Result<()> {
    let joined = |numbers: std::ops::Range<u64>| -> Bytes {
        let mut all = Vec::new();
        for number in numbers {
            all.extend_from_slice(&lines(number));
            all.push(b'\n');
        }
        all.into()
    };
    let case = plain_case();
    let producers =
        (0..PRODUCERS).map(|producer| publish_batches(url, case.share(producer, messages), batch, 2, joined));
    try_join_all(producers).await.map(drop)
}

async fn publish_plain(fresh: &Fresh, messages: u64) -> Result<()> {
    let made = Messages::new(DATA_BYTES)?;
    publish(&topic_url(&fresh.host, "work"), messages, BATCH_LINES, &|number| made.make(number)).await
}

async fn backlog(fresh: &Fresh, waiting: u64) -> Result<Figures> {
    let case = plain_case();
    fresh.host.prepare(&case, Handling::Components).await?;
    let begun = Instant::now();
    publish_plain(fresh, waiting).await?;
    let published = per_s(waiting, begun);
    let disk = disk_mib(&fresh.folder.join("store"));
    let begun = Instant::now();
    fresh.host.resume(&case).await?;
    fresh.wait_drained().await?;
    Ok(Figures::from([(PUBLISH_PER_S, published), (DRAIN_PER_S, per_s(waiting, begun)), (DISK_MIB, disk)]))
}

async fn message_size(fresh: &Fresh, bytes: u64, messages: u64) -> Result<Figures> {
    let case = plain_case();
    fresh.host.prepare(&case, Handling::Components).await?;
    fresh.host.resume(&case).await?;
    let messages = messages.min(POINT_BYTES / bytes);
    let made = Messages::new(usize::try_from(bytes)?)?;
    let batch = BATCH_LINES.min(BATCH_BYTES / bytes).max(1);
    let begun = Instant::now();
    publish(&topic_url(&fresh.host, "work"), messages, batch, &|number| made.make(number)).await?;
    fresh.wait_drained().await?;
    let per_s = per_s(messages, begun);
    Ok(Figures::from([(PER_S, per_s), (MIB_PER_S, per_s * bytes as f64 / f64::from(1 << 20))]))
}

/// Queues `q-0` and so on, bound to topics of the same form.
async fn declare_queues(fresh: &Fresh, queues: u64, consumer: impl Fn(u64) -> Value) -> Result<()> {
    let declared = stream::iter((0..queues).map(|number| {
        let consumer = consumer(number);
        async move {
            let path = format!("/v1/queues/q-{number}");
            fresh.host.put(&path, json!({ "bindings": [format!("t.{number}")] })).await?;
            fresh.host.put(&format!("{path}/consumers/c"), consumer).await
        }
    }));
    declared.buffer_unordered(DECLARE_AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
}

/// Publish messages to the topics of so many queues in turn, and wait until they are settled.
async fn spread(fresh: &Fresh, active: u64, messages: u64) -> Result<Figures> {
    let made = Messages::new(DATA_BYTES)?;
    let line = |number: u64| {
        let data = made.make(number);
        let topic = number % active;
        [format!("{{\"topic\":\"t.{topic}\",\"data\":").as_bytes(), &data, b"}"].concat().into()
    };
    let begun = Instant::now();
    publish(&format!("{}/v1/messages", fresh.host.url), messages, BATCH_LINES, &line).await?;
    fresh.wait_drained().await?;
    Ok(Figures::from([(PER_S, per_s(messages, begun))]))
}

async fn queues(fresh: &Fresh, queues: u64, messages: u64) -> Result<Figures> {
    let active = queues.min(ACTIVE_QUEUES_MAX);
    let consumer = |number| if number < active { json!({ "handler": "nothing", "concurrency": 1 }) } else { json!({}) };
    declare_queues(fresh, queues, consumer).await?;
    spread(fresh, active, messages).await
}

async fn handlers(fresh: &Fresh, handlers: u64, messages: u64, place: &Place) -> Result<Figures> {
    let component = &Bytes::from(std::fs::read(&place.handlers.nothing)?);
    let loads = stream::iter((0..handlers).map(async |number| {
        let url = format!("{}/v1/handlers/h-{number}", fresh.host.url);
        let put = fresh.host.client().put(url).header("content-type", "application/wasm").body(component.clone());
        let answer = put.send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "a handler was answered with {status}: {}", answer.text().await?);
        Ok(())
    }));
    loads.buffer_unordered(DECLARE_AT_ONCE).try_collect::<Vec<()>>().await?;
    let consumer = |number| json!({ "handler": format!("h-{number}"), "concurrency": 1 });
    declare_queues(fresh, handlers, consumer).await?;
    spread(fresh, handlers, messages).await
}

async fn consumers(fresh: &Fresh, consumers: u64, messages: u64) -> Result<Figures> {
    let case = Case { consumers: u32::try_from(consumers)?, ..plain_case() };
    fresh.host.prepare(&case, Handling::Components).await?;
    fresh.host.resume(&case).await?;
    // So that the points take about the same time.
    let messages = (messages * 5 / consumers).clamp(1_000, messages);
    let begun = Instant::now();
    publish_plain(fresh, messages).await?;
    fresh.wait_drained().await?;
    let per_s = per_s(messages, begun);
    Ok(Figures::from([(PER_S, per_s), (DELIVERIES_PER_S, per_s * consumers as f64)]))
}

async fn keys(fresh: &Fresh, keys: u64, messages: u64) -> Result<Figures> {
    fresh.host.put("/v1/queues/work", json!({ "bindings": ["work"] })).await?;
    fresh.host.put("/v1/queues/work/consumers/c", json!({ "handler": "nothing", "order": "key" })).await?;
    let made = Messages::new(DATA_BYTES)?;
    let line = |number: u64| {
        let data = made.make(number);
        let key = number % keys;
        [format!("{{\"key\":\"k-{key}\",\"data\":").as_bytes(), &data, b"}"].concat().into()
    };
    let begun = Instant::now();
    let url = format!("{}/v1/topics/work/messages", fresh.host.url);
    publish(&url, messages, BATCH_LINES, &line).await?;
    fresh.wait_drained().await?;
    Ok(Figures::from([(PER_S, per_s(messages, begun))]))
}

async fn retries(fresh: &Fresh, waiting: u64, messages: u64) -> Result<Figures> {
    const FAIL: &[u8] = br#"{"fails":true}"#;
    fresh.host.put("/v1/queues/out", json!({ "bindings": ["out"] })).await?;
    fresh.host.put("/v1/queues/out/consumers/keep", json!({})).await?;
    fresh.host.put("/v1/queues/work", json!({ "bindings": ["work"] })).await?;
    let consumer = json!({
        "handler": "forward",
        "backoff": { "fixed_ms": 3_600_000 },
        "deterministic": false,
        "storm": { "deliveries": 0, "percent": 80, "probe_ms": 1_000 },
    });
    fresh.host.put("/v1/queues/work/consumers/c", consumer).await?;
    let url = topic_url(&fresh.host, "work");
    publish(&url, waiting, BATCH_LINES, &|_| Bytes::from_static(FAIL)).await?;
    while fresh.sum("pending").await? < waiting {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let begun = Instant::now();
    publish_plain(fresh, messages).await?;
    loop {
        let out = fresh.host.ask(Method::GET, "/v1/queues/out", None).await?;
        if out["messages"].as_u64().context("a queue without messages")? >= messages {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let figures = Figures::from([(PER_S, per_s(messages, begun))]);
    ensure!(fresh.sum("pending").await? == waiting, "retries were lost");
    Ok(figures)
}
