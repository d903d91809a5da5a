//! Giving back what is durable, when a store is opened. Bodies stay on disk: of a log only the first and the last
//! chunk are read, and of pending and quarantined deliveries only the number that goes before the record.

use bytes::Bytes;
use sled::IVec;
use wasmill_delivery::{
    cursor::Cursor,
    name::{QueueId, Sequence},
    priority::{PRIORITIES, Priority},
    record::{ConsumerRecord, QueueRecord},
    write::{LogBounds, Recovered},
};

use crate::{
    chunk::ChunkHead,
    error::StoreError,
    key::{self, Key, KeyRange},
    record,
    shared::Shared,
    value,
};

/// From an entry to what is given back.
type Reading<'a> = dyn Fn(&[u8], IVec) -> Result<Recovered, StoreError> + 'a;

/// Visit all, in the order that [`Recovered`] documents.
pub(crate) fn recover(shared: &Shared, visit: &mut dyn FnMut(Recovered)) -> Result<(), StoreError> {
    if let Some(payload) = shared.read(&key::counters())? {
        visit(Recovered::Counters(record::decode(&key::counters(), &payload)?));
    }
    let mut each = |kind, recovered: &Reading<'_>| {
        shared.scan(&KeyRange::of_kind(kind)).try_for_each(|entry| {
            let (key, found) = entry?;
            visit(recovered(&key, found)?);
            Ok(())
        })
    };
    each(key::HANDLER, &|key, found| Ok(Recovered::Handler(record::decode(key, &whole(shared, key, found)?)?)))?;
    each(key::QUEUE, &|key, found| queue(shared, key, found))?;
    each(key::CONSUMER, &|key, found| consumer(shared, key, found))?;
    each(key::PENDING, &|key, found| {
        let ((attempts_made, hash), _) = record::pending_front(key, &value::open(key, found)?.payload)?;
        Ok(Recovered::Pending { key: key::parse_pending(key)?, attempts_made, hash })
    })?;
    each(key::RUNNING, &|key, found| {
        let (consumer, sequence) = key::parse_running(key)?;
        Ok(Recovered::Running { consumer, sequence, mark: record::decode(key, &whole(shared, key, found)?)? })
    })?;
    each(key::DELAYED, &|key, _| Ok(Recovered::Delayed { key: key::parse_delayed(key)? }))?;
    each(key::QUARANTINE, &|key, found| {
        let ((consumer, sequence, hash), _) = record::quarantine_front(key, &value::open(key, found)?.payload)?;
        Ok(Recovered::Quarantined { id: key::parse_quarantine(key)?, consumer, sequence, hash })
    })?;
    each(key::CAPSULE, &|key, found| {
        let (bytes, _) = record::capsule_front(key, &value::open(key, found)?.payload)?;
        Ok(Recovered::Capsule { id: key::parse_quarantine(key)?, bytes })
    })?;
    each(key::SCHEDULE, &|key, found| {
        Ok(Recovered::Schedule { record: record::decode(key, &whole(shared, key, found)?)? })
    })?;
    each(key::JOB, &|key, found| Ok(Recovered::Job { record: record::decode(key, &whole(shared, key, found)?)? }))?;
    each(key::DEDUP, &|key, found| {
        let ids = record::decode_ids(key, &whole(shared, key, found)?)?;
        Ok(Recovered::Dedup { at: key::parse_dedup(key)?.0, ids })
    })
}

fn whole(shared: &Shared, key: &[u8], found: IVec) -> Result<Bytes, StoreError> {
    shared.whole(key, found)?.ok_or_else(|| missing(key))
}

fn missing(key: &[u8]) -> StoreError {
    StoreError::damaged(key::describe(key), "it is missing")
}

fn queue(shared: &Shared, key: &[u8], found: IVec) -> Result<Recovered, StoreError> {
    let record: QueueRecord = record::decode(key, &whole(shared, key, found)?)?;
    let logs = log_bounds(shared, record.id)?;
    Ok(Recovered::Queue { record, logs })
}

