//! What makes a commit one: all of its changes or none, also after a crash.
//!
//! sled's batches do that too, but begin with an entry that sled writes apart from the others: the disk is waited for
//! once more, and sled's threads are woken once more. So a commit is a row of single entries, in this order:
//! 1. What goes into slots ([`crate::slots`]). They were free, so nobody sees it yet.
//! 2. The redo record: all other changes of this commit in one entry, which replaces that of the commit before.
//! 3. These changes.
//!
//! After a crash sled has everything up to some entry, and nothing behind it. When that ends before the record, the commit
//! never was. What it put into slots is thrown away: the record of the commit before names them. When it ends behind the
//! record, whoever opens the store makes the changes once more; they are the same however often they are made.
//!
//! A commit with many bytes outside of slots is a batch of sled, because everything in the record is written twice; so is one
//! that needs more slots than were named, such as the first one after a start. The record is in the batch then, and has no
//! changes.

use crate::{
    database::{Change, Database},
    error::StoreError,
    key::{self, Key},
    value::{PART_BYTES_MAX, Payload},
    wire::{Take, put_number},
};

/// A longer record would cost more than a batch.
const RECORD_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(RECORD_BYTES_MAX <= PART_BYTES_MAX, "a record is one entry");

/// Entries behind the record: sled cuts a page of 17 entries into 9 and 8, so the first page of the tree has the record and eight of these.
const FILLINGS: u8 = 16;

/// What stands for the length of a value that is deleted; other lengths are one more.
const DELETED: u64 = 0;

/// All that a commit changes.
pub(crate) struct Changes {
    /// Slots, and what goes there.
    pub(crate) filled: Vec<(Key, Vec<u8>)>,
    /// Whether the last record has named all of these slots.
    pub(crate) filled_are_named: bool,
    /// Everything else.
    pub(crate) others: Vec<Change>,
    /// Slots that the next commit may fill. They are free, and empty.
    pub(crate) named: Vec<u32>,
}

impl Changes {
    /// Make them. They are durable after [`Database::make_durable`].
    pub(crate) fn apply(self, database: &Database) -> Result<(), StoreError> {
        let Self { filled, filled_are_named, others, named } = self;
        if filled_are_named && let Some(record) = encode(&named, &others) {
            for (slot, value) in &filled {
                database.set(slot, value)?;
            }
            return database.apply_in_order(entry(record).into_iter().chain(others));
        }
        let record = encode(&named, &[]).expect("a record without changes is short");
        let filled = filled.into_iter().map(|(slot, value)| (slot, Some(value)));
        database.apply_as_batch(filled.chain(entry(record)).chain(others))
    }
}

/// Finish the last commit of a host that was killed. Answers which slots the one after it may have filled in vain.
///
/// # Errors
/// When the record is damaged: nobody knows then what the last commit was. And when the changes cannot be made.
pub(crate) fn finish(database: &Database) -> Result<Vec<u32>, StoreError> {
    let key = key::redo();
    let Some(record) = database.read(&key)? else { return Ok(Vec::new()) };
    let record = decode(&record).map_err(|problem| StoreError::damaged(key::describe(&key), problem))?;
    database.apply_in_order(record.others)?;
    Ok(record.named)
}

/// Say that there is nothing to finish, when a host ends in order, after these changes.
pub(crate) fn end(database: &Database, changes: Vec<Change>) -> Result<(), StoreError> {
    database.apply_in_order(changes.into_iter().chain([(key::redo(), None)]))
}

/// Give the record a page of its own. sled writes a page anew at its tenth change, and the record changes with every commit.
pub(crate) fn fill_page(database: &Database) -> Result<(), StoreError> {
    if database.find_as_it_is(&key::redo_filling(FILLINGS))?.is_some() {
        return Ok(());
    }
    (1..=FILLINGS).try_for_each(|filling| database.set(&key::redo_filling(filling), &[]))
}

fn entry(record: Payload) -> impl IntoIterator<Item = Change> {
    record.seal(key::redo()).into_iter().map(|(key, value)| (key, Some(value)))
}

/// `slots | slot* | (key length | key | value length + 1, or 0 | value)*`, numbers LEB128. None when it would be too long.
fn encode(named: &[u32], others: &[Change]) -> Option<Payload> {
    let bytes = |(key, value): &Change| key.len() + value.as_ref().map_or(0, Vec::len) + 2 * LENGTH_BYTES_MAX;
    let room = others.iter().map(bytes).sum::<usize>() + (named.len() + 1) * LENGTH_BYTES_MAX;
    if room > RECORD_BYTES_MAX {
        return None;
    }
    let mut record = Payload::with_capacity(room);
    let out = record.buffer();
    put_number(out, named.len() as u64);
    named.iter().for_each(|slot| put_number(out, u64::from(*slot)));
    for (key, value) in others {
        put_number(out, key.len() as u64);
        out.extend_from_slice(key);
        put_number(out, value.as_ref().map_or(DELETED, |value| value.len() as u64 + 1));
        value.iter().for_each(|value| out.extend_from_slice(value));
    }
    Some(record)
}

/// Of a slot's number, or of a length: they have at most 32 bits.
const LENGTH_BYTES_MAX: usize = 5;

#[derive(Debug, PartialEq, Eq)]
struct Record {
    named: Vec<u32>,
    others: Vec<Change>,
}

fn decode(record: &[u8]) -> Result<Record, String> {
    let mut take = Take { rest: record };
    let count = take.number()?;
    let slot = |take: &mut Take<'_>| {
        u32::try_from(take.number()?).map_err(|_| "a slot's number in it is too large".to_owned())
    };
    let named = (0..count).map(|_| slot(&mut take)).collect::<Result<_, _>>()?;
    let mut others = Vec::new();
    while !take.rest.is_empty() {
        let key = take.counted()?.to_vec();
        let value = match take.number()? {
            DELETED => None,
            length => Some(take.bytes(usize::try_from(length - 1).map_err(|_| "a value in it is too long")?)?.to_vec()),
        };
        others.push((key, value));
    }
    Ok(Record { named, others })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Vec<Change> {
        vec![(b"l1".to_vec(), Some(vec![7; 300])), (b"r".to_vec(), Some(Vec::new())), (b"x".to_vec(), None)]
    }

    fn bytes_of(record: Payload) -> Vec<u8> {
        record.into_bytes().to_vec()
    }

    #[test]
    fn a_record_comes_back() {
        for named in [vec![], vec![1, 300, u32::MAX]] {
            for others in [vec![], changes()] {
                let record = bytes_of(encode(&named, &others).expect("short"));
                assert_eq!(decode(&record), Ok(Record { named: named.clone(), others }));
            }
        }
    }

    #[test]
    fn a_record_that_is_cut_is_refused_or_has_fewer_changes() {
        let record = bytes_of(encode(&[1, 300], &changes()).expect("short"));
        for length in 0..record.len() {
            let cut = decode(&record[..length]);
            assert!(cut.is_err() || cut.is_ok_and(|cut| cut.others.len() < changes().len()), "{length}");
        }
    }

    #[test]
    fn a_long_record_is_none() {
        let of = |bytes: usize| encode(&[], &[(b"s".to_vec(), Some(vec![0; bytes]))]);
        let room = RECORD_BYTES_MAX - 1 - 3 * LENGTH_BYTES_MAX;
        assert!(of(room).is_some_and(|record| record.seal(key::redo()).len() == 1));
        assert!(of(room + 1).is_none());
    }
}
