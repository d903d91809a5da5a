//! Schedules: declare them, look at them, let them rest, run them now.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wasmill_delivery::{
    limits::SCHEDULE_MISSED_DEFAULT,
    schedule::{Missed, ScheduleName},
    time::Timestamp,
};
use wasmill_runtime::{SCHEDULE_UPCOMING_MAX, ScheduleError, ScheduleSettings, ScheduleView};

use super::{
    App,
    extract::{Declared, Params, Search},
    problem::Problem,
};

/// Times that are shown when nobody says how many.
const UPCOMING_DEFAULT: usize = 5;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/schedules", get(list))
        .route("/v1/schedules/{schedule}", get(show).put(put).delete(delete))
        .route("/v1/schedules/{schedule}/pause", post(pause))
        .route("/v1/schedules/{schedule}/resume", post(resume))
        .route("/v1/schedules/{schedule}/run", post(run))
}

#[derive(Serialize)]
struct ScheduleInfo {
    name: ScheduleName,
    cron: String,
    timezone: String,
    topic: String,
    key: Option<String>,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    data_bytes: usize,
    /// The data when it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_text: Option<String>,
    /// The data when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    missed: MissedWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed_max: Option<u32>,
    paused: bool,
    next_at: Option<String>,
    next_at_ms: Option<u64>,
    last_at: Option<String>,
    last_at_ms: Option<u64>,
    fired: u64,
    problem: Option<ProblemInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    upcoming: Vec<String>,
}

#[derive(Serialize)]
struct ProblemInfo {
    detail: String,
    since_ms: u64,
}

#[derive(Serialize)]
struct ScheduleList {
    schedules: Vec<ScheduleInfo>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleDeclaration {
    cron: String,
    timezone: Option<String>,
    topic: String,
    key: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// Any JSON, kept as it is written.
    data: Option<Box<RawValue>>,
    data_text: Option<String>,
    data_base64: Option<String>,
    #[serde(default)]
    missed: MissedWord,
    missed_max: Option<u32>,
    paused: Option<bool>,
}

/// [`Missed`] as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum MissedWord {
    Skip,
    #[default]
    Once,
    All,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    upcoming: Option<usize>,
}

#[derive(Serialize)]
struct RunAnswer {
    id: String,
    places: Vec<PlaceInfo>,
}

#[derive(Serialize)]
struct PlaceInfo {
    queue: String,
    sequence: u64,
}

async fn list(State(app): State<App>) -> Result<Json<ScheduleList>, Problem> {
    let views = app.host.schedules().await?;
    Ok(Json(ScheduleList { schedules: views.iter().map(|view| ScheduleInfo::new(view, 0)).collect() }))
}

async fn show(
    State(app): State<App>,
    Params(name): Params<String>,
    Search(query): Search<ShowQuery>,
) -> Result<Json<ScheduleInfo>, Problem> {
    let upcoming = query.upcoming.unwrap_or(UPCOMING_DEFAULT);
    if upcoming > SCHEDULE_UPCOMING_MAX {
        let detail = format!("upcoming is {upcoming}; it must be from 0 to {SCHEDULE_UPCOMING_MAX}");
        return Err(Problem::invalid("out-of-range", detail));
    }
    let view = app.host.schedule(&ScheduleName::new(name)?).await?;
    Ok(Json(ScheduleInfo::new(&view, upcoming)))
}

async fn put(
    State(app): State<App>,
    Params(name): Params<String>,
    Declared(given): Declared<ScheduleDeclaration>,
) -> Result<Response, Problem> {
    let name = ScheduleName::new(name)?;
    let created = app.host.put_schedule(name.clone(), given.settings()?).await?;
    let view = app.host.schedule(&name).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(ScheduleInfo::new(&view, UPCOMING_DEFAULT))).into_response())
}

