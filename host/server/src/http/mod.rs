//! The HTTP API of a host: one file for each resource, and what they share.
//!
//! Nothing is decided here. A request becomes a call of [`wasmill_runtime::Host`], its answer becomes JSON, and
//! whatever goes wrong becomes a `problem::Problem` (RFC 9457) with a stable `code`.

mod body;
mod cloudevents;
mod consumer_form;
mod consumers;
mod delayed;
mod draining;
mod extract;
mod handlers;
mod idempotency;
mod jobs;
mod message;
mod ndjson;
mod probes;
mod problem;
mod publish;
mod pull;
mod quarantine;
mod queue_form;
mod queues;
mod replacing_form;
mod request;
mod rooms;
mod schedules;
mod stream;
mod timing;
mod versions;
mod why;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware};
use wasmill_runtime::Host;

use self::{idempotency::Idempotency, rooms::Rooms};
use crate::{callbacks::CallbackRules, telemetry::Metrics};

pub use draining::{Attendant, Draining};
pub(crate) use handlers::SIGNATURE_HEADER;
pub(crate) use queues::oldest_message_age_ms;

/// 2^20 bytes.
const MIB: usize = 1024 * 1024;

/// The result of a job as its status shows it; none when there is none, or it cannot be read.
pub(crate) fn job_result(host: &Host, id: &wasmill_delivery::job::JobId) -> Option<serde_json::Value> {
    jobs::result_of(host, id).ok().filter(|result| !result.is_null())
}

/// What one request may carry, and all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// The body of one publish request, in bytes; a declaration is limited by [`HttpLimits::DECLARATION_BYTES_MAX`].
    pub body_bytes_max: usize,
    /// A component that is loaded, in bytes.
    pub component_bytes_max: usize,
    /// What the bodies of all requests that are read whole hold in memory at once, in bytes. Components are apart.
    pub bodies_bytes_max: usize,
    /// What components that are uploaded or wait to be compiled hold at once, in bytes. They are compiled one by one.
    pub components_bytes_max: usize,
    /// Requests at once whose lines are published while they arrive.
    pub streams_max: usize,
    /// How long nothing may come of a body that is read whole.
    pub body_idle_max: Duration,
    /// WebSockets at once on which programs publish and take deliveries (`/v1/stream`).
    pub sockets_max: usize,
    /// Frames of all these that are being published, in bytes.
    pub frames_bytes_max: usize,
    /// A client of these that says nothing for so long, not even the answer to a ping, is gone. It is pinged three times
    /// meanwhile; our clients take a host for gone that they hear nothing of for 60 s.
    pub socket_idle_max: Duration,
}

impl HttpLimits {
    /// A JSON body that is not a message: a declaration, or a list of ids. 1 MiB.
    pub const DECLARATION_BYTES_MAX: usize = 1024 * 1024;
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 * MIB,
            component_bytes_max: 64 * MIB,
            bodies_bytes_max: 256 * MIB,
            components_bytes_max: 128 * MIB,
            streams_max: 64,
            body_idle_max: Duration::from_secs(30),
            sockets_max: 256,
            frames_bytes_max: 128 * MIB,
            socket_idle_max: Duration::from_secs(60),
        }
    }
}

/// What every request can reach. Clones are cheap, and share everything.
#[derive(Clone)]
pub struct App {
    /// The host that is served.
    pub host: Host,
    /// What it counts; the same that was given to the host as its observer.
    pub metrics: Arc<Metrics>,
    /// What one request may carry.
    pub limits: HttpLimits,
    /// What may be called when a job has ended; nothing by default.
    pub callbacks: Arc<CallbackRules>,
    /// Set when the server begins to stop: `/readyz` says so, and uploads that are under way end at the next line,
    /// and streams are answered and closed.
    pub draining: Draining,
}

impl App {
    /// An API with the default limits that is not draining.
    #[must_use]
    pub fn new(host: Host, metrics: Arc<Metrics>) -> Self {
        Self { host, metrics, limits: HttpLimits::default(), callbacks: Arc::default(), draining: Draining::default() }
    }
}

/// The whole API, ready to be served.
pub fn router(app: App) -> Router {
    let idempotency = Idempotency::new(&app.host, app.limits);
    let rooms = Rooms::new(app.limits);
    Router::new()
        .merge(
            publish::routes()
                .merge(jobs::submit_routes())
                .route_layer(middleware::from_fn_with_state(idempotency, idempotency::once)),
        )
        .merge(jobs::routes())
        .merge(delayed::routes())
        .merge(request::routes())
        .merge(queues::routes())
        .merge(consumers::routes())
        .merge(pull::routes())
        .merge(stream::routes(app.limits))
        .merge(handlers::routes())
        .merge(versions::routes())
        .merge(quarantine::routes())
        .merge(schedules::routes())
        .merge(why::routes())
        .merge(probes::routes())
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(middleware::from_fn_with_state(rooms, rooms::enter))
        .layer(middleware::from_fn(problem::name_instance))
        .with_state(app)
}
