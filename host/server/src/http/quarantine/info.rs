//! A quarantined delivery as JSON.

use serde::Serialize;
use wasmill_delivery::{
    name::{Digest, HandlerName, QuarantineId},
    record::{AttemptRecord, CapsuleKept, QuarantineRecord},
};

use super::filter::fingerprint;
use crate::http::message::MessageInfo;

/// A quarantined delivery with its evidence.
#[derive(Serialize)]
pub(super) struct QuarantineInfo<'a> {
    id: QuarantineId,
    queue: &'a str,
    consumer: &'a str,
    handler: Option<&'a str>,
    sequence: u64,
    /// Whether it comes from another host, or from an earlier time, so that `sequence` is of another log.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    imported: bool,
    reason: &'static str,
    /// What the failure of the last attempt has in common with others of its kind.
    fingerprint: Option<String>,
    attempts_made: u32,
    quarantined_at_ms: u64,
    /// Whether its last attempt can be run again elsewhere.
    capsule: CapsuleKept,
    message: MessageInfo<'a>,
    attempts: Vec<AttemptInfo<'a>>,
}

#[derive(Serialize)]
struct AttemptInfo<'a> {
    attempt: u32,
    digest: Option<Digest>,
    started_at_ms: u64,
    duration_us: u64,
    outcome: &'static str,
    detail: String,
    fuel_used: u64,
    memory_bytes_peak: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    traces: Option<Traces<'a>>,
}

/// What the handler left behind. Lists leave it out, for it can be long.
#[derive(Serialize)]
struct Traces<'a> {
    log: &'a str,
    backtrace: &'a [String],
}

impl<'a> QuarantineInfo<'a> {
    /// All that is known.
    pub(super) fn full(record: &'a QuarantineRecord) -> Self {
        let attempts = record.attempts.iter().map(AttemptInfo::full).collect();
        Self::new(record, MessageInfo::new(&record.message, record.sequence.original()), attempts)
    }

    /// Without the message's data and what the handler left behind.
    pub(super) fn summary(record: &'a QuarantineRecord) -> Self {
        let attempts = record.attempts.iter().map(AttemptInfo::summary).collect();
        Self::new(record, MessageInfo::without_data(&record.message, record.sequence.original()), attempts)
    }

    fn new(record: &'a QuarantineRecord, message: MessageInfo<'a>, attempts: Vec<AttemptInfo<'a>>) -> Self {
        Self {
            id: record.id,
            queue: record.queue.as_str(),
            consumer: record.consumer.as_str(),
            handler: record.handler.as_ref().map(HandlerName::as_str),
            sequence: record.sequence.original().0,
            imported: record.sequence.is_imported(),
            reason: record.reason.name(),
            fingerprint: fingerprint(record),
            attempts_made: record.attempts_made,
            quarantined_at_ms: record.quarantined_at.0,
            capsule: record.capsule,
            message,
            attempts,
        }
    }
}

impl<'a> AttemptInfo<'a> {
    fn full(attempt: &'a AttemptRecord) -> Self {
        let traces = Traces { log: &attempt.log, backtrace: &attempt.backtrace };
        Self { traces: Some(traces), ..Self::summary(attempt) }
    }

    fn summary(attempt: &'a AttemptRecord) -> Self {
        Self {
            attempt: attempt.attempt,
            digest: attempt.digest,
            started_at_ms: attempt.started_at.0,
            duration_us: attempt.duration_us,
            outcome: attempt.outcome.name(),
            detail: attempt.outcome.describe(),
            fuel_used: attempt.fuel_used,
            memory_bytes_peak: attempt.memory_bytes_peak,
            traces: None,
        }
    }
}
