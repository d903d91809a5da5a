//! Records as bytes: MessagePack with field names, so that a later version can add a field with a default and still
//! read what an earlier one wrote.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wasmill_delivery::{
    input::PublishEntry,
    name::{ConsumerId, KeyHash, Sequence},
    record::{PendingRecord, QuarantineRecord},
    time::Timestamp,
    write::DedupId,
};

use crate::{error::StoreError, key, value::Payload, wire::Take};

pub(crate) fn encode<T: Serialize>(record: &T) -> Payload {
    encode_after(&[], record)
}

/// Encode with something before it that is read without the record.
fn encode_after<T: Serialize>(front: &[u8], record: &T) -> Payload {
    let mut payload = Payload::of(front);
    let mut serializer = rmp_serde::Serializer::new(payload.buffer()).with_struct_map();
    record.serialize(&mut serializer).expect("records have no maps or numbers that MessagePack cannot hold");
    payload
}

pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], payload: &[u8]) -> Result<T, StoreError> {
    rmp_serde::from_slice(payload).map_err(|error| StoreError::damaged(key::describe(key), error.to_string()))
}

/// What recovery reads of a pending delivery goes first: `attempts u32 | has key u8 | key hash u64`.
pub(crate) fn encode_pending(record: &PendingRecord) -> Payload {
    let mut front = record.attempts_made.to_le_bytes().to_vec();
    put_hash(&mut front, record.message.key_hash());
    encode_after(&front, record)
}

pub(crate) fn decode_pending(key: &[u8], payload: &[u8]) -> Result<PendingRecord, StoreError> {
    let (_, rest) = pending_front(key, payload)?;
    decode(key, rest)
}

/// Attempts that count, and what stands for the message's key.
pub(crate) type PendingFront = (u32, Option<KeyHash>);

pub(crate) fn pending_front<'a>(key: &[u8], payload: &'a [u8]) -> Result<(PendingFront, &'a [u8]), StoreError> {
    let mut take = Take { rest: payload };
    let mut front = || Ok((u32::from_le_bytes(take.array()?), take_hash(&mut take)?));
    let front = front().map_err(|problem: String| StoreError::damaged(key::describe(key), problem))?;
    Ok((front, take.rest))
}

/// What recovery reads of a quarantined delivery goes first: `consumer u32 | sequence u64 | has key u8 | key hash u64`.
pub(crate) fn encode_quarantine(record: &QuarantineRecord) -> Payload {
    let mut front = record.consumer_id.0.to_le_bytes().to_vec();
    front.extend_from_slice(&record.sequence.0.to_le_bytes());
    put_hash(&mut front, record.message.key_hash());
    encode_after(&front, record)
}

pub(crate) fn decode_quarantine(key: &[u8], payload: &[u8]) -> Result<QuarantineRecord, StoreError> {
    let (_, rest) = quarantine_front(key, payload)?;
    decode(key, rest)
}

/// Whose it was, its place in the queue, and what stands for the message's key.
pub(crate) type QuarantineFront = (ConsumerId, Sequence, Option<KeyHash>);

pub(crate) fn quarantine_front<'a>(key: &[u8], payload: &'a [u8]) -> Result<(QuarantineFront, &'a [u8]), StoreError> {
    let mut take = Take { rest: payload };
    let mut front = || {
        let consumer = ConsumerId(u32::from_le_bytes(take.array()?));
        Ok((consumer, Sequence(u64::from_le_bytes(take.array()?)), take_hash(&mut take)?))
    };
    let front = front().map_err(|problem: String| StoreError::damaged(key::describe(key), problem))?;
    Ok((front, take.rest))
}

/// How large a capsule is goes first: `bytes u32`.
pub(crate) fn encode_capsule(capsule: &Bytes) -> Payload {
    let mut payload = Payload::with_capacity(4 + capsule.len());
    let bytes = u32::try_from(capsule.len()).expect("a capsule is far below 4 GiB");
    payload.buffer().extend_from_slice(&bytes.to_le_bytes());
    payload.buffer().extend_from_slice(capsule);
    payload
}

pub(crate) fn capsule_front(key: &[u8], payload: &Bytes) -> Result<(u64, Bytes), StoreError> {
    let damaged = || StoreError::damaged(key::describe(key), "it is shorter than its head");
    let (bytes, _) = payload.split_first_chunk().ok_or_else(damaged)?;
    Ok((u32::from_le_bytes(*bytes).into(), payload.slice(4..)))
}

