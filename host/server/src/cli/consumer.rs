//! `wasmill consumer`.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    Remote,
    output::{duration, facts, say, say_json, table},
};
use crate::{
    client::{Client, model, read},
    config::parse_duration_ms,
};

/// Look at consumers, declare them, pause and resume them
#[derive(Debug, clap::Args)]
pub(super) struct ConsumerArguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All consumers and how far they are
    List,
    /// One consumer
    Show {
        #[arg(value_name = "QUEUE/CONSUMER", value_parser = parse_place)]
        consumer: Place,
    },
    /// Declare a consumer, or change it; what is not given is the default
    Put(PutArguments),
    /// Remove a consumer and what it has waiting; what it quarantined stays
    Delete {
        #[arg(value_name = "QUEUE/CONSUMER", value_parser = parse_place)]
        consumer: Place,
    },
    /// Let a consumer take nothing until it is resumed
    Pause {
        #[arg(value_name = "QUEUE/CONSUMER", value_parser = parse_place)]
        consumer: Place,
    },
    /// Let a consumer take deliveries again
    Resume {
        #[arg(value_name = "QUEUE/CONSUMER", value_parser = parse_place)]
        consumer: Place,
    },
}

#[derive(Debug, clap::Args)]
struct PutArguments {
    #[arg(value_name = "QUEUE/CONSUMER", value_parser = parse_place)]
    consumer: Place,
    /// The handler it runs; the default is the one of its own name
    #[arg(long)]
    handler: Option<String>,
    /// Runs of the handler at once
    #[arg(long, value_name = "COUNT")]
    concurrency: Option<u32>,
    /// Deliveries leased at once
    #[arg(long, value_name = "COUNT")]
    in_flight_max: Option<u32>,
    /// Attempts before a delivery is quarantined
    #[arg(long, value_name = "COUNT")]
    attempts: Option<u32>,
    /// The wait before the second attempt, for example 100ms
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    backoff_initial: Option<u64>,
    /// What each further wait is multiplied by
    #[arg(long, value_name = "NUMBER")]
    backoff_factor: Option<u32>,
    /// No wait is longer, for example 1m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    backoff_cap: Option<u64>,
    /// Wait exactly so long, not a random share of it
    #[arg(long)]
    no_jitter: bool,
    /// Where a new one begins
    #[arg(long, value_parser = ["beginning", "end"])]
    start: Option<String>,
}

/// A consumer, by its queue's name and its own.
#[derive(Clone, Debug)]
struct Place {
    queue: String,
    name: String,
}

fn parse_place(text: &str) -> Result<Place> {
    let (queue, name) =
        text.split_once('/').context("a consumer is named QUEUE/CONSUMER, for example orders/payment")?;
    Ok(Place { queue: queue.to_owned(), name: name.to_owned() })
}

impl Place {
    fn segments(&self) -> [&str; 5] {
        ["v1", "queues", &self.queue, "consumers", &self.name]
    }
}

pub(super) async fn run(arguments: ConsumerArguments) -> Result<()> {
    let ConsumerArguments { remote, command } = arguments;
    let client = remote.client()?;
    match command {
        Command::List => show_all(&client, remote.json).await,
        Command::Show { consumer } => {
            let answer = client.get(&consumer.segments()).await?;
            if remote.json { say_json(&answer) } else { say(show(read(&answer)?)) }
        }
        Command::Put(put) => declare(&client, &put, remote.json).await,
        Command::Delete { consumer } => {
            client.send(client.request(Method::DELETE, &consumer.segments())).await?;
            done(&remote, &consumer, "removed")
        }
        Command::Pause { consumer } => {
            turn(&client, &consumer, "pause").await?;
            done(&remote, &consumer, "paused")
        }
        Command::Resume { consumer } => {
            turn(&client, &consumer, "resume").await?;
            done(&remote, &consumer, "resumed")
        }
    }
}

async fn turn(client: &Client, consumer: &Place, what: &str) -> Result<()> {
    let segments: Vec<&str> = consumer.segments().into_iter().chain([what]).collect();
    client.send(client.request(Method::POST, &segments)).await.map(|_| ())
}

fn done(remote: &Remote, consumer: &Place, what: &str) -> Result<()> {
    if remote.json { Ok(()) } else { say(format!("consumer {}/{} is {what}", consumer.queue, consumer.name)) }
}

async fn show_all(client: &Client, json: bool) -> Result<()> {
    let answer = client.get(&["v1", "consumers"]).await?;
    if json {
        return say_json(&answer);
    }
    let model::Consumers { consumers } = read(&answer)?;
    let rows = consumers.into_iter().map(|consumer| {
        let state = consumer.paused.map_or_else(|| "running".to_owned(), |paused| format!("paused: {}", paused.kind));
        vec![
            format!("{}/{}", consumer.queue, consumer.name),
            consumer.handler,
            consumer.lag.to_string(),
            consumer.in_flight.to_string(),
            consumer.pending.to_string(),
            consumer.quarantined.to_string(),
            state,
        ]
    });
    say(table(&["CONSUMER", "HANDLER", "LAG>", "IN FLIGHT>", "PENDING>", "QUARANTINED>", "STATE"], rows))
}

fn show(consumer: model::Consumer) -> String {
    let backoff = &consumer.backoff;
    let state = match consumer.paused {
        None => "running".to_owned(),
        Some(model::Paused { kind, detail: None }) => format!("paused: {kind}"),
        Some(model::Paused { kind, detail: Some(detail) }) => format!("paused: {kind}: {detail}"),
    };
    facts(&[
        ("consumer", format!("{}/{}", consumer.queue, consumer.name)),
        ("handler", consumer.handler),
        ("state", state),
        ("lag", consumer.lag.to_string()),
        ("in flight", format!("{} (at most {})", consumer.in_flight, consumer.in_flight_max)),
        ("pending", consumer.pending.to_string()),
        ("quarantined", consumer.quarantined.to_string()),
        ("floor", format!("every sequence below {} is settled", consumer.floor)),
        ("concurrency", consumer.concurrency.to_string()),
        ("attempts", consumer.attempts.to_string()),
        (
            "backoff",
            format!(
                "{}, times {}, at most {}{}",
                duration(backoff.initial_ms),
                backoff.factor,
                duration(backoff.cap_ms),
                if backoff.jitter { ", with jitter" } else { "" },
            ),
        ),
        ("start", consumer.start),
    ])
}

async fn declare(client: &Client, put: &PutArguments, json: bool) -> Result<()> {
    let body = declaration(put);
    let answer = client.json(client.request(Method::PUT, &put.consumer.segments()).json(&body)).await?;
    if json {
        return say_json(&answer);
    }
    say(format!("consumer {}/{} is declared", put.consumer.queue, put.consumer.name))
}

fn declaration(put: &PutArguments) -> Map<String, Value> {
    let backoff = given([
        ("initial_ms", put.backoff_initial.map(Value::from)),
        ("factor", put.backoff_factor.map(Value::from)),
        ("cap_ms", put.backoff_cap.map(Value::from)),
        ("jitter", put.no_jitter.then_some(json!(false))),
    ]);
    given([
        ("handler", Some(json!(put.handler.as_ref().unwrap_or(&put.consumer.name)))),
        ("concurrency", put.concurrency.map(Value::from)),
        ("in_flight_max", put.in_flight_max.map(Value::from)),
        ("attempts", put.attempts.map(Value::from)),
        ("backoff", (!backoff.is_empty()).then_some(Value::Object(backoff))),
        ("start", put.start.clone().map(Value::from)),
    ])
}

fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
