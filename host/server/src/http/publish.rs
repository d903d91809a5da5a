//! Publishing: what the body is, where it goes, and what the publisher is told.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::{Deserialize, Serialize, Serializer};
use wasmill_delivery::name::{QueueName, Sequence};
use wasmill_runtime::{Draft, Published};

use super::{
    App, body, cloudevents,
    extract::{Params, Search},
    message::essence,
    ndjson::{self, Format},
    problem::Problem,
    queues, timing,
};

/// Where a message is named when the request is not a CloudEvent and carries one message.
pub(super) const ID_HEADER: &str = "wasmill-id";
pub(super) const KEY_HEADER: &str = "wasmill-key";
pub(super) const HEADER_PREFIX: &str = "wasmill-header-";
/// Headers of the request that a message keeps as they are: they carry its trace (W3C Trace Context and Baggage), and the
/// chain that it belongs to.
pub(super) const TRACE_HEADERS: [&str; 4] = ["traceparent", "tracestate", "baggage", "correlationid"];

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/messages", post(to_named))
        .route("/v1/topics/{topic}/messages", post(to_topic))
        .route("/v1/queues/{queue}/messages", post(to_queue).get(queues::messages))
}

async fn to_named(app: State<App>, query: Search<PublishQuery>, request: Request) -> Result<Response, Problem> {
    publish(app.0, Target::Named, query.0, request).await
}

async fn to_topic(
    app: State<App>,
    Params(topic): Params<String>,
    query: Search<PublishQuery>,
    request: Request,
) -> Result<Response, Problem> {
    publish(app.0, Target::Topic(topic), query.0, request).await
}

async fn to_queue(
    app: State<App>,
    Params(queue): Params<String>,
    query: Search<PublishQuery>,
    request: Request,
) -> Result<Response, Problem> {
    publish(app.0, Target::Queue(queue), query.0, request).await
}

/// Where the path of the request says that messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To this topic, all of them.
    Topic(String),
    /// To this queue, under its name as topic unless they name one.
    Queue(String),
    /// Where each says.
    Named,
}

impl Target {
    /// A draft that goes where the target and the message itself say.
    pub(super) fn draft(&self, topic: Option<String>) -> Result<Draft, Problem> {
        match (self, topic) {
            (Self::Topic(target), Some(named)) if *target != named => {
                let detail = format!(
                    "the message names topic {named:?} and the path topic {target:?}; leave one out, or publish to /v1/messages"
                );
                Err(Problem::invalid("conflicting-topic", detail))
            }
            (Self::Topic(topic), _) => Ok(Draft { topic: topic.clone(), ..Draft::default() }),
            (Self::Queue(queue), topic) => Ok(Draft {
                topic: topic.unwrap_or_else(|| queue.clone()),
                queue: Some(queue.clone()),
                ..Draft::default()
            }),
            (Self::Named, Some(topic)) => Ok(Draft { topic, ..Draft::default() }),
            (Self::Named, None) => Err(Problem::invalid(
                "missing-topic",
                "the message names no topic; give it one, or publish to /v1/topics/{topic}/messages",
            )),
        }
    }

    /// The same for a CloudEvent, whose type is its topic unless the path names one.
    pub(super) fn draft_of_event(&self, kind: &str) -> Result<Draft, Problem> {
        match self {
            Self::Topic(_) => self.draft(None),
            Self::Queue(_) | Self::Named => self.draft(Some(kind.to_owned())),
        }
    }
}

/// How NDJSON is to be read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishQuery {
    /// Whether each line is the data itself.
    #[serde(default)]
    raw: bool,
    /// The media type of raw lines.
    content_type: Option<String>,
    /// Where the id of a raw line is (RFC 6901).
    #[serde(rename = "id-pointer")]
    id_pointer: Option<String>,
}

impl PublishQuery {
    fn format(self, target: Target) -> Result<Format, Problem> {
        match (self.raw, &target) {
            (true, Target::Named) => {
                let detail = "raw lines name no topic; publish them to /v1/topics/{topic}/messages?raw=true";
                Err(Problem::invalid("missing-topic", detail))
            }
            (true, Target::Topic(_) | Target::Queue(_)) => Format::raw(target, self.content_type, self.id_pointer),
            (false, _) => {
                self.refuse_options_of_raw()?;
                Ok(Format::Enveloped(target))
            }
        }
    }

    fn refuse_options_of_raw(&self) -> Result<(), Problem> {
        if self.raw || self.content_type.is_some() || self.id_pointer.is_some() {
            let detail = "raw, content_type and id-pointer are for raw lines: give raw=true and application/x-ndjson";
            return Err(Problem::invalid("invalid-query", detail));
        }
        Ok(())
    }
}

/// What a body is.
pub(super) enum Kind {
    Lines,
    EventJson,
    EventBatch,
    EventBinary,
    Plain,
}

impl Kind {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(essence);
        match content_type.as_deref() {
            Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => Self::Lines,
            Some("application/cloudevents+json") => Self::EventJson,
            Some("application/cloudevents-batch+json") => Self::EventBatch,
            Some(_) | None if cloudevents::is_binary(headers) => Self::EventBinary,
            Some(_) | None => Self::Plain,
        }
    }
}

