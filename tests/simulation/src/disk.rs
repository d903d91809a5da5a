//! The model of the store: plain maps, and an opinion on every write.
//!
//! It stands for `wasmill-store`: one commit is taken whole or not at all, trimmed messages may stay for a while, and
//! what [`Disk::recover`] gives back comes in the order that the real one promises.

mod legality;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use wasmill_delivery::{
    cursor::Cursor,
    input::{Lease, PublishEntry},
    job::{JobId, JobRecord, JobResult},
    message::Message,
    name::{ConsumerId, HandlerName, QuarantineId, QueueId, Sequence},
    priority::{PRIORITIES, Priority},
    record::{
        ConsumerRecord, DelayedKey, HandlerRecord, PendingKey, PendingRecord, QuarantineRecord, QueueRecord,
        RunningMark,
    },
    schedule::{ScheduleName, ScheduleRecord},
    time::Timestamp,
    write::{Counters, DedupId, LogBounds, Recovered, Write},
};

use crate::{state::State, violation::Checked};

/// All that is durable.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Numbers that are never used again.
    pub counters: Counters,
    /// Handlers.
    pub handlers: BTreeMap<HandlerName, HandlerRecord>,
    /// Queues with their logs.
    pub queues: BTreeMap<QueueId, DiskQueue>,
    /// Consumers.
    pub consumers: BTreeMap<ConsumerId, ConsumerRecord>,
    /// Their places.
    pub cursors: BTreeMap<(ConsumerId, Priority), Cursor>,
    /// Deliveries off the log.
    pub pending: BTreeMap<PendingKey, PendingRecord>,
    /// Messages that wait for their time.
    pub delayed: BTreeMap<DelayedKey, PublishEntry>,
    /// Schedules.
    pub schedules: BTreeMap<ScheduleName, ScheduleRecord>,
    /// Jobs.
    pub jobs: BTreeMap<JobId, JobRecord>,
    /// What handlers answered to them.
    pub job_results: BTreeMap<JobId, JobResult>,
    /// Deliveries that must be known after a crash.
    pub running: BTreeMap<(ConsumerId, Sequence), RunningMark>,
    /// Deliveries given up.
    pub quarantine: BTreeMap<QuarantineId, QuarantineRecord>,
    /// Inputs of last attempts.
    pub capsules: BTreeMap<QuarantineId, Bytes>,
    /// What handlers stored.
    pub state: State,
    /// Ids, by time and commit.
    pub dedup: BTreeMap<(Timestamp, u64), Vec<DedupId>>,
    /// How many commits were taken.
    pub commits: u64,
}

/// A queue and its log, in the chunks in which it was written.
#[derive(Clone, Debug)]
pub struct DiskQueue {
    /// Its declaration.
    pub record: QueueRecord,
    /// That of what is not urgent, and others once there was something for them.
    pub logs: BTreeMap<Priority, DiskLog>,
}

/// One log, in the chunks in which it was written.
#[derive(Clone, Debug)]
pub struct DiskLog {
    chunks: BTreeMap<Sequence, Chunk>,
    /// The place of the next message.
    pub next: Sequence,
    bytes_before_next: u64,
    /// The last trim since the engine started.
    trimmed_below: Sequence,
}

#[derive(Clone, Debug)]
struct Chunk {
    bytes_before: u64,
    messages: Vec<Arc<Message>>,
}

impl DiskQueue {
    fn new(record: QueueRecord) -> Self {
        Self { record, logs: BTreeMap::from([(Priority::LOWEST, DiskLog::new(Priority::LOWEST))]) }
    }

    fn log_mut(&mut self, at: Sequence) -> &mut DiskLog {
        let priority = Priority::of(at);
        self.logs.entry(priority).or_insert_with(|| DiskLog::new(priority))
    }

    /// The log of that priority, which may never have had a message.
    #[must_use]
    pub fn log(&self, priority: Priority) -> DiskLog {
        self.logs.get(&priority).cloned().unwrap_or_else(|| DiskLog::new(priority))
    }

    /// The message at that place, if it is still there.
    #[must_use]
    pub fn message(&self, at: Sequence) -> Option<&Arc<Message>> {
        self.logs.get(&Priority::of(at))?.message(at)
    }

    /// The ends of its logs: of one, or of all when there was something for others.
    #[must_use]
    pub fn bounds(&self) -> Vec<LogBounds> {
        let count = if self.logs.len() > 1 { PRIORITIES } else { 1 };
        Priority::all().take(count).map(|priority| self.log(priority).bounds()).collect()
    }
}

impl DiskLog {
    fn new(priority: Priority) -> Self {
        let first = priority.first();
        Self { chunks: BTreeMap::new(), next: first, bytes_before_next: 0, trimmed_below: first }
    }

