//! `wasmill pull`: take deliveries of a consumer that has no handler.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Remote,
    output::{complain, say},
};
use crate::{
    client::{Client, model::Problem, read},
    config::parse_duration_ms,
};

/// Take deliveries of a consumer that has no handler, one JSON object in each line
///
/// Each line has a sequence and a fence. Without --ack they stay leased for the consumer's time (30s by default), and
/// come again as another attempt when nobody settles them until then.
#[derive(Debug, Args)]
pub(super) struct PullArguments {
    #[command(flatten)]
    remote: Remote,
    /// The queue
    queue: String,
    /// The consumer
    consumer: String,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    max: u32,
    /// How long to wait while there are none, at most 1m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    wait: Option<u64>,
    /// Settle each as done once it is printed
    #[arg(long)]
    ack: bool,
}

#[derive(Deserialize)]
struct Deliveries {
    deliveries: Vec<Value>,
}

#[derive(Deserialize)]
struct Settled {
    settlements: Vec<Settlement>,
}

#[derive(Deserialize)]
struct Settlement {
    error: Option<Problem>,
}

pub(super) async fn run(arguments: PullArguments) -> Result<ExitCode> {
    let client = arguments.remote.client()?;
    let wanted = json!({"max": arguments.max, "wait_ms": arguments.wait.unwrap_or_default()});
    let answer = client.json(client.request(Method::POST, &arguments.segments("lease")).json(&wanted)).await?;
    let Deliveries { deliveries } = read(&answer)?;
    for delivery in &deliveries {
        say(delivery)?;
    }
    if arguments.ack && !deliveries.is_empty() {
        return acknowledge(&client, &arguments, &deliveries).await;
    }
    Ok(ExitCode::SUCCESS)
}

impl PullArguments {
    fn segments<'a>(&'a self, last: &'a str) -> [&'a str; 6] {
        ["v1", "queues", &self.queue, "consumers", &self.consumer, last]
    }
}

async fn acknowledge(client: &Client, arguments: &PullArguments, deliveries: &[Value]) -> Result<ExitCode> {
    let settlements: Vec<Value> = deliveries
        .iter()
        .map(|delivery| json!({"sequence": delivery["sequence"], "fence": delivery["fence"], "outcome": "ack"}))
        .collect();
    let request = client.request(Method::POST, &arguments.segments("settle"));
    let answer = client.json(request.json(&json!({"settlements": settlements}))).await?;
    let Settled { settlements } = read(&answer)?;
    let mut code = ExitCode::SUCCESS;
    for error in settlements.into_iter().filter_map(|settlement| settlement.error) {
        complain(&format!("wasmill: {}", error.words()));
        code = ExitCode::FAILURE;
    }
    Ok(code)
}
