//! A message as bytes, by hand, because every message goes this way twice: see `benches/chunk.rs` for what
//! rmp-serde takes for the same.
//!
//! `flags u8 | id | topic | key? | content type? | headers | published at | hops | cause? | redrive of? |
//! expires at? | correlation? | data`,
//! where text is its length and its bytes, numbers and lengths are LEB128 (Wikipedia, or DWARF 5, section 7.6),
//! and the data is all that is left.

use bytes::Bytes;
use wasmill_delivery::{
    limits::HEADERS_MAX,
    message::{Lineage, Message},
    name::{MessageId, MessageKey, NameError, QuarantineId},
    time::Timestamp,
    topic::Topic,
};

const HAS_KEY: u8 = 1;
const HAS_CONTENT_TYPE: u8 = 2;
const HAS_CAUSE: u8 = 4;
const HAS_REDRIVE: u8 = 8;
const HAS_EXPIRY: u8 = 16;
const HAS_CORRELATION: u8 = 32;
/// Flags that this version does not know.
const UNKNOWN: u8 = 64 | 128;

/// Add a message to the end of `out`.
pub(crate) fn put_message(out: &mut Vec<u8>, message: &Message) {
    out.push(flags(message));
    put_text(out, message.id.as_str());
    put_text(out, message.topic.as_str());
    message.key.iter().for_each(|key| put_text(out, key.as_str()));
    message.content_type.iter().for_each(|content_type| put_text(out, content_type));
    put_number(out, message.headers.len() as u64);
    for (name, value) in &message.headers {
        put_text(out, name);
        put_text(out, value);
    }
    put_number(out, message.published_at.0);
    put_number(out, u64::from(message.lineage.hops));
    message.lineage.cause.iter().for_each(|cause| put_text(out, cause.as_str()));
    if let Some((id, quarantine)) = &message.lineage.redrive_of {
        put_text(out, id.as_str());
        put_number(out, quarantine.0);
    }
    message.expires_at.iter().for_each(|at| put_number(out, at.0));
    message.lineage.correlation.iter().for_each(|id| put_text(out, id.as_str()));
    out.extend_from_slice(&message.data);
}

fn flags(message: &Message) -> u8 {
    let flag = |there, flag| if there { flag } else { 0 };
    flag(message.key.is_some(), HAS_KEY)
        | flag(message.content_type.is_some(), HAS_CONTENT_TYPE)
        | flag(message.lineage.cause.is_some(), HAS_CAUSE)
        | flag(message.lineage.redrive_of.is_some(), HAS_REDRIVE)
        | flag(message.expires_at.is_some(), HAS_EXPIRY)
        | flag(message.lineage.correlation.is_some(), HAS_CORRELATION)
}

/// Read a message that is all of `bytes`. Its data shares their memory.
///
/// # Errors
/// What is wrong with the bytes, in words.
pub(crate) fn take_message(bytes: &Bytes) -> Result<Message, String> {
    let mut take = Take { rest: bytes };
    let [flags] = take.array()?;
    let if_flag = |flag| flags & flag != 0;
    if if_flag(UNKNOWN) {
        return Err("a newer version of Wasmill wrote a message in it".to_owned());
    }
    let mut message = Message {
        id: named(MessageId::new(take.text()?))?,
        topic: named(Topic::new(take.text()?))?,
        key: if_flag(HAS_KEY).then(|| named(MessageKey::new(take.text()?))).transpose()?,
        content_type: if_flag(HAS_CONTENT_TYPE).then(|| take.text().map(str::to_owned)).transpose()?,
        headers: take_headers(&mut take)?,
        published_at: Timestamp(take.number()?),
        lineage: Lineage {
            hops: u16::try_from(take.number()?).map_err(|_| "a hop count is above 65535")?,
            cause: if_flag(HAS_CAUSE).then(|| named(MessageId::new(take.text()?))).transpose()?,
            redrive_of: if_flag(HAS_REDRIVE).then(|| take_redrive(&mut take)).transpose()?,
            correlation: None,
        },
        expires_at: if_flag(HAS_EXPIRY).then(|| take.number().map(Timestamp)).transpose()?,
        data: Bytes::new(),
    };
    message.lineage.correlation = if_flag(HAS_CORRELATION).then(|| named(MessageId::new(take.text()?))).transpose()?;
    message.data = bytes.slice_ref(take.rest);
    Ok(message)
}

