//! The form of every value: `version u8 | crc u32 | parts u16 | next u32 | payload`, numbers little-endian.
//!
//! The checksum covers the key and all but itself, so that a value under a wrong key is found out too. A payload
//! above [`PART_BYTES_MAX`] is cut into parts with keys of their own. `parts` says how many follow, and `next` is the
//! checksum of the following one, so that a reader who meets a half-replaced value knows.

use bytes::{Bytes, BytesMut};
use sled::IVec;

use crate::{
    database::Change,
    error::StoreError,
    key::{self, Key},
};

/// The version that is written. Older ones are read for ever, newer ones are refused.
pub(crate) const VERSION: u8 = 1;
/// Two habits of sled 0.34.7 ask for small values. Its pages hold about 16 of them, and one that grows past a quarter
/// of the segment becomes a file of its own, which is not counted in the cache and never made durable. And its cache
/// has 256 shards that each keep at least one page, however small the cache is to be: measured with
/// messages of 1 MB, values of 128 KiB took 700 MB and values of 32 KiB 240 MB.
pub(crate) const PART_BYTES_MAX: usize = 32 * 1024;
const HEAD_BYTES: usize = 11;
/// The version of an entry that says in which slot the value lies.
const POINTS: u8 = u8::MAX;

/// What is to be stored, with room before it for the head.
pub(crate) struct Payload(Vec<u8>);

impl Payload {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut room = Vec::with_capacity(HEAD_BYTES + bytes);
        room.resize(HEAD_BYTES, 0);
        Self(room)
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut payload = Self::with_capacity(bytes.len());
        payload.0.extend_from_slice(bytes);
        payload
    }

    /// Where to write the payload; what is there already stays.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// How many bytes were written so far.
    pub(crate) fn len(&self) -> usize {
        self.0.len() - HEAD_BYTES
    }

    /// Take back what was written after the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.0.truncate(HEAD_BYTES + length);
    }

    /// What was written, without the head.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from(self.0).slice(HEAD_BYTES..)
    }

    /// What was written so far.
    pub(crate) fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.0[HEAD_BYTES..]
    }

    /// The entries that hold it, the one under `key` first.
    fn seal(self, key: Key) -> Vec<(Key, Vec<u8>)> {
        let mut entries = self.cut(key);
        let mut next = 0;
        for (parts, (key, value)) in (0_u16..).zip(entries.iter_mut().rev()) {
            next = seal(key, value, parts, next, VERSION);
        }
        entries
    }

    /// What sets it under `key`.
    pub(crate) fn changes(self, key: Key) -> impl Iterator<Item = Change> {
        self.seal(key).into_iter().map(|(key, value)| (key, Some(value)))
    }

    fn cut(mut self, key: Key) -> Vec<(Key, Vec<u8>)> {
        if self.0.len() <= HEAD_BYTES + PART_BYTES_MAX {
            return vec![(key, self.0)];
        }
        let rest = self.0.split_off(HEAD_BYTES + PART_BYTES_MAX);
        let parts = (1_u16..).zip(rest.chunks(PART_BYTES_MAX));
        let parts: Vec<_> = parts.map(|(number, part)| (key::part(&key, number), Self::of(part).0)).collect();
        [(key, self.0)].into_iter().chain(parts).collect()
    }
}

fn seal(key: &[u8], value: &mut [u8], parts: u16, next: u32, version: u8) -> u32 {
    value[0] = version;
    value[5..7].copy_from_slice(&parts.to_le_bytes());
    value[7..11].copy_from_slice(&next.to_le_bytes());
    let crc = checksum(key, value);
    value[1..5].copy_from_slice(&crc.to_le_bytes());
    crc
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&value[..1]);
    hasher.update(&value[5..]);
    hasher.finalize()
}

/// One entry that was read and is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    crc: u32,
    /// How many parts follow.
    parts: u16,
    next: u32,
    /// What it holds of the payload.
    pub(crate) payload: Bytes,
}

