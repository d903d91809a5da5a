//! `[queue.NAME.consumer.NAME]` as it is written, and what it becomes.

use serde::Deserialize;
use wasmill_delivery::{
    limits,
    name::{ConsumerName, HandlerName},
    policy::Backoff,
    record::{ConsumerConfig, DeliveryOrder, Expired, Poison, StormPolicy},
};

use crate::{
    forms::{BackoffForm, StartForm},
    value::{Count, DurationMs, ENDLESS},
};

/// A consumer without contradictions.
#[derive(Debug, Deserialize)]
#[serde(try_from = "WrittenConsumer")]
pub struct RawConsumer(WrittenConsumer);

/// A rate in deliveries a second.
type Rate = Count<1, { limits::RATE_PER_SECOND_MAX as u64 }>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct WrittenConsumer {
    handler: Option<HandlerName>,
    pull: bool,
    concurrency: Count<1, { limits::CONCURRENCY_CEILING as u64 }>,
    in_flight_max: Count<1, { limits::IN_FLIGHT_MAX_CEILING as u64 }>,
    attempts: Count<1, { limits::ATTEMPTS_MAX_CEILING as u64 }>,
    backoff: RawBackoff,
    start: StartForm,
    order: DeliveryOrder,
    poison: Poison,
    deterministic: bool,
    storm: RawStorm,
    rate_per_second: Option<Rate>,
    key_rate_per_second: Option<Rate>,
    retry_share: Count<1, 99>,
    expired: Expired,
    lease: DurationMs<1, { limits::LEASE_MS_MAX }>,
}

impl Default for WrittenConsumer {
    fn default() -> Self {
        let default = ConsumerConfig::pulled();
        Self {
            handler: None,
            pull: false,
            concurrency: Count::new(default.concurrency.into()),
            in_flight_max: Count::new(default.in_flight_max.into()),
            attempts: Count::new(default.attempts_max.into()),
            backoff: RawBackoff(default.backoff),
            start: default.start.into(),
            order: default.order,
            poison: default.poison,
            deterministic: default.deterministic,
            storm: RawStorm::default(),
            rate_per_second: None,
            key_rate_per_second: None,
            retry_share: Count::new(default.retry_share.into()),
            expired: default.expired,
            lease: DurationMs(default.lease_ms),
        }
    }
}

impl TryFrom<WrittenConsumer> for RawConsumer {
    type Error = &'static str;

    fn try_from(written: WrittenConsumer) -> Result<Self, &'static str> {
        if written.pull && written.handler.is_some() {
            return Err(
                "pull = true is for a consumer that programs outside pull, and handler names one that is run; \
                        leave one out",
            );
        }
        if written.key_rate_per_second.is_some() && written.order == DeliveryOrder::None {
            return Err("key-rate-per-second needs order = \"key\"; without it, use rate-per-second");
        }
        Ok(Self(written))
    }
}

impl RawConsumer {
    /// What it becomes under that name, which is its handler's too unless another is named.
    ///
    /// # Panics
    /// Never: names of consumers and of handlers have the same rules.
    #[must_use]
    pub fn config(self, name: &ConsumerName) -> ConsumerConfig {
        let Self(raw) = self;
        let same_name =
            || HandlerName::new(name.as_str()).expect("names of consumers and handlers have the same rules");
        ConsumerConfig {
            handler: (!raw.pull).then(|| raw.handler.unwrap_or_else(same_name)),
            concurrency: raw.concurrency.get(),
            in_flight_max: raw.in_flight_max.get(),
            attempts_max: raw.attempts.get(),
            backoff: raw.backoff.0,
            start: raw.start.into(),
            order: raw.order,
            poison: raw.poison,
            deterministic: raw.deterministic,
            storm: StormPolicy {
                deliveries: raw.storm.deliveries.get(),
                percent: raw.storm.percent.get(),
                probe_ms: raw.storm.probe.0,
            },
            rate_per_second: raw.rate_per_second.map(Count::get),
            key_rate_per_second: raw.key_rate_per_second.map(Count::get),
            retry_share: raw.retry_share.get(),
            expired: raw.expired,
            lease_ms: raw.lease.0,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawStorm {
    deliveries: Count<0, { limits::STORM_DELIVERIES_CEILING as u64 }>,
    percent: Count<1, 100>,
    probe: DurationMs<1, { limits::STORM_PROBE_MS_MAX }>,
}

impl Default for RawStorm {
    fn default() -> Self {
        let StormPolicy { deliveries, percent, probe_ms } = StormPolicy::default();
        Self {
            deliveries: Count::new(deliveries.into()),
            percent: Count::new(percent.into()),
            probe: DurationMs(probe_ms),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "WrittenBackoff")]
struct RawBackoff(Backoff);

/// A wait that a backoff may say.
type Wait = DurationMs<0, { limits::HANDLER_DELAY_MS_MAX }>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct WrittenBackoff {
    initial: Option<DurationMs<0, ENDLESS>>,
    factor: Option<Count<1, 100>>,
    cap: Option<Wait>,
    fixed: Option<Wait>,
    delays: Option<Vec<Wait>>,
    jitter: Option<bool>,
}

impl TryFrom<WrittenBackoff> for RawBackoff {
    type Error = String;

    fn try_from(written: WrittenBackoff) -> Result<Self, String> {
        let WrittenBackoff { initial, factor, cap, fixed, delays, jitter } = written;
        if delays.as_ref().is_some_and(|delays| delays.len() > limits::BACKOFF_DELAYS_MAX) {
            return Err(format!("the list of delays has more than {} of them", limits::BACKOFF_DELAYS_MAX));
        }
        let form = BackoffForm {
            initial_ms: initial.map(|initial| initial.0),
            factor: factor.map(Count::get),
            cap_ms: cap.map(|cap| cap.0),
            fixed_ms: fixed.map(|fixed| fixed.0),
            delays_ms: delays.map(|delays| delays.into_iter().map(|delay| delay.0).collect()),
            jitter,
        };
        form.backoff().map(Self)
    }
}