async fn delete(State(app): State<App>, Params(name): Params<String>) -> Result<StatusCode, Problem> {
    app.host.delete_schedule(ScheduleName::new(name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn pause(State(app): State<App>, Params(name): Params<String>) -> Result<StatusCode, Problem> {
    app.host.pause_schedule(&ScheduleName::new(name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn resume(State(app): State<App>, Params(name): Params<String>) -> Result<StatusCode, Problem> {
    app.host.resume_schedule(&ScheduleName::new(name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn run(State(app): State<App>, Params(name): Params<String>) -> Result<Response, Problem> {
    let published = app.host.run_schedule(&ScheduleName::new(name)?).await?;
    let place = |(queue, sequence): (_, _)| PlaceInfo { queue: String::from(queue), sequence: place_number(sequence) };
    let places = published.places.into_iter().map(place).collect();
    Ok((StatusCode::CREATED, Json(RunAnswer { id: published.id.to_string(), places })).into_response())
}

const fn place_number(sequence: wasmill_delivery::name::Sequence) -> u64 {
    sequence.0
}

impl ScheduleDeclaration {
    fn settings(self) -> Result<ScheduleSettings, Problem> {
        let (data, implied) = match (self.data, self.data_text, self.data_base64) {
            (None, None, None) => (Bytes::new(), None),
            (Some(json), None, None) => (Bytes::from(json.get().to_owned()), Some("application/json")),
            (None, Some(text), None) => (Bytes::from(text), None),
            (None, None, Some(base64)) => (decode(&base64)?, None),
            _ => {
                let detail = "data, data_text and data_base64 say the same thing; give one of them";
                return Err(Problem::invalid("invalid-value", detail));
            }
        };
        let missed = missed_of(self.missed, self.missed_max)?;
        Ok(ScheduleSettings {
            cron: self.cron,
            timezone: self.timezone.unwrap_or_default(),
            topic: self.topic,
            key: self.key,
            content_type: self.content_type.or_else(|| implied.map(str::to_owned)),
            headers: self.headers,
            data,
            missed,
            paused: self.paused,
        })
    }
}

fn decode(base64: &str) -> Result<Bytes, Problem> {
    let decoded = STANDARD.decode(base64).map(Bytes::from);
    decoded.map_err(|error| Problem::invalid("invalid-value", format!("data_base64 is not base64: {error}")))
}

fn missed_of(word: MissedWord, max: Option<u32>) -> Result<Missed, Problem> {
    match (word, max) {
        (MissedWord::All, max) => Ok(Missed::All { max: max.unwrap_or(SCHEDULE_MISSED_DEFAULT) }),
        (MissedWord::Skip, None) => Ok(Missed::Skip),
        (MissedWord::Once, None) => Ok(Missed::Once),
        (MissedWord::Skip | MissedWord::Once, Some(_)) => {
            Err(Problem::invalid("contradiction", "missed_max goes with missed = \"all\" only; leave it out"))
        }
    }
}

impl ScheduleInfo {
    fn new(view: &ScheduleView, upcoming: usize) -> Self {
        let record = &view.record;
        let config = &record.config;
        let text = std::str::from_utf8(&config.data).ok();
        let (missed, missed_max) = match config.missed {
            Missed::Skip => (MissedWord::Skip, None),
            Missed::Once => (MissedWord::Once, None),
            Missed::All { max } => (MissedWord::All, Some(max)),
        };
        Self {
            name: record.name.clone(),
            cron: config.cron.clone(),
            timezone: config.timezone.clone(),
            topic: config.topic.to_string(),
            key: config.key.as_ref().map(ToString::to_string),
            content_type: config.content_type.clone(),
            headers: config.headers.clone(),
            data_bytes: config.data.len(),
            data_text: text.map(str::to_owned),
            data_base64: text.is_none().then(|| STANDARD.encode(&config.data)),
            missed,
            missed_max,
            paused: config.paused,
            next_at: record.next.map(in_zone(&config.timezone)),
            next_at_ms: record.next.map(|time| time.0),
            last_at: record.last.map(in_zone(&config.timezone)),
            last_at_ms: record.last.map(|time| time.0),
            fired: record.fired,
            problem: view
                .problem
                .as_ref()
                .map(|problem| ProblemInfo { detail: problem.detail.clone(), since_ms: problem.since.0 }),
            upcoming: view.upcoming(upcoming).into_iter().map(in_zone(&config.timezone)).collect(),
        }
    }
}

/// By RFC 3339 with the offset that the zone has then.
fn in_zone(timezone: &str) -> impl Fn(Timestamp) -> String {
    let zone = jiff::tz::TimeZone::get(timezone).unwrap_or(jiff::tz::TimeZone::UTC);
    move |time| {
        let time_ms = i64::try_from(time.0).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or(jiff::Timestamp::MAX);
        time.display_with_offset(zone.to_offset(time)).to_string()
    }
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        let detail = error.to_string();
        match error {
            ScheduleError::Calendar(_) => Self::invalid("invalid-schedule", detail),
            ScheduleError::Message(error) => error.into(),
            ScheduleError::Host(error) => error.into(),
        }
    }
}
