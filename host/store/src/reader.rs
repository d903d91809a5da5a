//! Reading while the writer writes.

use std::sync::Arc;

use bytes::Bytes;
use sled::IVec;
use wasmill_delivery::{
    input::PublishEntry,
    job::{JobId, JobResult},
    message::Message,
    name::{ConsumerId, HandlerName, QuarantineId, QueueId, Sequence},
    record::{DelayedKey, PendingKey, PendingRecord, QuarantineRecord},
    time::Timestamp,
};

use crate::{
    chunk::Chunk,
    error::StoreError,
    key::{self, Key, KeyRange},
    record,
    shared::Shared,
    wal,
};

/// Reads a store. Clones are cheap, and may be used from many threads while the writer commits. It may see what
/// is committed and not durable yet. While one is alive the store's folder stays locked.
///
/// All its methods block on the disk. Each fails with [`StoreError::Damaged`] or [`StoreError::NewerValue`], which
/// name the value, or with [`StoreError::Database`] when the disk cannot be read.
#[derive(Clone)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

impl Reader {
    /// Messages of a queue by their places, in ascending order; none for those that are not there any more. One
    /// read per chunk at most, and none for what is in the tail cache.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn messages(&self, queue: QueueId, sequences: &[Sequence]) -> Result<Vec<Option<Arc<Message>>>, StoreError> {
        let mut last: Option<Arc<Chunk>> = None;
        let mut messages = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            if last.as_ref().is_none_or(|chunk| chunk.get(*sequence).is_none()) {
                last = self.chunk_to_keep(queue, *sequence)?;
            }
            messages.push(last.as_ref().and_then(|chunk| chunk.get(*sequence).cloned()));
        }
        Ok(messages)
    }

    /// At most `limit` messages of a queue, from `from` on. What it reads is not kept in the tail cache.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn log_page(
        &self,
        queue: QueueId,
        from: Sequence,
        limit: usize,
    ) -> Result<Vec<(Sequence, Arc<Message>)>, StoreError> {
        let mut page = Vec::new();
        let mut from = from;
        while page.len() < limit
            && let Some(chunk) = self.chunk_from(queue, from)?
        {
            let numbered = (chunk.first.0..).map(Sequence).zip(chunk.messages.iter().cloned());
            page.extend(numbered.filter(|(sequence, _)| *sequence >= from).take(limit - page.len()));
            from = chunk.end();
        }
        Ok(page)
    }

    /// A pending delivery.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn pending(&self, key: PendingKey) -> Result<Option<PendingRecord>, StoreError> {
        let key = key::pending(key);
        self.shared.read(&key)?.map(|payload| record::decode_pending(&key, &payload)).transpose()
    }

    /// At most `limit` pending deliveries of a consumer in the order they become due, those after `after`.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn pending_page(
        &self,
        consumer: ConsumerId,
        after: Option<PendingKey>,
        limit: usize,
    ) -> Result<Vec<(PendingKey, PendingRecord)>, StoreError> {
        let range = &after_key(key::pending_of(consumer), after.map(key::pending));
        self.page(range, limit, |key, payload| Ok((key::parse_pending(key)?, record::decode_pending(key, payload)?)))
    }

    /// A delayed message.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn delayed(&self, delayed: DelayedKey) -> Result<Option<PublishEntry>, StoreError> {
        let key = key::delayed(delayed);
        self.shared.read(&key)?.map(|payload| record::decode_delayed(&key, delayed.due, &payload)).transpose()
    }

    /// At most `limit` delayed messages in the order they become due, those after `after`.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn delayed_page(
        &self,
        after: Option<DelayedKey>,
        limit: usize,
    ) -> Result<Vec<(DelayedKey, PublishEntry)>, StoreError> {
        let range = &after_key(vec![key::DELAYED], after.map(key::delayed));
        self.page(range, limit, |key, payload| {
            let delayed = key::parse_delayed(key)?;
            Ok((delayed, record::decode_delayed(key, delayed.due, payload)?))
        })
    }

    /// The place of the first message from `first` on and before `next` that was accepted at `at` or later; `next` when
    /// there is none. Messages of a log are in the order in which they were accepted, but for a clock that was set back.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn first_since(
        &self,
        queue: QueueId,
        first: Sequence,
        next: Sequence,
        at: Timestamp,
    ) -> Result<Sequence, StoreError> {
        let (mut low, mut high) = (first, next);
        while low < high {
            let middle = Sequence(low.0 + (high.0 - low.0) / 2);
            let chunk = self.chunk_from(queue, middle)?;
            let is_late = chunk
                .as_ref()
                .and_then(|chunk| chunk.get(middle.max(chunk.first)))
                .is_none_or(|message| message.published_at >= at);
            if is_late {
                high = middle;
            } else {
                low = middle.next();
            }
        }
        Ok(low)
    }

    /// A quarantined delivery.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn quarantine(&self, id: QuarantineId) -> Result<Option<QuarantineRecord>, StoreError> {
        let key = key::quarantine(id);
        self.shared.read(&key)?.map(|payload| record::decode_quarantine(&key, &payload)).transpose()
    }

    /// At most `limit` quarantined deliveries in the order of their numbers, those after `after`.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn quarantine_page(
        &self,
        after: Option<QuarantineId>,
        limit: usize,
    ) -> Result<Vec<QuarantineRecord>, StoreError> {
        let range = &after_key(vec![key::QUARANTINE], after.map(key::quarantine));
        self.page(range, limit, |key, payload| record::decode_quarantine(key, payload))
    }

    /// The inputs of a quarantined delivery's last attempt.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn capsule(&self, id: QuarantineId) -> Result<Option<Bytes>, StoreError> {
        let key = key::capsule(id);
        let payload = self.shared.read(&key)?;
        payload.map(|payload| record::capsule_front(&key, &payload).map(|(_, capsule)| capsule)).transpose()
    }

    /// What a handler answered to a job.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn job_result(&self, id: &JobId) -> Result<Option<JobResult>, StoreError> {
        let key = key::job_result(id);
        self.shared.read(&key)?.map(|payload| record::decode(&key, &payload)).transpose()
    }

    /// A handler's value.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn state(&self, handler: &HandlerName, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.shared.read(&key::state(handler, key))
    }

    /// At most `limit` keys of a handler's values that begin with `prefix`, in order of their bytes, those after
    /// `after`.
    ///
    /// # Errors
    /// See [`Reader`].
    pub fn state_keys(
        &self,
        handler: &HandlerName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let skip = key::state_of(handler).len();
        let range = after_key(key::state(handler, prefix), after.map(|after| key::state(handler, after)));
        let keys = self.shared.scan(&range).take(limit).map(|entry| {
            let (key, _) = entry?;
            String::from_utf8(key[skip..].to_vec()).map_err(|_| key::not_a_key(&key))
        });
        keys.collect()
    }

    /// What the database and its write-ahead log take on the disk, in bytes.
    ///
    /// # Errors
    /// When its files cannot be looked at.
    pub fn size_on_disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.shared.database.size_on_disk_bytes()? + wal::size_on_disk_bytes(&self.shared.path)?)
    }

    fn chunk_to_keep(&self, queue: QueueId, sequence: Sequence) -> Result<Option<Arc<Chunk>>, StoreError> {
        let chunk = self.shared.chunk_with(queue, sequence)?;
        chunk.iter().for_each(|chunk| self.shared.tail.keep(queue, Arc::clone(chunk)));
        Ok(chunk)
    }

    fn chunk_from(&self, queue: QueueId, from: Sequence) -> Result<Option<Arc<Chunk>>, StoreError> {
        match self.shared.chunk_with(queue, from)? {
            Some(chunk) => Ok(Some(chunk)),
            None => self.shared.chunk_after(queue, from),
        }
    }

    fn page<T>(
        &self,
        range: &KeyRange,
        limit: usize,
        decode: impl Fn(&[u8], &Bytes) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let record = |entry: Result<(IVec, IVec), StoreError>| {
            let (key, found) = entry?;
            self.shared.whole(&key, found)?.map(|payload| decode(&key, &payload)).transpose()
        };
        self.shared.scan(range).filter_map(|entry| record(entry).transpose()).take(limit).collect()
    }
}

/// The keys that begin with `prefix` and come after `after`.
fn after_key(prefix: Key, after: Option<Key>) -> KeyRange {
    let mut range = KeyRange::of_prefix(prefix);
    if let Some(after) = after {
        range.start = range.start.max(key::successor(&after));
    }
    range
}
