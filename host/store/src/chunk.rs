//! Chunks: what one commit appends to a queue's log, cut at a fixed size, each one value of the tree.
//!
//! `bytes before u64 | bytes u64 | count u32`, then for each message `length u32` and [`crate::wire`]'s form of it,
//! numbers little-endian. The ends of a log are known from the heads of its first and its last chunk alone.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_delivery::{message::Message, name::Sequence};

use crate::{
    value::Payload,
    wire::{self, Take},
};

const HEAD_BYTES: usize = 20;

/// The head of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHead {
    /// The sum of sizes of all messages ever appended before it.
    pub(crate) bytes_before: u64,
    /// The sum of sizes of its messages.
    pub(crate) bytes: u64,
    /// How many messages it has.
    pub(crate) count: u32,
}

impl ChunkHead {
    /// Read the head, from the chunk or from the front of it.
    pub(crate) fn take(payload: &[u8]) -> Result<Self, String> {
        let mut take = Take { rest: payload };
        Ok(Self {
            bytes_before: u64::from_le_bytes(take.array()?),
            bytes: u64::from_le_bytes(take.array()?),
            count: u32::from_le_bytes(take.array()?),
        })
    }

    fn bytes(&self) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(&self.bytes_before.to_le_bytes());
        head[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        head[16..].copy_from_slice(&self.count.to_le_bytes());
        head
    }
}

/// The messages of a chunk, decoded.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The place of the first.
    pub(crate) first: Sequence,
    /// In order, never none.
    pub(crate) messages: Vec<Arc<Message>>,
    /// What it takes in memory, in bytes, about.
    pub(crate) memory_bytes: usize,
}

/// What a decoded message takes besides its bytes: the record, its `Arc`s and strings.
const MESSAGE_OVERHEAD_BYTES: usize = 256;

impl Chunk {
    /// The place after the last.
    pub(crate) fn end(&self) -> Sequence {
        self.first.plus(self.messages.len() as u64)
    }

    pub(crate) fn get(&self, sequence: Sequence) -> Option<&Arc<Message>> {
        let at = sequence.0.checked_sub(self.first.0)?;
        self.messages.get(usize::try_from(at).ok()?)
    }

    fn new(first: Sequence, messages: Vec<Arc<Message>>, encoded_bytes: usize) -> Self {
        let memory_bytes = encoded_bytes + messages.len() * MESSAGE_OVERHEAD_BYTES;
        Self { first, messages, memory_bytes }
    }

    /// Read a chunk. The data of its messages share the memory of `payload`.
    ///
    /// # Errors
    /// What is wrong with the bytes, in words.
    pub(crate) fn decode(first: Sequence, payload: &Bytes) -> Result<Self, String> {
        let count = ChunkHead::take(payload)?.count;
        let mut take = Take { rest: &payload[HEAD_BYTES..] };
        let messages = (0..count).map(|_| take_message(&mut take, payload)).collect::<Result<Vec<_>, _>>()?;
        if !take.rest.is_empty() {
            return Err(format!("{} bytes follow its last message", take.rest.len()));
        }
        Ok(Self::new(first, messages, payload.len()))
    }
}

fn take_message(take: &mut Take<'_>, payload: &Bytes) -> Result<Arc<Message>, String> {
    let length = u32::from_le_bytes(take.array()?);
    let length = usize::try_from(length).map_err(|_| "a message in it is too long")?;
    wire::take_message(&payload.slice_ref(take.bytes(length)?)).map(Arc::new)
}

/// A chunk to be written: its messages, and their bytes.
pub(crate) struct Encoded {
    pub(crate) chunk: Chunk,
    pub(crate) payload: Payload,
}

/// Appended messages on their way into chunks. Appends that follow each other share chunks.
pub(crate) struct Cutter {
    chunk_bytes: usize,
    open: Option<Open>,
    done: Vec<Encoded>,
}

struct Open {
    first: Sequence,
    head: ChunkHead,
    messages: Vec<Arc<Message>>,
    payload: Payload,
}

impl Cutter {
    pub(crate) fn new(chunk_bytes: usize) -> Self {
        Self { chunk_bytes, open: None, done: Vec::new() }
    }

    /// Add messages that begin at `first`.
    pub(crate) fn append(&mut self, first: Sequence, bytes_before: u64, messages: &[Arc<Message>]) {
        if self.open.as_ref().is_some_and(|open| open.end() != first) {
            self.close();
        }
        let mut bytes_before = bytes_before;
        for (sequence, message) in (first.0..).map(Sequence).zip(messages) {
            let size = message.size_bytes();
            self.push(sequence, bytes_before, size, message);
            bytes_before += size;
        }
    }

    fn push(&mut self, sequence: Sequence, bytes_before: u64, size: u64, message: &Arc<Message>) {
        let chunk_bytes = self.chunk_bytes;
        if self.open.as_mut().is_some_and(|open| open.push(size, message, chunk_bytes)) {
            return;
        }
        self.close();
        let mut open = Open::new(sequence, bytes_before, chunk_bytes);
        open.push(size, message, usize::MAX);
        self.open = Some(open);
    }