    /// The message at that place, if it is still there.
    #[must_use]
    pub fn message(&self, at: Sequence) -> Option<&Arc<Message>> {
        let (first, chunk) = self.chunks.range(..=at).next_back()?;
        chunk.messages.get(usize::try_from(at.0 - first.0).ok()?)
    }

    /// The ends of the log.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        let oldest = self.chunks.first_key_value();
        LogBounds {
            first: oldest.map_or(self.next, |(first, _)| *first),
            next: self.next,
            bytes_before_first: oldest.map_or(self.bytes_before_next, |(_, chunk)| chunk.bytes_before),
            bytes_before_next: self.bytes_before_next,
        }
    }

    fn append(&mut self, first: Sequence, bytes_before: u64, messages: &[Arc<Message>]) {
        self.next = first.plus(messages.len() as u64);
        self.bytes_before_next = bytes_before + messages.iter().map(|message| message.size_bytes()).sum::<u64>();
        self.chunks.insert(first, Chunk { bytes_before, messages: messages.to_vec() });
    }

    /// Drop chunks that nobody needs, but never the last one: the end of the log is known from it.
    fn drop_below(&mut self, below: Sequence) {
        while let Some((first, chunk)) = self.chunks.first_key_value() {
            if self.chunks.len() == 1 || first.plus(chunk.messages.len() as u64) > below {
                return;
            }
            self.chunks.pop_first();
        }
    }
}

/// Whether a commit really drops what it trims, or leaves it for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trimming {
    /// At once.
    Eager,
    /// Not this time.
    Lazy,
}

impl Disk {
    /// Take one commit, write by write, in order.
    ///
    /// # Errors
    /// When a write is not legal on what is there.
    pub fn commit(&mut self, writes: &[Write], trimming: Trimming) -> Checked {
        for write in writes {
            self.check(write)?;
            self.apply(write, trimming);
        }
        self.commits += 1;
        self.check_whole()
    }

