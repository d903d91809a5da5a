//! Jobs: submit a message, ask what became of it, wait for it to end, cancel it.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_delivery::job::{JobId, JobRecord, JobState};
use wasmill_runtime::Submitted;

use super::{
    App,
    extract::{Params, Search},
    message::data_fields,
    problem::Problem,
    publish::{Target, header_text, read_one},
    timing::duration_ms,
};

/// The URL that is called when the job has ended.
const CALLBACK_HEADER: &str = "wasmill-callback";
/// The longest that one request waits for a job to end, 60 s in milliseconds.
const JOB_WAIT_MS_MAX: u64 = 60_000;
/// Jobs of one page.
const JOBS_PAGE_MAX: usize = 1_000;
const JOBS_PAGE_DEFAULT: usize = 100;

/// Those that publish, to which an `Idempotency-Key` applies.
pub(super) fn submit_routes() -> Router<App> {
    Router::new()
        .route("/v1/jobs/{name}", post(to_topic).get(show).delete(cancel))
        .route("/v1/queues/{queue}/jobs", post(to_queue))
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/jobs", get(list))
}

async fn to_topic(app: State<App>, Params(topic): Params<String>, request: Request) -> Result<Response, Problem> {
    submit(app.0, Target::Topic(topic), request).await
}

async fn to_queue(app: State<App>, Params(queue): Params<String>, request: Request) -> Result<Response, Problem> {
    submit(app.0, Target::Queue(queue), request).await
}

async fn submit(app: App, target: Target, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let callback = match parts.headers.get(CALLBACK_HEADER) {
        Some(value) => {
            let url = header_text(CALLBACK_HEADER, value)?;
            let checked = app.callbacks.check(&url);
            Some(checked.map_err(|refused| Problem::invalid("callback-refused", refused.to_string()))?)
        }
        None => None,
    };
    let draft = read_one(&app, &target, &parts, body).await?;
    let submitted = app.host.submit_job(draft, callback).await?;
    let Submitted { id, known, .. } = &submitted;
    let mut status = match app.host.job(id).await? {
        Some(record) => record.status(),
        // So short a life has only a host that keeps jobs for no time.
        None => json!({ "id": id, "state": JobState::Queued, "message": submitted.message }),
    };
    status["known"] = (*known).into();
    let code = if *known { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((code, [(header::LOCATION, format!("/v1/jobs/{id}"))], Json(status)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    wait: Option<String>,
}

async fn show(
    State(app): State<App>,
    Params(id): Params<String>,
    Search(query): Search<ShowQuery>,
) -> Result<Json<Value>, Problem> {
    let id = JobId::new(id)?;
    let found = match query.wait.as_deref().map(|text| duration_ms("wait", text)).transpose()? {
        None | Some(0) => app.host.job(&id).await?,
        Some(ms @ 1..=JOB_WAIT_MS_MAX) => tokio::select! {
            found = app.host.job_when_ended(&id, Duration::from_millis(ms)) => found?,
            // Whoever waits is told at once how it is, so that the server can stop.
            () = app.draining.begun() => app.host.job(&id).await?,
        },
        Some(_) => {
            let detail = format!("wait: it must be at most {} s, for example \"20s\"", JOB_WAIT_MS_MAX / 1_000);
            return Err(Problem::malformed("invalid-duration", detail));
        }
    };
    let Some(record) = found else {
        return Err(wasmill_delivery::effect::OrderRefusal::UnknownJob { job: id }.into());
    };
    let host = app.host.clone();
    let reading = tokio::task::spawn_blocking(move || full_status(&host, &record));
    reading.await.unwrap_or_else(|error| Err(Problem::fault(error.to_string()))).map(Json)
}

/// The status of a job with the data of its result.
fn full_status(host: &wasmill_runtime::Host, record: &JobRecord) -> Result<Value, Problem> {
    let mut status = record.status();
    if record.result.is_some() {
        status["result"] = result_of(host, &record.id)?;
    }
    Ok(status)
}

/// The result of a job, as messages are shown; null when there is none.
pub(super) fn result_of(host: &wasmill_runtime::Host, id: &JobId) -> Result<Value, Problem> {
    let Some(result) = host.job_result(id)? else { return Ok(Value::Null) };
    let mut shown = data_fields(&result.data, result.content_type.as_deref());
    shown["content_type"] = result.content_type.into();
    shown["bytes"] = result.data.len().into();
    Ok(shown)
}

async fn cancel(State(app): State<App>, Params(id): Params<String>) -> Result<Json<Value>, Problem> {
    let id = JobId::new(id)?;
    app.host.cancel_job(&id).await?;
    let status = app.host.job(&id).await?.map(|record| record.status());
    Ok(Json(status.unwrap_or_else(|| json!({ "id": id, "state": JobState::Cancelled }))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

async fn list(State(app): State<App>, Search(query): Search<ListQuery>) -> Result<Json<Value>, Problem> {
    let limit = page_limit(query.limit)?;
    let state = query.state.as_deref().map(str::parse).transpose()?;
    let after = query.cursor.map(JobId::new).transpose()?;
    let page = app.host.jobs(after, state, limit).await?;
    let next = page.last().filter(|_| page.len() == limit).map(|record| record.id.clone());
    let jobs: Vec<Value> = page.iter().map(JobRecord::status).collect();
    Ok(Json(json!({ "jobs": jobs, "next": next })))
}

/// How many entries a page shall have.
pub(super) fn page_limit(given: Option<usize>) -> Result<usize, Problem> {
    match given.unwrap_or(JOBS_PAGE_DEFAULT) {
        limit @ 1..=JOBS_PAGE_MAX => Ok(limit),
        limit => {
            let detail = format!("limit: {limit} is out of range; it must be from 1 to {JOBS_PAGE_MAX}");
            Err(Problem::invalid("out-of-range", detail))
        }
    }
}
