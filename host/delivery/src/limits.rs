//! Every bound of the host that a message, a name or a record can meet, with its name.
//!
//! Bounds that an operator may change live in the configuration of a queue or a consumer; those here are the
//! defaults and the outer walls.

/// Names of queues, consumers and handlers, message ids, keys, and content types, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// A topic or a topic pattern, in bytes.
pub const TOPIC_BYTES_MAX: usize = 255;
/// Data of one message unless the host is configured otherwise.
pub const DATA_BYTES_MAX_DEFAULT: usize = 1024 * 1024;
/// What the host may be configured to accept as data of one message.
pub const DATA_BYTES_MAX_CEILING: usize = 16 * 1024 * 1024;
/// Headers of one message.
pub const HEADERS_MAX: usize = 64;
/// All header names and values of one message together.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// How many times messages may cause messages before the chain is taken for a loop (outcome `loop`).
pub const HOPS_MAX: u16 = 32;
/// A key of handler state.
pub const STATE_KEY_BYTES_MAX: usize = 255;
/// A value of handler state.
pub const STATE_VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Keys in one answer of `list-keys`.
pub const STATE_KEYS_PAGE_MAX: usize = 1_000;
/// A reason that a handler gives for a failure; what is longer is cut.
pub const REASON_BYTES_MAX: usize = 4 * 1024;
/// Attempts kept with a delivery as evidence; the oldest go first.
pub const EVIDENCE_ATTEMPTS_MAX: usize = 16;
/// The longest wait that a handler may ask for, 7 days in milliseconds.
pub const HANDLER_DELAY_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Patterns that one queue binds.
pub const BINDINGS_PER_QUEUE_MAX: usize = 1_000;
/// Queues of one host.
pub const QUEUES_MAX: usize = 100_000;
/// Consumers of one host.
pub const CONSUMERS_MAX: usize = 100_000;
/// Messages that a queue holds unless configured otherwise.
pub const QUEUE_MESSAGES_MAX_DEFAULT: u64 = 10_000_000;
/// Bytes of messages that a queue holds unless configured otherwise, 10 GiB.
pub const QUEUE_BYTES_MAX_DEFAULT: u64 = 10 * 1024 * 1024 * 1024;
/// Deliveries of one consumer that are leased at once unless configured otherwise.
pub const IN_FLIGHT_MAX_DEFAULT: u32 = 1_000;
/// The most that `in-flight-max` can be set to; it bounds the settled ranges that a cursor carries.
pub const IN_FLIGHT_MAX_CEILING: u32 = 10_000;
/// Runs of one handler at once unless configured otherwise.
pub const CONCURRENCY_DEFAULT: u32 = 2;
/// The most that `concurrency` can be set to.
pub const CONCURRENCY_CEILING: u32 = 1_024;
/// Attempts unless configured otherwise.
pub const ATTEMPTS_MAX_DEFAULT: u32 = 5;
/// The most that `attempts` can be set to.
pub const ATTEMPTS_MAX_CEILING: u32 = 1_000;
/// Deliveries waiting for a retry or a delay, per consumer; beyond it the consumer takes nothing new.
pub const PENDING_MAX_DEFAULT: u64 = 1_000_000;
/// Quarantined deliveries of the host; beyond it consumers that would add to it are paused.
pub const QUARANTINE_MAX_DEFAULT: u64 = 1_000_000;
/// Capsules of all quarantined deliveries unless configured otherwise, 1 GiB. Beyond it deliveries are quarantined
/// without one.
pub const CAPSULES_BYTES_MAX_DEFAULT: u64 = 1024 * 1024 * 1024;
/// How long a published id is remembered, 2 minutes in milliseconds.
pub const DEDUP_WINDOW_MS_DEFAULT: u64 = 2 * 60 * 1_000;
/// How many published ids are remembered; past it the oldest are forgotten before their time.
pub const DEDUP_IDS_MAX_DEFAULT: usize = 1_000_000;
/// How far at most beyond what it leases a consumer marks its cursor, so that leasing alone seldom costs a commit. After a
/// crash, what is below the mark and not settled is under suspicion, so it is four times what is in flight, up to this.
pub const DISPATCH_RESERVE_MAX: u64 = 1_024;
/// How many of a hundred leased deliveries are retries while new work waits too, unless configured otherwise.
pub const RETRY_SHARE_DEFAULT: u32 = 50;
/// How long a program outside holds a lease unless configured otherwise.
pub const LEASE_MS_DEFAULT: u64 = 30_000;
/// The longest that a program outside may hold a lease without extending it, 12 hours in milliseconds.
pub const LEASE_MS_MAX: u64 = 12 * 60 * 60 * 1_000;
/// Messages of the log that a consumer with an order looks at beyond the oldest that it has not settled. It bounds
/// the settled ranges that its cursor carries.
pub const ORDER_WINDOW_MAX: usize = 10_000;
/// Messages that one read of the engine asks for.
pub const READ_MESSAGES_MAX: usize = 1_024;
/// Delayed messages of the host unless configured otherwise.
pub const DELAYED_MAX_DEFAULT: u64 = 1_000_000;
/// The longest delay of a message, 10 years in milliseconds.
pub const DELAY_MS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1_000;
/// The longest wait between two probes of a consumer that a storm has paused, 5 minutes in milliseconds.
pub const STORM_PROBE_MS_MAX: u64 = 5 * 60 * 1_000;
/// The most deliveries that a storm policy can look at.
pub const STORM_DELIVERIES_CEILING: u32 = 1_000;
/// The longest that a publisher can be made to wait for room in a queue, 1 minute in milliseconds.
pub const PUBLISH_WAIT_MS_MAX: u64 = 60_000;
/// Headers that one binding names.
pub const BINDING_HEADERS_MAX: usize = 16;
/// Delays that a list of them may have.
pub const BACKOFF_DELAYS_MAX: usize = 1_000;
/// The most that a rate can be set to, in deliveries a second.
pub const RATE_PER_SECOND_MAX: u32 = 1_000_000;
/// Schedules of one host.
pub const SCHEDULES_MAX: usize = 10_000;
/// A schedule's name, in bytes: it must leave room for the planned time in the ids of its messages.
pub const SCHEDULE_NAME_BYTES_MAX: usize = 200;
/// A cron expression, in bytes.
pub const CRON_BYTES_MAX: usize = 255;
/// Missed runs that `missed = "all"` makes up for unless configured otherwise.
pub const SCHEDULE_MISSED_DEFAULT: u32 = 100;
/// The most missed runs that a schedule can be told to make up for.
pub const SCHEDULE_MISSED_CEILING: u32 = 1_000;
/// Places that one handler is granted to send HTTP requests to.
pub const GRANTED_ORIGINS_MAX: usize = 256;
/// Ranges of private addresses that one handler is granted.
pub const GRANTED_ADDRESSES_MAX: usize = 256;
/// Secrets of one handler.
pub const SECRETS_MAX: usize = 64;
/// The shortest secret, in bytes: a shorter one would be found in logs where it does not stand.
pub const SECRET_BYTES_MIN: usize = 6;
/// The longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// A job's id, in bytes.
pub const JOB_ID_BYTES_MAX: usize = 64;
/// Jobs of one host unless configured otherwise. One that has ended makes room before its time, the oldest first.
pub const JOBS_MAX_DEFAULT: u64 = 100_000;
/// How long a job is known after it has ended unless configured otherwise, 24 hours in milliseconds.
pub const JOB_KEEP_MS_DEFAULT: u64 = 24 * 60 * 60 * 1_000;
/// The result of one job unless configured otherwise, 256 KiB.
pub const JOB_RESULT_BYTES_MAX_DEFAULT: u64 = 256 * 1024;
/// Results of all jobs unless configured otherwise, 1 GiB. Beyond it jobs that have ended are forgotten before their
/// time, the oldest first.
pub const JOB_RESULTS_BYTES_MAX_DEFAULT: u64 = 1024 * 1024 * 1024;
/// What is kept with a job of how its last attempt failed, in bytes; what is longer is cut.
pub const JOB_OUTCOME_BYTES_MAX: usize = 512;
/// Deliveries of one job.
pub const JOB_DELIVERIES_MAX: usize = 100;
/// Jobs that one step of the engine forgets.
pub const JOBS_FORGOTTEN_MAX: usize = 256;
/// Callbacks that one step of the engine puts into their queue.
pub const JOB_CALLBACKS_MAX: usize = 256;
/// What is kept of a handler's versions, the newest first. Components that none of it names are removed.
pub const HANDLER_VERSIONS_MAX: usize = 20;
/// Data of the sample message that is kept with a handler, in bytes.
pub const SAMPLE_DATA_BYTES_MAX: usize = 64 * 1024;
/// The largest share of keys that a canary can be given, in percent: some must be left to compare with.
pub const CANARY_SHARE_PERCENT_MAX: u32 = 99;
/// Deliveries that decide a canary unless configured otherwise.
pub const CANARY_DELIVERIES_DEFAULT: u64 = 200;
/// The most deliveries that a canary can be told to wait for.
pub const CANARY_DELIVERIES_CEILING: u64 = 1_000_000_000;
/// How much worse the failure rate of a canary may be unless configured otherwise, in percentage points.
pub const CANARY_MARGIN_POINTS_DEFAULT: u32 = 5;
/// How long a canary lasts at most unless configured otherwise, 1 hour in milliseconds.
pub const CANARY_DURATION_MS_DEFAULT: u64 = 60 * 60 * 1_000;
/// The longest that a canary can be told to last, 30 days in milliseconds.
pub const CANARY_DURATION_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Deliveries of each version before a canary can be found worse by its failures, so that no single one decides.
pub const CANARY_DELIVERIES_COMPARED_MIN: u64 = 10;