    /// Take one write without an opinion on it.
    pub fn apply(&mut self, write: &Write, trimming: Trimming) {
        match write {
            Write::Append { queue, first, bytes_before, messages } => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.log_mut(*first).append(*first, *bytes_before, messages);
                }
            }
            Write::Trim { queue, below } => self.trim(*queue, *below, trimming),
            Write::PutCursor { consumer, cursor } => {
                self.cursors.insert((*consumer, Priority::of(cursor.floor)), cursor.clone());
            }
            Write::PutPending { key, record } => {
                self.pending.insert(*key, record.clone());
            }
            Write::DeletePending { key } => {
                self.pending.remove(key);
            }
            Write::PutDelayed { key, entry } => {
                self.delayed.insert(*key, entry.clone());
            }
            Write::DeleteDelayed { key } => {
                self.delayed.remove(key);
            }
            Write::PutRunning { consumer, sequence, mark } => {
                self.running.insert((*consumer, *sequence), *mark);
            }
            Write::DeleteRunning { consumer, sequence } => {
                self.running.remove(&(*consumer, *sequence));
            }
            Write::PutQuarantine { record, capsule } => {
                if let Some(capsule) = capsule {
                    self.capsules.insert(record.id, capsule.clone());
                }
                self.quarantine.insert(record.id, (**record).clone());
            }
            Write::DeleteQuarantine { id } => {
                self.quarantine.remove(id);
                self.capsules.remove(id);
            }
            Write::PutState { handler, key, value } => self.state.set(handler, key, value.clone()),
            Write::DeleteState { handler, key } => self.state.delete(handler, key),
            Write::AddState { handler, key, delta } => self.state.add(handler, key, *delta),
            Write::PutDedup { at, ids } => {
                self.dedup.insert((*at, self.commits), ids.clone());
            }
            Write::DeleteDedup { before } => self.dedup.retain(|(at, _), _| at >= before),
            Write::PutQueue { record } => match self.queues.get_mut(&record.id) {
                Some(queue) => queue.record = record.clone(),
                None => {
                    self.queues.insert(record.id, DiskQueue::new(record.clone()));
                }
            },
            Write::DeleteQueue { queue } => {
                self.queues.remove(queue);
            }
            Write::PutConsumer { record } => {
                self.consumers.insert(record.id, record.clone());
            }
            Write::DeleteConsumer { consumer } => {
                self.consumers.remove(consumer);
                self.cursors.retain(|(of, _), _| of != consumer);
                self.pending.retain(|key, _| key.consumer != *consumer);
            }
            Write::PutHandler { record } => {
                self.handlers.insert(record.name.clone(), record.clone());
            }
            Write::DeleteHandler { name } => {
                self.handlers.remove(name);
            }
            Write::PutSchedule { record } => {
                self.schedules.insert(record.name.clone(), record.clone());
            }
            Write::DeleteSchedule { name } => {
                self.schedules.remove(name);
            }
            Write::PutJob { record } => {
                self.jobs.insert(record.id.clone(), (**record).clone());
            }
            Write::PutJobResult { id, result } => {
                self.job_results.insert(id.clone(), result.clone());
            }
            Write::DeleteJob { id } => {
                self.jobs.remove(id);
                self.job_results.remove(id);
            }
            Write::PutCounters { counters } => self.counters = *counters,
        }
    }

    fn trim(&mut self, queue: QueueId, below: Sequence, trimming: Trimming) {
        let Some(queue) = self.queues.get_mut(&queue) else { return };
        let log = queue.log_mut(below);
        log.trimmed_below = below;
        if trimming == Trimming::Eager {
            log.drop_below(below);
        }
    }

    /// What the real store gives back when it is opened, in its order.
    pub fn recover(&mut self) -> Vec<Recovered> {
        for log in self.queues.values_mut().flat_map(|queue| queue.logs.values_mut()) {
            log.trimmed_below = log.bounds().first;
        }
        let counters = std::iter::once(Recovered::Counters(self.counters));
        let handlers = self.handlers.values().cloned().map(Recovered::Handler);
        let queues =
            self.queues.values().map(|queue| Recovered::Queue { record: queue.record.clone(), logs: queue.bounds() });
        let consumers = self
            .consumers
            .iter()
            .map(|(id, record)| Recovered::Consumer { record: record.clone(), cursors: self.cursors_of(*id) });
        let pending = self.pending.iter().map(|(key, record)| Recovered::Pending {
            key: *key,
            attempts_made: record.attempts_made,
            hash: record.message.key_hash(),
        });
        let running = self.running.iter().map(|((consumer, sequence), mark)| Recovered::Running {
            consumer: *consumer,
            sequence: *sequence,
            mark: *mark,
        });
        let delayed = self.delayed.keys().map(|key| Recovered::Delayed { key: *key });
        let capsules = self.capsules.iter();
        let capsules = capsules.map(|(id, capsule)| Recovered::Capsule { id: *id, bytes: capsule.len() as u64 });
        let quarantined = self.quarantine.values().map(|record| Recovered::Quarantined {
            id: record.id,
            consumer: record.consumer_id,
            sequence: record.sequence,
            hash: record.message.key_hash(),
        });
        let schedules = self.schedules.values().cloned().map(|record| Recovered::Schedule { record });
        let jobs = self.jobs.values().cloned().map(|record| Recovered::Job { record });
        let dedup = self.dedup.iter().map(|((at, _), ids)| Recovered::Dedup { at: *at, ids: ids.clone() });
        counters
            .chain(handlers)
            .chain(queues)
            .chain(consumers)
            .chain(pending)
            .chain(running)
            .chain(delayed)
            .chain(quarantined)
            .chain(capsules)
            .chain(schedules)
            .chain(jobs)
            .chain(dedup)
            .collect()
    }

    /// The message of a lease and its earlier attempts, as a worker reads them.
    #[must_use]
    pub fn delivery(&self, consumer: ConsumerId, queue: QueueId, lease: &Lease) -> Option<PendingRecord> {
        match lease.pending_due {
            Some(due) => self.pending.get(&PendingKey { consumer, due, sequence: lease.sequence }).cloned(),
            None => {
                let message = Arc::clone(self.queues.get(&queue)?.message(lease.sequence)?);
                Some(PendingRecord { message, attempts_made: 0, attempts: Vec::new() })
            }
        }
    }

    /// Messages of a log as whoever reads on in it gets them.
    #[must_use]
    pub fn log_page(&self, queue: QueueId, from: Sequence, limit: usize) -> Vec<(Sequence, Arc<Message>)> {
        let Some(queue) = self.queues.get(&queue) else { return Vec::new() };
        let bounds = queue.log(Priority::of(from)).bounds();
        let all = (from.0.max(bounds.first.0)..bounds.next.0).map(Sequence);
        all.filter_map(|at| Some((at, Arc::clone(queue.message(at)?)))).take(limit).collect()
    }

    fn cursors_of(&self, id: ConsumerId) -> Vec<Cursor> {
        Priority::all().filter_map(|priority| self.cursors.get(&(id, priority)).cloned()).collect()
    }

    /// Where a consumer is in the log of that priority.
    #[must_use]
    pub fn cursor(&self, id: ConsumerId, priority: Priority) -> Cursor {
        let stored = self.cursors.get(&(id, priority)).cloned();
        stored.unwrap_or_else(|| Cursor::starting_at(priority.first()))
    }

    /// A handler's value.
    #[must_use]
    pub fn value(&self, handler: &HandlerName, key: &str) -> Option<Bytes> {
        self.state.get(handler, key)
    }
}
