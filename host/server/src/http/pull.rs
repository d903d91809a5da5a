//! Pulling: programs outside lease deliveries and settle them, see [`wasmill_runtime::Host::pull`].
//!
//! `POST …/lease` hands out deliveries, each with a `fence`. `POST …/settle` says how it went with many of them, in one
//! commit, and answers for each; `POST …/deliveries/{sequence}/{action}?fence=N` does the same for one. A lease that is
//! over is answered with 409 `stale-fence`. With an order, deliveries of one key must be settled oldest first: what is
//! settled before its turn is answered with 409 `out-of-order`, its lease is void, and it comes again.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde::{Deserialize, Serialize};
use wasmill_delivery::{
    effect::SettleAnswer,
    name::{ConsumerName, Fence, QuarantineId, QueueName, Sequence},
    record::QuarantineReason,
};
use wasmill_runtime::{Pulled, PulledOutcome, PulledSettlement};

use super::{
    App, HttpLimits, body,
    extract::{Declared, Params, Search, from_json},
    message::MessageInfo,
    problem::Problem,
};
use crate::config::parse_duration_ms;

/// Deliveries of a lease that does not say how many it wants.
const MAX_DEFAULT: u32 = 1;
/// How long a delivery is deferred that does not say for how long, in milliseconds.
const DEFER_MS_DEFAULT: u64 = 1_000;

pub(super) fn routes() -> Router<App> {
    const ONE: &str = "/v1/queues/{queue}/consumers/{consumer}";
    Router::new()
        .route(&format!("{ONE}/lease"), post(lease))
        .route(&format!("{ONE}/settle"), post(settle))
        .route(&format!("{ONE}/deliveries/{{sequence}}/{{action}}"), post(settle_one))
}

/// How much is wanted. The body says it in milliseconds, the query as people write durations.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseRequest {
    max: Option<u32>,
    wait_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseQuery {
    max: Option<u32>,
    wait: Option<String>,
}

#[derive(Serialize)]
struct Deliveries<'a> {
    deliveries: Vec<DeliveryInfo<'a>>,
}

#[derive(Serialize)]
struct DeliveryInfo<'a> {
    sequence: Sequence,
    fence: Fence,
    attempt: u32,
    lease_until_ms: u64,
    message: MessageInfo<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleRequest {
    settlements: Vec<Settlement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settlement {
    sequence: Sequence,
    fence: Fence,
    outcome: Action,
    after_ms: Option<u64>,
    reason: Option<String>,
}

/// What settles a delivery.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    Ack,
    Nack,
    Defer,
    Reject,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleQuery {
    fence: Fence,
    after_ms: Option<u64>,
    reason: Option<String>,
    lease_ms: Option<u64>,
}

#[derive(Serialize)]
struct SettleAnswers {
    settlements: Vec<Settled>,
}

#[derive(Serialize)]
struct Settled {
    sequence: Sequence,
    fence: Fence,
    #[serde(flatten)]
    answer: Answer,
}

/// What became of a delivery.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub(super) enum Answer {
    Committed,
    RetryAt { due_ms: u64, burned_attempt: bool },
    Quarantined { quarantine_id: QuarantineId, reason: QuarantineReason },
    Refused { error: Problem },
}

#[derive(Serialize)]
struct Extended {
    sequence: Sequence,
    fence: Fence,
    lease_until_ms: u64,
}

