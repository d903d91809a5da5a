//! The keys of the one tree: a byte for the kind, then numbers big-endian, so that order in the tree is order in
//! meaning. The list of kinds is in the crate's documentation.

use wasmill_delivery::{
    job::JobId,
    name::{ConsumerId, HandlerName, QuarantineId, QueueId, Sequence},
    priority::Priority,
    record::{DelayedKey, PendingKey},
    schedule::ScheduleName,
    time::Timestamp,
};

use crate::error::StoreError;

pub(crate) const COUNTERS: u8 = b'n';
pub(crate) const HANDLER: u8 = b'h';
pub(crate) const QUEUE: u8 = b'q';
pub(crate) const CONSUMER: u8 = b'c';
pub(crate) const CURSOR: u8 = b'r';
pub(crate) const LOG: u8 = b'l';
pub(crate) const PENDING: u8 = b'p';
pub(crate) const RUNNING: u8 = b'u';
pub(crate) const DELAYED: u8 = b't';
pub(crate) const QUARANTINE: u8 = b'x';
pub(crate) const CAPSULE: u8 = b'e';
pub(crate) const SCHEDULE: u8 = b'k';
pub(crate) const JOB: u8 = b'j';
pub(crate) const JOB_RESULT: u8 = b'o';
pub(crate) const STATE: u8 = b's';
pub(crate) const DEDUP: u8 = b'd';
/// Where chunks of logs lie, see [`crate::slots`].
pub(crate) const SLOT: u8 = b'v';
/// Which slots are taken, when no host has the store open. Format 2 had maps of this kind at all times.
pub(crate) const TAKEN: u8 = b'b';
/// Up to which number commits of the write-ahead log are in the tree, see [`crate::wal`].
pub(crate) const APPLIED: u8 = b'w';
/// The redo record of format 3, which had no write-ahead log; it is there when a host of it was killed.
pub(crate) const REDO: u8 = b'a';
/// What did not fit into one entry; the rest of the key is the key of that entry and the number of the part.
pub(crate) const PART: u8 = b'~';

/// A key of the tree.
pub(crate) type Key = Vec<u8>;

/// Keys from `start` on and before `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) start: Key,
    pub(crate) end: Key,
}

impl KeyRange {
    /// All keys that begin with `prefix`.
    pub(crate) fn of_prefix(prefix: Key) -> Self {
        let end = after_prefix(&prefix);
        Self { start: prefix, end }
    }

