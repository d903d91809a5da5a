//! Consumers: a handler's place on a queue, with its policy.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use wasmill_delivery::{
    effect::OrderRefusal,
    engine::ConsumerView,
    name::{ConsumerName, HandlerName, QueueName},
    policy::Backoff,
    record::{ConsumerConfig, PauseReason, Start},
};
use wasmill_runtime::Host;

use super::{
    App,
    extract::{Declared, Params},
    problem::Problem,
};

pub(super) fn routes() -> Router<App> {
    const ONE: &str = "/v1/queues/{queue}/consumers/{consumer}";
    Router::new()
        .route("/v1/consumers", get(list))
        .route(ONE, get(show).put(put).delete(delete))
        .route(&format!("{ONE}/pause"), post(pause))
        .route(&format!("{ONE}/resume"), post(resume))
}

#[derive(Serialize)]
struct ConsumerInfo {
    queue: QueueName,
    name: ConsumerName,
    handler: HandlerName,
    concurrency: u32,
    in_flight_max: u32,
    attempts: u32,
    backoff: Backoff,
    start: Start,
    paused: Option<PauseReason>,
    floor: u64,
    lag: u64,
    in_flight: u64,
    pending: u64,
    quarantined: u64,
}

#[derive(Serialize)]
struct ConsumerList {
    consumers: Vec<ConsumerInfo>,
}

/// What is left out has its default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsumerDeclaration {
    handler: HandlerName,
    concurrency: Option<u32>,
    in_flight_max: Option<u32>,
    attempts: Option<u32>,
    backoff: Option<BackoffDeclaration>,
    start: Option<Start>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackoffDeclaration {
    initial_ms: Option<u64>,
    factor: Option<u32>,
    cap_ms: Option<u64>,
    jitter: Option<bool>,
}

async fn list(State(app): State<App>) -> Result<Json<ConsumerList>, Problem> {
    let consumers = app.host.consumers().await?.into_iter().map(ConsumerInfo::from).collect();
    Ok(Json(ConsumerList { consumers }))
}

async fn show(
    State(app): State<App>,
    Params((queue, name)): Params<(String, String)>,
) -> Result<Json<ConsumerInfo>, Problem> {
    Ok(Json(find(&app.host, &queue, &name).await?.into()))
}

async fn put(
    State(app): State<App>,
    Params((queue, name)): Params<(String, String)>,
    Declared(given): Declared<ConsumerDeclaration>,
) -> Result<Response, Problem> {
    let created = app.host.put_consumer(QueueName::new(&queue)?, ConsumerName::new(&name)?, given.config()).await?;
    let info = ConsumerInfo::from(find(&app.host, &queue, &name).await?);
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Json(info)).into_response())
}

async fn delete(
    State(app): State<App>,
    Params((queue, name)): Params<(String, String)>,
) -> Result<StatusCode, Problem> {
    app.host.delete_consumer(QueueName::new(queue)?, ConsumerName::new(name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn pause(State(app): State<App>, Params((queue, name)): Params<(String, String)>) -> Result<StatusCode, Problem> {
    let consumer = find(&app.host, &queue, &name).await?;
    app.host.pause(consumer.record.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn resume(
    State(app): State<App>,
    Params((queue, name)): Params<(String, String)>,
) -> Result<StatusCode, Problem> {
    let consumer = find(&app.host, &queue, &name).await?;
    app.host.resume(consumer.record.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(host: &Host, queue: &str, name: &str) -> Result<ConsumerView, Problem> {
    let (queue, consumer) = (QueueName::new(queue)?, ConsumerName::new(name)?);
    let views = host.consumers().await?;
    let found = views.into_iter().find(|view| view.queue == queue && view.record.name == consumer);
    match found {
        Some(view) => Ok(view),
        None if host.queues().await?.iter().any(|view| view.record.name == queue) => {
            Err(OrderRefusal::UnknownConsumer { queue, consumer }.into())
        }
        None => Err(OrderRefusal::UnknownQueue { queue }.into()),
    }
}

impl From<ConsumerView> for ConsumerInfo {
    fn from(view: ConsumerView) -> Self {
        let config = view.record.config;
        Self {
            queue: view.queue,
            name: view.record.name,
            handler: config.handler,
            concurrency: config.concurrency,
            in_flight_max: config.in_flight_max,
            attempts: config.attempts_max,
            backoff: config.backoff,
            start: config.start,
            paused: view.record.paused,
            floor: view.floor.0,
            lag: view.lag,
            in_flight: view.in_flight,
            pending: view.pending,
            quarantined: view.quarantined,
        }
    }
}

impl ConsumerDeclaration {
    fn config(self) -> ConsumerConfig {
        let default = ConsumerConfig::new(self.handler);
        ConsumerConfig {
            concurrency: self.concurrency.unwrap_or(default.concurrency),
            in_flight_max: self.in_flight_max.unwrap_or(default.in_flight_max),
            attempts_max: self.attempts.unwrap_or(default.attempts_max),
            backoff: self.backoff.map_or(default.backoff, BackoffDeclaration::backoff),
            start: self.start.unwrap_or(default.start),
            handler: default.handler,
        }
    }
}

impl BackoffDeclaration {
    fn backoff(self) -> Backoff {
        let default = Backoff::default();
        Backoff {
            initial_ms: self.initial_ms.unwrap_or(default.initial_ms),
            factor: self.factor.unwrap_or(default.factor),
            cap_ms: self.cap_ms.unwrap_or(default.cap_ms),
            jitter: self.jitter.unwrap_or(default.jitter),
        }
    }
}
