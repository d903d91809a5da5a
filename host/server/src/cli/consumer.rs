//! `wasmill consumer`.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    Remote,
    output::{duration, facts, or_dash, say, say_json, table},
};
use crate::{
    client::{Client, model, read},
    config::parse_duration_ms,
    forms::StartForm,
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
    Put(Box<PutArguments>),
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
    /// Programs outside pull its deliveries; no handler is run
    #[arg(long, conflicts_with = "handler")]
    pull: bool,
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
    /// Wait the same each time
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    backoff_fixed: Option<u64>,
    /// Wait by a list, whose last one goes on, for example 1s,1m,10m
    #[arg(long, value_name = "DURATION,...", value_parser = parse_duration_ms, value_delimiter = ',')]
    backoff_delays: Option<Vec<u64>>,
    /// Wait exactly so long, not a random share of it
    #[arg(long)]
    no_jitter: bool,
    /// Where a new one begins: beginning, end, a sequence, or a time such as 2026-07-01T12:00:00Z
    #[arg(long)]
    start: Option<StartForm>,
    /// Which deliveries wait for earlier ones
    #[arg(long, value_parser = ["none", "key", "strict"])]
    order: Option<String>,
    /// What happens behind a delivery that is given up, when there is an order
    #[arg(long, value_parser = ["park", "skip", "block"])]
    poison: Option<String>,
    /// Use up all attempts, also when two failures are equal
    #[arg(long)]
    no_deterministic: bool,
    /// How many deliveries are looked at for a storm of failures; 0 for none
    #[arg(long, value_name = "COUNT")]
    storm_deliveries: Option<u32>,
    /// How many of a hundred of them must have failed in the same way
    #[arg(long, value_name = "PERCENT")]
    storm_percent: Option<u32>,
    /// The wait before the first probe of a consumer that a storm has paused
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    storm_probe: Option<u64>,
    /// Deliveries leased in a second, at most
    #[arg(long, value_name = "COUNT")]
    rate_per_second: Option<u32>,
    /// Deliveries of one key leased in a second, at most; with --order key
    #[arg(long, value_name = "COUNT")]
    key_rate_per_second: Option<u32>,
    /// How many of a hundred deliveries are retries while new work waits too, 1 to 99
    #[arg(long, value_name = "PERCENT")]
    retry_share: Option<u32>,
    /// What happens to a delivery whose message has expired
    #[arg(long, value_parser = ["drop", "quarantine"])]
    expired: Option<String>,
    /// How long a program outside holds a lease that it does not extend
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    lease: Option<u64>,
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
        let state = match &consumer.paused {
            Some(paused) => format!("paused: {}", paused.kind),
            None if consumer.full => "full".to_owned(),
            None => "running".to_owned(),
        };
        vec![
            format!("{}/{}", consumer.queue, consumer.name),
            handler(consumer.handler),
            consumer.lag.to_string(),
            consumer.in_flight.to_string(),
            consumer.pending.to_string(),
            consumer.suspects.to_string(),
            consumer.quarantined.to_string(),
            state,
        ]
    });
    say(table(&["CONSUMER", "HANDLER", "LAG>", "IN FLIGHT>", "PENDING>", "SUSPECTS>", "QUARANTINED>", "STATE"], rows))
}

fn handler(handler: Option<String>) -> String {
    handler.unwrap_or_else(|| "(pulled)".to_owned())
}

fn show(consumer: model::Consumer) -> String {
    let (storm, state) = (&consumer.storm, state(&consumer));
    facts(&[
        ("consumer", format!("{}/{}", consumer.queue, consumer.name)),
        ("handler", handler(consumer.handler)),
        ("state", state),
        ("lag", consumer.lag.to_string()),
        ("in flight", format!("{} (at most {})", consumer.in_flight, consumer.in_flight_max)),
        ("pending", format!("{} (at most {})", consumer.pending, consumer.pending_max)),
        ("suspects", consumer.suspects.to_string()),
        ("quarantined", consumer.quarantined.to_string()),
        ("floor", format!("every sequence below {} is settled", consumer.floor)),
        ("concurrency", consumer.concurrency.to_string()),
        ("attempts", format!("{}{}", consumer.attempts, if consumer.deterministic { "" } else { ", all of them" })),
        ("backoff", backoff(&consumer.backoff)),
        ("start", consumer.start.to_string()),
        ("order", order(&consumer.order, &consumer.poison)),
        (
            "storm",
            match storm.deliveries {
                0 => "-".to_owned(),
                deliveries => {
                    format!("{} % of {deliveries} alike, first probe after {}", storm.percent, duration(storm.probe_ms))
                }
            },
        ),
        ("rate", rate(consumer.rate_per_second)),
        ("key rate", rate(consumer.key_rate_per_second)),
        ("retry share", format!("{} %", consumer.retry_share)),
        ("expired", consumer.expired),
        ("lease", duration(consumer.lease_ms)),
    ])
}