async fn publish(app: App, target: Target, query: PublishQuery, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let kind = Kind::of(&parts.headers);
    match kind {
        Kind::Lines => {
            timing::refuse_headers(&parts.headers)?;
            let format = query.format(target)?;
            ndjson::publish(app, format, body)
        }
        Kind::EventBatch => {
            query.refuse_options_of_raw()?;
            timing::refuse_headers(&parts.headers)?;
            let events = body::read(body, app.limits.body_bytes_max).await?;
            cloudevents::publish_batch(&app, &target, &events).await
        }
        Kind::EventJson | Kind::EventBinary | Kind::Plain => {
            query.refuse_options_of_raw()?;
            let draft = read_one(&app, &target, &parts, body).await?;
            let published = app.host.publish(draft).await?;
            Ok(answer_one(&published))
        }
    }
}

/// The one message that a request carries.
pub(super) async fn read_one(app: &App, target: &Target, parts: &Parts, body: Body) -> Result<Draft, Problem> {
    let data_bytes_max = app.limits.body_bytes_max.min(app.host.data_bytes_max());
    let mut draft = match Kind::of(&parts.headers) {
        Kind::EventJson => cloudevents::from_json(&body::read(body, app.limits.body_bytes_max).await?, target)?,
        Kind::EventBinary => {
            cloudevents::from_headers(&parts.headers, body::read(body, data_bytes_max).await?, target)?
        }
        Kind::Plain => plain(parts, body::read(body, data_bytes_max).await?, target)?,
        Kind::Lines | Kind::EventBatch => {
            body::drain(body.into_data_stream());
            let detail = "one message is wanted here; send its data, or one CloudEvent";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail));
        }
    };
    timing::put_headers(&parts.headers, &mut draft)?;
    with_trace(draft, &parts.headers)
}

fn plain(parts: &Parts, data: bytes::Bytes, target: &Target) -> Result<Draft, Problem> {
    let mut draft = Draft { data, ..target.draft(None)? };
    draft.content_type = text(&parts.headers, header::CONTENT_TYPE.as_str())?;
    draft.id = text(&parts.headers, ID_HEADER)?;
    draft.key = text(&parts.headers, KEY_HEADER)?;
    for (name, value) in &parts.headers {
        if let Some(name) = name.as_str().strip_prefix(HEADER_PREFIX) {
            draft.headers.push((name.to_owned(), header_text(name, value)?));
        }
    }
    Ok(draft)
}

/// Keep the trace of the request, unless the message brought its own.
fn with_trace(mut draft: Draft, headers: &HeaderMap) -> Result<Draft, Problem> {
    for name in TRACE_HEADERS {
        let own = draft.headers.iter().any(|(given, _)| given == name);
        if let (false, Some(value)) = (own, text(headers, name)?) {
            draft.headers.push((name.to_owned(), value));
        }
    }
    Ok(draft)
}

fn text(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    headers.get(name).map(|value| header_text(name, value)).transpose()
}

/// A header's value, which must be UTF-8.
pub(super) fn header_text(name: &str, value: &axum::http::HeaderValue) -> Result<String, Problem> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Problem::invalid("invalid-header", format!("header {name} is not UTF-8; percent-encode it"))),
    }
}

fn answer_one(published: &Published) -> Response {
    let body = serde_json::to_vec(&Receipt::from(published)).map_or_else(|_| Body::empty(), Body::from);
    let status = match published {
        Published { duplicate: true, .. } => StatusCode::OK,
        Published { delayed: Some(_), .. } => StatusCode::ACCEPTED,
        Published { .. } => StatusCode::CREATED,
    };
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    let location = published.places.first().map(|(queue, Sequence(at))| format!("/v1/queues/{queue}/messages/{at}"));
    if let Some(location) = location.and_then(|location| location.parse().ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// What a publisher is told of one message.
#[derive(Serialize)]
pub(super) struct Receipt<'a> {
    id: &'a str,
    duplicate: bool,
    #[serde(serialize_with = "places")]
    places: &'a [(QueueName, Sequence)],
    #[serde(skip_serializing_if = "Option::is_none")]
    delayed_until_ms: Option<u64>,
    /// What it can be cancelled by.
    #[serde(skip_serializing_if = "Option::is_none")]
    delayed_id: Option<String>,
}

impl<'a> From<&'a Published> for Receipt<'a> {
    fn from(published: &'a Published) -> Self {
        Self {
            id: published.id.as_str(),
            duplicate: published.duplicate,
            places: &published.places,
            delayed_until_ms: published.delayed.map(|key| key.due.0),
            delayed_id: published.delayed.map(|key| key.to_string()),
        }
    }
}

#[derive(Serialize)]
struct Place<'a> {
    queue: &'a str,
    sequence: u64,
}

fn places<S: Serializer>(places: &[(QueueName, Sequence)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(places.iter().map(|(queue, at)| Place { queue: queue.as_str(), sequence: at.0 }))
}
