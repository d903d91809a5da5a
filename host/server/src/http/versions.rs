//! Versions of a handler: what ran and why it does not any more, back to an earlier one, and on with the one that is
//! tried.

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use wasmill_delivery::{
    canary::{CanaryEnd, CanaryPolicy, Counts},
    effect::OrderRefusal,
    name::{Digest, HandlerName},
    record::HandlerRecord,
    versions::{VersionChange, VersionEvent},
};
use wasmill_runtime::{CanaryView, HandlerLoaded};

use super::{
    App,
    extract::{Params, Search},
    handlers::find,
    problem::Problem,
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/handlers/{name}/history", get(history))
        .route("/v1/handlers/{name}/rollback", post(roll_back))
        .route("/v1/handlers/{name}/promote", post(promote))
}

/// A version that is tried.
#[derive(Serialize)]
pub(super) struct CandidateInfo {
    digest: Digest,
    imports: Vec<String>,
    began_at_ms: u64,
    /// It is given up then, unless it was decided before.
    ends_at_ms: u64,
    policy: CanaryPolicy,
    counts: Counts,
}

#[derive(Serialize)]
struct History {
    handler: HandlerName,
    digest: Option<Digest>,
    candidate: Option<CandidateInfo>,
    versions: Vec<VersionInfo>,
}

#[derive(Serialize)]
struct VersionInfo {
    digest: Digest,
    at_ms: u64,
    /// What happened to it: loaded, promoted, given-back, rolled-back.
    change: &'static str,
    /// Why, for a person.
    why: Option<String>,
    /// Why, as one word.
    reason: Option<CanaryEnd>,
    counts: Option<Counts>,
    rolled_back_from: Option<Digest>,
    imports: Vec<String>,
    /// Whether it runs now.
    current: bool,
    /// Whether it was decided against, and not loaded since.
    given_up: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackQuery {
    to: Option<String>,
}

/// What was done.
#[derive(Serialize)]
pub(super) struct Loaded {
    digest: Digest,
    imports: Vec<String>,
    /// The public key of who signed it.
    signed_by: Option<String>,
    changed: bool,
    /// The share of keys that it runs for; none when it runs for all.
    canary_share_percent: Option<u32>,
}

async fn history(State(app): State<App>, Params(name): Params<String>) -> Result<Json<History>, Problem> {
    let name = HandlerName::new(name)?;
    let view = find(&app.host, &name).await?.ok_or(OrderRefusal::UnknownHandler { handler: name })?;
    let record = &view.record;
    let versions = record.versions.history.iter().enumerate().map(|(at, event)| version(record, at, event)).collect();
    let candidate = view.canary.map(CandidateInfo::from);
    Ok(Json(History { handler: record.name.clone(), digest: record.digest, candidate, versions }))
}

async fn roll_back(
    State(app): State<App>,
    Params(name): Params<String>,
    Search(query): Search<RollbackQuery>,
) -> Result<Json<Loaded>, Problem> {
    Ok(Json(app.host.roll_back(HandlerName::new(name)?, query.to.as_deref()).await?.into()))
}

async fn promote(State(app): State<App>, Params(name): Params<String>) -> Result<Json<Loaded>, Problem> {
    Ok(Json(app.host.promote(HandlerName::new(name)?).await?.into()))
}

/// The newest event of the current version is the one that made it so.
fn version(record: &HandlerRecord, at: usize, event: &VersionEvent) -> VersionInfo {
    let newer = &record.versions.history[..at];
    let (change, end, counts, from) = match &event.change {
        VersionChange::Loaded => ("loaded", None, None, None),
        VersionChange::Promoted { end, counts } => ("promoted", Some(end), Some(*counts), None),
        VersionChange::GivenBack { end, counts } => ("given-back", Some(end), Some(*counts), None),
        VersionChange::RolledBack { from } => ("rolled-back", None, None, *from),
    };
    VersionInfo {
        digest: event.digest,
        at_ms: event.at.0,
        change,
        why: end.map(CanaryEnd::describe),
        reason: end.cloned(),
        counts,
        rolled_back_from: from,
        imports: event.imports.clone(),
        current: record.digest == Some(event.digest) && newer.iter().all(|other| other.digest != event.digest),
        given_up: record.versions.is_given_up(event.digest),
    }
}

impl From<CanaryView> for CandidateInfo {
    fn from(CanaryView { record, counts }: CanaryView) -> Self {
        Self {
            digest: record.digest,
            imports: record.imports,
            began_at_ms: record.began_at.0,
            ends_at_ms: record.began_at.plus_ms(record.policy.duration_ms).0,
            policy: record.policy,
            counts,
        }
    }
}

impl From<HandlerLoaded> for Loaded {
    fn from(loaded: HandlerLoaded) -> Self {
        let HandlerLoaded { digest, imports, signed_by, changed, canary_share_percent, given_up: _ } = loaded;
        Self { digest, imports, signed_by: signed_by.map(|key| key.to_string()), changed, canary_share_percent }
    }
}
