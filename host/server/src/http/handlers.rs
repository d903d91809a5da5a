//! Handlers: load a component, set its limits and configuration, look at its state.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmill_delivery::{
    canary::CanaryPolicy,
    effect::OrderRefusal,
    name::{Digest, HandlerName},
    record::{Grants, HandlerLimits, Replacing, Retries, SecretSource},
};
use wasmill_runtime::{
    Component, HandlerSettings, HandlerView, Host, LoadOptions, Signature, grants_unused, imports_not_granted,
};

use super::{
    App, HttpLimits, body,
    extract::{Params, Search, blocking, from_json, page_limit},
    message::essence,
    problem::Problem,
    replacing_form::{CanaryDeclaration, SampleDeclaration, if_given, sample_info},
    versions::{CandidateInfo, Loaded},
};
use crate::forms::parse_percent;

/// A component's signature, as `FILE.wasm.sig` holds it.
pub(crate) const SIGNATURE_HEADER: &str = "Wasmill-Signature";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/handlers", get(list))
        .route("/v1/handlers/{name}", get(show).put(put).delete(delete))
        .route("/v1/handlers/{name}/state", get(state_keys))
        .route("/v1/handlers/{name}/state/{*key}", get(state_value))
}

#[derive(Serialize)]
struct HandlerInfo {
    name: HandlerName,
    digest: Option<Digest>,
    loaded_at_ms: u64,
    imports: Vec<String>,
    /// Imports that lead nowhere, because nothing is granted for them.
    imports_not_granted: Vec<String>,
    limits: HandlerLimits,
    config: BTreeMap<String, String>,
    grants: Grants,
    /// Where each secret comes from; never what it is.
    secrets: BTreeMap<String, SecretSource>,
    /// The public key of who signed the component.
    signed_by: Option<String>,
    /// Grants that the component has no import for.
    grants_unused: Vec<&'static str>,
    /// Which version runs a delivery that failed on an earlier one.
    retries: Retries,
    /// How new versions are tried.
    canary: CanaryPolicy,
    /// The version that is tried now.
    candidate: Option<CandidateInfo>,
    /// What new versions must handle.
    sample: Option<Value>,
    problem: Option<String>,
}

#[derive(Serialize)]
struct HandlerList {
    handlers: Vec<HandlerInfo>,
}

