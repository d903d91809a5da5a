//! Taking down what the host answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Exchange, clocks::Seeds};
use crate::limits::CAPSULE_CALLS_BYTES_MAX;

/// What an entry counts besides its text: about what it takes in a capsule.
const ENTRY_BYTES: usize = 32;
/// A reading of a clock.
const READING_BYTES: usize = 9;
/// An answer about readiness.
const READINESS_BYTES: usize = 16;

/// What the host answered in one attempt, in order of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calls {
    /// Nanoseconds since 1970.
    pub(crate) wall_clock_ns: Vec<u64>,
    /// Nanoseconds since some time.
    pub(crate) monotonic_ns: Vec<u64>,
    /// What random numbers were made from; none when the instance never used WASI.
    pub(crate) seeds: Option<Seeds>,
    pub(crate) state: Vec<StateRead>,
    pub(crate) keys: Vec<KeysRead>,
    pub(crate) http: Vec<Exchange>,
    pub(crate) readiness: Vec<Readiness>,
    /// Answers that did not fit any more. Whatever came after the first of them is not here.
    pub(crate) left_out: u64,
}

/// A value as it was below what the attempt itself had written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateRead {
    pub(crate) key: String,
    pub(crate) value: Option<Bytes>,
}

/// A page of keys, as the guest got it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeysRead {
    pub(crate) prefix: String,
    pub(crate) after: Option<String>,
    pub(crate) keys: Vec<String>,
    /// Whether there were more.
    pub(crate) more: bool,
}

/// What a guest was told of what is ready, when that depends on the time things take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Readiness {
    /// `poll` answered with these.
    Polled(Vec<u32>),
    /// `pollable.block` came back.
    Blocked,
    /// `pollable.ready` answered.
    Ready(bool),
    /// `input-stream.read` had nothing yet.
    NothingToRead,
    /// `output-stream.check-write` allowed nothing yet.
    NothingToWrite,
}

/// Takes down one attempt after the other.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    calls: Calls,
    bytes: usize,
}

impl Recorder {
    pub(crate) fn begin_attempt(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn take(&mut self) -> Calls {
        self.bytes = 0;
        std::mem::take(&mut self.calls)
    }

    pub(crate) fn wall_clock(&mut self, now_ns: u64) {
        if self.make_room(READING_BYTES) {
            self.calls.wall_clock_ns.push(now_ns);
        }
    }

    pub(crate) fn monotonic(&mut self, now_ns: u64) {
        if self.make_room(READING_BYTES) {
            self.calls.monotonic_ns.push(now_ns);
        }
    }

    pub(crate) fn state(&mut self, key: &str, value: Option<&Bytes>) {
        if self.make_room(ENTRY_BYTES + key.len() + value.map_or(0, Bytes::len)) {
            self.calls.state.push(StateRead { key: key.to_owned(), value: value.cloned() });
        }
    }

    pub(crate) fn keys(&mut self, prefix: &str, after: Option<&str>, keys: &[String], more: bool) {
        let bytes: usize = keys.iter().map(|key| key.len() + 3).sum();
        if self.make_room(ENTRY_BYTES + prefix.len() + after.map_or(0, str::len) + bytes) {
            let (prefix, after, keys) = (prefix.to_owned(), after.map(ToOwned::to_owned), keys.to_vec());
            self.calls.keys.push(KeysRead { prefix, after, keys, more });
        }
    }

    pub(crate) fn readiness(&mut self, answer: Readiness) {
        let listed = if let Readiness::Polled(ready) = &answer { ready.len() * 5 } else { 0 };
        if self.make_room(READINESS_BYTES + listed) {
            self.calls.readiness.push(answer);
        }
    }

    /// A request is sent. Answers with its number; none when it does not fit.
    pub(crate) fn begin_exchange(&mut self, exchange: Exchange) -> Option<usize> {
        if !self.make_room(ENTRY_BYTES + exchange.bytes()) {
            return None;
        }
        self.calls.http.push(exchange);
        Some(self.calls.http.len() - 1)
    }

    /// Something of an exchange came in, so many bytes.
    pub(crate) fn exchange(&mut self, number: usize, bytes: usize, note: impl FnOnce(&mut Exchange)) {
        if !self.make_room(ENTRY_BYTES + bytes) {
            return;
        }
        // A request of an earlier attempt may be late.
        if let Some(exchange) = self.calls.http.get_mut(number) {
            note(exchange);
        }
    }

    /// Once one answer does not fit, none that comes later does: a replay must not have holes.
    fn make_room(&mut self, bytes: usize) -> bool {
        let fits = self.calls.left_out == 0 && self.bytes.saturating_add(bytes) <= CAPSULE_CALLS_BYTES_MAX;
        if fits {
            self.bytes += bytes;
        } else {
            self.calls.left_out += 1;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_ends_at_its_limit_and_says_what_it_left_out() {
        let mut recorder = Recorder::default();
        let large = Bytes::from(vec![b'x'; CAPSULE_CALLS_BYTES_MAX / 2]);
        recorder.state("one", Some(&large));
        recorder.state("two", Some(&large));
        recorder.wall_clock(1);
        let calls = recorder.take();
        assert_eq!((calls.state.len(), calls.wall_clock_ns.len(), calls.left_out), (1, 0, 2));
        for now_ns in 0..1_000_000 {
            recorder.monotonic(now_ns);
        }
        let calls = recorder.take();
        assert_eq!(calls.monotonic_ns.len(), CAPSULE_CALLS_BYTES_MAX / READING_BYTES);
        assert_eq!(calls.monotonic_ns.len() as u64 + calls.left_out, 1_000_000);
        recorder.monotonic(7);
        assert_eq!(recorder.take().left_out, 0, "the next attempt has its own room");
    }
}
