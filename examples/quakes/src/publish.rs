//! A publisher that loses nothing: what was not answered is published again, under the same ids.

use anyhow::{Context, Result, ensure};
use host_process::Client;

use crate::input::Record;

const BATCH: usize = 50;

pub(crate) struct Publisher<'a> {
    records: &'a [Record],
    answered: usize,
    pub(crate) crashed: bool,
}

impl<'a> Publisher<'a> {
    pub(crate) const fn new(records: &'a [Record]) -> Self {
        Self { records, answered: 0, crashed: false }
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.answered == self.records.len()
    }

    pub(crate) const fn answered(&self) -> usize {
        self.answered
    }

    /// Publish the next batch. If this fails, the same batch is the next one again.
    pub(crate) fn publish_next(&mut self, client: &Client) -> Result<()> {
        let batch = self.next_batch();
        let answers = client.publish_lines("/v1/messages", &lines(batch))?;
        ensure!(answers.len() == batch.len(), "{} answers to {} messages", answers.len(), batch.len());
        for (record, answer) in batch.iter().zip(&answers) {
            ensure!(answer["error"].is_null(), "{} was refused: {}", record.id, answer["error"]);
            let id = answer["id"].as_str().context("an answer without id")?;
            ensure!(id == record.id, "the answer for {} is for {id}", record.id);
        }
        self.answered += batch.len();
        Ok(())
    }

    /// Send the next batch and do not wait for its answer: a publisher that is cut off.
    pub(crate) fn publish_unanswered(&self, client: &Client) {
        let (client, lines) = (client.clone(), lines(self.next_batch()));
        // Whatever comes back, the batch counts as unanswered and will be published again.
        std::thread::spawn(move || drop(client.publish_lines("/v1/messages", &lines)));
    }

    fn next_batch(&self) -> &'a [Record] {
        let end = (self.answered + BATCH).min(self.records.len());
        &self.records[self.answered..end]
    }
}

fn lines(batch: &[Record]) -> String {
    batch.iter().map(|record| record.envelope() + "\n").collect()
}
