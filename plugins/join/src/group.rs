//! What is kept of messages that belong together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmill::{Context, Result, reject};

/// What is published at once is not larger than this unless the host is configured otherwise.
const JOINED_BYTES_MAX: usize = 1024 * 1024;

/// What is known of a group. Its parts are state of their own, so that a part that comes does not write the others again.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) count: usize,
    /// When its first part was published.
    pub(crate) opened: u64,
    /// When its tick comes. What is kept after that has nobody who deletes it.
    #[serde(default)]
    pub(crate) due: u64,
    pub(crate) have: BTreeSet<usize>,
    pub(crate) is_done: bool,
    pub(crate) bytes: usize,
}

impl Group {
    pub(crate) fn add(&mut self, ctx: &Context, name: &str, index: usize, data: &[u8]) -> Result {
        // Each part stands behind a comma and, joined by topics, behind its topic.
        self.bytes += data.len() + 2;
        if self.bytes > JOINED_BYTES_MAX {
            return Err(reject(format!("with it the parts of {} are larger than {JOINED_BYTES_MAX} bytes", self.id)));
        }
        self.have.insert(index);
        Ok(ctx.state().set(&format!("{name}/{index}"), data)?)
    }

    /// The parts that are not there; none of a group that is done.
    pub(crate) fn missing(&self) -> Vec<usize> {
        if self.is_done { Vec::new() } else { (0..self.count).filter(|index| !self.have.contains(index)).collect() }
    }

    /// The parts that are there: a JSON array, or with topics an object.
    pub(crate) fn joined(&self, ctx: &Context, name: &str, topics: &[String]) -> Result<Vec<u8>> {
        let [open, close] = if topics.is_empty() { *b"[]" } else { *b"{}" };
        let mut joined = vec![open];
        for (at, index) in self.have.iter().enumerate() {
            joined.extend(if at == 0 { "" } else { "," }.bytes());
            if let Some(topic) = topics.get(*index) {
                joined.extend(format!("{}:", Value::from(topic.as_str())).bytes());
            }
            joined.extend(ctx.state().get(&format!("{name}/{index}"))?.unwrap_or_default());
        }
        joined.push(close);
        Ok(joined)
    }

    /// Drop the parts and remember that they were there.
    pub(crate) fn close(&mut self, ctx: &Context, name: &str) -> Result {
        for index in std::mem::take(&mut self.have) {
            ctx.state().delete(&format!("{name}/{index}"))?;
        }
        self.is_done = true;
        Ok(())
    }
}