    fn close(&mut self) {
        self.done.extend(self.open.take().map(Open::finish));
    }

    pub(crate) fn finish(mut self) -> Vec<Encoded> {
        self.close();
        self.done
    }
}

impl Open {
    fn new(first: Sequence, bytes_before: u64, chunk_bytes: usize) -> Self {
        let mut payload = Payload::with_capacity(chunk_bytes.min(16 * 1024));
        payload.buffer().extend_from_slice(&[0; HEAD_BYTES]);
        Self { first, head: ChunkHead { bytes_before, bytes: 0, count: 0 }, messages: Vec::new(), payload }
    }

    fn end(&self) -> Sequence {
        self.first.plus(u64::from(self.head.count))
    }

    /// Add a message unless the chunk would grow past `chunk_bytes`, and say whether it was added.
    fn push(&mut self, size: u64, message: &Arc<Message>, chunk_bytes: usize) -> bool {
        let start = self.payload.len();
        let out = self.payload.buffer();
        let length_at = out.len();
        out.extend_from_slice(&[0; 4]);
        wire::put_message(out, message);
        let length = u32::try_from(out.len() - length_at - 4).expect("a message is at most 16 MiB and some headers");
        out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        if self.payload.len() > chunk_bytes {
            self.payload.truncate(start);
            return false;
        }
        self.head.bytes += size;
        self.head.count += 1;
        self.messages.push(Arc::clone(message));
        true
    }

    fn finish(mut self) -> Encoded {
        self.payload.payload_mut()[..HEAD_BYTES].copy_from_slice(&self.head.bytes());
        let encoded_bytes = self.payload.len();
        Encoded { chunk: Chunk::new(self.first, self.messages, encoded_bytes), payload: self.payload }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use wasmill_delivery::{message::Lineage, name::MessageId, time::Timestamp, topic::Topic};

    use super::*;

    /// A message that says little.
    pub(crate) fn message(data_bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            id: MessageId::new("i").expect("good"),
            topic: Topic::new("t").expect("good"),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: vec![7; data_bytes].into(),
            published_at: Timestamp(1),
            expires_at: None,
            lineage: Lineage::default(),
        })
    }

    fn payload_of(encoded: &mut Encoded) -> Bytes {
        Bytes::copy_from_slice(encoded.payload.payload_mut())
    }

    /// A message of n bytes of data counts n and two letters, and takes n and 12 bytes.
    #[test]
    fn chunks_are_cut_before_they_grow_too_large_and_know_what_went_before() {
        let sizes = [48, 47, 1, 500, 10];
        let mut cutter = Cutter::new(HEAD_BYTES + 60 + 59);
        let messages: Vec<_> = sizes.iter().map(|size| message(*size)).collect();
        cutter.append(Sequence(5), 1_000, &messages[..1]);
        cutter.append(Sequence(6), 1_050, &messages[1..]);
        let mut chunks = cutter.finish();
        let heads: Vec<_> = chunks
            .iter_mut()
            .map(|encoded| {
                let head = ChunkHead::take(&payload_of(encoded)).expect("sound");
                (encoded.chunk.first.0, encoded.payload.len(), head.bytes_before, head.bytes, head.count)
            })
            .collect();
        let expected = [(5, 139, 1_000, 99, 2), (7, 33, 1_099, 3, 1), (8, 532, 1_102, 502, 1), (9, 42, 1_604, 12, 1)];
        assert_eq!(heads, expected);
        for encoded in &mut chunks {
            let decoded = Chunk::decode(encoded.chunk.first, &payload_of(encoded)).expect("sound");
            assert_eq!(decoded.messages, encoded.chunk.messages);
        }
    }

    #[test]
    fn appends_with_a_gap_between_do_not_share_a_chunk() {
        let mut cutter = Cutter::new(1_000);
        cutter.append(Sequence(1), 0, &[message(1)]);
        cutter.append(Sequence(9), 3, &[message(1)]);
        let firsts: Vec<_> = cutter.finish().iter().map(|encoded| encoded.chunk.first).collect();
        assert_eq!(firsts, [Sequence(1), Sequence(9)]);
    }

    #[test]
    fn a_chunk_with_too_few_or_too_many_bytes_is_refused() {
        let mut cutter = Cutter::new(1_000);
        cutter.append(Sequence(1), 0, &[message(9), message(9)]);
        let whole = payload_of(&mut cutter.finish()[0]);
        for length in 0..whole.len() - 9 {
            assert!(Chunk::decode(Sequence(1), &whole.slice(..length)).is_err(), "{length}");
        }
        let longer = Bytes::from([&whole, b"x".as_slice()].concat());
        assert!(Chunk::decode(Sequence(1), &longer).is_err());
    }
}
