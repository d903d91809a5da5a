//! Publishing one message for each line, some thousand lines in one request.

use std::{
    io::{BufRead, BufReader},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use reqwest::{Method, RequestBuilder, header::CONTENT_TYPE};
use serde_json::Value;

use super::{NDJSON, PublishArguments, envelope::Envelope};
use crate::{
    cli::output::{complain, say},
    client::{Client, model, read},
};

/// Lines in one request.
const LINES_MAX: usize = 5_000;
/// A request is sent once it is so long, in bytes.
const REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// Lines for one request.
#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    /// The number of each line in its file, from 1.
    numbers: Vec<u64>,
}

/// What became of all lines.
#[derive(Default)]
struct Tally {
    published: u64,
    duplicates: u64,
    refused: u64,
}

/// Publish every line. What was published stays published when a later line is refused.
pub(super) async fn publish(client: &Client, arguments: &PublishArguments) -> Result<ExitCode> {
    let mut lines = Lines { input: BufReader::new(arguments.open()?), number: 0 };
    let mut tally = Tally::default();
    while let Some(batch) = lines.next_batch(arguments)? {
        let request = request(client, arguments).header(CONTENT_TYPE, NDJSON).body(batch.body);
        let answers = client.send(request).await?.text().await.context("the answer broke off")?;
        for (number, answer) in batch.numbers.iter().zip(answers.lines()) {
            tally.count(*number, answer, arguments.remote.json)?;
        }
        let answered = answers.lines().count();
        if answered < batch.numbers.len() {
            anyhow::bail!(
                "the host answered only up to line {}",
                lines.number - (batch.numbers.len() - answered) as u64
            );
        }
    }
    if !arguments.remote.json {
        say(format!("{} published, {} duplicates, {} refused", tally.published, tally.duplicates, tally.refused))?;
    }
    Ok(if tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Lines<R> {
    input: BufReader<R>,
    number: u64,
}

impl<R: std::io::Read> Lines<R> {
    /// None at the end.
    fn next_batch(&mut self, arguments: &PublishArguments) -> Result<Option<Batch>> {
        let mut batch = Batch::default();
        let mut line = Vec::new();
        while batch.numbers.len() < LINES_MAX && batch.body.len() < REQUEST_BYTES {
            line.clear();
            if self.input.read_until(b'\n', &mut line).context("cannot read the lines")? == 0 {
                break;
            }
            self.number += 1;
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            batch.numbers.push(self.number);
            if needs_envelopes(arguments) {
                serde_json::to_writer(&mut batch.body, &Envelope::new(arguments, line))?;
            } else {
                batch.body.extend_from_slice(line);
            }
            batch.body.push(b'\n');
        }
        Ok((!batch.numbers.is_empty()).then_some(batch))
    }
}

/// Whether there is more to say of each message than its data.
fn needs_envelopes(arguments: &PublishArguments) -> bool {
    let PublishArguments { queue, key, headers, times, .. } = arguments;
    queue.is_some() || key.is_some() || !headers.is_empty() || !times.is_empty()
}

fn request(client: &Client, arguments: &PublishArguments) -> RequestBuilder {
    if let Some(queue) = &arguments.queue {
        return client.request(Method::POST, &["v1", "queues", queue, "messages"]);
    }
    if needs_envelopes(arguments) {
        return client.request(Method::POST, &["v1", "messages"]);
    }
    let request = client.request(Method::POST, &["v1", "topics", &arguments.topic, "messages"]);
    let options = [("content_type", &arguments.content_type), ("id-pointer", &arguments.id_pointer)];
    request.query(&[("raw", "true")]).query(&options)
}

impl Tally {
    fn count(&mut self, number: u64, answer: &str, json: bool) -> Result<()> {
        let mut answer: Value = serde_json::from_str(answer).context("the host answered a line that is not JSON")?;
        match read(&answer)? {
            model::LineAnswer::Published(published) if published.duplicate => self.duplicates += 1,
            model::LineAnswer::Published(_) => self.published += 1,
            model::LineAnswer::Refused { error } => {
                self.refused += 1;
                answer["line"] = number.into();
                complain(&format!("line {number}: {}", error.words()));
            }
        }
        if json { say(answer) } else { Ok(()) }
    }
}
