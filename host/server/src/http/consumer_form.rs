//! Consumers as JSON: what declares one, and what shows one.

use serde::{Deserialize, Serialize};
use wasmill_delivery::{
    engine::ConsumerView,
    name::{ConsumerName, HandlerName, QueueName},
    policy::Backoff,
    record::{ConsumerConfig, DeliveryOrder, Expired, PauseReason, Poison, StormPolicy},
};

use super::problem::Problem;
use crate::forms::{BackoffForm, StartForm};

/// What is left out has its default. Without a handler, programs outside pull the deliveries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsumerDeclaration {
    handler: Option<HandlerName>,
    concurrency: Option<u32>,
    in_flight_max: Option<u32>,
    attempts: Option<u32>,
    backoff: Option<BackoffForm>,
    start: Option<StartForm>,
    order: Option<DeliveryOrder>,
    poison: Option<Poison>,
    deterministic: Option<bool>,
    storm: Option<StormPolicy>,
    rate_per_second: Option<u32>,
    key_rate_per_second: Option<u32>,
    retry_share: Option<u32>,
    expired: Option<Expired>,
    lease_ms: Option<u64>,
}

impl ConsumerDeclaration {
    pub(super) fn config(self) -> Result<ConsumerConfig, Problem> {
        let default = ConsumerConfig::pulled();
        let backoff = self.backoff.unwrap_or_default().backoff();
        let backoff = backoff.map_err(|problem| Problem::invalid("contradiction", format!("backoff: {problem}")))?;
        Ok(ConsumerConfig {
            handler: self.handler,
            concurrency: self.concurrency.unwrap_or(default.concurrency),
            in_flight_max: self.in_flight_max.unwrap_or(default.in_flight_max),
            attempts_max: self.attempts.unwrap_or(default.attempts_max),
            backoff,
            start: self.start.map_or(default.start, Into::into),
            order: self.order.unwrap_or(default.order),
            poison: self.poison.unwrap_or(default.poison),
            deterministic: self.deterministic.unwrap_or(default.deterministic),
            storm: self.storm.unwrap_or(default.storm),
            rate_per_second: self.rate_per_second,
            key_rate_per_second: self.key_rate_per_second,
            retry_share: self.retry_share.unwrap_or(default.retry_share),
            expired: self.expired.unwrap_or(default.expired),
            lease_ms: self.lease_ms.unwrap_or(default.lease_ms),
        })
    }
}

/// A consumer for a person or a program that looks at it.
#[derive(Serialize)]
pub(super) struct ConsumerInfo {
    queue: QueueName,
    name: ConsumerName,
    /// None when programs outside pull the deliveries.
    handler: Option<HandlerName>,
    concurrency: u32,
    in_flight_max: u32,
    attempts: u32,
    backoff: Backoff,
    start: StartForm,
    order: DeliveryOrder,
    poison: Poison,
    deterministic: bool,
    storm: StormPolicy,
    rate_per_second: Option<u32>,
    key_rate_per_second: Option<u32>,
    retry_share: u32,
    expired: Expired,
    lease_ms: u64,
    paused: Option<PauseReason>,
    floor: u64,
    lag: u64,
    in_flight: u64,
    pending: u64,
    pending_max: u64,
    full: bool,
    suspects: u64,
    quarantined: u64,
}

impl From<ConsumerView> for ConsumerInfo {
    fn from(view: ConsumerView) -> Self {
        let config = view.record.config;
        Self {
            queue: view.queue,
            name: view.record.name,
            handler: config.handler,
            concurrency: config.concurrency,
            in_flight_max: config.in_flight_max,
            attempts: config.attempts_max,
            backoff: config.backoff,
            start: config.start.into(),
            order: config.order,
            poison: config.poison,
            deterministic: config.deterministic,
            storm: config.storm,
            rate_per_second: config.rate_per_second,
            key_rate_per_second: config.key_rate_per_second,
            retry_share: config.retry_share,
            expired: config.expired,
            lease_ms: config.lease_ms,
            paused: view.record.paused,
            floor: view.floor.0,
            lag: view.lag,
            in_flight: view.in_flight,
            pending: view.pending,
            pending_max: view.pending_max,
            full: view.is_full,
            suspects: view.suspects,
            quarantined: view.quarantined,
        }
    }
}
