//! From writes to changes of entries.

use std::collections::BTreeMap;

use wasmill_delivery::{
    name::{ConsumerId, HandlerName, QueueId, Sequence},
    priority::Priority,
    time::Timestamp,
    write::{DedupId, Write},
};

use crate::{
    chunk::{Chunk, Cutter},
    database::Changes,
    error::StoreError,
    key::{self, Key, KeyRange},
    record,
    slots::Slots,
    staging::Staging,
    sweep::Sweep,
    value::Payload,
};

/// What the writer remembers from one commit to the next.
pub(crate) struct Memory {
    pub(crate) sweep: Sweep,
    pub(crate) slots: Slots,
    /// No mark of dedup ids below it is used again while the store is open.
    dedup_mark: u64,
}

impl Memory {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { sweep: Sweep::default(), slots, dedup_mark: 0 }
    }
}

/// A commit that is being put together.
pub(crate) struct Commit<'a> {
    staging: Staging<'a>,
    memory: &'a mut Memory,
    chunk_bytes: usize,
    appended: BTreeMap<QueueId, Cutter>,
    trimmed: Vec<(QueueId, Sequence)>,
}

/// A commit that is ready.
pub(crate) struct Ready {
    /// None when nothing changes.
    pub(crate) changes: Option<Changes>,
    /// For the tail cache.
    pub(crate) appended: Vec<(QueueId, Chunk)>,
    /// Messages of the queue below the place, which the tail cache can forget.
    pub(crate) trimmed: Vec<(QueueId, Sequence)>,
}

impl<'a> Commit<'a> {
    pub(crate) fn new(staging: Staging<'a>, memory: &'a mut Memory, chunk_bytes: usize) -> Self {
        Self { staging, memory, chunk_bytes, appended: BTreeMap::new(), trimmed: Vec::new() }
    }

