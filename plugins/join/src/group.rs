//! What is kept of messages that belong together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wasmill::{Context, Result, reject};

/// What is published at once is not larger than this unless the host is configured otherwise.
const JOINED_BYTES_MAX: usize = 1024 * 1024;

/// What is known of a group. Its parts are state of their own, so that a part that comes does not write the others again.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) count: usize,
    /// When its first part was published.
    pub(crate) opened: u64,
    bytes: usize,
    have: BTreeSet<usize>,
    is_done: bool,
}

impl Group {
    pub(crate) const fn new(id: String, key: String, count: usize, opened: u64) -> Self {
        Self { id, key, count, opened, bytes: 0, have: BTreeSet::new(), is_done: false }
    }

    pub(crate) fn read(ctx: &Context, name: &str) -> Result<Option<Self>> {
        Ok(ctx.state().get_json(&format!("group/{name}"))?)
    }

    pub(crate) fn write(&self, ctx: &Context, name: &str) -> Result<()> {
        Ok(ctx.state().set_json(&format!("group/{name}"), self)?)
    }

    pub(crate) fn forget(ctx: &Context, name: &str) -> Result<()> {
        Ok(ctx.state().delete(&format!("group/{name}"))?)
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.is_done
    }

    pub(crate) fn has(&self, index: usize) -> bool {
        self.have.contains(&index)
    }

    pub(crate) fn add(&mut self, ctx: &Context, name: &str, index: usize, data: &[u8]) -> Result<()> {
        // Each part stands behind a comma and, joined by topics, behind its topic.
        self.bytes += data.len() + 2;
        if self.bytes > JOINED_BYTES_MAX {
            return Err(reject(format!("with it the parts of {} are larger than {JOINED_BYTES_MAX} bytes", self.id)));
        }
        self.have.insert(index);
        Ok(ctx.state().set(&part(name, index), data)?)
    }

    /// The parts that are not there; none of a group that is done.
    pub(crate) fn missing(&self) -> Vec<usize> {
        if self.is_done { Vec::new() } else { (0..self.count).filter(|index| !self.has(*index)).collect() }
    }

    /// The parts that are there: a JSON array, or with topics an object.
    pub(crate) fn joined(&self, ctx: &Context, name: &str, topics: &[String]) -> Result<Vec<u8>> {
        let [open, close] = if topics.is_empty() { *b"[]" } else { *b"{}" };
        let mut joined = vec![open];
        for index in &self.have {
            if joined.len() > 1 {
                joined.push(b',');
            }
            if let Some(topic) = topics.get(*index) {
                joined.extend(serde_json::to_vec(topic)?);
                joined.push(b':');
            }
            joined.extend(ctx.state().get(&part(name, *index))?.unwrap_or_default());
        }
        joined.push(close);
        Ok(joined)
    }

    /// Drop the parts and remember that they were there.
    pub(crate) fn close(&mut self, ctx: &Context, name: &str) -> Result<()> {
        for index in std::mem::take(&mut self.have) {
            ctx.state().delete(&part(name, index))?;
        }
        self.is_done = true;
        Ok(())
    }
}

fn part(name: &str, index: usize) -> String {
    format!("part/{name}/{index}")
}