/// What is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsDeclaration {
    limits: Option<LimitsDeclaration>,
    config: Option<BTreeMap<String, String>>,
    grants: Option<Grants>,
    retries: Option<Retries>,
    canary: Option<CanaryDeclaration>,
    /// `null` removes it.
    #[serde(default, deserialize_with = "if_given")]
    sample: Option<Option<SampleDeclaration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadQuery {
    /// Whether an operator approves of what the component imports.
    #[serde(default)]
    approve: bool,
    /// The share of keys that it runs for first, such as `10` or `10%`; `0` replaces the old version at once.
    canary: Option<String>,
    /// Whether it is loaded without a run on the handler's sample.
    #[serde(default)]
    skip_sample: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsDeclaration {
    fuel_max: Option<u64>,
    memory_bytes_max: Option<u64>,
    wall_clock_ms_max: Option<u64>,
    published_max: Option<u32>,
    published_bytes_max: Option<u64>,
    state_bytes_max: Option<u64>,
    log_bytes_max: Option<u32>,
    instance_calls_max: Option<u32>,
    http_requests_max: Option<u32>,
    http_open_max: Option<u32>,
    http_sent_bytes_max: Option<u64>,
    http_received_bytes_max: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysQuery {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct KeyPage {
    keys: Vec<String>,
    next: Option<String>,
}

async fn list(State(app): State<App>) -> Result<Json<HandlerList>, Problem> {
    let handlers = app.host.handlers().await?.into_iter().map(HandlerInfo::from).collect();
    Ok(Json(HandlerList { handlers }))
}

async fn show(State(app): State<App>, Params(name): Params<String>) -> Result<Json<HandlerInfo>, Problem> {
    let name = HandlerName::new(name)?;
    let view = find(&app.host, &name).await?.ok_or(OrderRefusal::UnknownHandler { handler: name })?;
    Ok(Json(view.into()))
}

async fn put(
    State(app): State<App>,
    Params(name): Params<String>,
    Search(query): Search<LoadQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let name = HandlerName::new(name)?;
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(essence);
    match content_type.as_deref() {
        Some("application/wasm") => {
            let signature = match signature(&parts.headers) {
                Ok(signature) => signature,
                Err(problem) => {
                    body::drain(body.into_data_stream());
                    return Err(problem);
                }
            };
            load(app, name, &query, signature, body).await
        }
        Some("application/json") => put_settings(app, name, body).await,
        Some(_) | None => {
            body::drain(body.into_data_stream());
            let detail = "give the component as application/wasm, or its limits, config and grants as application/json";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail))
        }
    }
}

/// The signature that a component comes with.
fn signature(headers: &HeaderMap) -> Result<Option<Signature>, Problem> {
    let Some(given) = headers.get(SIGNATURE_HEADER) else { return Ok(None) };
    let parsed = String::from_utf8_lossy(given.as_bytes()).parse();
    parsed.map(Some).map_err(|error| Problem::invalid("invalid-signature", format!("{SIGNATURE_HEADER}: {error}")))
}

async fn load(
    app: App,
    name: HandlerName,
    query: &LoadQuery,
    signature: Option<Signature>,
    body: Body,
) -> Result<Response, Problem> {
    let share_percent = query.canary.as_deref().map(parse_percent).transpose();
    let share_percent =
        share_percent.map_err(|problem| Problem::invalid("invalid-query", format!("canary: {problem}")))?;
    let LoadQuery { approve, skip_sample, .. } = *query;
    let options = LoadOptions { approve, share_percent, skip_sample, from_file: false };
    let wasm = body::read(body, app.limits.component_bytes_max).await?;
    let loaded = app.host.load_version(name, Component::from(wasm).signed(signature), options).await?;
    Ok(Json(Loaded::from(loaded)).into_response())
}

async fn put_settings(app: App, name: HandlerName, body: Body) -> Result<Response, Problem> {
    let json = body::read(body, HttpLimits::DECLARATION_BYTES_MAX).await?;
    let given: SettingsDeclaration = from_json(&json)?;
    let before = find(&app.host, &name).await?;
    let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let before = before.map(|view| view.record);
    let default = app.host.default_settings();
    let limits = before.as_ref().map_or(default.limits, |record| record.limits);
    let (config, grants, secrets, replacing) =
        before.map(|record| (record.config, record.grants, record.secrets, *record.replacing)).unwrap_or_default();
    let settings = HandlerSettings {
        limits: given.limits.map_or(limits, |given| given.over(limits)),
        config: given.config.unwrap_or(config),
        grants: given.grants.unwrap_or(grants),
        // Only the configuration says where secrets are: whoever may call the API could read any file of the host
        // by a handler of his own otherwise.
        secrets,
        replacing: Replacing {
            sample: match given.sample {
                Some(sample) => sample.map(SampleDeclaration::sample).transpose()?,
                None => replacing.sample,
            },
            retries: given.retries.unwrap_or(replacing.retries),
            canary: given.canary.map_or(replacing.canary, |canary| canary.over(replacing.canary)),
        },
    };
    app.host.put_handler(name.clone(), settings).await?;
    let info = show(State(app), Params(name.into())).await?;
    Ok((status, info).into_response())
}

async fn delete(State(app): State<App>, Params(name): Params<String>) -> Result<StatusCode, Problem> {
    app.host.delete_handler(HandlerName::new(name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The keys of a handler's state. It outlives the handler, so the name need not be one of a handler that is there.
async fn state_keys(
    State(app): State<App>,
    Params(name): Params<String>,
    Search(query): Search<KeysQuery>,
) -> Result<Json<KeyPage>, Problem> {
    let name = HandlerName::new(name)?;
    let limit = page_limit(query.limit)?;
    let keys = blocking(move || app.host.state_keys(&name, &query.prefix, query.after.as_deref(), limit)).await?;
    let next = keys.last().filter(|_| keys.len() == limit).cloned();
    Ok(Json(KeyPage { keys, next }))
}

async fn state_value(
    State(app): State<App>,
    Params((name, key)): Params<(String, String)>,
) -> Result<Response, Problem> {
    let name = HandlerName::new(name)?;
    let unknown = format!("handler {name} has no state under {key:?}");
    let value = blocking(move || app.host.state(&name, &key)).await?;
    match value {
        Some(value) => Ok(([(header::CONTENT_TYPE, "application/octet-stream")], value).into_response()),
        None => Err(Problem::unknown("unknown-key", unknown)),
    }
}

pub(super) async fn find(host: &Host, name: &HandlerName) -> Result<Option<HandlerView>, Problem> {
    Ok(host.handlers().await?.into_iter().find(|view| view.record.name == *name))
}

impl From<HandlerView> for HandlerInfo {
    fn from(view: HandlerView) -> Self {
        Self {
            imports_not_granted: imports_not_granted(&view.record, &view.imports),
            grants_unused: if view.problem.is_none() { grants_unused(&view.record, &view.imports) } else { Vec::new() },
            retries: view.record.replacing.retries,
            canary: view.record.replacing.canary,
            candidate: view.canary.map(CandidateInfo::from),
            sample: view.record.replacing.sample.as_ref().map(sample_info),
            grants: view.record.grants,
            secrets: view.record.secrets,
            name: view.record.name,
            digest: view.record.digest,
            signed_by: view.signed_by.map(|key| key.to_string()),
            loaded_at_ms: view.record.loaded_at.0,
            imports: view.imports,
            limits: view.record.limits,
            config: view.record.config,
            problem: view.problem,
        }
    }
}

impl LimitsDeclaration {
    fn over(self, before: HandlerLimits) -> HandlerLimits {
        HandlerLimits {
            fuel_max: self.fuel_max.unwrap_or(before.fuel_max),
            memory_bytes_max: self.memory_bytes_max.unwrap_or(before.memory_bytes_max),
            wall_clock_ms_max: self.wall_clock_ms_max.unwrap_or(before.wall_clock_ms_max),
            published_max: self.published_max.unwrap_or(before.published_max),
            published_bytes_max: self.published_bytes_max.unwrap_or(before.published_bytes_max),
            state_bytes_max: self.state_bytes_max.unwrap_or(before.state_bytes_max),
            log_bytes_max: self.log_bytes_max.unwrap_or(before.log_bytes_max),
            instance_calls_max: self.instance_calls_max.unwrap_or(before.instance_calls_max),
            http_requests_max: self.http_requests_max.unwrap_or(before.http_requests_max),
            http_open_max: self.http_open_max.unwrap_or(before.http_open_max),
            http_sent_bytes_max: self.http_sent_bytes_max.unwrap_or(before.http_sent_bytes_max),
            http_received_bytes_max: self.http_received_bytes_max.unwrap_or(before.http_received_bytes_max),
        }
    }
}
