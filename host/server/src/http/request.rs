//! Requests: publish a message, wait for the reply to it, and answer with that.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde::Deserialize;
use wasmill_delivery::message::Message;
use wasmill_runtime::{Answered, Published};

use super::{
    App,
    extract::{Params, Search},
    problem::Problem,
    publish::{HEADER_PREFIX, ID_HEADER, KEY_HEADER, TRACE_HEADERS, Target, read_one},
    timing::duration_ms,
};

/// How long a request waits for its reply unless it says otherwise, 30 s in milliseconds.
const REQUEST_TIMEOUT_MS_DEFAULT: u64 = 30_000;
/// The longest that a request may wait for its reply, 5 minutes in milliseconds.
const REQUEST_TIMEOUT_MS_MAX: u64 = 5 * 60 * 1_000;
/// The id of the request, in the answer that carries the reply.
const REQUEST_ID_HEADER: &str = "wasmill-request-id";

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/request/{topic}", post(request))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestQuery {
    timeout: Option<String>,
}

impl RequestQuery {
    fn timeout(&self) -> Result<Duration, Problem> {
        let Some(text) = &self.timeout else { return Ok(Duration::from_millis(REQUEST_TIMEOUT_MS_DEFAULT)) };
        match duration_ms("timeout", text)? {
            ms @ 1..=REQUEST_TIMEOUT_MS_MAX => Ok(Duration::from_millis(ms)),
            _ => {
                let detail = format!(
                    "timeout: {text:?} is out of range; it must be from 1 ms to {} s, for example \"5s\"",
                    REQUEST_TIMEOUT_MS_MAX / 1_000
                );
                Err(Problem::malformed("invalid-duration", detail))
            }
        }
    }
}

async fn request(
    State(app): State<App>,
    Params(topic): Params<String>,
    Search(query): Search<RequestQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let timeout = query.timeout()?;
    let (parts, body) = request.into_parts();
    let draft = read_one(&app, &Target::Topic(topic), &parts, body).await?;
    match app.host.request(draft, timeout).await? {
        Answered { published, reply: Some(reply) } => Ok(answer(&published, &reply)),
        Answered { published, reply: None } => Err(no_reply(&published, timeout)),
    }
}

fn no_reply(published: &Published, timeout: Duration) -> Problem {
    let id = &published.id;
    if published.duplicate {
        let detail = format!(
            "message {id} was published before, and its reply is for whoever asked then; ask again under another id"
        );
        return Problem::new(StatusCode::CONFLICT, "duplicate-request", detail);
    }
    let detail = format!(
        "nobody replied to message {id} within {} ms; it is still being handled. Its handler replies by publishing to \
         the topic in header reply-to",
        timeout.as_millis()
    );
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "no-reply", detail)
}

/// The reply, with the same headers by which a message is published.
fn answer(published: &Published, reply: &Message) -> Response {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| {
        // Names and values of messages are such that headers can carry them; what is none is left out all the same.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.append(name, value);
        }
    };
    put(REQUEST_ID_HEADER, published.id.as_str());
    put(ID_HEADER, reply.id.as_str());
    if let Some(key) = &reply.key {
        put(KEY_HEADER, key.as_str());
    }
    if let Some(content_type) = &reply.content_type {
        put(header::CONTENT_TYPE.as_str(), content_type);
    }
    for (name, value) in &reply.headers {
        if TRACE_HEADERS.contains(&name.as_str()) {
            put(name, value);
        } else {
            put(&format!("{HEADER_PREFIX}{name}"), value);
        }
    }
    (headers, Body::from(reply.data.clone())).into_response()
}
