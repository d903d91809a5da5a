//! What it takes to run a quarantined delivery again: its capsule, and the component that ran.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use wasmill_delivery::name::{Digest, QuarantineId};

use crate::http::{
    App,
    extract::{Params, blocking},
    problem::Problem,
};

/// A capsule file without its component.
const CAPSULE_TYPE: &str = "application/vnd.wasmill.capsule";

pub(super) async fn show(State(app): State<App>, Params(id): Params<u64>) -> Result<Response, Problem> {
    let bytes = blocking(move || app.host.capsule_file(QuarantineId(id)).map(|file| file.to_bytes())).await?;
    Ok(([(header::CONTENT_TYPE, CAPSULE_TYPE)], bytes).into_response())
}

pub(super) async fn component(State(app): State<App>, Params(digest): Params<String>) -> Result<Response, Problem> {
    let digest: Digest = digest.parse()?;
    let bytes = blocking(move || app.host.component(digest)).await?;
    Ok(([(header::CONTENT_TYPE, "application/wasm")], bytes).into_response())
}
