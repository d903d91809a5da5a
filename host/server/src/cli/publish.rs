//! `wasmill publish`: one message, or one for each line.

mod envelope;
mod lines;

use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, RequestBuilder, header::CONTENT_TYPE};
use serde::Serialize;

use self::envelope::Envelope;
use super::{
    Remote,
    output::{say, say_json, time},
};
use crate::{
    client::{Client, model, read},
    config::parse_duration_ms,
    forms::{Time, parse_time, time_text},
};

/// The media type of many messages, one in each line.
const NDJSON: &str = "application/x-ndjson";

/// Publish a message, or one for each line of a file
#[derive(Debug, clap::Args)]
pub(super) struct PublishArguments {
    #[command(flatten)]
    remote: Remote,
    /// Where to, for example orders.created
    topic: String,
    /// The data; - reads it from standard input
    #[arg(required_unless_present = "file")]
    data: Option<String>,
    /// The data is in this file
    #[arg(long, conflicts_with = "data")]
    file: Option<PathBuf>,
    /// Each line is the data of a message of its own; blank lines are skipped
    #[arg(long)]
    ndjson: bool,
    /// Messages with the same key belong together
    #[arg(long)]
    key: Option<String>,
    /// What to call the message; publishing the same id again adds nothing
    #[arg(long, conflicts_with = "ndjson")]
    id: Option<String>,
    /// Where in each line its id is, for example /id
    #[arg(long, value_name = "POINTER", requires = "ndjson",
        conflicts_with_all = ["key", "headers", "queue", "delay", "at", "expires_after", "expires_at"])]
    id_pointer: Option<String>,
    /// The media type of the data; application/json when it is JSON, or else text/plain
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A header, as NAME=VALUE; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// How urgent it is, 0 to 9, for queues with priorities; the header `priority`
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(u8).range(0..=9), conflicts_with = "id_pointer")]
    priority: Option<u8>,
    /// Publish to this queue and no other, whatever it binds
    #[arg(long)]
    queue: Option<String>,
    #[command(flatten)]
    times: Times,
}

/// When it is delivered, and when it is of no use any more.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct Times {
    /// Hold it back for so long, for example 30s
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms, conflicts_with = "at")]
    #[serde(rename = "delay_ms", skip_serializing_if = "Option::is_none")]
    delay: Option<u64>,
    /// Hold it back until then, for example 2026-07-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    #[serde(rename = "deliver_at", skip_serializing_if = "Option::is_none")]
    at: Option<Time>,
    /// A consumer that comes to it after so long does not run it, for example 1h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms, conflicts_with = "expires_at")]
    #[serde(rename = "expires_after_ms", skip_serializing_if = "Option::is_none")]
    expires_after: Option<u64>,
    /// A consumer that comes to it after then does not run it
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
}

impl Times {
    const fn is_empty(&self) -> bool {
        self.delay.is_none() && self.at.is_none() && self.expires_after.is_none() && self.expires_at.is_none()
    }

    /// As headers of a request.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let span = |ms: u64| format!("{ms}ms");
        let at = |Time(at): Time| time_text(at);
        let headers = [
            ("wasmill-delay", self.delay.map(span)),
            ("wasmill-deliver-at", self.at.map(at)),
            ("wasmill-expires-after", self.expires_after.map(span)),
            ("wasmill-expires-at", self.expires_at.map(at)),
        ];
        headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn parse_when(text: &str) -> Result<Time, String> {
    parse_time(text).map(Time)
}

pub(super) fn parse_header(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("a header is written NAME=VALUE, for example tenant=acme")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(arguments: PublishArguments) -> Result<ExitCode> {
    let client = arguments.remote.client()?;
    let mut arguments = arguments;
    arguments.headers.extend(arguments.priority.map(|priority| ("priority".to_owned(), priority.to_string())));
    if arguments.ndjson {
        return lines::publish(&client, &arguments).await;
    }
    let data = arguments.read_data()?;
    let answer = publish_one(&client, &arguments, data).await?;
    if arguments.remote.json {
        say_json(&answer)?;
    } else {
        say(words(&read(&answer)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl PublishArguments {
    /// Where data comes from, opened.
    fn open(&self) -> Result<Box<dyn std::io::Read + Send>> {
        match (&self.file, self.data.as_deref()) {
            (Some(file), _) => {
                let opened = std::fs::File::open(file);
                Ok(Box::new(opened.with_context(|| format!("cannot read {}", file.display()))?))
            }
            (None, Some("-")) => {
                if std::io::stdin().is_terminal() {
                    super::output::complain("reading the data from the terminal; end it with Ctrl-D");
                }
                Ok(Box::new(std::io::stdin()))
            }
            (None, Some(data)) => Ok(Box::new(std::io::Cursor::new(data.to_owned()))),
            (None, None) => bail!("there is no data; give it, or --file FILE, or - to read standard input"),
        }
    }

    fn read_data(&self) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        self.open()?.read_to_end(&mut data).context("cannot read the data")?;
        Ok(data)
    }

    /// The media type of data for which none was given.
    fn content_type(&self, data: &[u8]) -> String {
        if let Some(given) = &self.content_type {
            return given.clone();
        }
        guess_content_type(data).to_owned()
    }
}

/// What data most likely is.
pub(super) fn guess_content_type(data: &[u8]) -> &'static str {
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok();
    match (is_json, std::str::from_utf8(data)) {
        (true, _) => "application/json",
        (false, Ok(_)) => "text/plain",
        (false, Err(_)) => "application/octet-stream",
    }
}

async fn publish_one(client: &Client, arguments: &PublishArguments, data: Vec<u8>) -> Result<serde_json::Value> {
    match &arguments.queue {
        // The topic of a message for a queue stands in its envelope.
        Some(queue) => {
            let line = serde_json::to_vec(&Envelope::new(arguments, &data))?;
            let request = client.request(Method::POST, &["v1", "queues", queue, "messages"]);
            let request = request.header(CONTENT_TYPE, NDJSON).body(line);
            let answer = client.json(request).await?;
            match read(&answer)? {
                model::LineAnswer::Published(_) => Ok(answer),
                model::LineAnswer::Refused { error } => bail!(error.words()),
            }
        }
        None => client.json(plain(client, arguments, data)).await,
    }
}

fn plain(client: &Client, arguments: &PublishArguments, data: Vec<u8>) -> RequestBuilder {
    let mut request = client.request(Method::POST, &["v1", "topics", &arguments.topic, "messages"]);
    request = request.header(CONTENT_TYPE, arguments.content_type(&data));
    for (name, value) in [("wasmill-id", &arguments.id), ("wasmill-key", &arguments.key)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    for (name, value) in &arguments.headers {
        request = request.header(format!("wasmill-header-{name}"), value);
    }
    for (name, value) in arguments.times.headers() {
        request = request.header(name, value);
    }
    request.body(data)
}

fn words(published: &model::Published) -> String {
    if published.duplicate {
        return format!("message {} was published before; nothing was added", published.id);
    }
    if let Some(until_ms) = published.delayed_until_ms {
        let cancel = published.delayed_id.as_deref().map(|id| format!(" (wasmill delayed cancel {id})"));
        return format!("message {} is held back until {}{}", published.id, time(until_ms), cancel.unwrap_or_default());
    }
    if published.places.is_empty() {
        return format!("message {} is taken; no queue holds it", published.id);
    }
    let places: Vec<String> =
        published.places.iter().map(|place| format!("{} at {}", place.queue, place.sequence)).collect();
    format!("message {} is in {}", published.id, places.join(", "))
}