fn put_hash(out: &mut Vec<u8>, hash: Option<KeyHash>) {
    out.push(u8::from(hash.is_some()));
    out.extend_from_slice(&hash.map_or(0, |hash| hash.0).to_le_bytes());
}

fn take_hash(take: &mut Take<'_>) -> Result<Option<KeyHash>, String> {
    let [there] = take.array()?;
    let hash = KeyHash(u64::from_le_bytes(take.array()?));
    Ok((there != 0).then_some(hash))
}

/// A delayed message.
#[derive(Serialize, Deserialize)]
struct Delayed<M, D> {
    message: M,
    to: D,
}

pub(crate) fn encode_delayed(entry: &PublishEntry) -> Payload {
    encode(&Delayed { message: &entry.message, to: &entry.to })
}

pub(crate) fn decode_delayed(key: &[u8], due: Timestamp, payload: &[u8]) -> Result<PublishEntry, StoreError> {
    let Delayed { message, to } = decode(key, payload)?;
    Ok(PublishEntry { message, to, dedup: None, deliver_at: Some(due) })
}

/// 16 bytes for each.
pub(crate) fn encode_ids(ids: &[DedupId]) -> Payload {
    let mut payload = Payload::with_capacity(ids.len() * 16);
    ids.iter().for_each(|id| payload.buffer().extend_from_slice(&id.0.to_le_bytes()));
    payload
}