    /// All keys of one kind.
    pub(crate) fn of_kind(kind: u8) -> Self {
        Self::of_prefix(vec![kind])
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && key < self.end.as_slice()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// The first key that is greater than all that begin with `prefix`. A kind is never 0xFF, so there is one.
fn after_prefix(prefix: &[u8]) -> Key {
    let mut end = prefix.to_vec();
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// The first key that is greater than `key`.
pub(crate) fn successor(key: &[u8]) -> Key {
    [key, &[0]].concat()
}

pub(crate) fn counters() -> Key {
    vec![COUNTERS]
}

pub(crate) fn handler(name: &HandlerName) -> Key {
    [&[HANDLER], name.as_str().as_bytes()].concat()
}

pub(crate) fn queue(id: QueueId) -> Key {
    with_u32(QUEUE, id.0)
}

pub(crate) fn consumer(id: ConsumerId) -> Key {
    with_u32(CONSUMER, id.0)
}

/// The keys of a consumer's places in the logs of its queue.
pub(crate) fn cursors_of(id: ConsumerId) -> Key {
    with_u32(CURSOR, id.0)
}

pub(crate) fn cursor(id: ConsumerId, lane: Priority) -> Key {
    let mut key = cursors_of(id);
    // The plain log was the only one for a while.
    if lane > Priority::LOWEST {
        key.push(lane.number());
    }
    key
}

pub(crate) fn log_of(queue: QueueId) -> Key {
    with_u32(LOG, queue.0)
}

/// What the keys of one log of a queue begin with: places of one lane share their first bytes.
pub(crate) fn lane_of(queue: QueueId, lane: Priority) -> Key {
    [log_of(queue).as_slice(), &lane.lane_start().0.to_be_bytes()[..2]].concat()
}

pub(crate) fn log(queue: QueueId, first: Sequence) -> Key {
    with_u64(log_of(queue), first.0)
}

pub(crate) fn pending_of(consumer: ConsumerId) -> Key {
    with_u32(PENDING, consumer.0)
}

pub(crate) fn pending(key: PendingKey) -> Key {
    with_u64(with_u64(pending_of(key.consumer), key.due.0), key.sequence.0)
}

pub(crate) fn running(consumer: ConsumerId, sequence: Sequence) -> Key {
    with_u64(with_u32(RUNNING, consumer.0), sequence.0)
}

pub(crate) fn delayed(key: DelayedKey) -> Key {
    with_u64(with_u64(vec![DELAYED], key.due.0), key.number)
}

pub(crate) fn capsule(id: QuarantineId) -> Key {
    with_u64(vec![CAPSULE], id.0)
}

pub(crate) fn quarantine(id: QuarantineId) -> Key {
    with_u64(vec![QUARANTINE], id.0)
}

pub(crate) fn schedule(name: &ScheduleName) -> Key {
    [&[SCHEDULE], name.as_str().as_bytes()].concat()
}

pub(crate) fn job(id: &JobId) -> Key {
    [&[JOB], id.as_str().as_bytes()].concat()
}

pub(crate) fn job_result(id: &JobId) -> Key {
    [&[JOB_RESULT], id.as_str().as_bytes()].concat()
}

/// The keys of a handler's state. A name holds no zero byte, so no handler's prefix is another's.
pub(crate) fn state_of(handler: &HandlerName) -> Key {
    [&[STATE], handler.as_str().as_bytes(), &[0]].concat()
}

pub(crate) fn state(handler: &HandlerName, key: &str) -> Key {
    [state_of(handler).as_slice(), key.as_bytes()].concat()
}

pub(crate) fn dedup_at(at: Timestamp) -> Key {
    with_u64(vec![DEDUP], at.0)
}

pub(crate) fn dedup(at: Timestamp, mark: u64) -> Key {
    with_u64(dedup_at(at), mark)
}

/// The key of what lies in a slot.
pub(crate) fn slot(slot: u32) -> Key {
    filling(slot, 0)
}

/// Whether it is of a slot or of what fills its page.
pub(crate) fn is_slot(key: &[u8]) -> bool {
    key.first() == Some(&SLOT)
}

/// The keys of what fills a slot's page; the slot itself has filling 0.
pub(crate) fn filling(slot: u32, filling: u8) -> Key {
    let mut key = with_u32(SLOT, slot);
    key.push(filling);
    key
}

pub(crate) fn taken() -> Key {
    vec![TAKEN]
}

pub(crate) fn applied() -> Key {
    vec![APPLIED]
}

pub(crate) fn redo() -> Key {
    vec![REDO]
}

/// The key of what did not fit into the entry of `owner`; `number` counts from 1.
pub(crate) fn part(owner: &[u8], number: u16) -> Key {
    [&[PART], owner, &number.to_be_bytes()].concat()
}

fn with_u32(kind: u8, number: u32) -> Key {
    let mut key = Vec::with_capacity(21);
    key.push(kind);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn with_u64(mut key: Key, number: u64) -> Key {
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn parse_log(key: &[u8]) -> Result<(QueueId, Sequence), StoreError> {
    let (queue, first) = key.get(1..).and_then(take_u32).ok_or_else(|| not_a_key(key))?;
    Ok((QueueId(queue), Sequence(last_u64(first).ok_or_else(|| not_a_key(key))?)))
}

pub(crate) fn parse_pending(key: &[u8]) -> Result<PendingKey, StoreError> {
    let parsed = || {
        let (consumer, rest) = take_u32(key.get(1..)?)?;
        let (due, rest) = take_u64(rest)?;
        let sequence = last_u64(rest)?;
        Some(PendingKey { consumer: ConsumerId(consumer), due: Timestamp(due), sequence: Sequence(sequence) })
    };
    parsed().ok_or_else(|| not_a_key(key))
}

pub(crate) fn parse_running(key: &[u8]) -> Result<(ConsumerId, Sequence), StoreError> {
    let (consumer, sequence) = key.get(1..).and_then(take_u32).ok_or_else(|| not_a_key(key))?;
    Ok((ConsumerId(consumer), Sequence(last_u64(sequence).ok_or_else(|| not_a_key(key))?)))
}

pub(crate) fn parse_delayed(key: &[u8]) -> Result<DelayedKey, StoreError> {
    let (due, number) = key.get(1..).and_then(take_u64).ok_or_else(|| not_a_key(key))?;
    Ok(DelayedKey { due: Timestamp(due), number: last_u64(number).ok_or_else(|| not_a_key(key))? })
}

pub(crate) fn parse_quarantine(key: &[u8]) -> Result<QuarantineId, StoreError> {
    key.get(1..).and_then(last_u64).map(QuarantineId).ok_or_else(|| not_a_key(key))
}

pub(crate) fn parse_dedup(key: &[u8]) -> Result<(Timestamp, u64), StoreError> {
    let (at, mark) = key.get(1..).and_then(take_u64).ok_or_else(|| not_a_key(key))?;
    Ok((Timestamp(at), last_u64(mark).ok_or_else(|| not_a_key(key))?))
}

/// The number of the slot, and of the filling.
pub(crate) fn parse_slot(key: &[u8]) -> Result<(u32, u8), StoreError> {
    match key.get(1..).and_then(take_u32) {
        Some((slot, [filling])) => Ok((slot, *filling)),
        _ => Err(not_a_key(key)),
    }
}

/// The number of the queue or the consumer in a key that begins with one.
pub(crate) fn parse_owner(key: &[u8]) -> Result<u32, StoreError> {
    key.get(1..).and_then(take_u32).map(|(owner, _)| owner).ok_or_else(|| not_a_key(key))
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*head), rest))
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*head), rest))
}

