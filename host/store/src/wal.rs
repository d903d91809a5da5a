//! The write-ahead log: what makes a commit one, and durable with one write and one wait for the disk.
//!
//! sled takes twice as long to be durable: it waits for what it writes, then its new size must become durable too, and each write
//! wakes the seven threads of its pool. So a commit is first a record of all its changes in a file that does not grow
//! ([`crate::log_file`]). Once that is durable, so is the commit; its changes gather in memory ([`crate::memtable`]), and what they leave
//! is brought to sled and made durable there when a file is full ([`crate::flusher`]).
//!
//! | in `wal-0`, `wal-1` | what |
//! |---|---|
//! | first block | a salt, 8 random bytes, and its `crc u32` |
//! | records, each from the beginning of a block | `crc u32`, `length u32`, `number u64`, changes |
//! | a change | `key length`, `key`, `value length + 1` or 0, `value` |
//! | the rest | what was there before, or zeros |
//!
//! Numbers are little-endian, lengths in the changes LEB128. The checksum covers the salt and everything behind it, and each host
//! takes another salt, which nobody knows who writes messages: what lies in one is not taken for a record. Older records have
//! smaller numbers, for commits are numbered without gaps. When a file is full the other one is written from its beginning,
//! once a flush has made durable what that one had. sled's tree says up to which number it has everything
//! ([`crate::key::applied`]). Whoever opens the store of a host that was killed makes the changes of all later records again, in
//! their order; they are the same however often they are made.
//!
//! The last record may be in part, because the host ended while it was written: then its commit never was. Any other one is whole,
//! because each is written when the one before is durable. When one is missing and a later one is there, the log is damaged, and the
//! store stays closed.
//!
//! A commit of many bytes is a batch of sled instead, once all that gathered before it is there.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    path::Path,
};

use crate::{
    database::{Change, Changes, sync},
    error::StoreError,
    log_file::{BLOCK_BYTES, Blocks, LogFile},
    wire::{Take, put_number},
};

/// One file has so many bytes at most. The larger it is, the more of what is committed is changed again before it goes to the tree;
/// but as many bytes are in memory until they are there, and the next host has to make them again after a kill.
pub(crate) const FILE_BYTES: usize = 8 * 1024 * 1024;
/// Commits of more bytes are batches of sled.
pub(crate) const RECORD_BYTES_MAX: usize = 2 * 1024 * 1024;
/// `crc | length | number`.
const HEAD_BYTES: usize = 16;
const NAMES: [&str; 2] = ["wal-0", "wal-1"];
/// What stands for the length of a value that is deleted; other lengths are one more.
const DELETED: u64 = 0;
/// Of a length: it has at most 32 bits.
const LENGTH_BYTES_MAX: usize = 5;

/// The number of a commit: the first has 1.
pub(crate) type Number = u64;
type Salt = [u8; 8];

/// A commit that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) number: Number,
    pub(crate) changes: Vec<Change>,
}

/// The records behind `applied`, in their order.
///
/// # Errors
/// When one of them is missing or damaged.
pub(crate) fn read_after(folder: &Path, applied: Number) -> Result<Vec<Record>, StoreError> {
    let mut logs = Vec::new();
    for name in NAMES {
        let path = folder.join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::io("read", path, error)),
        };
        let damaged = |problem| StoreError::damaged(format!("the log of commits {}", path.display()), problem);
        logs.push(read_file(&bytes, applied).map_err(damaged)?);
    }
    logs.sort_by_key(|records| records.first().map(|record| record.number));
    let records: Vec<Record> = logs.into_iter().flatten().collect();
    match (applied + 1..).zip(&records).find(|(expected, record)| record.number != *expected) {
        Some((expected, record)) => {
            let problem =
                format!("commit {expected} is missing or not what was written, and commit {} is there", record.number);
            Err(StoreError::damaged(format!("the log of commits in {}", folder.display()), problem))
        }
        None => Ok(records),
    }
}

