//! Every name that metrics use: metrics, labels, label values, buckets. `_total` is added to counters as they are
//! written, as OpenMetrics wants it.

use wasmill_delivery::outcome::Outcome;

/// A metric: its name, and one sentence about it.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// Without the suffix of its type.
    pub name: &'static str,
    /// For people.
    pub help: &'static str,
}

const fn metric(name: &'static str, help: &'static str) -> Name {
    Name { name, help }
}

/// Counter by queue.
pub const MESSAGES_PUBLISHED: Name = metric("wasmill_messages_published", "Messages added to a queue, durably");
/// Counter by queue, handler and outcome.
pub const DELIVERIES_SETTLED: Name =
    metric("wasmill_deliveries_settled", "Deliveries whose attempt was settled, by how it ended");
/// Counter by queue, handler and reason.
pub const DELIVERIES_QUARANTINED: Name =
    metric("wasmill_deliveries_quarantined", "Deliveries that policy gave up on, by reason");
/// Histogram by handler.
pub const PROCESS_DURATION: Name = metric("wasmill_process_duration_seconds", "How long one attempt of a handler took");
/// Counter by handler.
pub const HANDLER_FUEL_USED: Name = metric("wasmill_handler_fuel_used", "Units of fuel that a handler used");
/// Gauge by handler.
pub const HANDLER_MEMORY_PEAK: Name =
    metric("wasmill_handler_memory_peak_bytes", "The largest memory of an instance since the version was loaded");
/// Counter by handler and kind.
pub const HANDLER_TRAPS: Name = metric("wasmill_handler_traps", "Attempts that the sandbox ended, by what ended them");
/// Gauge by handler and digest, always 1.
pub const HANDLER_ACTIVE: Name = metric("wasmill_handler_active_info", "The version that runs under a handler's name");
/// Gauge by handler and digest, always 1.
pub const HANDLER_CANDIDATE: Name =
    metric("wasmill_handler_candidate_info", "The version of a handler that is tried for a share of the keys");
/// Counter by handler and outcome.
pub const HANDLER_CANARIES: Name =
    metric("wasmill_handler_canaries_ended", "Versions that were tried: promoted, or given back");
/// Histogram.
pub const COMMIT_DURATION: Name =
    metric("wasmill_store_commit_duration_seconds", "How long one commit of the store took, until it was durable");
/// Gauge by queue and state.
pub const QUEUE_MESSAGES: Name =
    metric("wasmill_queue_messages", "Messages of a queue: in the log, leased, waiting off the log, in quarantine");
/// Gauge by queue.
pub const QUEUE_BYTES: Name = metric("wasmill_queue_bytes", "The size of the messages in a queue's log");
/// Gauge by queue; absent when the queue is empty.
pub const QUEUE_OLDEST_AGE: Name = metric(
    "wasmill_queue_oldest_message_age_seconds",
    "How long ago the oldest message was published that a consumer still needs",
);
/// Gauge by queue, consumer and handler.
pub const CONSUMER_LAG: Name =
    metric("wasmill_consumer_lag_messages", "Messages of the log that a consumer has not settled");
/// Gauge by queue, consumer and handler, 1 or 0.
pub const CONSUMER_PAUSED: Name = metric("wasmill_consumer_paused", "Whether a consumer takes nothing");
/// Gauge by queue, consumer and handler, 1 or 0.
pub const CONSUMER_FULL: Name = metric(
    "wasmill_consumer_full",
    "Whether as many deliveries wait for a retry or a delay as may, so that new messages wait too",
);
/// Gauge by queue, consumer and handler.
pub const CONSUMER_SUSPECTS: Name = metric(
    "wasmill_consumer_suspects",
    "Deliveries that may have been running when the host stopped, which run one at a time",
);
/// Gauge.
pub const DELAYED_MESSAGES: Name =
    metric("wasmill_delayed_messages", "Messages that wait for the time they are to be delivered at");
/// Gauge by state.
pub const JOBS: Name = metric("wasmill_jobs", "Jobs that are known, by how far they are");
/// Counter by state.
pub const JOBS_ENDED: Name = metric("wasmill_jobs_ended", "Jobs that have ended, by how");
/// Counter by outcome.
pub const CALLBACKS: Name = metric("wasmill_callbacks", "Calls of callbacks of jobs: delivered, or failed");
/// Gauge by queue and consumer.
pub const QUARANTINE_MESSAGES: Name = metric("wasmill_quarantine_messages", "Deliveries that rest in quarantine");
/// Gauge.
pub const SCHEDULES_LATE: Name =
    metric("wasmill_schedules_late", "Schedules that are due and whose message cannot be published");
