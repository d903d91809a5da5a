//! What a handler is run with in a test.

use std::collections::BTreeMap;

use bytes::Bytes;
use wasmill_delivery::{
    engine::EngineLimits,
    record::{ConsumerConfig, Grants, HandlerLimits},
    time::Timestamp,
    topic::TopicPattern,
};

use crate::notes::{CrashAt, handler_name};

/// What the clock of a test shows first: 2026-01-01T00:00:00Z.
pub const STARTS_AT_DEFAULT: Timestamp = Timestamp(1_767_225_600_000);

/// What a handler is run with. The defaults are a host's, but that one delivery runs at a time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it reads by `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What it reads by `wasi:config` too, and nobody else sees.
    pub secrets: BTreeMap<String, String>,
    /// What stops it.
    pub limits: HandlerLimits,
    /// What it may reach.
    pub grants: Grants,
    /// Its consumer; which handler it names is not looked at.
    pub consumer: ConsumerConfig,
    /// What its queue takes.
    pub bindings: Vec<TopicPattern>,
    /// What other queues take; a message for neither is unroutable.
    pub elsewhere: Vec<TopicPattern>,
    /// How long a published id is remembered, in milliseconds; 0 delivers every duplicate.
    pub dedup_window_ms: u64,
    /// What the clock shows first.
    pub starts_at: Timestamp,
    /// Where random numbers and orders come from.
    pub seed: u64,
    /// What it has stored before the first message.
    pub state: Vec<(String, Bytes)>,
    /// Whether deliveries are tried in an order drawn from the seed.
    pub reorder: bool,
    /// Where the host is killed, once.
    pub crash_at: Option<CrashAt>,
}

impl Default for Settings {
    fn default() -> Self {
        let everything = TopicPattern::new("#").expect("it is a pattern");
        Self {
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            limits: HandlerLimits::default(),
            grants: Grants::default(),
            consumer: ConsumerConfig { concurrency: 1, ..ConsumerConfig::new(handler_name()) },
            bindings: vec![TopicPattern::new("in").expect("it is a pattern")],
            elsewhere: vec![everything],
            dedup_window_ms: EngineLimits::default().dedup_window_ms,
            starts_at: STARTS_AT_DEFAULT,
            seed: 0,
            state: Vec::new(),
            reorder: false,
            crash_at: None,
        }
    }
}
