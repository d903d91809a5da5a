//! What the writer and the readers share.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use sled::IVec;
use wasmill_delivery::{
    name::{QueueId, Sequence},
    priority::Priority,
};

use crate::{
    chunk::Chunk,
    database::Database,
    error::StoreError,
    key::{self, KeyRange},
    sweep::Gone,
    tail::Tail,
    value,
};

pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) database: Database,
    pub(crate) tail: Tail,
    pub(crate) gone: Gone,
    /// What the first failed write said.
    pub(crate) failed: OnceLock<String>,
    /// The last field, so that the database is closed before another process may open it.
    pub(crate) _lock: File,
}

impl Shared {
    /// Take no more writes.
    pub(crate) fn poison(&self, error: &StoreError) {
        if self.failed.set(error.to_string()).is_ok() {
            tracing::error!(store = %self.path.display(), %error, "a write failed; the store takes no more");
        }
    }

    /// Whether it takes writes.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            Some(first) => Err(StoreError::Poisoned { first: first.clone() }),
            None => Ok(()),
        }
    }

    /// Entries of a range in order, without those that are gone.
    pub(crate) fn scan<'a>(
        &'a self,
        range: &KeyRange,
    ) -> impl Iterator<Item = Result<(IVec, IVec), StoreError>> + use<'a> {
        let end = range.end.clone();
        let mut entries = self.database.range(range);
        std::iter::from_fn(move || {
            loop {
                let (key, value) = match entries.next()? {
                    Ok(entry) => entry,
                    Err(error) => return Some(Err(error)),
                };
                let Some(start) = self.gone.end_at(&key) else { return Some(Ok((key, value))) };
                entries = self.database.range(&KeyRange { start, end: end.clone() });
            }
        })
    }

    /// A value unless it is gone.
    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if self.gone.end_at(key).is_some() {
            return Ok(None);
        }
        self.database.read(key)
    }

    /// The whole value behind an entry that was found; none when it was deleted since.
    pub(crate) fn whole(&self, key: &[u8], found: IVec) -> Result<Option<Bytes>, StoreError> {
        if value::parts_of(&found) == 0 {
            let found = self.database.follow(key, found)?;
            return found.map(|found| value::open(key, found).map(|entry| entry.payload)).transpose();
        }
        self.database.read(key)
    }

    /// The chunk that holds a message.
    pub(crate) fn chunk_with(&self, queue: QueueId, sequence: Sequence) -> Result<Option<Arc<Chunk>>, StoreError> {
        if let Some(chunk) = self.tail.find(queue, sequence) {
            return Ok(Some(chunk));
        }
        let lane = key::lane_of(queue, Priority::of(sequence));
        let until = KeyRange { start: lane, end: key::successor(&key::log(queue, sequence)) };
        // When the chunk that held it is deleted, none before it does.
        let Some((key, Some(found))) = self.database.last_or_deleted(&until)? else { return Ok(None) };
        if self.gone.end_at(&key).is_some() {
            return Ok(None);
        }
        let chunk = self.decode(&key, found)?;
        Ok(chunk.filter(|chunk| chunk.get(sequence).is_some()))
    }

    /// The first chunk that begins at `from` or after it.
    pub(crate) fn chunk_after(&self, queue: QueueId, from: Sequence) -> Result<Option<Arc<Chunk>>, StoreError> {
        let range = KeyRange { start: key::log(queue, from), end: KeyRange::of_prefix(key::log_of(queue)).end };
        for entry in self.scan(&range) {
            let (key, found) = entry?;
            // A trim may take it away before it is followed; what comes after it is still there.
            if let Some(chunk) = self.decode(&key, found)? {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    fn decode(&self, key: &[u8], found: IVec) -> Result<Option<Arc<Chunk>>, StoreError> {
        let (_, first) = key::parse_log(key)?;
        let Some(payload) = self.whole(key, found)? else { return Ok(None) };
        let chunk = Chunk::decode(first, &payload);
        chunk.map(|chunk| Some(Arc::new(chunk))).map_err(|problem| StoreError::damaged(key::describe(key), problem))
    }
}