/// Gauge.
pub const STREAMS_OPEN: Name = metric("wasmill_streams_open", "Streams (WebSockets) of clients that are open");
/// Counter.
pub const STREAMS_REFUSED: Name =
    metric("wasmill_streams_refused", "Streams that were refused because as many as may be were open");
/// Gauge.
pub const STORE_BYTES: Name = metric("wasmill_store_bytes", "The size of the store on the disk");

/// Label: a queue's name.
pub const QUEUE: &str = "queue";
/// Label: a consumer's name.
pub const CONSUMER: &str = "consumer";
/// Label: a handler's name.
pub const HANDLER: &str = "handler";
/// Label: a version of a handler.
pub const DIGEST: &str = "digest";
/// Label: how an attempt ended.
pub const OUTCOME: &str = "outcome";
/// Label: why a delivery is in quarantine.
pub const REASON: &str = "reason";
/// Label: what ended an attempt.
pub const KIND: &str = "kind";
/// Label: where messages of a queue are.
pub const STATE: &str = "state";

/// State: in the log, still needed by a consumer.
pub const STATE_LOG: &str = "log";
/// State: leased now.
pub const STATE_IN_FLIGHT: &str = "in-flight";
/// State: waiting off the log for a retry or a delay.
pub const STATE_PENDING: &str = "pending";
/// State: in quarantine.
pub const STATE_QUARANTINED: &str = "quarantined";

/// Outcomes of a version that was tried.
pub const CANARY_OUTCOMES: [&str; 2] = ["promoted", "given-back"];
/// Outcomes of a callback: the receiver took it, or did not.
pub const CALLBACK_OUTCOMES: [&str; 2] = ["delivered", "failed"];

/// Outcome: it succeeded, but what it read was changed meanwhile.
pub const OUTCOME_CONFLICT: &str = "conflict";
/// Outcome: it succeeded, but what it published was not taken.
pub const OUTCOME_PUBLISH_REFUSED: &str = "publish-refused";
/// Outcome: it ran before its turn, so nothing was settled.
pub const OUTCOME_OUT_OF_ORDER: &str = "out-of-order";
/// Outcome: its job was cancelled, so it was settled without effects.
pub const OUTCOME_CANCELLED: &str = "cancelled";
/// Outcome: its lease was over, so nothing was settled.
pub const OUTCOME_STALE: &str = "stale-fence";
/// Outcome: one that this list does not know.
pub const OUTCOME_OTHER: &str = "other";

/// All outcomes, the frequent ones first: those of [`Outcome::name`], then what only settling finds out.
pub const OUTCOMES: [&str; 25] = [
    Outcome::Success.name(),
    "retry",
    "defer",
    "reject",
    "trapped",
    "out-of-fuel",
    "out-of-memory",
    "timed-out",
    "stack-overflow",
    "publish-limit",
    "state-limit",
    "exited",
    "unroutable",
    "host-crash",
    "host-fault",
    "throttle",
    "expired",
    "never-fits",
    "lease-expired",
    OUTCOME_OUT_OF_ORDER,
    OUTCOME_CONFLICT,
    OUTCOME_PUBLISH_REFUSED,
    OUTCOME_STALE,
    OUTCOME_CANCELLED,
    OUTCOME_OTHER,
];

/// What ends attempts: the outcomes that are neither success nor an answer of the handler nor the host's own fault.
pub const KINDS: [&str; 8] = [
    "trapped",
    "out-of-fuel",
    "out-of-memory",
    "timed-out",
    "stack-overflow",
    "publish-limit",
    "state-limit",
    "exited",
];

/// Upper ends of the buckets of [`PROCESS_DURATION`] in microseconds: those that OpenTelemetry names for
/// `messaging.process.duration`, and finer ones below, for a warm handler takes microseconds.
pub const PROCESS_BUCKETS_US: [u64; 18] = [
    10, 50, 250, 1_000, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// Upper ends of the buckets of [`COMMIT_DURATION`] in microseconds: from a disk with a cache to one in trouble.
pub const COMMIT_BUCKETS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];
