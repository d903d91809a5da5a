//! Queues: declare them, look at them, look into them.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use wasmill_delivery::{
    effect::OrderRefusal,
    engine::QueueView,
    message::Message,
    name::{QueueName, Sequence},
};
use wasmill_runtime::{Host, HostError};

use super::{
    App,
    extract::{Declared, Params, Search, blocking, page_limit},
    message::MessageInfo,
    problem::Problem,
    queue_form::{QueueDeclaration, QueueInfo},
    timing::now_ms,
};

/// Messages that are read from the store at once, so that a page of large ones does not fill the memory.
const READ_MESSAGES: usize = 32;
/// A page of messages ends when its messages reach so many bytes.
const PAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/queues", get(list))
        .route("/v1/queues/{queue}", get(show).put(put).delete(delete))
        .route("/v1/queues/{queue}/messages/{sequence}", get(message))
}

#[derive(Serialize)]
struct QueueList {
    queues: Vec<QueueInfo>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessagesQuery {
    from: Option<u64>,
    limit: Option<usize>,
}

async fn list(State(app): State<App>) -> Result<Json<QueueList>, Problem> {
    let views = app.host.queues().await?;
    Ok(Json(QueueList { queues: infos(&app.host, views).await? }))
}

async fn show(State(app): State<App>, Params(name): Params<String>) -> Result<Json<QueueInfo>, Problem> {
    let view = find(&app.host, &name).await?;
    let info = infos(&app.host, vec![view]).await?.pop();
    info.map(Json).ok_or_else(|| Problem::fault("a queue was lost while it was shown"))
}

async fn put(
    State(app): State<App>,
    Params(name): Params<String>,
    Declared(given): Declared<QueueDeclaration>,
) -> Result<Response, Problem> {
    let name = QueueName::new(name)?;
    let created = app.host.put_queue(name.clone(), given.config()?).await?;
    let info = show(State(app), Params(name.into())).await?;
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, info).into_response())
}

async fn delete(State(app): State<App>, Params(name): Params<String>) -> Result<StatusCode, Problem> {
    app.host.delete_queue(QueueName::new(name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A page of a queue's messages. Those that are settled may be among them; see [`Host::messages`].
pub(super) async fn messages(
    State(app): State<App>,
    Params(name): Params<String>,
    Search(query): Search<MessagesQuery>,
) -> Result<Response, Problem> {
    let view = find(&app.host, &name).await?;
    let limit = page_limit(query.limit)?;
    let from = query.from.map_or(view.first, Sequence);
    let next = view.next;
    blocking(move || {
        let page = read_page(&app.host, &view, from, limit)?;
        let after = page.last().map_or(next, |(sequence, _)| sequence.next());
        let infos = page.iter().map(|(sequence, message)| MessageInfo::new(message, *sequence)).collect();
        let page = MessagePage { messages: infos, next: (after < next).then_some(after.0) };
        Ok::<_, Problem>(Json(page).into_response())
    })
    .await
}

#[derive(Serialize)]
struct MessagePage<'a> {
    messages: Vec<MessageInfo<'a>>,
    next: Option<u64>,
}

fn read_page(
    host: &Host,
    view: &QueueView,
    from: Sequence,
    limit: usize,
) -> Result<Vec<(Sequence, Arc<Message>)>, HostError> {
    let mut page: Vec<(Sequence, Arc<Message>)> = Vec::new();
    let mut bytes = 0;
    let mut from = from;
    while page.len() < limit && bytes < PAGE_BYTES_MAX {
        let read = host.messages(view.record.id, from, READ_MESSAGES.min(limit - page.len()))?;
        let Some((last, _)) = read.last() else { break };
        from = last.next();
        bytes += read.iter().map(|(_, message)| message.size_bytes()).sum::<u64>();
        page.extend(read);
    }
    Ok(page)
}

async fn message(State(app): State<App>, Params((name, sequence)): Params<(String, u64)>) -> Result<Response, Problem> {
    let view = find(&app.host, &name).await?;
    blocking(move || {
        let found = app.host.messages(view.record.id, Sequence(sequence), 1)?.pop();
        match found.filter(|(at, _)| at.0 == sequence) {
            Some((at, message)) => Ok(Json(MessageInfo::new(&message, at)).into_response()),
            None => {
                let detail =
                    format!("queue {name} has no message {sequence}; it was settled and trimmed, or never was");
                Err(Problem::unknown("unknown-message", detail))
            }
        }
    })
    .await
}

async fn find(host: &Host, name: &str) -> Result<QueueView, Problem> {
    let name = QueueName::new(name)?;
    let views = host.queues().await?;
    let found = views.into_iter().find(|view| view.record.name == name);
    found.ok_or_else(|| OrderRefusal::UnknownQueue { queue: name }.into())
}

async fn infos(host: &Host, views: Vec<QueueView>) -> Result<Vec<QueueInfo>, Problem> {
    let consumers = host.consumers().await?;
    let host = host.clone();
    blocking(move || {
        let infos = views.into_iter().map(|view| {
            let oldest_message_age_ms = oldest_message_age_ms(&host, &view);
            QueueInfo::new(view, &consumers, oldest_message_age_ms)
        });
        Ok::<_, Problem>(infos.collect())
    })
    .await
}

/// How long the oldest message that a consumer still needs has been there; none when there is none. Reads the disk.
pub(crate) fn oldest_message_age_ms(host: &Host, view: &QueueView) -> Option<u64> {
    let published_at = |at: &Sequence| match host.messages(view.record.id, *at, 1) {
        Ok(messages) => Some(messages.first()?.1.published_at),
        Err(error) => {
            tracing::warn!(queue = %view.record.name, %error, "the oldest message of a queue cannot be read");
            None
        }
    };
    view.oldest.iter().filter_map(published_at).min().map(|at| now_ms().saturating_sub(at.0))
}