/// What both files take, in bytes.
pub(crate) fn size_on_disk_bytes(folder: &Path) -> Result<u64, StoreError> {
    NAMES.iter().try_fold(0, |sum, name| match std::fs::metadata(folder.join(name)) {
        Ok(found) => Ok(sum + found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(sum),
        Err(error) => Err(StoreError::io("measure", folder.join(name), error)),
    })
}

/// The records of one file behind `applied`.
fn read_file(bytes: &[u8], applied: Number) -> Result<Vec<Record>, String> {
    let Some(salt) = salt_of(bytes)? else { return Ok(Vec::new()) };
    let mut records: Vec<Record> = Vec::new();
    let mut at = BLOCK_BYTES;
    while at < bytes.len() {
        let Some((number, changes)) = record_at(bytes, at, salt) else {
            at += BLOCK_BYTES;
            continue;
        };
        at += blocks(HEAD_BYTES + changes.len());
        if number > applied {
            records.push(Record { number, changes: decode(changes)? });
        }
    }
    Ok(records)
}

/// The salt of a file; none when nothing was written to it but zeros. A disk writes so few bytes wholly or not at all.
fn salt_of(bytes: &[u8]) -> Result<Option<Salt>, String> {
    let mut take = Take { rest: bytes };
    let (Ok(salt), Ok(crc)) = (take.array(), take.array()) else { return Ok(None) };
    if (salt, crc) == (Salt::default(), [0; 4]) {
        return Ok(None);
    }
    match checksum(salt, &[]).to_le_bytes() == crc {
        true => Ok(Some(salt)),
        false => Err("its first block is not what was written".to_owned()),
    }
}

/// The number and the changes of a record that is whole.
fn record_at(bytes: &[u8], at: usize, salt: Salt) -> Option<(Number, &[u8])> {
    let mut take = Take { rest: bytes.get(at..)? };
    let crc = u32::from_le_bytes(take.array().ok()?);
    let rest = take.rest;
    let length = usize::try_from(u32::from_le_bytes(take.array().ok()?)).ok()?;
    let number = Number::from_le_bytes(take.array().ok()?);
    let changes = take.bytes(length).ok().filter(|changes| HEAD_BYTES + changes.len() <= RECORD_BYTES_MAX)?;
    let checked = &rest[..HEAD_BYTES - size_of_val(&crc) + length];
    (checksum(salt, checked) == crc).then_some((number, changes))
}

fn checksum(salt: Salt, checked: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt);
    hasher.update(checked);
    hasher.finalize()
}

fn decode(bytes: &[u8]) -> Result<Vec<Change>, String> {
    let mut take = Take { rest: bytes };
    let mut changes = Vec::new();
    while !take.rest.is_empty() {
        let key = take.counted()?.to_vec();
        let value = match take.number()? {
            DELETED => None,
            length => Some(take.bytes(usize::try_from(length - 1).map_err(|_| "a value in it is too long")?)?.to_vec()),
        };
        changes.push((key, value));
    }
    Ok(changes)
}

/// Up to the beginning of the next block.
const fn blocks(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}

/// The end of the log, to be written. Belongs to the writer.
pub(crate) struct Wal {
    files: [LogFile; 2],
    /// Which file is written.
    active: usize,
    /// Where the next record goes, which is the first one of its file when it is 0.
    at: usize,
    salt: Salt,
    last: Number,
    /// The record that is being written, with the first block before it.
    buffer: Blocks,
}

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Behind the last one.
    Here,
    /// To the beginning of the other file.
    InTheOtherFile,
    /// It is too long.
    Nowhere,
}

impl Wal {
    /// Go on behind the commit `last`, which is durable in sled, as are all before it.
    pub(crate) fn open(folder: &Path, last: Number) -> Result<Self, StoreError> {
        let [first, second] = NAMES.map(|name| LogFile::open(folder.join(name), FILE_BYTES));
        let files = [first?, second?];
        sync(folder)?;
        let buffer = Blocks::with_capacity(BLOCK_BYTES + RECORD_BYTES_MAX);
        Ok(Self { files, active: 0, at: 0, salt: new_salt(), last, buffer })
    }