fn last_u64(bytes: &[u8]) -> Option<u64> {
    take_u64(bytes).and_then(|(number, rest)| rest.is_empty().then_some(number))
}

pub(crate) fn not_a_key(key: &[u8]) -> StoreError {
    StoreError::damaged(describe(key), "the key has the wrong length or is not text")
}

/// The key in words, for people.
pub(crate) fn describe(key: &[u8]) -> String {
    describe_known(key).unwrap_or_else(|| format!("the entry with key {key:02x?}"))
}

fn describe_known(key: &[u8]) -> Option<String> {
    let (kind, rest) = key.split_first()?;
    let text = |bytes| std::str::from_utf8(bytes).ok();
    Some(match *kind {
        COUNTERS => "counters".to_owned(),
        HANDLER => format!("handler {}", text(rest)?),
        QUEUE => format!("queue {}", take_u32(rest)?.0),
        CONSUMER => format!("consumer {}", take_u32(rest)?.0),
        CURSOR => match take_u32(rest)? {
            (consumer, []) => format!("cursor of consumer {consumer}"),
            (consumer, [priority]) => format!("cursor of consumer {consumer} for priority {priority}"),
            _ => return None,
        },
        LOG => {
            let (queue, first) = take_u32(rest)?;
            format!("log of queue {queue}, chunk at {}", last_u64(first)?)
        }
        PENDING => {
            let (consumer, rest) = take_u32(rest)?;
            let (due, sequence) = take_u64(rest)?;
            format!("pending delivery of consumer {consumer}, sequence {}, due at {due} ms", last_u64(sequence)?)
        }
        RUNNING => {
            let (consumer, sequence) = take_u32(rest)?;
            format!("mark that consumer {consumer} runs sequence {}", last_u64(sequence)?)
        }
        DELAYED => {
            let (due, number) = take_u64(rest)?;
            format!("delayed message {}, due at {due} ms", last_u64(number)?)
        }
        QUARANTINE => format!("quarantined delivery {}", last_u64(rest)?),
        CAPSULE => format!("capsule of quarantined delivery {}", last_u64(rest)?),
        SCHEDULE => format!("schedule {}", text(rest)?),
        JOB => format!("job {}", text(rest)?),
        JOB_RESULT => format!("result of job {}", text(rest)?),
        STATE => {
            let zero = rest.iter().position(|byte| *byte == 0)?;
            format!("state {:?} of handler {}", text(&rest[zero + 1..])?, text(&rest[..zero])?)
        }
        DEDUP => {
            let (at, mark) = take_u64(rest)?;
            format!("ids published at {at} ms, mark {}", last_u64(mark)?)
        }
        SLOT => format!("slot {}", take_u32(rest)?.0),
        TAKEN => "list of slots that are taken".to_owned(),
        APPLIED => "number of the last commit in the tree".to_owned(),
        PART => {
            let (owner, number) = rest.split_last_chunk()?;
            format!("{}, part {}", describe_known(owner)?, u16::from_be_bytes(*number))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_what_they_mean() {
        let at = |consumer, due, sequence| {
            pending(PendingKey { consumer: ConsumerId(consumer), due: Timestamp(due), sequence: Sequence(sequence) })
        };
        let ascending = [at(1, 2, u64::MAX), at(1, 255, 1), at(1, 256, 0), at(2, 0, 0), at(u32::MAX, 0, 0)];
        assert!(ascending.is_sorted());
        assert!(log(QueueId(1), Sequence(u64::MAX)) < log(QueueId(2), Sequence(0)));
        let all = KeyRange::of_prefix(log_of(QueueId(u32::MAX)));
        assert!(all.contains(&log(QueueId(u32::MAX), Sequence(u64::MAX))));
        assert!(!all.contains(&KeyRange::of_kind(LOG).end));
    }

    #[test]
    fn the_keys_of_each_lane_are_apart() {
        for priority in Priority::all() {
            let lane = KeyRange::of_prefix(lane_of(QueueId(7), priority));
            for other in Priority::all() {
                assert_eq!(lane.contains(&log(QueueId(7), other.first())), other == priority);
                assert_eq!(lane.contains(&log(QueueId(7), other.first().plus(1 << 47))), other == priority);
            }
        }
    }

    #[test]
    fn keys_come_back_and_have_words() {
        let handler = HandlerName::new("h").expect("a good name");
        let pending_key = PendingKey { consumer: ConsumerId(5), due: Timestamp(77), sequence: Sequence(u64::MAX) };
        assert_eq!(parse_pending(&pending(pending_key)).expect("a key"), pending_key);
        assert_eq!(parse_log(&log(QueueId(3), Sequence(9))).expect("a key"), (QueueId(3), Sequence(9)));
        let words = [
            (log(QueueId(3), Sequence(1200)), "log of queue 3, chunk at 1200"),
            (pending(pending_key), "pending delivery of consumer 5, sequence 18446744073709551615, due at 77 ms"),
            (state(&handler, "a\0b"), "state \"a\\0b\" of handler h"),
            (dedup(Timestamp(4), 2), "ids published at 4 ms, mark 2"),
            (part(&quarantine(QuarantineId(8)), 2), "quarantined delivery 8, part 2"),
            (vec![LOG, 1], "the entry with key [6c, 01]"),
        ];
        for (key, expected) in words {
            assert_eq!(describe(&key), expected);
        }
        assert!(parse_log(&[LOG, 0, 0, 0, 1, 2]).is_err());
        assert!(parse_pending(&[PENDING]).is_err());
    }
}
