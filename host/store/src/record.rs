//! Records as bytes: MessagePack with field names, so that a later version can add a field with a default and still
//! read what an earlier one wrote.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use wasmill_delivery::{
    name::ConsumerId,
    record::{PendingRecord, QuarantineRecord},
    write::DedupId,
};

use crate::{error::StoreError, key, value::Payload};

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

/// A pending delivery: its count of attempts goes first, because recovery reads nothing else of it.
pub(crate) fn encode_pending(record: &PendingRecord) -> Payload {
    encode_after(&record.attempts_made.to_le_bytes(), record)
}

pub(crate) fn decode_pending(key: &[u8], payload: &[u8]) -> Result<PendingRecord, StoreError> {
    decode(key, front(key, payload)?.1)
}

pub(crate) fn attempts_made(key: &[u8], payload: &[u8]) -> Result<u32, StoreError> {
    front(key, payload).map(|(attempts_made, _)| attempts_made)
}

/// A quarantined delivery: its consumer goes first, because recovery reads nothing else of it.
pub(crate) fn encode_quarantine(record: &QuarantineRecord) -> Payload {
    encode_after(&record.consumer_id.0.to_le_bytes(), record)
}

pub(crate) fn decode_quarantine(key: &[u8], payload: &[u8]) -> Result<QuarantineRecord, StoreError> {
    decode(key, front(key, payload)?.1)
}

pub(crate) fn quarantined_of(key: &[u8], payload: &[u8]) -> Result<ConsumerId, StoreError> {
    front(key, payload).map(|(consumer, _)| ConsumerId(consumer))
}

fn front<'a>(key: &[u8], payload: &'a [u8]) -> Result<(u32, &'a [u8]), StoreError> {
    let (front, rest) =
        payload.split_first_chunk().ok_or_else(|| StoreError::damaged(key::describe(key), "it ends too early"))?;
    Ok((u32::from_le_bytes(*front), rest))
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
    use wasmill_delivery::{outcome::Outcome, record::PauseReason};

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
        assert!(attempts_made(&key, &[1, 2, 3]).is_err());
    }
}