fn consumer(shared: &Shared, key: &[u8], found: IVec) -> Result<Recovered, StoreError> {
    let record: ConsumerRecord = record::decode(key, &whole(shared, key, found)?)?;
    let places = shared.scan(&KeyRange::of_prefix(key::cursors_of(record.id)));
    let cursors = places.map(|entry| {
        let (key, found) = entry?;
        record::decode(&key, &whole(shared, &key, found)?)
    });
    let cursors: Vec<Cursor> = cursors.collect::<Result<_, _>>()?;
    if cursors.first().is_none_or(|cursor| Priority::of(cursor.floor) > Priority::LOWEST) {
        return Err(missing(&key::cursor(record.id, Priority::LOWEST)));
    }
    Ok(Recovered::Consumer { record, cursors })
}

/// One log, or all when there is something in another than the first.
fn log_bounds(shared: &Shared, queue: QueueId) -> Result<Vec<LogBounds>, StoreError> {
    let last = shared.database.last(&KeyRange::of_prefix(key::log_of(queue)))?;
    let plain = match last {
        Some((key, _)) => Priority::of(key::parse_log(&key)?.1) == Priority::LOWEST,
        None => true,
    };
    let count = if plain { 1 } else { PRIORITIES };
    Priority::all().take(count).map(|lane| lane_bounds(shared, queue, lane)).collect()
}

fn lane_bounds(shared: &Shared, queue: QueueId, lane: Priority) -> Result<LogBounds, StoreError> {
    let log = KeyRange::of_prefix(key::lane_of(queue, lane));
    let last = shared.database.last(&log)?;
    let first = shared.scan(&log).next().transpose()?;
    let (Some(first), Some(last)) = (first, last) else { return Ok(LogBounds::empty(lane)) };
    let (first, first_head) = chunk_head(shared, first)?;
    let (last, last_head) = chunk_head(shared, last)?;
    Ok(LogBounds {
        first,
        next: last.plus(u64::from(last_head.count)),
        bytes_before_first: first_head.bytes_before,
        bytes_before_next: last_head.bytes_before + last_head.bytes,
    })
}

fn chunk_head(shared: &Shared, (key, found): (IVec, IVec)) -> Result<(Sequence, ChunkHead), StoreError> {
    let (_, first) = key::parse_log(&key)?;
    let found = shared.database.follow(&key, found)?.ok_or_else(|| missing(&key))?;
    let head = ChunkHead::take(&value::open(&key, found)?.payload);
    Ok((first, head.map_err(|problem| StoreError::damaged(key::describe(&key), problem))?))
}

/// The logs of queues and the pending deliveries of consumers that are no more: a removal that had not been swept
/// to its end before the store was closed.
pub(crate) fn orphans(shared: &Shared) -> Result<(Vec<u32>, Vec<u32>), StoreError> {
    let logs = owners_without(shared, key::LOG, key::QUEUE)?;
    let pending = owners_without(shared, key::PENDING, key::CONSUMER)?;
    Ok((logs, pending))
}

/// The owners in the keys of one kind that have no record of the other kind; one read for each owner.
fn owners_without(shared: &Shared, kind: u8, owner_kind: u8) -> Result<Vec<u32>, StoreError> {
    let mut orphans = Vec::new();
    let mut rest = KeyRange::of_kind(kind);
    while let Some((key, _)) = shared.database.range(&rest).next().transpose()? {
        let owner = key::parse_owner(&key)?;
        if shared.database.find(&with_kind(owner_kind, &key[1..5]))?.is_none() {
            orphans.push(owner);
        }
        rest.start = KeyRange::of_prefix(key[..5].to_vec()).end;
    }
    Ok(orphans)
}

fn with_kind(kind: u8, owner: &[u8]) -> Key {
    [&[kind], owner].concat()
}
