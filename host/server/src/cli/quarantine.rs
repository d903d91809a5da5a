//! `wasmill quarantine`: where deliveries rest that policy gave up on.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Remote,
    filter::Filter,
    message,
    output::{ago, complain, cut, facts, indent, or_dash, say, say_json, size, table, time},
    quarantine_bulk::{self, RedrivesCommand},
    replay::{self, ReplayArguments},
};
use crate::client::{Client, model, read};

/// The longest page that is asked for.
const PAGE_MAX: u32 = 1_000;
/// How much of a fingerprint a table shows.
pub(super) const FINGERPRINT_CHARS: usize = 50;

/// Look at deliveries that were given up, send them again, or forget them
#[derive(Debug, clap::Args)]
pub(super) struct QuarantineArguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Quarantined deliveries, oldest first
    List {
        #[command(flatten)]
        filter: Filter,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// What is broken, in one look: how many failed in which way, and since when
    Summary {
        #[command(flatten)]
        filter: Filter,
    },
    /// One of them, with its message and all that is known of its attempts
    Show { id: u64 },
    /// Run the last attempt again on this machine, offline, with the same inputs; or a candidate on them
    Replay(Box<ReplayArguments>),
    /// Send one again to the consumer that gave it up, as a new message; or all that match
    Redrive(RedriveArguments),
    /// Redrives in the background: what runs, and how to stop it
    #[command(subcommand)]
    Redrives(RedrivesCommand),
    /// Write all that match, with everything that is known of them, one JSON object per line; or the capsule of one
    Export {
        /// Of this one the capsule, with --capsule
        #[arg(requires = "capsule")]
        id: Option<u64>,
        /// Everything that it takes to replay it on another machine, into this file
        #[arg(long, value_name = "FILE", requires = "id", conflicts_with = "file")]
        capsule: Option<PathBuf>,
        #[command(flatten)]
        filter: Filter,
        /// Into this file instead of standard output
        #[arg(long, short)]
        file: Option<PathBuf>,
    },
    /// Put what was exported from this host or another one into quarantine; what is there already is skipped
    Import {
        /// A file that `wasmill quarantine export` wrote; - reads standard input
        file: PathBuf,
    },
    /// Forget some of them, or all that match
    Purge {
        #[arg(required_unless_present = "all")]
        ids: Vec<u64>,
        /// All that match
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        #[command(flatten)]
        filter: Filter,
    },
}

#[derive(Debug, clap::Args)]
struct RedriveArguments {
    #[arg(required_unless_present_any = ["all", "passing"])]
    id: Option<u64>,
    /// Of all that match, those that succeed in a replay: on the version that is loaded now, or on a candidate
    #[arg(long, conflicts_with_all = ["id", "rate", "data", "data_file"])]
    passing: bool,
    /// Replay them on this component instead of the version that is loaded
    #[arg(long, value_name = "FILE", requires = "passing")]
    candidate: Option<PathBuf>,
    /// All that match
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// In the background, so many in a second, for example 50 or 50/s
    #[arg(long, value_name = "RATE", requires = "all", value_parser = quarantine_bulk::parse_rate)]
    rate: Option<u32>,
    /// With this data instead of the old
    #[arg(long, conflicts_with_all = ["all", "data_file"])]
    data: Option<String>,
    /// With the data of this file instead of the old
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    data_file: Option<PathBuf>,
}

