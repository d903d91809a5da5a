//! What is kept of a key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A key's windows that are open, by their start, and how far it has come. Times are milliseconds since 1970.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// When its last message was published.
    pub(crate) seen: i64,
    /// Its latest event time.
    pub(crate) latest: Option<i64>,
    /// All windows that end here or before are published.
    pub(crate) closed: Option<i64>,
    /// By when its tick is to come: the name of the only tick that counts.
    pub(crate) tick_due: i64,
    pub(crate) windows: BTreeMap<i64, Tally>,
}

/// A window so far.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Tally {
    pub(crate) count: u32,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Tally {
    /// # Errors
    /// When the sum would be beyond all numbers.
    pub(crate) fn add(&mut self, value: f64) -> Result<(), String> {
        let sum = self.sum + value;
        if !sum.is_finite() {
            return Err(format!("with {value} the sum would be too large for a number"));
        }
        let first = self.count == 0;
        self.sum = sum;
        self.min = if first { value } else { self.min.min(value) };
        self.max = if first { value } else { self.max.max(value) };
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}
