//! The quarantine: look at the evidence, send again, forget.

mod capsule;
mod filter;
mod info;
mod line;
mod redrives;
mod summary;
mod transfer;
mod when;

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use wasmill_delivery::{
    effect::OrderRefusal,
    name::{MessageId, QuarantineId},
    record::QuarantineRecord,
};
use wasmill_runtime::Host;

use self::{
    filter::{ListQuery, Selection},
    info::QuarantineInfo,
};
use super::{
    App, body,
    extract::{Declared, Params, Search, blocking, page_limit},
    problem::Problem,
};

/// Redrives that wait for their commit at once: one commit takes all of them, as far as it takes so many bytes.
const REDRIVES_AT_ONCE: usize = 64;
/// Quarantined deliveries that are forgotten in one commit.
const PURGE_AT_ONCE: usize = 1_000;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/quarantine", get(list))
        .route("/v1/quarantine/redrive", post(redrive_selected))
        .route("/v1/quarantine/purge", post(purge_selected))
        .route("/v1/quarantine/summary", get(summary::show))
        .route("/v1/quarantine/export", get(transfer::export))
        .route("/v1/quarantine/import", post(transfer::import))
        .route("/v1/quarantine/redrives", get(redrives::list))
        .route("/v1/quarantine/redrives/{id}", get(redrives::show).delete(redrives::cancel))
        .route("/v1/quarantine/{id}", get(show).delete(delete))
        .route("/v1/quarantine/{id}/redrive", post(redrive))
        .route("/v1/quarantine/{id}/capsule", get(capsule::show))
        .route("/v1/components/{digest}", get(capsule::component))
}

#[derive(Serialize)]
struct QuarantinePage<'a> {
    quarantined: Vec<QuarantineInfo<'a>>,
    next: Option<QuarantineId>,
}

#[derive(Serialize)]
struct RedriveReceipt {
    id: MessageId,
}

#[derive(Serialize)]
struct Redriven {
    quarantine_id: QuarantineId,
    id: MessageId,
}

#[derive(Serialize)]
struct Refused {
    quarantine_id: QuarantineId,
    error: Problem,
}

#[derive(Default, Serialize)]
struct RedriveAnswer {
    redriven: Vec<Redriven>,
    refused: Vec<Refused>,
    /// Whether more match than are taken at once.
    more: bool,
}

#[derive(Serialize)]
struct PurgeAnswer {
    purged: u64,
    /// Whether more match than are taken at once.
    more: bool,
}

async fn list(State(app): State<App>, Search(query): Search<ListQuery>) -> Result<Response, Problem> {
    let limit = page_limit(query.limit)?;
    blocking(move || {
        let page = query.filter().page(&app.host, query.cursor(), limit)?;
        let mut headers = HeaderMap::new();
        if let Some(next) = page.next
            && let Ok(link) = query.link(next).parse()
        {
            headers.insert(header::LINK, link);
        }
        let infos = page.records.iter().map(QuarantineInfo::summary).collect();
        Ok::<_, Problem>((headers, Json(QuarantinePage { quarantined: infos, next: page.next })).into_response())
    })
    .await
}

async fn show(State(app): State<App>, Params(id): Params<u64>) -> Result<Response, Problem> {
    let record: QuarantineRecord = blocking(move || app.host.quarantined(QuarantineId(id))).await?;
    Ok(Json(QuarantineInfo::full(&record)).into_response())
}

async fn delete(State(app): State<App>, Params(id): Params<u64>) -> Result<StatusCode, Problem> {
    let id = QuarantineId(id);
    match app.host.purge_quarantine(vec![id]).await? {
        0 => Err(OrderRefusal::UnknownQuarantine { id }.into()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

async fn redrive(State(app): State<App>, Params(id): Params<u64>, body: Body) -> Result<Response, Problem> {
    let data = body::read(body, app.limits.body_bytes_max.min(app.host.data_bytes_max())).await?;
    let data = (!data.is_empty()).then_some(data);
    let id = app.host.redrive(QuarantineId(id), data).await?;
    Ok((StatusCode::ACCEPTED, Json(RedriveReceipt { id })).into_response())
}

async fn redrive_selected(
    State(app): State<App>,
    Declared(selection): Declared<Selection>,
) -> Result<Response, Problem> {
    let rate_per_second = selection.rate_per_second;
    let selected = selected(&app.host, selection).await?;
    if let Some(rate_per_second) = rate_per_second {
        return redrives::start(&app.host, selected, rate_per_second);
    }
    let host = &app.host;
    let results = stream::iter(selected.ids).map(|id| async move { (id, host.redrive(id, None).await) });
    let mut results = results.buffered(REDRIVES_AT_ONCE);
    let mut answer = RedriveAnswer { more: selected.more, ..RedriveAnswer::default() };
    while let Some((quarantine_id, result)) = results.next().await {
        match result {
            Ok(id) => answer.redriven.push(Redriven { quarantine_id, id }),
            Err(error) => answer.refused.push(Refused { quarantine_id, error: error.into() }),
        }
    }
    Ok(Json(answer).into_response())
}

async fn purge_selected(
    State(app): State<App>,
    Declared(selection): Declared<Selection>,
) -> Result<Json<PurgeAnswer>, Problem> {
    if selection.rate_per_second.is_some() {
        return Err(Problem::invalid(
            "invalid-value",
            "rate_per_second is for redrives; what is purged is gone at once",
        ));
    }
    let selected = selected(&app.host, selection).await?;
    let mut purged = 0;
    for ids in selected.ids.chunks(PURGE_AT_ONCE) {
        purged += app.host.purge_quarantine(ids.to_vec()).await?;
    }
    Ok(Json(PurgeAnswer { purged, more: selected.more }))
}

/// All that is meant is found before anything is done: what is redriven may come back, and must not be found again.
async fn selected(host: &Host, selection: Selection) -> Result<filter::Selected, Problem> {
    let host = host.clone();
    blocking(move || selection.find(&host)).await
}
