//! What went wrong, as RFC 9457 problem details with a stable `code`.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use wasmill_delivery::{
    effect::{OrderRefusal, PublishRefusal},
    name::NameError,
};
use wasmill_runtime::{HostError, PublishError, SignatureProblem};

/// What a client waits before it publishes to a full queue again, in seconds.
const QUEUE_FULL_RETRY_AFTER_S: u32 = 1;
/// What a client waits before it sends again a body that found no room, in seconds.
const BUSY_RETRY_AFTER_S: u32 = 1;

/// One problem. [`name_instance`] adds the path of the request when it becomes a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// Kebab-case. Clients match on it, so it never changes.
    pub(super) code: &'static str,
    /// For a person: what, where, and what to do.
    pub(super) detail: String,
    retry_after_s: Option<u32>,
}

#[derive(Serialize)]
struct Details<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    code: &'static str,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after_s: None }
    }

    /// What was given is well formed and cannot be used.
    pub(super) fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// What was given cannot be read.
    pub(super) fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// There is no such thing.
    pub(super) fn unknown(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// It is larger than it may be.
    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    /// The host itself is at fault.
    pub(super) fn fault(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "host-fault", detail)
    }

    /// The host takes nothing any more.
    pub(super) fn stopped(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", detail)
    }

    /// As many as there may be are under way.
    pub(super) fn too_many_requests(detail: impl Into<String>) -> Self {
        Self {
            retry_after_s: Some(QUEUE_FULL_RETRY_AFTER_S),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail)
        }
    }

    /// There is no room for it now, and there will be.
    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self { retry_after_s: Some(BUSY_RETRY_AFTER_S), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail) }
    }

    /// The client has stopped in the middle of its request.
    pub(super) fn stalled(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "stalled-body", detail)
    }

    /// The same with more said before.
    pub(super) fn within(self, place: impl std::fmt::Display) -> Self {
        Self { detail: format!("{place}: {}", self.detail), ..self }
    }

    fn details<'a>(&'a self, instance: Option<&'a str>) -> Details<'a> {
        Details {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            instance,
            code: self.code,
        }
    }

    fn render(&self, instance: Option<&str>) -> Body {
        serde_json::to_vec(&self.details(instance)).map_or_else(|_| Body::empty(), Body::from)
    }
}

/// As an entry of an answer to many: the same fields, without `instance`.
impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.details(None).serialize(serializer)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.render(None)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Put the path of the request into the problem that answers it.
pub(super) async fn name_instance(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = problem.render(Some(uri.path()));
    }
    response
}

pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::unknown("not-found", format!("there is nothing at {}; the API is under /v1", uri.path()))
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not possible at {}; the Allow header names what is", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        let code = match error.what {
            "topic" => "invalid-topic",
            "topic pattern" => "invalid-topic-pattern",
            "queue name" => "invalid-queue-name",
            "consumer name" => "invalid-consumer-name",
            "schedule name" => "invalid-schedule-name",
            "handler name" => "invalid-handler-name",
            "message id" => "invalid-message-id",
            "message key" => "invalid-message-key",
            "job id" => "invalid-job-id",
            "job state" => "invalid-job-state",
            "delayed id" => "invalid-delayed-id",
            "header" => "invalid-header",
            "content type" => "invalid-content-type",
            _ => "invalid-value",
        };
        Self::invalid(code, error.to_string())
    }
}

impl From<OrderRefusal> for Problem {
    fn from(refusal: OrderRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            OrderRefusal::UnknownQueue { .. } => Self::unknown("unknown-queue", detail),
            OrderRefusal::UnknownConsumer { .. } | OrderRefusal::ConsumerGone => {
                Self::unknown("unknown-consumer", detail)
            }
            OrderRefusal::UnknownHandler { .. } => Self::unknown("unknown-handler", detail),
            OrderRefusal::UnknownSchedule { .. } => Self::unknown("unknown-schedule", detail),
            OrderRefusal::UnknownJob { .. } => Self::unknown("unknown-job", detail),
            OrderRefusal::UnknownDelayed { .. } => Self::unknown("unknown-delayed", detail),
            OrderRefusal::JobEnded { .. } => Self::new(StatusCode::CONFLICT, "job-ended", detail),
            OrderRefusal::PublishedBefore { .. } => Self::new(StatusCode::CONFLICT, "published-before", detail),
            OrderRefusal::DelayedJob { .. } => Self::new(StatusCode::CONFLICT, "delayed-job", detail),
            OrderRefusal::Publish(refusal) => refusal.into(),
            OrderRefusal::UnknownQuarantine { .. } => Self::unknown("unknown-quarantine", detail),
            OrderRefusal::HandlerInUse { .. } => Self::new(StatusCode::CONFLICT, "handler-in-use", detail),
            OrderRefusal::PlaceTaken { .. } => Self::new(StatusCode::CONFLICT, "place-taken", detail),
            OrderRefusal::Contradiction { .. } => Self::invalid("contradiction", detail),
            OrderRefusal::OutOfRange { .. } => Self::invalid("out-of-range", detail),
            OrderRefusal::TooMany { .. } => Self::invalid("too-many", detail),
        }
    }
}

