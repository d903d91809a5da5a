//! What tests in Rust say of a harness. Each panics with what was expected and what was seen.

use std::path::Path;

use crate::{
    check::{Mismatch, Seen},
    error::HarnessError,
    harness::Harness,
    notes::Attempt,
    snapshot,
};

/// When this is set, snapshots are written and not compared.
const UPDATE: &str = "WASMILL_UPDATE_SNAPSHOTS";

impl Harness {
    /// No attempt used more fuel.
    ///
    /// # Panics
    /// When one did; it names the attempt.
    #[track_caller]
    pub fn assert_fuel_at_most(&self, fuel: u64) {
        self.assert_at_most("fuel", fuel, |attempt| attempt.fuel);
    }

    /// No attempt had more memory, in bytes.
    ///
    /// # Panics
    /// When one did; it names the attempt.
    #[track_caller]
    pub fn assert_memory_at_most(&self, bytes: u64) {
        self.assert_at_most("memory", bytes, |attempt| attempt.memory_bytes);
    }

    #[track_caller]
    fn assert_at_most(&self, what: &str, most: u64, used: fn(&Attempt) -> u64) {
        for attempt in self.attempts() {
            let used = used(&attempt);
            let (number, id) = (attempt.attempt, &attempt.message.id);
            assert!(used <= most, "attempt {number} of {id} used {used} of {what}, and {most} were expected at most");
        }
    }

    /// These are the outcomes of all attempts, in order, by [`Outcome::name`](crate::delivery::outcome::Outcome::name).
    ///
    /// # Panics
    /// When they are not; it shows what the handler printed.
    #[track_caller]
    pub fn assert_outcomes(&self, expected: &[&str]) {
        let attempts = self.attempts();
        let seen: Vec<&str> = attempts.iter().map(|attempt| attempt.outcome.name()).collect();
        let log: String = attempts.iter().map(|attempt| attempt.log.as_str()).collect();
        assert!(seen == expected, "outcomes are {seen:?}, and {expected:?} were expected; the log:\n{log}");
    }

    /// What was published and stored and how attempts ended, as text.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn snapshot(&self) -> Result<String, HarnessError> {
        Ok(snapshot::text(&Seen::of(self)?))
    }

    /// The snapshot is what the file says. With `WASMILL_UPDATE_SNAPSHOTS` in the environment the file is written instead.
    ///
    /// # Errors
    /// When the store or the file cannot be read or written.
    ///
    /// # Panics
    /// When it is not; it shows the first line that differs.
    #[track_caller]
    pub fn assert_snapshot(&self, path: impl AsRef<Path>) -> Result<(), HarnessError> {
        let text = self.snapshot()?;
        if std::env::var_os(UPDATE).is_some() {
            return snapshot::write(path.as_ref(), &text).map(drop);
        }
        let mismatch = snapshot::compare(path.as_ref(), &text)?;
        assert!(mismatch.is_none(), "{}", mismatch.as_ref().map(Mismatch::to_string).unwrap_or_default());
        Ok(())
    }
}
