//! Consumers: the place of a handler, or of programs outside, on a queue, with its policy.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Serialize;
use wasmill_delivery::{
    effect::OrderRefusal,
    engine::ConsumerView,
    name::{ConsumerName, QueueName},
};
use wasmill_runtime::Host;

use super::{
    App,
    consumer_form::{ConsumerDeclaration, ConsumerInfo},
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
struct ConsumerList {
    consumers: Vec<ConsumerInfo>,
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
    let created = app.host.put_consumer(QueueName::new(&queue)?, ConsumerName::new(&name)?, given.config()?).await?;
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