pub(super) async fn run(arguments: QuarantineArguments) -> Result<ExitCode> {
    let QuarantineArguments { remote, command } = arguments;
    if let Command::Replay(replay) = command {
        // A capsule file is opened without any host.
        return Box::pin(replay::run(&remote, *replay)).await;
    }
    let client = remote.client()?;
    match command {
        Command::List { filter, limit } => show_all(&client, &filter, limit, remote.json).await?,
        Command::Show { id } => {
            let answer = client.get(&["v1", "quarantine", &id.to_string()]).await?;
            if remote.json { say_json(&answer)? } else { say(show(&read(&answer)?))? }
        }
        Command::Summary { filter } => quarantine_bulk::summary(&client, &filter, remote.json).await?,
        Command::Redrives(command) => quarantine_bulk::redrives(&client, &command, remote.json).await?,
        Command::Export { id: Some(id), capsule: Some(file), .. } => replay::export(&client, id, &file).await?,
        Command::Replay(_) => {}
        Command::Export { filter, file, .. } => quarantine_bulk::export(&client, &filter, file.as_deref()).await?,
        Command::Import { file } => return quarantine_bulk::import(&client, &file, remote.json).await,
        Command::Redrive(RedriveArguments { filter, rate: Some(rate), .. }) => {
            quarantine_bulk::redrive_at(&client, &filter, rate, remote.json).await?;
        }
        Command::Redrive(RedriveArguments { filter, passing: true, candidate, .. }) => {
            let passing = replay::redrive_passing(&client, &filter, candidate.as_deref(), remote.json);
            return Box::pin(passing).await;
        }
        Command::Redrive(redrive) => match redrive.id {
            Some(id) => redrive_one(&client, id, &redrive, remote.json).await?,
            None => return redrive_all(&client, &redrive.filter, remote.json).await,
        },
        Command::Purge { ids, all, filter } => {
            let request = client.request(Method::POST, &["v1", "quarantine", "purge"]);
            let request = if all { request.json(&filter.all()) } else { request.json(&json!({ "ids": ids })) };
            let answer = client.json(request).await?;
            let model::Purged { purged, more } = read(&answer)?;
            if remote.json { say_json(&answer)? } else { say(format!("{purged} forgotten{}", and_more(more)))? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn show_all(client: &Client, filter: &Filter, limit: u32, json: bool) -> Result<()> {
    let mut found: Vec<Value> = Vec::new();
    let mut cursor: Option<Value> = None;
    while found.len() < limit as usize {
        let page = limit.min(PAGE_MAX).to_string();
        let mut request = filter.apply(client.request(Method::GET, &["v1", "quarantine"])).query(&[("limit", page)]);
        if let Some(cursor) = &cursor {
            request = request.query(&[("cursor", as_query(cursor))]);
        }
        let page: model::QuarantinePage = read(&client.json(request).await?)?;
        found.extend(page.quarantined);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    found.truncate(limit as usize);
    if json { say_json(&json!({ "quarantined": found })) } else { say(rows(&found)?) }
}

/// A cursor is the host's own matter: a number or text, given back as it came.
pub(super) fn as_query(cursor: &Value) -> String {
    cursor.as_str().map_or_else(|| cursor.to_string(), str::to_owned)
}

fn rows(found: &[Value]) -> Result<String> {
    let found = found.iter().map(read).collect::<Result<Vec<model::Quarantined>>>()?;
    let rows = found.into_iter().map(|quarantined| {
        let last = quarantined.attempts.last().map(|attempt| attempt.outcome.clone());
        vec![
            quarantined.id.to_string(),
            format!("{}/{}", quarantined.queue, quarantined.consumer),
            or_dash(quarantined.handler),
            quarantined.message.id,
            quarantined.reason,
            or_dash(last),
            cut(&or_dash(quarantined.fingerprint), FINGERPRINT_CHARS),
            quarantined.attempts_made.to_string(),
            ago(quarantined.quarantined_at_ms),
        ]
    });
    let headings =
        ["ID>", "CONSUMER", "HANDLER", "MESSAGE", "REASON", "LAST OUTCOME", "FINGERPRINT", "ATTEMPTS>", "SINCE"];
    Ok(table(&headings, rows))
}

fn show(quarantined: &model::Quarantined) -> String {
    let mut all = vec![
        ("quarantined", format!("{}, {}", quarantined.id, time(quarantined.quarantined_at_ms))),
        ("reason", quarantined.reason.clone()),
        ("consumer", format!("{}/{}", quarantined.queue, quarantined.consumer)),
        ("handler", or_dash(quarantined.handler.as_ref())),
        ("fingerprint", or_dash(quarantined.fingerprint.as_ref())),
        ("sequence", sequence(quarantined)),
        ("capsule", capsule(quarantined)),
    ];
    all.extend(message::facts(&quarantined.message));
    let mut blocks = vec![facts(&all), message::data_block(&quarantined.message)];
    blocks.extend(quarantined.attempts.iter().map(|attempt| show_attempt(attempt, quarantined.attempts_made)));
    blocks.join("\n\n")
}

fn sequence(quarantined: &model::Quarantined) -> String {
    let of = if quarantined.imported { " (of the host it was imported from)" } else { "" };
    format!("{}{of}", quarantined.sequence)
}

fn capsule(quarantined: &model::Quarantined) -> String {
    match quarantined.capsule {
        model::CapsuleKept::None => "-".to_owned(),
        model::CapsuleKept::Kept { bytes } => {
            format!("{}; `wasmill quarantine replay {}`", size(bytes), quarantined.id)
        }
        model::CapsuleKept::NoRoom => "no room was left for one (capsules-bytes-max)".to_owned(),
    }
}

fn show_attempt(attempt: &model::Attempt, attempts_made: u32) -> String {
    let detail = attempt.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    let mut text = format!("attempt {} of {attempts_made}: {}{detail}", attempt.attempt, attempt.outcome);
    let duration_ms = attempt.duration_us as f64 / 1_000.0;
    let measured = facts(&[
        ("began", time(attempt.started_at_ms)),
        (
            "took",
            format!("{duration_ms} ms, {} of fuel, {} of memory", attempt.fuel_used, size(attempt.memory_bytes_peak)),
        ),
        ("version", or_dash(attempt.digest.as_ref())),
    ]);
    text += &format!("\n{}", indent(&measured, "    "));
    for (heading, lines) in
        [("log", attempt.log.clone().unwrap_or_default()), ("backtrace", attempt.backtrace.join("\n"))]
    {
        if !lines.trim().is_empty() {
            text += &format!("\n    {heading}\n{}", indent(lines.trim_matches('\n'), "        "));
        }
    }
    text
}

async fn redrive_one(client: &Client, id: u64, redrive: &RedriveArguments, json: bool) -> Result<()> {
    let mut request = client.request(Method::POST, &["v1", "quarantine", &id.to_string(), "redrive"]);
    if let Some(data) = new_data(redrive).await? {
        request = request.body(data);
    }
    let answer = client.json(request).await?;
    if json {
        return say_json(&answer);
    }
    let published: model::Published = read(&answer)?;
    say(format!("{id} is redriven as message {}", published.id))
}

async fn new_data(redrive: &RedriveArguments) -> Result<Option<Vec<u8>>> {
    let data = match (&redrive.data, &redrive.data_file) {
        (Some(data), _) => data.clone().into_bytes(),
        (None, Some(file)) => tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?,
        (None, None) => return Ok(None),
    };
    if data.is_empty() {
        bail!(
            "the new data is empty, which the host takes for the old data; purge it and publish an empty message instead"
        );
    }
    Ok(Some(data))
}

async fn redrive_all(client: &Client, filter: &Filter, json: bool) -> Result<ExitCode> {
    let request = client.request(Method::POST, &["v1", "quarantine", "redrive"]).json(&filter.all());
    let answer = client.json(request).await?;
    let result: model::Redriven = read(&answer)?;
    if json {
        say_json(&answer)?;
    } else {
        let rows = result.redriven.iter().map(|one| vec![one.quarantine_id.to_string(), one.id.clone()]);
        say(table(&["ID>", "NEW MESSAGE"], rows))?;
        say(format!("{} redriven{}", result.redriven.len(), and_more(result.more)))?;
    }
    for refused in &result.refused {
        complain(&format!("{} is not redriven: {}", refused.quarantine_id, words(&refused.error)));
    }
    Ok(if result.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) const fn and_more(more: bool) -> &'static str {
    if more { "; more match than are taken at once, so say it again" } else { "" }
}

fn words(error: &Value) -> String {
    match read::<model::Problem>(error) {
        Ok(problem) => problem.words(),
        Err(_) => as_query(error),
    }
}
