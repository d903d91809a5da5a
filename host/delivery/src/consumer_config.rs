//! A consumer as an operator declares it.

use serde::{Deserialize, Serialize};

use crate::{
    limits,
    name::{HandlerName, KeyHash, Sequence},
    policy::Backoff,
    time::Timestamp,
};

/// A consumer as an operator declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerConfig {
    /// The handler it runs; none when programs outside pull its deliveries.
    pub handler: Option<HandlerName>,
    /// Runs of the handler at once.
    pub concurrency: u32,
    /// Deliveries leased at once.
    pub in_flight_max: u32,
    /// Attempts before a delivery is quarantined.
    pub attempts_max: u32,
    /// The wait between attempts.
    pub backoff: Backoff,
    /// Where it begins when it is new.
    pub start: Start,
    /// Which deliveries wait for earlier ones.
    #[serde(default)]
    pub order: DeliveryOrder,
    /// What happens behind a delivery that is given up, when there is an order.
    #[serde(default)]
    pub poison: Poison,
    /// Whether two equal failures on fresh instances skip the rest of the attempts.
    #[serde(default = "yes")]
    pub deterministic: bool,
    /// When failures stop the consumer.
    #[serde(default)]
    pub storm: StormPolicy,
    /// Deliveries leased in a second, at most; none for no limit.
    #[serde(default)]
    pub rate_per_second: Option<u32>,
    /// Deliveries of one key leased in a second, at most. Only with [`DeliveryOrder::Key`].
    #[serde(default)]
    pub key_rate_per_second: Option<u32>,
    /// How many of a hundred leased deliveries are retries, and whatever else waits off the log, while new work waits
    /// too; 1 to 99, so that neither starves the other. The share is that of each priority.
    #[serde(default = "retry_share_default")]
    pub retry_share: u32,
    /// What happens to a delivery whose message expired before it was handled.
    #[serde(default)]
    pub expired: Expired,
    /// How long a program outside holds a lease that it does not extend, in milliseconds.
    #[serde(default = "lease_ms_default")]
    pub lease_ms: u64,
}

const fn yes() -> bool {
    true
}

const fn retry_share_default() -> u32 {
    limits::RETRY_SHARE_DEFAULT
}

const fn lease_ms_default() -> u64 {
    limits::LEASE_MS_DEFAULT
}

impl ConsumerConfig {
    /// The defaults, for this handler.
    #[must_use]
    pub fn new(handler: HandlerName) -> Self {
        Self { handler: Some(handler), ..Self::pulled() }
    }

    /// The defaults, for programs outside.
    #[must_use]
    pub fn pulled() -> Self {
        Self {
            handler: None,
            concurrency: limits::CONCURRENCY_DEFAULT,
            in_flight_max: limits::IN_FLIGHT_MAX_DEFAULT,
            attempts_max: limits::ATTEMPTS_MAX_DEFAULT,
            backoff: Backoff::default(),
            start: Start::default(),
            order: DeliveryOrder::default(),
            poison: Poison::default(),
            deterministic: true,
            storm: StormPolicy::default(),
            rate_per_second: None,
            key_rate_per_second: None,
            retry_share: retry_share_default(),
            expired: Expired::default(),
            lease_ms: lease_ms_default(),
        }
    }
}

/// Where a new consumer begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// With the oldest message that the queue still holds.
    #[default]
    Beginning,
    /// With the next message that is published.
    End,
    /// With the message at that place, or the oldest one after it that the queue still holds.
    Sequence(Sequence),
    /// With the first message that was accepted at that time or later.
    Time(Timestamp),
}

/// Which deliveries of a consumer wait for earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryOrder {
    /// None: they run side by side.
    #[default]
    None,
    /// Those with the same key: one after the other in the order of their places, through retries, crashes, new
    /// versions of the handler and redrives. Messages without a key wait for nobody.
    Key,
    /// All of them, as if all had the same key.
    Strict,
}

impl DeliveryOrder {
    /// What a message with this key is ordered by: its key, or the same for all when the order is strict.
    #[must_use]
    pub const fn group(self, hash: Option<KeyHash>) -> Option<KeyHash> {
        match self {
            Self::None => None,
            Self::Key => hash,
            Self::Strict => Some(KeyHash(0)),
        }
    }
}

/// What happens behind a delivery that is given up, when there is an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Poison {
    /// Later messages of its key wait until it is redriven or purged; other keys flow. Under strict order all are
    /// of one key, so this is [`Poison::Block`].
    #[default]
    Park,
    /// They go on without it.
    Skip,
    /// The consumer is paused until it is redriven or purged.
    Block,
}

/// When failures stop a consumer: `percent` of its last `deliveries` deliveries ended with one fingerprint. It is
/// paused then, tries one delivery after `probe_ms`, doubling up to 5 minutes, and goes on when one succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StormPolicy {
    /// How many deliveries are looked at; 0 never stops it.
    pub deliveries: u32,
    /// How many of a hundred must have failed in the same way.
    pub percent: u32,
    /// The wait before the first probe, in milliseconds.
    pub probe_ms: u64,
}

impl Default for StormPolicy {
    fn default() -> Self {
        Self { deliveries: 20, percent: 80, probe_ms: 1_000 }
    }
}

/// What happens to a delivery whose message expired before it was handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expired {
    /// It is settled without being run.
    #[default]
    Drop,
    /// It is put in quarantine.
    Quarantine,
}
