//! `wasmill job`: submit messages whose fate is followed, and ask after them.

use std::{io::Read as _, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use reqwest::{Method, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Remote,
    output::{cut, facts, or_dash, say, say_json, table, time},
    publish::{Times, guess_content_type, parse_header},
};
use crate::{
    client::{Client, read},
    config::parse_duration_ms,
};

/// What one request waits; `wait` asks again until its time is over.
const WAIT_MS: u64 = 20_000;

/// Submit jobs, ask what became of them, cancel them
#[derive(Debug, clap::Args)]
pub(super) struct JobArguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish a message whose deliveries are followed
    Submit(Box<SubmitArguments>),
    /// Show how far a job is
    Status {
        /// Its id
        id: String,
    },
    /// Wait until a job has ended, and show how; 1 unless it is done
    Wait {
        /// Its id
        id: String,
        /// How long to wait at most, for example 5m; without it as long as it takes
        #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
        timeout: Option<u64>,
    },
    /// Cancel a job: what waits never runs, what runs takes no effect
    Cancel {
        /// Its id
        id: String,
    },
    /// List jobs
    List {
        /// Only those: queued, running, retrying, done, quarantined, expired or cancelled
        #[arg(long)]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Those after this id, which the list before ended with
        #[arg(long, value_name = "ID")]
        cursor: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct SubmitArguments {
    /// Where to, for example reports.build; with --queue, the name of a queue
    topic: String,
    /// The data; - reads it from standard input
    data: String,
    /// The first argument is a queue, not a topic
    #[arg(long)]
    queue: bool,
    /// A URL to be called when the job has ended; the host's configuration must allow it
    #[arg(long, value_name = "URL")]
    callback: Option<String>,
    /// Messages with the same key belong together
    #[arg(long)]
    key: Option<String>,
    /// What to call the message; the same id again is the same job
    #[arg(long)]
    id: Option<String>,
    /// The media type of the data; application/json when it is JSON, or else text/plain
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A header, as NAME=VALUE; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    times: Times,
}

#[derive(Deserialize)]
struct Job {
    id: String,
    state: String,
    message: String,
    topic: String,
    submitted_at_ms: u64,
    delayed_until_ms: Option<u64>,
    ended_at_ms: Option<u64>,
    attempts: u32,
    deliveries: Vec<Delivery>,
    callback: Option<String>,
    #[serde(default)]
    known: bool,
    result: Option<JobResult>,
}

#[derive(Deserialize)]
struct Delivery {
    queue: String,
    consumer: String,
    state: String,
    attempts: u32,
    due_ms: Option<u64>,
    last_outcome: Option<String>,
    quarantine: Option<u64>,
}

#[derive(Deserialize)]
struct JobResult {
    content_type: Option<String>,
    bytes: u64,
    data: Option<Value>,
    data_text: Option<String>,
    data_base64: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    jobs: Vec<Job>,
    next: Option<String>,
}

pub(super) async fn run(arguments: JobArguments) -> Result<ExitCode> {
    let JobArguments { remote, command } = arguments;
    let client = remote.client()?;
    match command {
        Command::Submit(submit) => {
            let answer = submit.send(&client).await?;
            if remote.json {
                say_json(&answer)?;
            } else {
                let job: Job = read(&answer)?;
                let known = if job.known { " was submitted before and" } else { "" };
                say(format!("job {}{known} is {}", job.id, job.state))?;
            }
        }
        Command::Status { id } => show(&remote, &client.get(&["v1", "jobs", &id]).await?)?,
        Command::Wait { id, timeout } => {
            let answer = wait(&client, &id, timeout).await?;
            show(&remote, &answer)?;
            return Ok(if answer["state"] == "done" { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Cancel { id } => {
            let answer = client.json(client.request(Method::DELETE, &["v1", "jobs", &id])).await?;
            if remote.json { say_json(&answer)? } else { say(format!("job {id} is cancelled"))? }
        }
        Command::List { state, limit, cursor } => list(&remote, &client, state, limit, cursor).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl SubmitArguments {
    async fn send(&self, client: &Client) -> Result<Value> {
        let mut data = Vec::new();
        if self.data == "-" {
            std::io::stdin().read_to_end(&mut data).context("cannot read the data")?;
        } else {
            data.extend_from_slice(self.data.as_bytes());
        }
        let mut request = match self.queue {
            true => client.request(Method::POST, &["v1", "queues", &self.topic, "jobs"]),
            false => client.request(Method::POST, &["v1", "jobs", &self.topic]),
        };
        let content_type = self.content_type.as_deref().unwrap_or_else(|| guess_content_type(&data));
        request = request.header(CONTENT_TYPE, content_type);
        let named = [("wasmill-id", &self.id), ("wasmill-key", &self.key), ("wasmill-callback", &self.callback)];
        for (name, value) in named {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        for (name, value) in &self.headers {
            request = request.header(format!("wasmill-header-{name}"), value);
        }
        for (name, value) in self.times.headers() {
            request = request.header(name, value);
        }
        client.json(request.body(data)).await
    }
}

/// Ask until the job has ended or the time is over.
async fn wait(client: &Client, id: &str, timeout_ms: Option<u64>) -> Result<Value> {
    let started = std::time::Instant::now();
    let timeout = timeout_ms.map(Duration::from_millis);
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
        let left_ms = left.map_or(WAIT_MS, |left| u64::try_from(left.as_millis()).unwrap_or(WAIT_MS).min(WAIT_MS));
        let request = client.request(Method::GET, &["v1", "jobs", id]).query(&[("wait", format!("{left_ms}ms"))]);
        let answer = client.json(request).await?;
        let is_over = left.is_some_and(|left| left.is_zero());
        if !answer["ended_at_ms"].is_null() || is_over {
            return Ok(answer);
        }
    }
}

fn show(remote: &Remote, answer: &Value) -> Result<()> {
    if remote.json {
        return say_json(answer);
    }
    let job: Job = read(answer)?;
    let mut said = vec![
        ("job", job.id),
        ("state", job.state),
        ("message", job.message),
        ("topic", job.topic),
        ("attempts", job.attempts.to_string()),
        ("submitted", time(job.submitted_at_ms)),
    ];
    said.extend(job.delayed_until_ms.map(|until| ("delayed until", time(until))));
    said.extend(job.ended_at_ms.map(|at| ("ended", time(at))));
    said.extend(job.callback.map(|url| ("callback", url)));
    if let Some(result) = job.result {
        let kind = result.content_type.unwrap_or_else(|| "no content type".to_owned());
        said.push(("result", format!("{} bytes, {kind}", result.bytes)));
        let data = result.data.map(|data| data.to_string()).or(result.data_text).or(result.data_base64);
        said.extend(data.map(|data| ("", cut(&data, 1_000))));
    }
    say(facts(&said))?;
    if job.deliveries.is_empty() {
        return Ok(());
    }
    let rows = job.deliveries.into_iter().map(|delivery| {
        vec![
            format!("{}/{}", delivery.queue, delivery.consumer),
            delivery.state,
            delivery.attempts.to_string(),
            or_dash(delivery.due_ms.map(time)),
            or_dash(delivery.quarantine),
            cut(&or_dash(delivery.last_outcome), 60),
        ]
    });
    say("")?;
    say(table(&["CONSUMER", "STATE", "ATTEMPTS>", "DUE", "QUARANTINE>", "LAST OUTCOME"], rows))
}

async fn list(
    remote: &Remote,
    client: &Client,
    state: Option<String>,
    limit: usize,
    cursor: Option<String>,
) -> Result<()> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(state.map(|state| ("state", state)));
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    let answer = client.json(client.request(Method::GET, &["v1", "jobs"]).query(&query)).await?;
    if remote.json {
        return say_json(&answer);
    }
    let page: Page = read(&answer)?;
    let rows = page.jobs.into_iter().map(|job| {
        vec![
            job.id,
            job.state,
            job.topic,
            job.attempts.to_string(),
            time(job.submitted_at_ms),
            or_dash(job.ended_at_ms.map(time)),
        ]
    });
    say(table(&["JOB", "STATE", "TOPIC", "ATTEMPTS>", "SUBMITTED", "ENDED"], rows))?;
    page.next.map_or(Ok(()), |next| say(format!("there are more: --cursor {next}")))
}