/// Check an entry.
///
/// # Errors
/// When it is not what was written, or a newer version wrote it.
pub(crate) fn open(key: &[u8], value: IVec) -> Result<Entry, StoreError> {
    if !may_be_one(&value) {
        let problem = format!("it has {} bytes, fewer than the head of a value", value.len());
        return Err(StoreError::damaged(key::describe(key), problem));
    }
    let crc = crc_in(&value);
    if checksum(key, &value) != crc {
        return Err(StoreError::damaged(key::describe(key), "its checksum does not match"));
    }
    if value[0] > VERSION {
        return Err(StoreError::NewerValue { key: key::describe(key), found: value[0], known: VERSION });
    }
    let parts = parts_of(&value);
    let next = next_of(&value);
    Ok(Entry { crc, parts, next, payload: Bytes::from_owner(value).slice(HEAD_BYTES..) })
}

/// Whether it is long enough for a value. What is not is an empty slot.
pub(crate) fn may_be_one(found: &[u8]) -> bool {
    found.len() >= HEAD_BYTES
}

/// What an entry says of a value that lies in a slot. It has the form of a value: the version is 255, `parts` are the
/// value's, `next` is the value's checksum, and the payload is the number of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) slot: u32,
    crc: u32,
}

impl Pointer {
    /// To a value that is sealed and about to be put into a slot.
    pub(crate) fn new(slot: u32, value: &[u8]) -> Self {
        Self { slot, crc: crc_in(value) }
    }

    /// The entry for `key`, whose value it points to.
    pub(crate) fn seal(self, key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut entry = vec![0; HEAD_BYTES];
        entry.extend_from_slice(&self.slot.to_le_bytes());
        seal(key, &mut entry, parts_of(value), self.crc, POINTS);
        entry
    }

    /// What an entry says; none when it is the value itself.
    ///
    /// # Errors
    /// When it is not what was written.
    pub(crate) fn open(key: &[u8], found: &[u8]) -> Result<Option<Self>, StoreError> {
        if found.first() != Some(&POINTS) {
            return Ok(None);
        }
        let damaged = |problem: &str| StoreError::damaged(key::describe(key), problem);
        let slot = found.get(HEAD_BYTES..).and_then(|slot| slot.try_into().ok());
        let slot = slot.ok_or_else(|| damaged("it has the mark of what lies in a slot, and names none"))?;
        if checksum(key, found) != crc_in(found) {
            return Err(damaged("its checksum does not match"));
        }
        Ok(Some(Self { slot: u32::from_le_bytes(slot), crc: next_of(found) }))
    }

    /// Whether this is the value it points to, as far as the value says itself: [`open`] checks it.
    pub(crate) fn is_to(self, value: &[u8]) -> bool {
        may_be_one(value) && crc_in(value) == self.crc
    }
}

fn crc_in(value: &[u8]) -> u32 {
    u32::from_le_bytes([value[1], value[2], value[3], value[4]])
}

fn next_of(value: &[u8]) -> u32 {
    u32::from_le_bytes([value[7], value[8], value[9], value[10]])
}

/// How many parts follow an entry, without checking it: enough to delete them with it.
pub(crate) fn parts_of(value: &[u8]) -> u16 {
    value.get(5..7).map_or(0, |parts| u16::from_le_bytes([parts[0], parts[1]]))
}

/// Read a whole value, by a function that finds entries.
///
/// A commit may replace the value between two entries. Then the chain of checksums breaks, and the first entry
/// has changed, so it is read again; when the first has not changed, the value is damaged.
///
/// # Errors
/// When it is damaged or newer, or when an entry cannot be read.
pub(crate) fn read<F>(key: &[u8], find: F) -> Result<Option<Bytes>, StoreError>
where
    F: Fn(&[u8]) -> Result<Option<IVec>, StoreError>,
{
    let mut head = find_entry(key, &find)?;
    loop {
        let Some(entry) = head else { return Ok(None) };
        if entry.parts == 0 {
            return Ok(Some(entry.payload));
        }
        if let Some(whole) = join(key, &entry, &find)? {
            return Ok(Some(whole));
        }
        head = find_entry(key, &find)?;
        if head.as_ref().is_some_and(|again| again.crc == entry.crc) {
            return Err(StoreError::damaged(key::describe(key), "a part of it is missing or belongs to another value"));
        }
    }
}