fn take_headers(take: &mut Take<'_>) -> Result<Vec<(String, String)>, String> {
    let count = take.number()?;
    let mut headers = Vec::with_capacity(usize::try_from(count).unwrap_or(HEADERS_MAX).min(HEADERS_MAX));
    for _ in 0..count {
        headers.push((take.text()?.to_owned(), take.text()?.to_owned()));
    }
    Ok(headers)
}

fn take_redrive(take: &mut Take<'_>) -> Result<(MessageId, QuarantineId), String> {
    Ok((named(MessageId::new(take.text()?))?, QuarantineId(take.number()?)))
}

fn named<T>(name: Result<T, NameError>) -> Result<T, String> {
    name.map_err(|error| error.to_string())
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7F) as u8);
}

/// What is left of bytes that are read from the front.
pub(crate) struct Take<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Take<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("it ends too early")?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn number(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number in it is longer than 10 bytes".to_owned())
    }

    /// Bytes with their length before them.
    pub(crate) fn counted(&mut self) -> Result<&'a [u8], String> {
        let length = usize::try_from(self.number()?).map_err(|_| "a length in it is too large")?;
        self.bytes(length)
    }

    fn text(&mut self) -> Result<&'a str, String> {
        std::str::from_utf8(self.counted()?).map_err(|_| "a text in it is not UTF-8".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Message {
        Message {
            id: MessageId::new("id-1").expect("good"),
            topic: Topic::new("orders.eu").expect("good"),
            key: Some(MessageKey::new("Ümlaut").expect("good")),
            content_type: Some("text/plain".to_owned()),
            headers: vec![("a".to_owned(), String::new()), ("a".to_owned(), "x".repeat(300))],
            data: Bytes::from_static(b"data"),
            published_at: Timestamp(u64::MAX),
            expires_at: Some(Timestamp(1 << 40)),
            lineage: Lineage {
                hops: u16::MAX,
                cause: Some(MessageId::new("cause").expect("good")),
                redrive_of: Some((MessageId::new("first").expect("good"), QuarantineId(300))),
                correlation: Some(MessageId::new("root").expect("good")),
            },
        }
    }

    fn bytes_of(message: &Message) -> Bytes {
        let mut out = Vec::new();
        put_message(&mut out, message);
        out.into()
    }

    #[test]
    fn each_optional_field_comes_back_with_and_without() {
        let changes: [fn(&mut Message); 7] = [
            |_| (),
            |message| message.key = None,
            |message| message.content_type = None,
            |message| message.headers.clear(),
            |message| message.lineage.cause = None,
            |message| message.lineage.redrive_of = None,
            |message| message.data = Bytes::new(),
        ];
        for change in changes {
            let mut message = full();
            change(&mut message);
            assert_eq!(take_message(&bytes_of(&message)).expect("sound"), message);
        }
    }

    #[test]
    fn a_message_cut_anywhere_before_its_data_is_refused_in_words() {
        let whole = bytes_of(&full());
        for length in 0..whole.len() - full().data.len() {
            assert!(take_message(&whole.slice(..length)).is_err(), "{length}");
        }
    }

    #[test]
    fn the_data_is_not_copied() {
        let whole = bytes_of(&full());
        let data = take_message(&whole).expect("sound").data;
        assert_eq!(data.as_ptr(), whole[whole.len() - data.len()..].as_ptr());
    }
}
