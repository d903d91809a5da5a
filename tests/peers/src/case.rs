//! What is measured: kinds of work, sizes, producers, and the messages themselves.

use std::{fmt, ops::Range};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde::Serialize;

use crate::work::Order;

/// What a consumer does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Nothing.
    Nothing,
    /// Parse its JSON and publish one message.
    Forward,
}

/// How it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Publishers and consumers at once, from the first publish to the last acknowledgement.
    EndToEnd,
    /// Everything is published first, with nobody consuming, then drained.
    Backlog,
    /// One message at a time, from its publish until it is handled.
    Latency,
}

/// One thing that is measured on each system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    pub shape: Shape,
    pub work: Work,
    pub data_bytes: usize,
    pub producers: u32,
    /// Messages of one producer that are published and not yet confirmed.
    pub in_flight: u32,
    /// Consumers that each get every message.
    pub consumers: u32,
    /// Messages of a backlog or of a measurement of latency; 0 means as many as take the asked time.
    pub messages: u64,
}

impl Case {
    pub const fn end_to_end(work: Work, data_bytes: usize, producers: u32, in_flight: u32) -> Self {
        Self { shape: Shape::EndToEnd, work, data_bytes, producers, in_flight, consumers: 1, messages: 0 }
    }

    /// The part of the messages that one producer publishes.
    pub fn share(&self, producer: u32, messages: u64) -> Range<u64> {
        let (producer, producers) = (u64::from(producer), u64::from(self.producers));
        messages * producer / producers..messages * (producer + 1) / producers
    }

    /// Half of what a producer may have outstanding, for clients that send batches: two of them are under way at once.
    pub fn batch(&self) -> u64 {
        u64::from(self.in_flight / 2).max(1)
    }

    /// How many batches are under way at once.
    pub const fn batches(&self) -> usize {
        if self.in_flight > 1 { 2 } else { 1 }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = match self.work {
            Work::Nothing => "nothing",
            Work::Forward => "parse+publish",
        };
        let load = format!("{} B, {}x{}", self.data_bytes, self.producers, self.in_flight);
        match self.shape {
            Shape::EndToEnd if self.consumers > 1 => write!(f, "fan-out to {}, {load}", self.consumers),
            Shape::EndToEnd => write!(f, "{work}, {load}"),
            Shape::Backlog => write!(f, "backlog, {load}"),
            Shape::Latency => write!(f, "latency, {work}, {} B", self.data_bytes),
        }
    }
}

/// The cases of the comparison. `quick` leaves a few of each kind.
pub fn all(quick: bool, backlog: u64) -> Vec<Case> {
    let (sizes, loads): (&[usize], &[(u32, u32)]) = if quick {
        (&[256], &[(1, 1), (4, 100), (4, 1000)])
    } else {
        (&[256, 4096], &[(1, 1), (1, 100), (1, 1000), (4, 1), (4, 100), (4, 1000)])
    };
    let mut cases = Vec::new();
    for work in [Work::Nothing, Work::Forward] {
        for data_bytes in sizes {
            for (producers, in_flight) in loads {
                cases.push(Case::end_to_end(work, *data_bytes, *producers, *in_flight));
            }
        }
    }
    for data_bytes in sizes {
        cases.push(Case { consumers: 5, ..Case::end_to_end(Work::Nothing, *data_bytes, 4, 100) });
    }
    let one = Case::end_to_end(Work::Nothing, 256, 1, 1);
    cases.push(Case { shape: Shape::Latency, messages: if quick { 200 } else { 2_000 }, ..one });
    cases.push(Case { shape: Shape::Backlog, producers: 4, in_flight: 1_000, messages: backlog, ..one });
    cases
}

/// Where the digits of a message's number begin: `{"n":"`.
const NUMBER_AT: usize = 6;
const NUMBER_DIGITS: usize = 9;

/// Makes messages of one size.
#[derive(Clone)]
pub struct Messages {
    template: Vec<u8>,
}

impl Messages {
    /// # Errors
    /// When a message with a number does not fit into so few bytes.
    pub fn new(data_bytes: usize) -> Result<Self> {
        let order = |text: &str| serde_json::to_vec(&Order { n: "000000000", kind: "peer", amount: 12.5, text });
        let shortest = order("")?.len();
        let room = data_bytes.checked_sub(shortest);
        let room = room.with_context(|| format!("a message has at least {shortest} bytes, not {data_bytes}"))?;
        Ok(Self { template: order(&"x".repeat(room))? })
    }

    pub fn make(&self, number: u64) -> Bytes {
        let mut data = self.template.clone();
        self.put_number(&mut data, number);
        data.into()
    }

    /// Lines of NDJSON.
    pub fn lines(&self, numbers: Range<u64>) -> Bytes {
        let mut lines = Vec::with_capacity((self.template.len() + 1) * (numbers.end - numbers.start) as usize);
        for number in numbers {
            let begin = lines.len();
            lines.extend_from_slice(&self.template);
            self.put_number(&mut lines[begin..], number);
            lines.push(b'\n');
        }
        lines.into()
    }

    fn put_number(&self, data: &mut [u8], mut number: u64) {
        for digit in data[NUMBER_AT..NUMBER_AT + NUMBER_DIGITS].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
}

/// The number of a message, by the place where it stands.
pub fn number_of(data: &[u8]) -> Option<u64> {
    let digits = data.get(NUMBER_AT..NUMBER_AT + NUMBER_DIGITS)?;
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_size_and_number() {
        for size in [64, 256, 4096] {
            let messages = Messages::new(size).unwrap();
            let data = messages.make(123_456_789);
            assert_eq!(data.len(), size);
            assert_eq!(number_of(&data), Some(123_456_789));
            let receipt = crate::work::forward(&data).unwrap();
            assert_eq!(number_of(&receipt), Some(123_456_789));
            assert_eq!(
                messages.lines(7..9).split(|byte| *byte == b'\n').map(number_of).collect::<Vec<_>>(),
                [Some(7), Some(8), None]
            );
        }
        assert!(Messages::new(10).is_err());
    }

    #[test]
    fn shares_cover_everything_once() {
        let case = Case::end_to_end(Work::Nothing, 256, 4, 100);
        let shares: Vec<u64> = (0..4).flat_map(|producer| case.share(producer, 10)).collect();
        assert_eq!(shares, (0..10).collect::<Vec<_>>());
    }
}