impl From<PublishRefusal> for Problem {
    fn from(refusal: PublishRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            PublishRefusal::Unroutable { .. } => Self::invalid("unroutable", detail),
            PublishRefusal::UnknownQueue { .. } => Self::unknown("unknown-queue", detail),
            PublishRefusal::NoConsumer { .. } => Self::invalid("no-consumer", detail),
            PublishRefusal::TooManyConsumers { .. } => Self::invalid("too-many-consumers", detail),
            PublishRefusal::NeverFits { .. } => Self::invalid("never-fits", detail),
            PublishRefusal::DelayedFull { .. } => Self {
                retry_after_s: Some(QUEUE_FULL_RETRY_AFTER_S),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "delayed-full", detail)
            },
            PublishRefusal::QueueFull { .. } => Self {
                retry_after_s: Some(QUEUE_FULL_RETRY_AFTER_S),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "queue-full", detail)
            },
        }
    }
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        let detail = error.to_string();
        match error {
            HostError::Refused(refusal) => refusal.into(),
            HostError::Stopped { .. } => Self::stopped(detail),
            HostError::Load { .. } => Self::invalid("component-unfit", detail),
            HostError::Limits(_) | HostError::Grants(_) | HostError::Replacing(_) | HostError::BeyondMaximum { .. } => {
                Self::invalid("out-of-range", detail)
            }
            HostError::SmokeTest { .. } => Self::invalid("sample-failed", detail),
            HostError::NoEarlierVersion { .. } => Self::new(StatusCode::CONFLICT, "no-earlier-version", detail),
            HostError::AmbiguousVersion { .. } => Self::new(StatusCode::CONFLICT, "ambiguous-version", detail),
            HostError::NoCanary { .. } => Self::new(StatusCode::CONFLICT, "no-canary", detail),
            HostError::UnknownVersion { .. } => Self::unknown("unknown-version", detail),
            HostError::ComponentMissing { .. } => Self::new(StatusCode::CONFLICT, "component-missing", detail),
            HostError::NeedsApproval { .. } => Self::new(StatusCode::CONFLICT, "needs-approval", detail),
            HostError::Signature { problem, .. } => signature(&problem, detail),
            HostError::Secret { .. } => Self::new(StatusCode::CONFLICT, "secret-missing", detail),
            HostError::Store(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged-store", detail),
            HostError::TooManyRequests | HostError::TooManyPulls | HostError::TooManyJobWaits => {
                Self::too_many_requests(detail)
            }
            HostError::TooManyPulled => Self {
                retry_after_s: Some(QUEUE_FULL_RETRY_AFTER_S),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-leases", detail)
            },
            HostError::NotPulled { .. } => Self::new(StatusCode::CONFLICT, "not-pulled", detail),
            HostError::NoCapsule { .. } => Self::new(StatusCode::CONFLICT, "no-capsule", detail),
            HostError::UnknownComponent { .. } => Self::unknown("unknown-component", detail),
            HostError::TooManyRedrives => Self {
                retry_after_s: Some(QUEUE_FULL_RETRY_AFTER_S),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-redrives", detail)
            },
            HostError::Sandbox(_) | HostError::Thread(_) | HostError::Read { .. } => Self::fault(detail),
        }
    }
}

fn signature(problem: &SignatureProblem, detail: String) -> Problem {
    match problem {
        SignatureProblem::Missing { .. } => Problem::new(StatusCode::FORBIDDEN, "signature-missing", detail),
        SignatureProblem::Untrusted { .. } => Problem::new(StatusCode::FORBIDDEN, "signature-untrusted", detail),
        SignatureProblem::Mismatch { .. } | SignatureProblem::Damaged { .. } => {
            Problem::invalid("signature-mismatch", detail)
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let detail = error.to_string();
        match error {
            PublishError::Invalid(error) => error.into(),
            PublishError::TooLarge { .. } => Self::too_large(detail),
            PublishError::TooLate { .. } => Self::invalid("too-late", detail),
            PublishError::SystemTopic { .. } => Self::invalid("system-topic", detail),
            PublishError::Refused(refusal) => refusal.into(),
            PublishError::Host(error) => error.into(),
        }
    }
}
