//! Redrives in the background: what runs, and how to stop it.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use wasmill_runtime::{Host, RedriveId, RedriveOperation, RedriveRefused, RedriveState};

use super::filter::Selected;
use crate::http::{App, extract::Params, problem::Problem};

/// What is said of every such redrive, because nothing else would tell.
const NOTE: &str = "a redrive in the background ends with the host: what is not redriven by then stays in quarantine";

/// All that run, and those that ended lately.
#[derive(Serialize)]
pub(super) struct RedriveList {
    redrives: Vec<RedriveInfo>,
    note: &'static str,
}

#[derive(Serialize)]
pub(super) struct RedriveInfo {
    id: RedriveId,
    meant: String,
    rate_per_second: u32,
    state: RedriveState,
    started_at_ms: u64,
    ended_at_ms: Option<u64>,
    total: u64,
    redriven: u64,
    skipped: u64,
    refused: u64,
    refusals: Vec<RedriveRefused>,
    /// Whether more match than are taken at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
}

impl From<RedriveOperation> for RedriveInfo {
    fn from(operation: RedriveOperation) -> Self {
        Self {
            id: operation.id,
            meant: operation.meant,
            rate_per_second: operation.rate_per_second,
            state: operation.state,
            started_at_ms: operation.started_at.0,
            ended_at_ms: operation.ended_at.map(|at| at.0),
            total: operation.total,
            redriven: operation.redriven,
            skipped: operation.skipped,
            refused: operation.refused,
            refusals: operation.refusals,
            more: None,
        }
    }
}

/// Begin one.
pub(super) fn start(host: &Host, selected: Selected, rate_per_second: u32) -> Result<Response, Problem> {
    let operation = host.start_redrive(selected.ids, rate_per_second, selected.meant)?;
    let location = format!("/v1/quarantine/redrives/{}", operation.id);
    let info = RedriveInfo { more: Some(selected.more), ..operation.into() };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(info)).into_response())
}

pub(super) async fn list(State(app): State<App>) -> Json<RedriveList> {
    Json(RedriveList { redrives: app.host.redrives().into_iter().map(RedriveInfo::from).collect(), note: NOTE })
}

pub(super) async fn show(State(app): State<App>, Params(id): Params<RedriveId>) -> Result<Json<RedriveInfo>, Problem> {
    let found = app.host.redrives().into_iter().find(|operation| operation.id == id);
    found.map(|operation| Json(operation.into())).ok_or_else(|| unknown(id))
}

pub(super) async fn cancel(
    State(app): State<App>,
    Params(id): Params<RedriveId>,
) -> Result<Json<RedriveInfo>, Problem> {
    app.host.cancel_redrive(id).map(|operation| Json(operation.into())).ok_or_else(|| unknown(id))
}

fn unknown(id: RedriveId) -> Problem {
    Problem::unknown(
        "unknown-redrive",
        format!("there is no redrive {id}; it ended long ago, or the host was started again: {NOTE}"),
    )
}