async fn lease(
    State(app): State<App>,
    Params((queue, consumer)): Params<(String, String)>,
    Search(query): Search<LeaseQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (queue, consumer) = (QueueName::new(queue)?, ConsumerName::new(consumer)?);
    let wanted = LeaseRequest::read(query, request).await?;
    let max = wanted.max.unwrap_or(MAX_DEFAULT);
    let wait = Duration::from_millis(wanted.wait_ms.unwrap_or_default());
    let deliveries = tokio::select! {
        biased;
        pulled = app.host.pull(&queue, &consumer, max, wait) => pulled?,
        // Whoever waits is told at once that there is nothing, so that the server can stop.
        () = app.draining.begun() => Vec::new(),
    };
    let deliveries = deliveries.iter().map(DeliveryInfo::from).collect();
    let json = serde_json::to_vec(&Deliveries { deliveries })
        .map_err(|error| Problem::fault(format!("deliveries cannot be written as JSON: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from(json)).into_response())
}

impl LeaseRequest {
    /// What the body says, and for what it leaves out, what the query says.
    async fn read(query: LeaseQuery, request: Request) -> Result<Self, Problem> {
        let body = body::read(request.into_body(), HttpLimits::DECLARATION_BYTES_MAX).await?;
        let said = if body.is_empty() { Self::default() } else { from_json(&body)? };
        let wait_ms = query.wait.as_deref().map(parse_duration_ms).transpose();
        let wait_ms = wait_ms.map_err(|problem| Problem::invalid("invalid-query", format!("wait: {problem}")))?;
        Ok(Self { max: said.max.or(query.max), wait_ms: said.wait_ms.or(wait_ms) })
    }
}

impl<'a> From<&'a Pulled> for DeliveryInfo<'a> {
    fn from(pulled: &'a Pulled) -> Self {
        Self {
            sequence: pulled.sequence,
            fence: pulled.fence,
            attempt: pulled.attempt,
            lease_until_ms: pulled.lease_until.0,
            message: MessageInfo::new(&pulled.message, pulled.sequence),
        }
    }
}

async fn settle(
    State(app): State<App>,
    Params((queue, consumer)): Params<(String, String)>,
    Declared(given): Declared<SettleRequest>,
) -> Result<Json<SettleAnswers>, Problem> {
    let (queue, consumer) = (QueueName::new(queue)?, ConsumerName::new(consumer)?);
    let settlements = (0..)
        .zip(given.settlements)
        .map(|(place, settlement)| settlement.check().map_err(|problem| problem.within(format!("settlement {place}"))));
    let settlements: Vec<PulledSettlement> = settlements.collect::<Result<_, _>>()?;
    let leases: Vec<_> = settlements.iter().map(|settlement| (settlement.sequence, settlement.fence)).collect();
    let answers = app.host.settle_pulled(&queue, &consumer, settlements).await?;
    let settlements = leases.into_iter().zip(answers).map(|((sequence, fence), answer)| {
        let answer = Answer::new(sequence, &answer).unwrap_or_else(|error| Answer::Refused { error });
        Settled { sequence, fence, answer }
    });
    Ok(Json(SettleAnswers { settlements: settlements.collect() }))
}

async fn settle_one(
    State(app): State<App>,
    Params((queue, consumer, sequence, action)): Params<(String, String, u64, String)>,
    Search(query): Search<SettleQuery>,
) -> Result<Response, Problem> {
    let (queue, consumer) = (QueueName::new(queue)?, ConsumerName::new(consumer)?);
    let (sequence, fence) = (Sequence(sequence), query.fence);
    let outcome = match action.as_str() {
        "ack" => Action::Ack,
        "nack" => Action::Nack,
        "defer" => Action::Defer,
        "reject" => Action::Reject,
        "extend" => {
            query.refuse_options_of_settling()?;
            let until = app.host.extend_pulled(&queue, &consumer, (sequence, fence), query.lease_ms).await?;
            let until = until.ok_or_else(|| stale(sequence))?;
            return Ok(Json(Extended { sequence, fence, lease_until_ms: until.0 }).into_response());
        }
        _ => {
            let detail = format!("there is no action {action:?}; there are ack, nack, defer, reject and extend");
            return Err(Problem::unknown("unknown-action", detail));
        }
    };
    if query.lease_ms.is_some() {
        return Err(Problem::invalid("invalid-query", "lease_ms is for extend; leave it out"));
    }
    let settlement = Settlement { sequence, fence, outcome, after_ms: query.after_ms, reason: query.reason }.check()?;
    let answer = app.host.settle_pulled(&queue, &consumer, vec![settlement]).await?.pop();
    let answer = Answer::new(sequence, &answer.unwrap_or(SettleAnswer::StaleFence))?;
    Ok(Json(Settled { sequence, fence, answer }).into_response())
}

impl SettleQuery {
    fn refuse_options_of_settling(&self) -> Result<(), Problem> {
        if self.after_ms.is_some() || self.reason.is_some() {
            let detail = "after_ms and reason are for what settles a delivery; leave them out";
            return Err(Problem::invalid("invalid-query", detail));
        }
        Ok(())
    }
}

impl Settlement {
    fn check(self) -> Result<PulledSettlement, Problem> {
        let Self { sequence, fence, outcome, after_ms, reason } = self;
        let refuse = |what: &str| Err(Problem::invalid("contradiction", format!("{what}; leave it out")));
        let outcome = match (outcome, after_ms, reason) {
            (Action::Ack | Action::Reject, Some(_), _) => return refuse("after_ms is for nack and defer"),
            (Action::Ack | Action::Defer, _, Some(_)) => return refuse("reason is for nack and reject"),
            (Action::Ack, None, None) => PulledOutcome::Ack,
            (Action::Nack, after_ms, reason) => PulledOutcome::Nack { after_ms, reason: reason.unwrap_or_default() },
            (Action::Defer, after_ms, None) => PulledOutcome::Defer { after_ms: after_ms.unwrap_or(DEFER_MS_DEFAULT) },
            (Action::Reject, None, reason) => PulledOutcome::Reject { reason: reason.unwrap_or_default() },
        };
        Ok(PulledSettlement { sequence, fence, outcome })
    }
}

impl Answer {
    /// What a client is told; a settlement that changed nothing is a problem.
    pub(super) fn new(sequence: Sequence, answer: &SettleAnswer) -> Result<Self, Problem> {
        match answer {
            SettleAnswer::Committed | SettleAnswer::Expired => Ok(Self::Committed),
            SettleAnswer::RetryAt { due, burned_attempt } => {
                Ok(Self::RetryAt { due_ms: due.0, burned_attempt: *burned_attempt })
            }
            SettleAnswer::Quarantined { id, reason } => Ok(Self::Quarantined { quarantine_id: *id, reason: *reason }),
            SettleAnswer::Cancelled => {
                let Sequence(at) = sequence;
                let detail =
                    format!("the job of delivery {at} was cancelled meanwhile; its settlement changes nothing");
                Err(Problem::new(StatusCode::CONFLICT, "job-cancelled", detail))
            }
            SettleAnswer::StaleFence => Err(stale(sequence)),
            SettleAnswer::OutOfOrder => {
                let Sequence(at) = sequence;
                let detail = format!(
                    "delivery {at} was settled before an earlier one of its key, which the consumer's order forbids; \
                     its lease is void, and it comes again in its turn"
                );
                Err(Problem::new(StatusCode::CONFLICT, "out-of-order", detail))
            }
            // A program outside publishes and stores nothing through its settlement, so there is nothing to refuse.
            SettleAnswer::Conflict | SettleAnswer::PublishRefused { .. } => {
                Err(Problem::fault("a settlement without effects was refused for its effects"))
            }
        }
    }
}

fn stale(Sequence(at): Sequence) -> Problem {
    let detail = format!(
        "the lease of delivery {at} with that fence is over; it was settled, not settled in time, or the host was \
         started again. Nothing was changed; lease again"
    );
    Problem::new(StatusCode::CONFLICT, "stale-fence", detail)
}
