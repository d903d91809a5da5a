//! The tail cache: decoded chunks, those just appended first of all, so that leases of fresh messages read nothing
//! and decode nothing. Bounded by bytes; the chunk that was not used for the longest time goes first.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wasmill_delivery::{
    name::{QueueId, Sequence},
    priority::Priority,
};

use crate::chunk::Chunk;

pub(crate) struct Tail {
    bytes_max: usize,
    held: Mutex<Held>,
}

type Place = (QueueId, Sequence);

#[derive(Default)]
struct Held {
    chunks: BTreeMap<Place, (Arc<Chunk>, u64)>,
    /// When each was used last, by a clock of its own.
    used: BTreeMap<u64, Place>,
    clock: u64,
    bytes: usize,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Mutex::default() }
    }

    /// The chunk that holds this message.
    pub(crate) fn find(&self, queue: QueueId, sequence: Sequence) -> Option<Arc<Chunk>> {
        let mut held = self.held();
        let (place, (chunk, _)) =
            held.chunks.range((queue, Priority::of(sequence).lane_start())..=(queue, sequence)).next_back()?;
        let (place, chunk) = (*place, Arc::clone(chunk));
        chunk.get(sequence)?;
        held.touch(place);
        Some(chunk)
    }

    /// Keep a chunk, and drop others while there are too many bytes.
    pub(crate) fn keep(&self, queue: QueueId, chunk: Arc<Chunk>) {
        if chunk.memory_bytes > self.bytes_max {
            return;
        }
        let mut held = self.held();
        held.insert((queue, chunk.first), chunk);
        while held.bytes > self.bytes_max {
            let Some((_, oldest)) = held.used.first_key_value() else { return };
            let oldest = *oldest;
            held.remove(oldest);
        }
    }

    /// Drop the chunks of one log of which nothing at or above `below` is left.
    pub(crate) fn forget(&self, queue: QueueId, below: Sequence) {
        let mut held = self.held();
        let start = Priority::of(below).lane_start();
        while let Some((place, (chunk, _))) = held.chunks.range((queue, start)..(queue, below)).next() {
            if chunk.end() > below {
                return;
            }
            let place = *place;
            held.remove(place);
        }
    }

    /// A panic elsewhere leaves nothing half done that matters here: what is missing is read again.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn insert(&mut self, place: Place, chunk: Arc<Chunk>) {
        self.remove(place);
        self.clock += 1;
        self.bytes += chunk.memory_bytes;
        self.used.insert(self.clock, place);
        self.chunks.insert(place, (chunk, self.clock));
    }

    fn touch(&mut self, place: Place) {
        self.clock += 1;
        if let Some((_, used)) = self.chunks.get_mut(&place) {
            self.used.remove(used);
            self.used.insert(self.clock, place);
            *used = self.clock;
        }
    }

    fn remove(&mut self, place: Place) {
        if let Some((chunk, used)) = self.chunks.remove(&place) {
            self.bytes -= chunk.memory_bytes;
            self.used.remove(&used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::tests::message;

    const QUEUE: QueueId = QueueId(1);

    fn chunk(first: u64, count: usize) -> Arc<Chunk> {
        Arc::new(Chunk { first: Sequence(first), messages: vec![message(0); count], memory_bytes: 100 })
    }

    fn holds(tail: &Tail, sequence: u64) -> bool {
        tail.find(QUEUE, Sequence(sequence)).is_some()
    }

    #[test]
    fn the_chunk_not_used_for_longest_goes_first() {
        let tail = Tail::new(300);
        for first in [1, 11, 21] {
            tail.keep(QUEUE, chunk(first, 10));
        }
        assert!(holds(&tail, 1) && holds(&tail, 30) && !holds(&tail, 31) && !holds(&tail, 0));
        tail.keep(QUEUE, chunk(31, 10));
        assert!(holds(&tail, 5) && !holds(&tail, 15) && holds(&tail, 25) && holds(&tail, 35));
        assert!(tail.find(QueueId(2), Sequence(5)).is_none());
        assert_eq!(tail.held().bytes, 300);
    }

    #[test]
    fn only_whole_chunks_are_forgotten() {
        let tail = Tail::new(300);
        tail.keep(QUEUE, chunk(1, 10));
        tail.keep(QUEUE, chunk(11, 10));
        tail.forget(QUEUE, Sequence(20));
        assert!(!holds(&tail, 10) && holds(&tail, 11));
        tail.forget(QUEUE, Sequence(21));
        assert!(!holds(&tail, 20));
        let held = tail.held();
        assert_eq!((held.bytes, held.used.len()), (0, 0));
    }
}
