//! A door for `benches/chunk.rs`, which stands outside of the crate. Not for anybody else.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_delivery::{message::Message, name::Sequence};

use crate::chunk::{Chunk, Cutter};

/// The bytes of the chunks that hold these messages.
#[must_use]
pub fn encode(messages: &[Arc<Message>], chunk_bytes: usize) -> Vec<Bytes> {
    let mut cutter = Cutter::new(chunk_bytes);
    cutter.append(Sequence::FIRST, 0, messages);
    cutter.finish().into_iter().map(|encoded| encoded.payload.into_bytes()).collect()
}

/// The messages of a chunk.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(chunk: &Bytes) -> Result<Vec<Arc<Message>>, String> {
    Chunk::decode(Sequence::FIRST, chunk).map(|chunk| chunk.messages)
}
