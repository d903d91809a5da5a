//! How the process is: for orchestrators, for Prometheus, for people.

use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Serialize;

use super::{App, extract::blocking, problem::Problem};
use crate::telemetry::CONTENT_TYPE;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/info", get(info))
}

#[derive(Serialize)]
struct Info {
    version: &'static str,
    store_bytes: u64,
    data_bytes_max: usize,
}

async fn healthz() -> &'static str {
    "ok"
}

/// Whether to send requests here: not when the host failed, and not when it is about to stop.
async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    if let Some(reason) = app.host.failure() {
        return Err(Problem::stopped(format!("the host has stopped: {reason}")));
    }
    if app.draining.has_begun() {
        return Err(Problem::stopped("the host is shutting down"));
    }
    Ok("ready")
}

async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let text = app.metrics.scrape(&app.host).await.map_err(|error| Problem::fault(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

async fn info(State(app): State<App>) -> Result<Json<Info>, Problem> {
    let host = app.host.clone();
    let store_bytes = blocking(move || host.store_bytes()).await?;
    Ok(Json(Info { version: env!("CARGO_PKG_VERSION"), store_bytes, data_bytes_max: app.host.data_bytes_max() }))
}