fn state(consumer: &model::Consumer) -> String {
    match &consumer.paused {
        Some(paused) => paused_because(paused),
        None if consumer.full => format!(
            "full: {} deliveries wait for a retry or a delay, so new messages wait until one is done (`pending-max` in \
             [limits])",
            consumer.pending
        ),
        None => "running".to_owned(),
    }
}

fn paused_because(paused: &model::Paused) -> String {
    let why = match paused {
        model::Paused { fingerprint: Some(fingerprint), .. } => {
            Some(format!("most deliveries fail alike: {fingerprint}"))
        }
        model::Paused { quarantine: Some(id), .. } => {
            Some(format!("delivery {id} is in quarantine; redrive or purge it (`wasmill quarantine show {id}`)"))
        }
        model::Paused { detail, .. } => detail.clone(),
    };
    match why {
        Some(why) => format!("paused: {}: {why}", paused.kind),
        None => format!("paused: {}", paused.kind),
    }
}

fn order(order: &str, poison: &str) -> String {
    if order == "none" { "none".to_owned() } else { format!("{order}, {poison} what is behind a delivery given up") }
}

fn rate(per_second: Option<u32>) -> String {
    or_dash(per_second.map(|count| format!("{count} a second")))
}

fn backoff(backoff: &model::Backoff) -> String {
    let (wait, jitter) = match backoff {
        model::Backoff::Exponential { initial_ms, factor, cap_ms, jitter } => {
            (format!("{}, times {factor}, at most {}", duration(*initial_ms), duration(*cap_ms)), jitter)
        }
        model::Backoff::Fixed { fixed_ms, jitter } => (format!("{} each time", duration(*fixed_ms)), jitter),
        model::Backoff::List { delays_ms, jitter } => {
            let delays: Vec<String> = delays_ms.iter().map(|ms| duration(*ms)).collect();
            (delays.join(", "), jitter)
        }
    };
    wait + if *jitter { ", with jitter" } else { "" }
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
        ("fixed_ms", put.backoff_fixed.map(Value::from)),
        ("delays_ms", put.backoff_delays.clone().map(Value::from)),
        ("jitter", put.no_jitter.then_some(json!(false))),
    ]);
    let storm = given([
        ("deliveries", put.storm_deliveries.map(Value::from)),
        ("percent", put.storm_percent.map(Value::from)),
        ("probe_ms", put.storm_probe.map(Value::from)),
    ]);
    given([
        ("handler", (!put.pull).then(|| json!(put.handler.as_ref().unwrap_or(&put.consumer.name)))),
        ("concurrency", put.concurrency.map(Value::from)),
        ("in_flight_max", put.in_flight_max.map(Value::from)),
        ("attempts", put.attempts.map(Value::from)),
        ("backoff", (!backoff.is_empty()).then_some(Value::Object(backoff))),
        ("start", put.start.map(|start| json!(start))),
        ("order", put.order.clone().map(Value::from)),
        ("poison", put.poison.clone().map(Value::from)),
        ("deterministic", put.no_deterministic.then_some(json!(false))),
        ("storm", (!storm.is_empty()).then_some(Value::Object(storm))),
        ("rate_per_second", put.rate_per_second.map(Value::from)),
        ("key_rate_per_second", put.key_rate_per_second.map(Value::from)),
        ("retry_share", put.retry_share.map(Value::from)),
        ("expired", put.expired.clone().map(Value::from)),
        ("lease_ms", put.lease.map(Value::from)),
    ])
}

fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
