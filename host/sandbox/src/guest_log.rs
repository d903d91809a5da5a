//! What a guest prints: kept with the attempt up to a limit, and passed on to the host's own log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use crate::{attempt::Delivery, secrets::Secrets};

/// What one write may hold, in bytes; the same as the guest's own libraries use.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Standard output and standard error of one instance, in the order they were written.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<Captured>>);

struct Captured {
    bytes: Vec<u8>,
    bytes_max: usize,
    /// Read beyond the limit, so that a secret across it is found. It is not shown.
    bytes_beyond: usize,
    bytes_dropped: u64,
}

impl GuestLog {
    pub(crate) fn new(bytes_max: u32, secrets: &Secrets) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let bytes_beyond = secrets.bytes_longest();
        Self(Arc::new(Mutex::new(Captured { bytes: Vec::new(), bytes_max, bytes_beyond, bytes_dropped: 0 })))
    }

    /// Take what was printed since the last time, so that each attempt gets its own.
    pub(crate) fn take(&self, secrets: &Secrets) -> String {
        let mut captured = self.lock();
        let bytes = std::mem::take(&mut captured.bytes);
        let bytes_dropped =
            std::mem::take(&mut captured.bytes_dropped) + bytes.len().saturating_sub(captured.bytes_max) as u64;
        let bytes = secrets.hide_before(bytes, captured.bytes_max);
        let mut text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        if bytes_dropped > 0 {
            let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            text += &format!("{start}[{bytes_dropped} more bytes dropped: log-bytes-max is {}]", captured.bytes_max);
        }
        text
    }

    /// Say something in the name of the host, in a line of its own.
    pub(crate) fn note(&self, words: &str) {
        let is_within_line = self.lock().bytes.last().is_some_and(|byte| *byte != b'\n');
        let start = if is_within_line { "\n" } else { "" };
        self.write(format!("{start}[wasmill: {words}]\n").as_bytes());
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut captured = self.lock();
        let room = captured.bytes_max.saturating_add(captured.bytes_beyond) - captured.bytes.len();
        let kept = bytes.len().min(room);
        captured.bytes.extend_from_slice(&bytes[..kept]);
        captured.bytes_dropped += (bytes.len() - kept) as u64;
    }

    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pass a guest's lines on to the host's log.
pub(crate) fn pass_on(handler: &str, delivery: &Delivery, log: &str) {
    for line in log.lines() {
        tracing::info!(
            target: "wasmill::guest",
            handler,
            queue = delivery.queue.as_str(),
            sequence = delivery.sequence.0,
            attempt = delivery.attempt,
            "{line}"
        );
    }
}

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one, and the host offers 0.2.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestLog {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_BYTES_MAX {
            let problem = format!("wrote {} bytes at once where {WRITE_BYTES_MAX} were permitted", bytes.len());
            return Err(StreamError::trap(&problem));
        }
        Self::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for GuestLog {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_fits_and_says_what_does_not() {
        let log = GuestLog::new(8, &Secrets::default());
        log.write(b"12345");
        log.write(b"67890");
        log.write(b"!");
        assert_eq!(log.take(&Secrets::default()), "12345678\n[3 more bytes dropped: log-bytes-max is 8]");
        log.write(b"next\n");
        assert_eq!(log.take(&Secrets::default()), "next\n", "each attempt has its own");
        assert_eq!(log.take(&Secrets::default()), "");
    }

    #[test]
    fn a_cut_character_does_no_harm() {
        let log = GuestLog::new(2, &Secrets::default());
        log.write("a\u{fc}".as_bytes());
        assert_eq!(log.take(&Secrets::default()), "a\u{fffd}\n[1 more bytes dropped: log-bytes-max is 2]");
    }

    #[test]
    fn a_secret_across_the_limit_is_not_shown_in_part() {
        let secrets = Secrets::new([("KEY".to_owned(), "sk-12345".to_owned())].into());
        let log = GuestLog::new(8, &secrets);
        log.write(b"key sk-1");
        log.write(b"2345 and much more of it");
        assert_eq!(log.take(&secrets), "key [secret KEY]\n[24 more bytes dropped: log-bytes-max is 8]");
        log.note("a word");
        assert_eq!(log.take(&secrets), "[wasmill\n[10 more bytes dropped: log-bytes-max is 8]");
    }
}
