//! The records: real ones as the USGS published them, with broken ones mixed in.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

/// A broken record comes after so many real ones.
const BROKEN_EVERY: usize = 250;

/// One line to be published.
pub(crate) struct Record {
    /// What it is called, so that publishing it twice is publishing it once.
    pub(crate) id: String,
    text: String,
}

impl Record {
    /// The line of NDJSON that publishes it. The record goes as text: what is wrong with it is for a handler to say.
    pub(crate) fn envelope(&self) -> String {
        json!({
            "topic": "quakes.recorded",
            "id": self.id,
            "content_type": "application/json",
            "data_text": self.text,
        })
        .to_string()
    }
}

pub(crate) fn read(folder: &Path) -> Result<Vec<Record>> {
    let mut broken = read_lines(folder, "broken.ndjson", "broken")?.into_iter();
    let mut records = Vec::new();
    for (index, record) in read_lines(folder, "earthquakes.ndjson", "quake")?.into_iter().enumerate() {
        records.push(record);
        if (index + 1) % BROKEN_EVERY == 0 {
            records.extend(broken.next());
        }
    }
    records.extend(broken);
    Ok(records)
}

fn read_lines(folder: &Path, file: &str, name: &str) -> Result<Vec<Record>> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let records = text
        .lines()
        .enumerate()
        .map(|(index, line)| Record { id: format!("{name}-{:04}", index + 1), text: line.to_owned() });
    Ok(records.collect())
}
