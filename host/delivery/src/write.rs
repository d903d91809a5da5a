//! What the engine asks to be made durable. All writes of one tick are one commit.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    cursor::Cursor,
    input::PublishEntry,
    job::{JobId, JobRecord, JobResult},
    message::Message,
    name::{ConsumerId, HandlerName, KeyHash, QuarantineId, QueueId, Sequence},
    priority::Priority,
    record::{
        ConsumerRecord, DelayedKey, HandlerRecord, PendingKey, PendingRecord, QuarantineRecord, QueueRecord,
        RunningMark,
    },
    schedule::{ScheduleName, ScheduleRecord},
    time::Timestamp,
};

/// One change of what is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Add messages to the end of a log of a queue.
    Append {
        /// The queue.
        queue: QueueId,
        /// The place of the first of them.
        first: Sequence,
        /// The sum of [`Message::size_bytes`] of all messages ever appended to this log before them.
        bytes_before: u64,
        /// The messages, in order, never none.
        messages: Vec<Arc<Message>>,
    },
    /// Messages of the same log below `below` are not needed any more. The store may keep some for a while; it always keeps
    /// the chunk with the last message of the log, from which the end of the log is known after a restart.
    Trim {
        /// The queue.
        queue: QueueId,
        /// The first message that is still needed; it says which log.
        below: Sequence,
    },
    /// Where a consumer is in one log of its queue.
    PutCursor {
        /// The consumer.
        consumer: ConsumerId,
        /// Its place. The floor says in which log.
        cursor: Cursor,
    },
    /// A delivery waits for a later time.
    PutPending {
        /// Its key.
        key: PendingKey,
        /// All of it.
        record: PendingRecord,
    },
    /// A pending delivery was settled, or gets a new key in the same commit.
    DeletePending {
        /// Its key.
        key: PendingKey,
    },
    /// A message waits for its time.
    PutDelayed {
        /// Its key.
        key: DelayedKey,
        /// All of it; without its dedup id, which was remembered when it came.
        entry: PublishEntry,
    },
    /// A delayed message is published, or gets a new key in the same commit.
    DeleteDelayed {
        /// Its key.
        key: DelayedKey,
    },
    /// A delivery is about to run that must be known after a crash.
    PutRunning {
        /// Whose it is.
        consumer: ConsumerId,
        /// The message's place in the queue.
        sequence: Sequence,
        /// How it runs.
        mark: RunningMark,
    },
    /// That delivery does not run any more.
    DeleteRunning {
        /// Whose it is.
        consumer: ConsumerId,
        /// The message's place in the queue.
        sequence: Sequence,
    },
    /// A delivery is given up.
    PutQuarantine {
        /// All of it.
        record: Box<QuarantineRecord>,
        /// The inputs of its last attempt, when `record` says that they are kept.
        capsule: Option<Bytes>,
    },
    /// A quarantined delivery was redriven or purged. Its capsule goes with it.
    DeleteQuarantine {
        /// Its number.
        id: QuarantineId,
    },
    /// A handler's value.
    PutState {
        /// Whose.
        handler: HandlerName,
        /// Its key.
        key: String,
        /// What it is now.
        value: Bytes,
    },
    /// A handler's value is no more.
    DeleteState {
        /// Whose.
        handler: HandlerName,
        /// Its key.
        key: String,
    },
    /// Add to a handler's decimal integer. A missing one counts as 0; sums stop at the ends of the range. The
    /// engine has made sure that the value is an integer.
    AddState {
        /// Whose.
        handler: HandlerName,
        /// Its key.
        key: String,
        /// What to add.
        delta: i64,
    },
    /// Ids were published, to be remembered until the window has passed.
    PutDedup {
        /// When; the key, together with the mark of the commit that the store gives it.
        at: Timestamp,
        /// Hashes of the ids.
        ids: Vec<DedupId>,
    },
    /// Ids published before `before` need not be remembered any more.
    DeleteDedup {
        /// The first time that still counts.
        before: Timestamp,
    },
    /// A queue was declared or changed.
    PutQueue {
        /// All of it.
        record: QueueRecord,
    },
    /// A queue is removed, with its log. Its consumers are removed by writes of their own.
    DeleteQueue {
        /// The queue.
        queue: QueueId,
    },
    /// A consumer was declared or changed.
    PutConsumer {
        /// All of it.
        record: ConsumerRecord,
    },
    /// A consumer is removed, with its cursor and all its pending deliveries. Its quarantine stays.
    DeleteConsumer {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// A handler was declared or changed.
    PutHandler {
        /// All of it.
        record: HandlerRecord,
    },
    /// A handler is removed. Its state stays until it is purged.
    DeleteHandler {
        /// The handler.
        name: HandlerName,
    },
    /// A schedule was declared, changed, or has fired.
    PutSchedule {
        /// All of it.
        record: ScheduleRecord,
    },
    /// A schedule is removed.
    DeleteSchedule {
        /// The schedule.
        name: ScheduleName,
    },
    /// A job was submitted or has changed.
    PutJob {
        /// All of it.
        record: Box<JobRecord>,
    },
    /// A job has a result, in place of an earlier one.
    PutJobResult {
        /// The job.
        id: JobId,
        /// All of it.
        result: JobResult,
    },
    /// A job is forgotten, with its result.
    DeleteJob {
        /// The job.
        id: JobId,
    },
    /// Numbers that are never used again.
    PutCounters {
        /// All of them.
        counters: Counters,
    },
}