    /// The number of the last commit that was written here.
    pub(crate) const fn last(&self) -> Number {
        self.last
    }

    /// Whether there is room for a record of these changes in this file, or none in any when there are too many.
    pub(crate) fn room_for(&self, changes: &Changes) -> Room {
        let bytes = |(key, value): &Change| key.len() + value.as_ref().map_or(0, Vec::len) + 2 * LENGTH_BYTES_MAX;
        let record = HEAD_BYTES + changes.in_order().map(bytes).sum::<usize>();
        if record > RECORD_BYTES_MAX {
            Room::Nowhere
        } else if self.at.max(BLOCK_BYTES) + blocks(record) > FILE_BYTES {
            Room::InTheOtherFile
        } else {
            Room::Here
        }
    }

    /// Begin the other file. What it has is lost then: all of it must be durable in sled.
    pub(crate) const fn turn(&mut self) {
        self.active = 1 - self.active;
        self.at = 0;
    }

    /// Write a record. It is durable when this returns.
    pub(crate) fn append(&mut self, changes: &Changes) -> Result<(), StoreError> {
        self.prepare(changes);
        self.files[self.active].write(self.at, self.buffer.bytes())?;
        self.at += self.buffer.bytes().len();
        self.last += 1;
        Ok(())
    }

    fn prepare(&mut self, changes: &Changes) {
        self.buffer.clear();
        if self.at == 0 {
            self.buffer.put(|out| {
                out.extend_from_slice(&self.salt);
                out.extend_from_slice(&checksum(self.salt, &[]).to_le_bytes());
            });
        }
        self.buffer.put(|out| put_record(out, self.salt, self.last + 1, changes));
    }
}

