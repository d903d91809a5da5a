//! How a store is opened.

/// When a commit is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it returns: the disk has confirmed it.
    Fsync,
    /// At most `flush_ms` milliseconds after it returned, and the time of two flushes. Until then a loss of power, or a
    /// kill of the process, may lose it; commits are lost from the end and never torn.
    Interval {
        /// Milliseconds between two flushes, at least 1.
        flush_ms: u64,
    },
}

/// How a store is opened. None of it is kept in the store: all may change from one start to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// When a commit is durable.
    pub durability: Durability,
    /// What the database may keep of its pages in memory, in bytes. It keeps at least 256 pages,
    /// which is some 8 MB when each is a chunk of the default size.
    pub cache_bytes: u64,
    /// A chunk of a queue's log is cut before it grows past so many bytes; a larger message has a chunk of its own.
    /// Above 32 KiB a chunk is stored in parts, and nothing is gained.
    pub chunk_bytes: usize,
    /// What the tail cache may keep of decoded chunks, in bytes.
    pub log_cache_bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            cache_bytes: 32 * 1024 * 1024,
            chunk_bytes: 32 * 1024,
            log_cache_bytes: 16 * 1024 * 1024,
        }
    }
}