/// 128 bits of a hash of what makes a publish unique: topic or source, and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DedupId(pub u128);

/// The next numbers to be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// For queues.
    pub queue: u32,
    /// For consumers.
    pub consumer: u32,
    /// For quarantined deliveries.
    pub quarantine: u64,
    /// For delayed messages.
    #[serde(default)]
    pub delayed: u64,
    /// No fence at or above it was given out. They are reserved in blocks, so that none comes twice after a crash.
    #[serde(default)]
    pub fence: u64,
}

impl Counters {
    /// Nothing was given out yet.
    pub const FIRST: Self = Self { queue: 1, consumer: 1, quarantine: 1, delayed: 0, fence: 0 };
}

impl Default for Counters {
    fn default() -> Self {
        Self::FIRST
    }
}

/// What a store gives back when it is opened, in this order: counters, handlers, queues with the ends of their
/// logs, consumers with their cursors, pending keys, running marks, delayed keys, quarantine keys, schedules, jobs, dedup ids. Bodies
/// stay on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// Numbers that are never used again.
    Counters(Counters),
    /// A handler.
    Handler(HandlerRecord),
    /// A queue.
    Queue {
        /// All of it.
        record: QueueRecord,
        /// Its logs, the lowest priority first: one, or one for each.
        logs: Vec<LogBounds>,
    },
    /// A consumer; its queue came before.
    Consumer {
        /// All of it.
        record: ConsumerRecord,
        /// Its place in each of those logs of its queue in which it has one, the lowest priority first. That in the
        /// first log is written in the same commit as the consumer, so it is always there.
        cursors: Vec<Cursor>,
    },
    /// A pending delivery, without its message.
    Pending {
        /// Its key.
        key: PendingKey,
        /// Attempts that count.
        attempts_made: u32,
        /// What stands for its message's key.
        hash: Option<KeyHash>,
    },
    /// A delivery may have been running when the host stopped; its consumer, and itself if it is off the log, came
    /// before.
    Running {
        /// Whose it is.
        consumer: ConsumerId,
        /// The message's place in the queue.
        sequence: Sequence,
        /// How it ran.
        mark: RunningMark,
    },
    /// A message waits for its time; its body stays on disk.
    Delayed {
        /// Its key.
        key: DelayedKey,
    },
    /// A quarantined delivery, without its message.
    Quarantined {
        /// Its number.
        id: QuarantineId,
        /// Whose it was.
        consumer: ConsumerId,
        /// The message's place in the queue.
        sequence: Sequence,
        /// What stands for its message's key.
        hash: Option<KeyHash>,
    },
    /// The inputs of a quarantined delivery's last attempt; after that delivery.
    Capsule {
        /// Of which.
        id: QuarantineId,
        /// How large they are.
        bytes: u64,
    },
    /// A schedule.
    Schedule {
        /// All of it.
        record: ScheduleRecord,
    },
    /// A job, without its result.
    Job {
        /// All of it.
        record: JobRecord,
    },
    /// Ids to be remembered.
    Dedup {
        /// When they were published.
        at: Timestamp,
        /// Hashes of the ids.
        ids: Vec<DedupId>,
    },
}

/// The ends of a log of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// The first message that the store still has; equal to `next` when it has none.
    pub first: Sequence,
    /// The place of the next message.
    pub next: Sequence,
    /// The sum of sizes of all messages ever appended before `first`.
    pub bytes_before_first: u64,
    /// The sum of sizes of all messages ever appended.
    pub bytes_before_next: u64,
}

impl LogBounds {
    /// A log that never had a message.
    #[must_use]
    pub const fn empty(priority: Priority) -> Self {
        let first = priority.first();
        Self { first, next: first, bytes_before_first: 0, bytes_before_next: 0 }
    }
}