fn put_record(out: &mut Vec<u8>, salt: Salt, number: Number, changes: &Changes) {
    let begin = out.len();
    out.resize(begin + HEAD_BYTES, 0);
    for (key, value) in changes.in_order() {
        put_number(out, key.len() as u64);
        out.extend_from_slice(key);
        put_number(out, value.as_ref().map_or(DELETED, |value| value.len() as u64 + 1));
        value.iter().for_each(|value| out.extend_from_slice(value));
    }
    let record = &mut out[begin..];
    let length = u32::try_from(record.len() - HEAD_BYTES).expect("a record is short");
    record[4..8].copy_from_slice(&length.to_le_bytes());
    record[8..HEAD_BYTES].copy_from_slice(&number.to_le_bytes());
    let crc = checksum(salt, &record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Nobody can know it who writes messages.
fn new_salt() -> Salt {
    RandomState::new().hash_one(()).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: u64, bytes: usize) -> Change {
        (vec![b's', number.to_le_bytes()[0]], (!number.is_multiple_of(5)).then(|| vec![number.to_le_bytes()[0]; bytes]))
    }

    fn others(others: Vec<Change>) -> Changes {
        Changes { made: Vec::new(), others }
    }

    /// Records with these numbers, as a host that was killed leaves them.
    fn write(folder: &Path, numbers: impl Iterator<Item = Number>, bytes: usize) {
        let mut wal: Option<Wal> = None;
        for number in numbers {
            let wal = wal.get_or_insert_with(|| Wal::open(folder, number - 1).expect("opens"));
            let made = vec![change(number, bytes)];
            let changes = Changes { made, others: vec![change(number + 1, bytes), change(number + 5, 0)] };
            if wal.room_for(&changes) == Room::InTheOtherFile {
                wal.turn();
            }
            wal.append(&changes).expect("is written");
            assert_eq!(wal.last(), number);
        }
    }

    fn numbers(folder: &Path, applied: Number) -> Vec<Number> {
        let records = read_after(folder, applied).expect("sound");
        for record in &records {
            assert_eq!(record.changes[0].0, change(record.number, 0).0);
        }
        records.into_iter().map(|record| record.number).collect()
    }

    #[test]
    fn what_was_written_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(numbers(folder.path(), 7).is_empty());
        assert_eq!(size_on_disk_bytes(folder.path()).expect("measured"), 0);
        write(folder.path(), 8..=12, 5_000);
        assert_eq!(numbers(folder.path(), 7), [8, 9, 10, 11, 12]);
        assert_eq!(numbers(folder.path(), 10), [11, 12]);
        assert!(numbers(folder.path(), 12).is_empty());
        let records = read_after(folder.path(), 7).expect("sound");
        assert_eq!(records[3].changes, [change(11, 5_000), change(12, 5_000), change(16, 0)]);
    }

    /// The files are written over in turns; what is behind the last flush is in both.
    #[test]
    fn both_files_are_one_log() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), 1..=100, 400_000);
        // A file has room for some dozen of them.
        let since = 80;
        assert_eq!(numbers(folder.path(), since), (since + 1..=100).collect::<Vec<_>>());
        for name in NAMES {
            let bytes = std::fs::read(folder.path().join(name)).expect("is there");
            let alone = read_file(&bytes, since).expect("sound").len() as u64;
            assert!((1..100 - since).contains(&alone), "{name} has {alone}");
        }
        let error = read_after(folder.path(), 50).expect_err("these were written over").to_string();
        assert!(error.contains("commit 51 is missing"), "{error}");
        let bytes = size_on_disk_bytes(folder.path()).expect("measured");
        assert!((FILE_BYTES as u64..=2 * FILE_BYTES as u64).contains(&bytes), "{bytes}");
        // The next host begins with the first file again, and with smaller records, whose ends are elsewhere.
        write(folder.path(), 101..=103, 10);
        assert_eq!(numbers(folder.path(), 100), [101, 102, 103]);
    }

    /// Somebody who knows where a record will lie, and all but the salt, puts one into a message.
    #[test]
    fn what_lies_in_a_message_is_no_record() {
        let [ours, theirs] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        write(theirs.path(), 1..=2, 10);
        let forged = std::fs::read(theirs.path().join(NAMES[0])).expect("is there");
        let forged = &forged[2 * BLOCK_BYTES..3 * BLOCK_BYTES];
        let mut wal = Wal::open(ours.path(), 0).expect("opens");
        wal.append(&others(vec![change(1, 10)])).expect("is written");
        // Behind the head, the key with its length, and the length of the value it begins with a block.
        let value = [&vec![0; BLOCK_BYTES - HEAD_BYTES - 2 - 2], forged].concat();
        wal.append(&others(vec![(b"s".to_vec(), Some(value))])).expect("is written");
        let path = ours.path().join(NAMES[0]);
        let mut bytes = std::fs::read(&path).expect("is there");
        assert_eq!(bytes[3 * BLOCK_BYTES..][..32], forged[..32]);
        bytes[2 * BLOCK_BYTES] ^= 1;
        std::fs::write(&path, bytes).expect("is written");
        assert_eq!(numbers(ours.path(), 0), [1]);
    }

    #[test]
    fn the_longest_record_fits_and_a_longer_one_has_no_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut wal = Wal::open(folder.path(), 0).expect("opens");
        let of = |bytes: usize| others(vec![(b"s".to_vec(), Some(vec![1; bytes]))]);
        let most = RECORD_BYTES_MAX - HEAD_BYTES - 1 - 2 * LENGTH_BYTES_MAX;
        assert_eq!(wal.room_for(&of(most + 1)), Room::Nowhere);
        let mut turns = 0;
        for number in 1..=9 {
            match wal.room_for(&of(most)) {
                Room::Here => {}
                Room::InTheOtherFile => {
                    turns += 1;
                    wal.turn();
                }
                Room::Nowhere => panic!("{number}"),
            }
            wal.append(&of(most)).expect("is written");
        }
        assert!(turns > 1, "{turns}");
        let read = read_after(folder.path(), 8).expect("sound");
        assert_eq!((read.len(), &read[0].changes[..]), (1, &of(most).others[..]));
    }
}
