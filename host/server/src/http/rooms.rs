//! What the bodies of all requests together may hold in memory.
//!
//! A body that is read whole takes room as it arrives, and gives it back when its request is answered. One that finds no
//! room is refused with 503 `busy` and `Retry-After`, rather than kept waiting: what waits would hold what it has.
//! Components have a room of their own, because they are large and are compiled one after the other
//! ([`wasmill_runtime::Host::load_handler`]). Lines that are published while they arrive take a place among the streams
//! instead; what each holds is bounded where it is read. Imports are carried out one at a time.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

use super::{HttpLimits, body, idempotency, message::essence, problem::Problem, publish::Kind};

/// What requests share.
#[derive(Clone)]
pub(super) struct Rooms {
    bodies: Arc<Semaphore>,
    components: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    limits: HttpLimits,
}

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum NotRead {
    /// Other bodies take all the room.
    #[error("the bodies of other requests take all the room that there is for them")]
    Busy,
    /// Its client sends nothing any more.
    #[error("nothing of the body came for {} s", .0.as_secs_f32())]
    Stalled(Duration),
}

impl Rooms {
    pub(super) fn new(limits: HttpLimits) -> Self {
        let bytes = |bytes_max: usize| Arc::new(Semaphore::new(bytes_max.min(Semaphore::MAX_PERMITS)));
        Self {
            bodies: bytes(limits.bodies_bytes_max),
            components: bytes(limits.components_bytes_max),
            streams: Arc::new(Semaphore::new(limits.streams_max)),
            limits,
        }
    }

    fn enter(&self, headers: &HeaderMap, said_bytes: u64) -> Result<Entered, Problem> {
        if idempotency::has_no_key(headers) && matches!(Kind::of(headers), Kind::Lines) {
            let place = Arc::clone(&self.streams).try_acquire_owned();
            return place.map(Entered::Stream).map_err(|_| busy("as many requests as may publish lines at once"));
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(essence);
        let room = match content_type.as_deref() {
            Some("application/wasm") => &self.components,
            Some(_) | None => &self.bodies,
        };
        if said_bytes > room.available_permits() as u64 {
            return Err(NotRead::Busy.into());
        }
        Ok(Entered::Whole(Arc::new(Hold { room: Arc::clone(room), held_bytes: Mutex::new(Some(0)) })))
    }
}

enum Entered {
    /// Read while it arrives.
    Stream(OwnedSemaphorePermit),
    /// Read whole.
    Whole(Arc<Hold>),
}

/// What one request holds.
struct Hold {
    room: Arc<Semaphore>,
    /// None once it is given back: what comes then is thrown away.
    held_bytes: Mutex<Option<usize>>,
}

impl Hold {
    fn take(&self, bytes: usize) -> Result<(), NotRead> {
        let mut held = self.held_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held_bytes) = held.as_mut() else { return Ok(()) };
        let taken = u32::try_from(bytes).ok().and_then(|permits| self.room.try_acquire_many(permits).ok());
        let Some(permits) = taken else {
            drop(held);
            self.give_back();
            return Err(NotRead::Busy);
        };
        permits.forget();
        *held_bytes += bytes;
        Ok(())
    }

    fn give_back(&self) {
        let held_bytes = self.held_bytes.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.room.add_permits(held_bytes.unwrap_or_default());
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Let a request in when there is room for its body.
pub(super) async fn enter(State(rooms): State<Rooms>, request: Request, next: Next) -> Result<Response, Problem> {
    if request.body().is_end_stream() {
        return Ok(next.run(request).await);
    }
    let (parts, given) = request.into_parts();
    let said_bytes = given.size_hint().lower();
    // One that says it is larger than any may be is told so by whoever reads it.
    let is_possible = said_bytes <= rooms.limits.body_bytes_max.max(rooms.limits.component_bytes_max) as u64;
    let entered = match rooms.enter(&parts.headers, if is_possible { said_bytes } else { 0 }) {
        Ok(entered) => entered,
        Err(problem) => {
            body::drain(given.into_data_stream());
            return Err(problem);
        }
    };
    match entered {
        Entered::Stream(place) => {
            let given = Body::new(Streamed { given, _place: place });
            Ok(next.run(Request::from_parts(parts, given)).await)
        }
        Entered::Whole(hold) => {
            let idle_max = rooms.limits.body_idle_max;
            let given = Body::new(Held { given, hold: Arc::clone(&hold), idle_max, idle: None });
            let response = next.run(Request::from_parts(parts, given)).await;
            // The body may still be read, to be thrown away.
            hold.give_back();
            Ok(response)
        }
    }
}

/// A body that keeps its place until it is read.
struct Streamed {
    given: Body,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.given).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.given.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.given.size_hint()
    }
}

/// A body that takes room for what is read of it.
struct Held {
    given: Body,
    hold: Arc<Hold>,
    idle_max: Duration,
    /// Runs while nothing comes.
    idle: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.given).poll_frame(context) else {
            let idle_max = self.idle_max;
            let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle_max)));
            ready!(idle.as_mut().poll(context));
            return Poll::Ready(Some(Err(axum::Error::new(NotRead::Stalled(idle_max)))));
        };
        self.idle = None;
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        match self.hold.take(bytes) {
            Ok(()) => Poll::Ready(frame),
            Err(not_read) => Poll::Ready(Some(Err(axum::Error::new(not_read)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.given.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.given.size_hint()
    }
}

fn busy(what: &str) -> Problem {
    Problem::busy(format!("there are {what}; send the request again a moment later"))
}

impl From<NotRead> for Problem {
    fn from(not_read: NotRead) -> Self {
        match not_read {
            NotRead::Busy => Self::busy(format!("{not_read}; send the request again a moment later")),
            NotRead::Stalled(_) => Self::stalled(not_read.to_string()),
        }
    }
}