    pub(crate) fn stage(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::Append { queue, first, bytes_before, messages } => {
                let cutter = self.appended.entry(*queue).or_insert_with(|| Cutter::new(self.chunk_bytes));
                cutter.append(*first, *bytes_before, messages);
                Ok(())
            }
            Write::Trim { queue, below } => self.trim(*queue, *below),
            Write::PutCursor { consumer, cursor } => {
                let key = key::cursor(*consumer, Priority::of(cursor.floor));
                self.staging.put(key, record::encode(cursor))
            }
            Write::PutPending { key, record } => self.staging.put(key::pending(*key), record::encode_pending(record)),
            Write::DeletePending { key } => self.staging.delete(&key::pending(*key)),
            Write::PutDelayed { key, entry } => self.staging.put(key::delayed(*key), record::encode_delayed(entry)),
            Write::DeleteDelayed { key } => self.staging.delete(&key::delayed(*key)),
            Write::PutRunning { consumer, sequence, mark } => {
                self.staging.put(key::running(*consumer, *sequence), record::encode(mark))
            }
            Write::DeleteRunning { consumer, sequence } => self.staging.delete(&key::running(*consumer, *sequence)),
            Write::PutQuarantine { record, capsule } => {
                let capsule_key = key::capsule(record.id);
                match capsule {
                    Some(capsule) => self.staging.put(capsule_key, record::encode_capsule(capsule))?,
                    None => self.staging.delete(&capsule_key)?,
                }
                self.staging.put(key::quarantine(record.id), record::encode_quarantine(record))
            }
            Write::DeleteQuarantine { id } => {
                self.staging.delete(&key::capsule(*id))?;
                self.staging.delete(&key::quarantine(*id))
            }
            Write::PutState { handler, key, value } => self.staging.put(key::state(handler, key), Payload::of(value)),
            Write::DeleteState { handler, key } => self.staging.delete(&key::state(handler, key)),
            Write::AddState { handler, key, delta } => self.add_state(handler, key, *delta),
            Write::PutDedup { at, ids } => self.put_dedup(*at, ids),
            Write::DeleteDedup { before } => {
                let range = self.memory.sweep.forget_ids(*before);
                self.staging.delete_staged(&range)
            }
            Write::PutQueue { record } => self.staging.put(key::queue(record.id), record::encode(record)),
            Write::DeleteQueue { queue } => self.delete_queue(*queue),
            Write::PutConsumer { record } => self.staging.put(key::consumer(record.id), record::encode(record)),
            Write::DeleteConsumer { consumer } => self.delete_consumer(*consumer),
            Write::PutHandler { record } => self.staging.put(key::handler(&record.name), record::encode(record)),
            Write::DeleteHandler { name } => self.staging.delete(&key::handler(name)),
            Write::PutSchedule { record } => self.staging.put(key::schedule(&record.name), record::encode(record)),
            Write::DeleteSchedule { name } => self.staging.delete(&key::schedule(name)),
            Write::PutJob { record } => self.staging.put(key::job(&record.id), record::encode(record)),
            Write::PutJobResult { id, result } => self.staging.put(key::job_result(id), record::encode(result)),
            Write::DeleteJob { id } => {
                self.staging.delete(&key::job_result(id))?;
                self.staging.delete(&key::job(id))
            }
            Write::PutCounters { counters } => self.staging.put(key::counters(), record::encode(counters)),
        }
    }

    /// Cut what was appended into chunks, and sweep.
    pub(crate) fn finish(mut self) -> Result<Ready, StoreError> {
        let mut appended = Vec::new();
        for (queue, cutter) in self.appended {
            for encoded in cutter.finish() {
                self.staging.add(key::log(queue, encoded.chunk.first), encoded.payload);
                appended.push((queue, encoded.chunk));
            }
        }
        self.memory.sweep.step(&mut self.staging)?;
        let changes = if self.staging.is_empty() {
            self.memory.slots.idle();
            None
        } else {
            Some(self.staging.into_changes(&mut self.memory.slots)?)
        };
        Ok(Ready { changes, appended, trimmed: self.trimmed })
    }

    /// Everything before the chunk that holds `below`, or before the last one of the log.
    fn trim(&mut self, queue: QueueId, below: Sequence) -> Result<(), StoreError> {
        let lane = key::lane_of(queue, Priority::of(below));
        let until = KeyRange { start: lane.clone(), end: key::successor(&key::log(queue, below)) };
        if let Some((kept, _)) = self.staging.database().last(&until)? {
            let (_, first) = key::parse_log(&kept)?;
            self.memory.sweep.trim(lane, kept.to_vec());
            self.trimmed.push((queue, first));
        }
        Ok(())
    }

    fn add_state(&mut self, handler: &HandlerName, key: &str, delta: i64) -> Result<(), StoreError> {
        let key = key::state(handler, key);
        let sum = self.integer(&key)?.saturating_add(delta);
        self.staging.put(key, Payload::of(sum.to_string().as_bytes()))
    }

    fn integer(&self, key: &Key) -> Result<i64, StoreError> {
        let Some(value) = self.staging.read(key)? else { return Ok(0) };
        let parsed = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| StoreError::damaged(key::describe(key), "it is not a decimal integer of 64 bits"))
    }

    fn put_dedup(&mut self, at: Timestamp, ids: &[DedupId]) -> Result<(), StoreError> {
        let last = self.staging.database().last(&KeyRange::of_prefix(key::dedup_at(at)))?;
        let stored = last.map_or(Ok(0), |(key, _)| key::parse_dedup(&key).map(|(_, mark)| mark + 1))?;
        self.memory.sweep.has_ids(at);
        let mark = stored.max(self.memory.dedup_mark);
        self.memory.dedup_mark = mark + 1;
        self.staging.add(key::dedup(at, mark), record::encode_ids(ids));
        Ok(())
    }

    fn delete_queue(&mut self, queue: QueueId) -> Result<(), StoreError> {
        self.appended.remove(&queue);
        self.memory.sweep.remove_logs(queue);
        self.trimmed.extend(Priority::all().map(|lane| (queue, lane.last())));
        self.staging.delete(&key::queue(queue))
    }

    fn delete_consumer(&mut self, consumer: ConsumerId) -> Result<(), StoreError> {
        let pending = self.memory.sweep.remove_pending(consumer);
        self.staging.delete_staged(&pending)?;
        Priority::all().try_for_each(|lane| self.staging.delete(&key::cursor(consumer, lane)))?;
        self.staging.delete(&key::consumer(consumer))
    }
}
