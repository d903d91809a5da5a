//! A door for `benches/chunk.rs`, which stands outside of the crate. Not for anybody else.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_delivery::{message::Message, name::Sequence};

use crate::chunk::{Chunk, Cutter};

/// The bytes of one chunk with all these messages.
#[must_use]
pub fn encode(messages: &[Arc<Message>]) -> Bytes {
    let mut cutter = Cutter::new(usize::MAX);
    cutter.append(Sequence::FIRST, 0, messages);
    let mut encoded = cutter.finish();
    encoded.first_mut().map_or_else(Bytes::new, |encoded| Bytes::copy_from_slice(encoded.payload.payload_mut()))
}

/// The messages of a chunk.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(chunk: &Bytes) -> Result<Vec<Arc<Message>>, String> {
    Chunk::decode(Sequence::FIRST, chunk).map(|chunk| chunk.messages)
}
