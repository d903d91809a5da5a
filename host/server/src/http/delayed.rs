//! Messages that wait for their time: look at them, cancel them.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{delete, get},
};
use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_delivery::{input::Destination, record::DelayedKey};

use super::{
    App,
    extract::{Params, Search},
    jobs::page_limit,
    problem::Problem,
};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/delayed", get(list)).route("/v1/delayed/{id}", delete(cancel))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

async fn list(State(app): State<App>, Search(query): Search<ListQuery>) -> Result<Json<Value>, Problem> {
    let limit = page_limit(query.limit)?;
    let after = query.cursor.as_deref().map(str::parse::<DelayedKey>).transpose()?;
    let host = app.host.clone();
    let reading = tokio::task::spawn_blocking(move || host.delayed_messages(after, limit));
    let page = reading.await.map_err(|error| Problem::fault(error.to_string()))??;
    let next = page.last().filter(|_| page.len() == limit).map(|(key, _)| key.to_string());
    let entry = |(key, entry): &(DelayedKey, wasmill_delivery::input::PublishEntry)| {
        let message = &entry.message;
        let queue = match &entry.to {
            Destination::Topic => None,
            Destination::Queue(queue) => Some(queue),
        };
        json!({
            "id": key.to_string(),
            "due_ms": key.due,
            "message": message.id,
            "topic": message.topic,
            "queue": queue,
            "key": message.key,
            "bytes": message.data.len(),
            "published_at_ms": message.published_at,
        })
    };
    Ok(Json(json!({ "delayed": page.iter().map(entry).collect::<Vec<_>>(), "next": next })))
}

async fn cancel(State(app): State<App>, Params(id): Params<String>) -> Result<StatusCode, Problem> {
    app.host.cancel_delayed(id.parse()?).await?;
    Ok(StatusCode::NO_CONTENT)
}