fn find_entry<F>(key: &[u8], find: &F) -> Result<Option<Entry>, StoreError>
where
    F: Fn(&[u8]) -> Result<Option<IVec>, StoreError>,
{
    find(key)?.map(|value| open(key, value)).transpose()
}

/// The parts together; none when the chain breaks.
fn join<F>(key: &[u8], head: &Entry, find: &F) -> Result<Option<Bytes>, StoreError>
where
    F: Fn(&[u8]) -> Result<Option<IVec>, StoreError>,
{
    let mut whole = BytesMut::with_capacity((usize::from(head.parts) + 1) * PART_BYTES_MAX);
    whole.extend_from_slice(&head.payload);
    let mut expected = head.next;
    for number in 1..=head.parts {
        let Some(part) = find_entry(&key::part(key, number), find)? else { return Ok(None) };
        if part.crc != expected {
            return Ok(None);
        }
        whole.extend_from_slice(&part.payload);
        expected = part.next;
    }
    Ok(Some(whole.freeze()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn stored(bytes: &[u8]) -> BTreeMap<Key, Vec<u8>> {
        Payload::of(bytes).seal(b"?ey".to_vec()).into_iter().collect()
    }

    fn read_from(entries: &BTreeMap<Key, Vec<u8>>) -> Result<Option<Bytes>, StoreError> {
        read(b"?ey", |key| Ok(entries.get(key).map(|value| IVec::from(value.as_slice()))))
    }

    #[test]
    fn values_of_all_sizes_come_back() {
        for size in [0, 1, PART_BYTES_MAX, PART_BYTES_MAX + 1, 3 * PART_BYTES_MAX, 3 * PART_BYTES_MAX + 7] {
            let bytes: Vec<u8> = (0..size).map(|at| at.to_le_bytes()[0]).collect();
            let entries = stored(&bytes);
            assert_eq!(entries.len(), size.div_ceil(PART_BYTES_MAX).max(1), "{size}");
            assert_eq!(read_from(&entries).expect("sound").expect("there"), bytes, "{size}");
        }
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let sound = stored(b"payload");
        for at in 0..sound[b"?ey".as_slice()].len() {
            let mut entries = sound.clone();
            entries.get_mut(b"?ey".as_slice()).expect("there")[at] ^= 1;
            let error = read_from(&entries).expect_err("damaged").to_string();
            assert!(error.contains("the entry with key [3f, 65, 79] is damaged"), "{at}: {error}");
        }
    }

    #[test]
    fn parts_of_two_values_are_not_mixed() {
        let (mut old, mut new) = (vec![1; 3 * PART_BYTES_MAX], vec![1; 3 * PART_BYTES_MAX]);
        (old[2 * PART_BYTES_MAX], new[2 * PART_BYTES_MAX]) = (2, 3);
        let mut mixed = stored(&old);
        let part = key::part(b"?ey", 2);
        mixed.insert(part.clone(), stored(&new)[&part].clone());
        assert!(read_from(&mixed).expect_err("mixed").to_string().contains("a part of it is missing"));
        mixed.remove(&part);
        assert!(read_from(&mixed).expect_err("missing").to_string().contains("a part of it is missing"));
    }

    #[test]
    fn a_newer_version_is_not_called_damage() {
        let mut entries = stored(b"payload");
        let value = entries.get_mut(b"?ey".as_slice()).expect("there");
        value[0] = VERSION + 1;
        let crc = checksum(b"?ey", value);
        value[1..5].copy_from_slice(&crc.to_le_bytes());
        let error = read_from(&entries).expect_err("newer");
        assert!(matches!(error, StoreError::NewerValue { found, .. } if found == VERSION + 1), "{error}");
    }

    #[test]
    fn a_value_under_another_key_is_found() {
        let value = stored(b"payload").remove(b"?ey".as_slice()).expect("there");
        assert!(open(b"?ez", IVec::from(value)).is_err());
    }
}