pub(crate) fn decode_ids(key: &[u8], payload: &Bytes) -> Result<Vec<DedupId>, StoreError> {
    let (ids, rest) = payload.as_chunks();
    if !rest.is_empty() {
        return Err(StoreError::damaged(key::describe(key), "it does not hold a whole number of ids"));
    }
    Ok(ids.iter().map(|id| DedupId(u128::from_le_bytes(*id))).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wasmill_delivery::{
        canary::{CanaryEnd, CanaryPolicy, Counts},
        message::{Lineage, Message},
        name::{Digest, HandlerName, MessageId, QuarantineId},
        outcome::Outcome,
        record::{
            AttemptRecord, CapsuleKept, Grants, HandlerLimits, HandlerRecord, PauseReason, QuarantineReason, Replacing,
            Retries, Sample, Versions,
        },
        topic::Topic,
        versions::{CanaryRecord, VersionChange, VersionEvent},
    };

    use super::*;

    fn round_trip<T: Serialize + DeserializeOwned>(record: &T) -> T {
        let mut payload = encode(record);
        decode(b"key", payload.payload_mut()).expect("what was encoded")
    }

    /// Enums with a tag inside them are what serde formats most often get wrong.
    #[test]
    fn every_outcome_comes_back() {
        let text = || "why".to_owned();
        let all = [
            Outcome::Success,
            Outcome::Retry { reason: text(), after_ms: None },
            Outcome::Retry { reason: String::new(), after_ms: Some(u64::MAX) },
            Outcome::Defer { after_ms: 0 },
            Outcome::Reject { reason: text() },
            Outcome::OutOfFuel { fuel_max: u64::MAX },
            Outcome::OutOfMemory { memory_bytes_max: 1 << 40 },
            Outcome::TimedOut { wall_clock_ms_max: 30_000 },
            Outcome::StackOverflow,
            Outcome::PublishLimit { limit: text() },
            Outcome::StateLimit { limit: text() },
            Outcome::Trapped { trap: text() },
            Outcome::Exited { success: true },
            Outcome::HostCrash,
            Outcome::HostFault { detail: text() },
        ];
        for outcome in all {
            assert_eq!(round_trip(&outcome), outcome);
        }
    }

    #[test]
    fn every_reason_to_pause_comes_back() {
        for paused in [
            None,
            Some(PauseReason::Operator),
            Some(PauseReason::Handler { detail: "d".to_owned() }),
            Some(PauseReason::QuarantineFull),
        ] {
            assert_eq!(round_trip(&paused), paused);
        }
    }

    #[test]
    fn a_record_that_is_cut_is_damage_with_its_key() {
        let key = key::counters();
        let error = decode::<PauseReason>(&key, &[]).expect_err("nothing there").to_string();
        assert!(error.starts_with("counters is damaged: "), "{error}");
        assert!(decode_ids(&key, &Bytes::from_static(&[0; 17])).is_err());
        assert!(pending_front(&key, &[1, 2, 3]).is_err());
    }

    /// What hosts wrote before they kept the inputs of last attempts.
    #[test]
    fn a_quarantined_delivery_of_an_earlier_version_has_no_capsule() {
        #[derive(Serialize)]
        struct Earlier {
            id: QuarantineId,
            queue: &'static str,
            consumer_id: ConsumerId,
            consumer: &'static str,
            handler: Option<HandlerName>,
            sequence: Sequence,
            message: Message,
            reason: QuarantineReason,
            attempts: Vec<AttemptRecord>,
            attempts_made: u32,
            quarantined_at: Timestamp,
        }
        let message = Message {
            id: MessageId::new("m").expect("an id"),
            topic: Topic::new("t").expect("a topic"),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: Bytes::from_static(b"x"),
            published_at: Timestamp(1),
            expires_at: None,
            lineage: Lineage::default(),
        };
        let earlier = Earlier {
            id: QuarantineId(3),
            queue: "q",
            consumer_id: ConsumerId(1),
            consumer: "c",
            handler: None,
            sequence: Sequence(4),
            message,
            reason: QuarantineReason::Rejected,
            attempts: vec![AttemptRecord::without_sandbox(1, Timestamp(2), Outcome::HostCrash)],
            attempts_made: 1,
            quarantined_at: Timestamp(5),
        };
        let read: QuarantineRecord = decode(b"k", encode(&earlier).payload_mut()).expect("it is still read");
        assert_eq!((read.id, read.capsule, read.attempts.len()), (QuarantineId(3), CapsuleKept::None, 1));
    }

    /// What hosts wrote before handlers could be granted anything.
    #[test]
    fn a_handler_of_an_earlier_version_is_granted_nothing() {
        #[derive(Serialize)]
        struct EarlierLimits {
            fuel_max: u64,
            memory_bytes_max: u64,
            wall_clock_ms_max: u64,
            published_max: u32,
            published_bytes_max: u64,
            state_bytes_max: u64,
            log_bytes_max: u32,
            instance_calls_max: u32,
        }
        #[derive(Serialize)]
        struct Earlier {
            name: HandlerName,
            digest: Option<Digest>,
            loaded_at: Timestamp,
            config: BTreeMap<String, String>,
            limits: EarlierLimits,
        }
        let limits = EarlierLimits {
            fuel_max: 7,
            memory_bytes_max: 6,
            wall_clock_ms_max: 5,
            published_max: 4,
            published_bytes_max: 3,
            state_bytes_max: 2,
            log_bytes_max: 1,
            instance_calls_max: 8,
        };
        let name = HandlerName::new("old").expect("a name");
        let digest = Some(Digest([7; 32]));
        let earlier = Earlier { name, digest, loaded_at: Timestamp(9), config: BTreeMap::new(), limits };
        let read: HandlerRecord = decode(b"k", encode(&earlier).payload_mut()).expect("it is still read");
        assert_eq!((read.limits.fuel_max, read.limits.instance_calls_max, read.digest), (7, 8, digest));
        assert_eq!(read.limits.http_requests_max, HandlerLimits::default().http_requests_max);
        assert_eq!((read.grants, read.secrets.len(), read.imports), (Grants::default(), 0, None));
        assert_eq!((*read.versions, *read.replacing), (Versions::default(), Replacing::default()));
    }

    /// Its enums have tags inside them, and its digests are in lists.
    #[test]
    fn the_versions_of_a_handler_come_back() {
        let event = |number: u8, change: VersionChange| VersionEvent {
            digest: Digest([number; 32]),
            at: Timestamp(number.into()),
            imports: vec!["wasi:io/poll".to_owned()],
            change,
        };
        let counts = Counts { candidate_deliveries: 7, ..Counts::default() };
        let end = CanaryEnd::Trapped { detail: "why".to_owned() };
        let versions = Versions {
            history: vec![
                event(4, VersionChange::RolledBack { from: Some(Digest([2; 32])) }),
                event(3, VersionChange::GivenBack { end, counts }),
                event(2, VersionChange::Promoted { end: CanaryEnd::NotWorse, counts }),
                event(1, VersionChange::Loaded),
            ],
            canary: Some(CanaryRecord {
                digest: Digest([5; 32]),
                imports: Vec::new(),
                began_at: Timestamp(1),
                policy: CanaryPolicy { share_percent: 10, ..CanaryPolicy::default() },
            }),
        };
        assert_eq!(round_trip(&versions), versions);
        let sample = Sample {
            topic: Topic::new("t").expect("a topic"),
            key: None,
            content_type: None,
            headers: vec![("a".to_owned(), "b".to_owned())],
            data: Bytes::from_static(&[0, 255]),
        };
        let replacing = Replacing { sample: Some(sample), retries: Retries::Stay, canary: CanaryPolicy::default() };
        assert_eq!(round_trip(&replacing), replacing);
    }
}
