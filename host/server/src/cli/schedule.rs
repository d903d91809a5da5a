//! `wasmill schedule`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Subcommand;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Remote,
    output::{ago, cut, facts, list, or_dash, say, say_json, table},
    publish::parse_header,
};
use crate::client::{Client, read};

/// How much of the data a person is shown.
const DATA_CHARS: usize = 200;

/// Publish messages at times: look at schedules, declare them, let them rest, run them now
#[derive(Debug, clap::Args)]
pub(super) struct ScheduleArguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All schedules and when they fire next
    List,
    /// One schedule, with the times to come
    Show {
        schedule: String,
        /// So many times to come
        #[arg(long, default_value_t = 5)]
        upcoming: u32,
    },
    /// Declare a schedule, or change it; what is not given is the default
    Put(Box<PutArguments>),
    /// Remove a schedule
    Delete { schedule: String },
    /// Let a schedule rest; what falls into the pause is not made up for
    Pause { schedule: String },
    /// Let a schedule fire again
    Resume { schedule: String },
    /// Publish its message once, now; its next time does not change
    Run { schedule: String },
}

#[derive(Debug, clap::Args)]
struct PutArguments {
    schedule: String,
    /// When: "MINUTE HOUR DAY MONTH WEEKDAY", six fields with seconds in front, or such as @hourly
    #[arg(long, value_name = "EXPRESSION")]
    cron: String,
    /// The time zone that is meant, for example Europe/Berlin
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    timezone: String,
    /// The topic of its messages
    #[arg(long)]
    topic: String,
    /// Their key
    #[arg(long)]
    key: Option<String>,
    /// The media type of their data
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A header of theirs, as NAME=VALUE; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Their data, as text
    #[arg(long, conflicts_with = "data_file")]
    data: Option<String>,
    /// Take their data from this file
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,
    /// What happens to runs that the host was not there for
    #[arg(long, default_value = "once", value_parser = ["skip", "once", "all"])]
    missed: String,
    /// With --missed all, make up for at most so many
    #[arg(long, value_name = "COUNT")]
    missed_max: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Schedules {
    schedules: Vec<Schedule>,
}

#[derive(Debug, Deserialize)]
struct Schedule {
    name: String,
    cron: String,
    timezone: String,
    topic: String,
    key: Option<String>,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    data_bytes: u64,
    data_text: Option<String>,
    missed: String,
    missed_max: Option<u32>,
    paused: bool,
    next_at: Option<String>,
    last_at: Option<String>,
    fired: u64,
    problem: Option<ScheduleProblem>,
    #[serde(default)]
    upcoming: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ScheduleProblem {
    detail: String,
    since_ms: u64,
}

pub(super) async fn run(arguments: ScheduleArguments) -> Result<()> {
    let ScheduleArguments { remote, command } = arguments;
    let client = remote.client()?;
    let answer = match &command {
        Command::List => client.get(&["v1", "schedules"]).await?,
        Command::Show { schedule, upcoming } => {
            let request = client.request(Method::GET, &["v1", "schedules", schedule]);
            client.json(request.query(&[("upcoming", upcoming)])).await?
        }
        Command::Put(put) => {
            let request = client.request(Method::PUT, &["v1", "schedules", &put.schedule]);
            client.json(request.json(&declaration(put)?)).await?
        }
        Command::Delete { schedule } => {
            client.json(client.request(Method::DELETE, &["v1", "schedules", schedule])).await?
        }
        Command::Pause { schedule } => order(&client, schedule, "pause").await?,
        Command::Resume { schedule } => order(&client, schedule, "resume").await?,
        Command::Run { schedule } => order(&client, schedule, "run").await?,
    };
    if remote.json {
        return if answer.is_null() { Ok(()) } else { say_json(&answer) };
    }
    say(words(&command, &answer)?)
}

async fn order(client: &Client, schedule: &str, what: &str) -> Result<Value> {
    client.json(client.request(Method::POST, &["v1", "schedules", schedule, what])).await
}

fn words(command: &Command, answer: &Value) -> Result<String> {
    Ok(match command {
        Command::List => rows(read(answer)?),
        Command::Show { .. } => show(read(answer)?),
        Command::Put(put) => {
            let schedule: Schedule = read(answer)?;
            format!("schedule {} is declared; it fires next at {}", put.schedule, or_dash(schedule.next_at))
        }
        Command::Delete { schedule } => format!("schedule {schedule} is removed"),
        Command::Pause { schedule } => format!("schedule {schedule} rests"),
        Command::Resume { schedule } => format!("schedule {schedule} goes on"),
        Command::Run { schedule } => {
            format!("schedule {schedule} published message {}", answer["id"].as_str().unwrap_or("-"))
        }
    })
}

fn declaration(put: &PutArguments) -> Result<Value> {
    let mut body = json!({
        "cron": put.cron, "timezone": put.timezone, "topic": put.topic, "missed": put.missed,
        "headers": put.headers,
    });
    let optional = [("key", &put.key), ("content_type", &put.content_type), ("data_text", &put.data)];
    for (name, value) in optional {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    if let Some(missed_max) = put.missed_max {
        body["missed_max"] = missed_max.into();
    }
    if let Some(file) = &put.data_file {
        let data = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        body["data_base64"] = STANDARD.encode(data).into();
    }
    Ok(body)
}

fn rows(Schedules { schedules }: Schedules) -> String {
    let rows = schedules.into_iter().map(|schedule| {
        let state = state(&schedule);
        vec![
            schedule.name,
            schedule.cron,
            schedule.timezone,
            schedule.topic,
            or_dash(schedule.next_at),
            or_dash(schedule.last_at),
            schedule.fired.to_string(),
            state,
        ]
    });
    table(&["SCHEDULE", "CRON", "ZONE", "TOPIC", "NEXT", "LAST", "FIRED>", "STATE"], rows)
}

fn state(schedule: &Schedule) -> String {
    match &schedule.problem {
        Some(problem) => format!("late: {}", cut(&problem.detail, DATA_CHARS)),
        None if schedule.paused => "paused".to_owned(),
        None => "waits".to_owned(),
    }
}

fn show(schedule: Schedule) -> String {
    let missed = match schedule.missed_max {
        Some(max) => format!("{}, at most {max}", schedule.missed),
        None => schedule.missed.clone(),
    };
    let data = match &schedule.data_text {
        Some(text) => cut(text, DATA_CHARS),
        None => format!("{} bytes", schedule.data_bytes),
    };
    let late = schedule.problem.as_ref().map(|problem| format!("{} (since {})", problem.detail, ago(problem.since_ms)));
    let headers: Vec<String> = schedule.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    facts(&[
        ("schedule", schedule.name),
        ("cron", schedule.cron),
        ("zone", schedule.timezone),
        ("topic", schedule.topic),
        ("key", or_dash(schedule.key)),
        ("content type", or_dash(schedule.content_type)),
        ("headers", list(&headers)),
        ("data", data),
        ("missed", missed),
        ("paused", schedule.paused.to_string()),
        ("next", list(&schedule.upcoming)),
        ("last", or_dash(schedule.last_at)),
        ("fired", schedule.fired.to_string()),
        ("problem", or_dash(late)),
    ])
}
