//! The durable half of the host: it keeps what [`wasmill_delivery`] asks to be made durable, and gives it back.
//!
//! This crate must not know what a delivery's fate is, who runs handlers, or what time it is. It is told
//! [`Write`](wasmill_delivery::write::Write)s and answers with what was written. Nobody but this crate knows bytes:
//! no other one sees a key, a value or a type of sled.
//!
//! # The promise
//! [`Store::commit`] is all or nothing, also after a crash or a loss of power. With [`Durability::Fsync`] it is
//! durable when it returns: the disk has confirmed it, in the write-ahead log or, when it is long, in sled's file. With
//! [`Durability::Interval`] it is durable some milliseconds later, or when the store is closed, and what a crash takes is
//! taken from the end. After a commit that failed none is taken any more, because nobody knows what a write or a flush
//! that failed left on the disk.
//! What is read is checked: a value that is not what was written is an error that names it, never a panic.
//!
//! Memory holds sled's cache, the tail cache, what the last commits changed and the tree does not have yet (up to 16 MiB), some bytes for
//! each queue, and what sled remembers of each page: of what is stored in chunks about a hundredth.
//!
//! # The folder
//! | name | what |
//! |---|---|
//! | `db/` | sled's files: one tree |
//! | `wal-0`, `wal-1` | the write-ahead log, up to 8 MiB each: what the tree may not have yet |
//! | `components/` | handlers' components, `<digest>.wasm`, see [`Components`] |
//! | `compiled/` | the sandbox's cache; this crate only makes the folder |
//! | `LOCK` | held while the store is open; the number of the process is in it |
//! | `FORMAT` | the number of the store's format; a newer one is refused and left alone |
//!
//! # Keys
//! One byte for the kind, then numbers big-endian.
//! | kind | rest of the key | value |
//! |---|---|---|
//! | `n` | | counters |
//! | `h` | name | handler |
//! | `q` | queue u32 | queue |
//! | `c` | consumer u32 | consumer |
//! | `r` | consumer u32 | cursor |
//! | `l` | queue u32, first sequence u64 | a chunk of the log: its head, then messages in a layout of their own |
//! | `p` | consumer u32, due u64, sequence u64 | attempts u32, has key u8, key hash u64, pending delivery |
//! | `u` | consumer u32, sequence u64 | a mark that this delivery runs |
//! | `t` | due u64, number u64 | delayed message |
//! | `x` | number u64 | consumer u32, sequence u64, has key u8, key hash u64, quarantined delivery |
//! | `e` | number u64 | its bytes u32, the capsule of that quarantined delivery |
//! | `k` | name | schedule |
//! | `j` | id | job |
//! | `o` | id | the result of a job |
//! | `s` | handler, a zero byte, key | the handler's bytes |
//! | `d` | time u64, mark u64 | ids, 16 bytes each |
//! | `v` | slot u32, filling u8 | a chunk of a log, or a part of one, of 4 KiB or more; the entry under its own key says which slot |
//! | `w` | | up to which number commits of the write-ahead log are in the tree |
//! | `b` | | which slots are taken, when no host has the store open |
//! | `~` | another entry's key, number u16 | a part of what does not fit into that entry |
//!
//! # Values
//! `version u8 | crc u32 | parts u16 | next u32 | payload`, numbers little-endian; the checksum covers the key too.
//! Records are MessagePack with field names. What is longer than 32 KiB continues in entries of kind `~`.
//!
//! # Deleting
//! A commit deletes what it names at once, except that what a trim, a removed queue or consumer, or forgotten ids
//! leave behind is deleted some hundred entries per commit, and passed over by readers until then. The record of a
//! removed queue or consumer goes first, so that after a crash its leftovers are known by having no owner.
//!
//! ```
//! use wasmill_delivery::write::{Counters, Write};
//! use wasmill_store::{Store, StoreOptions};
//!
//! let folder = tempfile::tempdir()?;
//! let mut store = Store::open(folder.path(), StoreOptions::default())?;
//! store.commit(&[Write::PutCounters { counters: Counters { queue: 2, ..Counters::default() } }])?;
//! drop(store);
//!
//! let mut found = Vec::new();
//! Store::open(folder.path(), StoreOptions::default())?.recover(&mut |recovered| found.push(recovered))?;
//! assert_eq!(found.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chunk;
mod commit;
mod components;
mod database;
mod error;
mod flusher;
mod folder;
mod journal;
mod key;
mod log_file;
#[doc(hidden)]
pub mod measure;
mod memtable;
mod options;
mod range;
mod reader;
mod record;
mod recover;
mod shared;
mod slots;
mod staging;
mod store;
mod sweep;
mod tail;
mod value;
mod wal;
mod wire;

pub use components::Components;
pub use error::StoreError;
pub use options::{Durability, StoreOptions};
pub use reader::Reader;
pub use store::Store;
