//! The fast way in and out: one WebSocket on which a program publishes and takes deliveries, see [`wasmill_wire`].
//!
//! One task owns the socket's reading end and all that is under way, one writes, and each subscription has one that pulls.
//! The order of requests is kept by handing each to the host before the next is read.
//!
//! What bounds it: `sockets_max` and `frames_bytes_max` of [`HttpLimits`] for all streams together, and for each stream
//! [`wasmill_wire::REQUESTS_OPEN_MAX`], [`wasmill_wire::SUBSCRIPTIONS_MAX`] and the size of a frame. A stream that is at a
//! limit is not read on, so that its client waits. A client that says nothing for `socket_idle_max` is gone.

mod connection;
mod publish;
mod settle;
mod subscription;
mod writer;

use std::sync::Arc;

use axum::{
    Router,
    extract::{State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::any,
};
use tokio::sync::Semaphore;
use wasmill_runtime::{HostError, PublishError};
use wasmill_wire::{HostFrame, PATH, READ_BYTES, Refusal, SUBPROTOCOL};

use self::connection::Connection;
use super::{App, HttpLimits, MIB, problem::Problem};

/// What a frame may have besides the largest message: other messages, names, headers. 4 MiB.
const FRAME_MORE_BYTES_MAX: usize = 4 * MIB;

/// What all streams share.
#[derive(Clone)]
struct Streams {
    places: Arc<Semaphore>,
    publishing: Arc<Semaphore>,
}

pub(super) fn routes(limits: HttpLimits) -> Router<App> {
    let streams = Streams {
        places: Arc::new(Semaphore::new(limits.sockets_max)),
        publishing: Arc::new(Semaphore::new(limits.frames_bytes_max)),
    };
    let open =
        move |app: State<App>, headers: HeaderMap, upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>| {
            std::future::ready(check_origin(&headers).and_then(|()| open(&streams, app.0, upgrade)))
        };
    Router::new().route(PATH, any(open))
}

fn open(
    streams: &Streams,
    app: App,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|error| {
        let detail = format!("a stream is a WebSocket with the subprotocol {SUBPROTOCOL}: {error}");
        Problem::new(StatusCode::UPGRADE_REQUIRED, "not-a-websocket", detail)
    })?;
    if !upgrade.requested_protocols().any(|protocol| protocol == SUBPROTOCOL) {
        let detail = format!("ask for the subprotocol {SUBPROTOCOL} (Sec-WebSocket-Protocol); it is the only one");
        return Err(Problem::malformed("unknown-subprotocol", detail));
    }
    let Ok(place) = Arc::clone(&streams.places).try_acquire_owned() else {
        app.metrics.stream_refused();
        return Err(Problem::busy(format!("{} streams are open, which is the limit", app.limits.sockets_max)));
    };
    let frame_bytes_max = app.host.data_bytes_max() + FRAME_MORE_BYTES_MAX;
    let publishing = Arc::clone(&streams.publishing);
    // A server that stops waits for it from now on.
    let attendant = app.draining.attend();
    let open = app.metrics.stream_opened();
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(READ_BYTES)
        .max_message_size(frame_bytes_max)
        .max_frame_size(frame_bytes_max);
    Ok(upgrade.on_upgrade(move |socket| async move {
        Connection::new(app, publishing, frame_bytes_max, socket).run(attendant).await;
        drop((open, place));
    }))
}

/// A browser lets any page open a WebSocket to any host, and says which page it is: only one that this host itself serves
/// may. Programs that are no browsers send no `Origin`.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let origin_host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host.as_bytes());
    if origin_host.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    let detail = format!("a page of {} may not open a stream here", String::from_utf8_lossy(origin.as_bytes()));
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail))
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { code: problem.code.to_owned(), status: problem.status.as_u16(), detail: problem.detail }
    }
}

fn refusal_of_host(error: HostError) -> Refusal {
    Problem::from(error).into()
}

/// A request that the host did not carry out. One that a host that stops may have carried out or not is not refused: its
/// client is told that the stream ends, and knows that it does not know.
fn failed(request: u64, error: HostError) -> HostFrame {
    if matches!(error, HostError::Stopped { .. }) {
        return HostFrame::Closing { detail: error.to_string() };
    }
    HostFrame::Refused { request, refusal: refusal_of_host(error) }
}

fn refusal_of_publish(error: PublishError) -> Refusal {
    Problem::from(error).into()
}

/// What one request may carry is exceeded.
fn too_many(what: &str, most: usize) -> Refusal {
    Problem::invalid("too-many", format!("too many {what}; at most {most} are taken in one request")).into()
}
