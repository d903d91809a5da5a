//! `wasmill queue`.

use anyhow::Result;
use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::{
    Remote,
    message::{self, preview},
    output::{duration, facts, list, or_dash, say, say_json, size, table, time},
};
use crate::{
    client::{Client, model, read},
    config::parse_size_bytes,
};

/// Look at queues, declare them, and read what is in them
#[derive(Debug, clap::Args)]
pub(super) struct QueueArguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All queues and how full they are
    List,
    /// One queue
    Show { queue: String },
    /// Declare a queue, or change it; what is not given is the default
    Put(PutArguments),
    /// Remove a queue, with its messages and its consumers; what they quarantined stays
    Delete { queue: String },
    /// Messages of a queue, oldest first; settled ones may still be among them
    Messages {
        queue: String,
        /// Begin with this sequence
        #[arg(long)]
        from: Option<u64>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Show them whole
        #[arg(long)]
        full: bool,
    },
}

#[derive(Debug, clap::Args)]
struct PutArguments {
    queue: String,
    /// Take messages of these topics: `*` stands for one word, `#` for any number; may be repeated
    #[arg(long = "bind", value_name = "PATTERN")]
    bindings: Vec<String>,
    /// Refuse messages beyond so many
    #[arg(long, value_name = "COUNT")]
    messages_max: Option<u64>,
    /// Refuse messages beyond so many bytes, for example 10GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    bytes_max: Option<u64>,
}

pub(super) async fn run(arguments: QueueArguments) -> Result<()> {
    let QueueArguments { remote, command } = arguments;
    let client = remote.client()?;
    match command {
        Command::List => show_all(&client, remote.json).await,
        Command::Show { queue } => show(&client, &queue, remote.json).await,
        Command::Put(put) => declare(&client, &put, remote.json).await,
        Command::Delete { queue } => {
            client.send(client.request(Method::DELETE, &["v1", "queues", &queue])).await?;
            if remote.json { Ok(()) } else { say(format!("queue {queue} is removed")) }
        }
        Command::Messages { queue, from, limit, full } => {
            let request = client.request(Method::GET, &["v1", "queues", &queue, "messages"]);
            let request = request.query(&[("limit", u64::from(limit))]).query(&[("from", from)]);
            let answer = client.json(request).await?;
            if remote.json { say_json(&answer) } else { say(messages(&read(&answer)?, full)) }
        }
    }
}

async fn show_all(client: &Client, json: bool) -> Result<()> {
    let answer = client.get(&["v1", "queues"]).await?;
    if json {
        return say_json(&answer);
    }
    let model::Queues { queues } = read(&answer)?;
    let rows = queues.into_iter().map(|queue| {
        vec![
            queue.name,
            queue.messages.to_string(),
            size(queue.bytes),
            or_dash(queue.oldest_message_age_ms.map(duration)),
            list(&queue.consumers),
            list(&queue.bindings),
        ]
    });
    say(table(&["QUEUE", "MESSAGES>", "SIZE>", "OLDEST>", "CONSUMERS", "BINDINGS"], rows))
}

async fn show(client: &Client, queue: &str, json: bool) -> Result<()> {
    let answer = client.get(&["v1", "queues", queue]).await?;
    if json {
        return say_json(&answer);
    }
    let queue: model::Queue = read(&answer)?;
    say(facts(&[
        ("queue", queue.name),
        ("bindings", list(&queue.bindings)),
        ("messages", format!("{} (at most {})", queue.messages, queue.messages_max)),
        ("size", format!("{} (at most {})", size(queue.bytes), size(queue.bytes_max))),
        ("sequences", format!("{} to {}", queue.first_sequence, queue.next_sequence.saturating_sub(1))),
        ("oldest", or_dash(queue.oldest_message_age_ms.map(duration))),
        ("consumers", list(&queue.consumers)),
    ]))
}

async fn declare(client: &Client, put: &PutArguments, json: bool) -> Result<()> {
    let mut body = json!({ "bindings": put.bindings });
    if let Some(messages_max) = put.messages_max {
        body["messages_max"] = messages_max.into();
    }
    if let Some(bytes_max) = put.bytes_max {
        body["bytes_max"] = bytes_max.into();
    }
    let answer = client.json(client.request(Method::PUT, &["v1", "queues", &put.queue]).json(&body)).await?;
    if json { say_json(&answer) } else { say(format!("queue {} is declared", put.queue)) }
}

fn messages(page: &model::Messages, full: bool) -> String {
    let mut text = if full { blocks(&page.messages) } else { rows(&page.messages) };
    if let Some(next) = page.next {
        text += &format!("\n\nmore with --from {next}");
    }
    text
}

fn blocks(messages: &[model::Message]) -> String {
    let blocks = messages.iter().map(|message| {
        let mut all = vec![("sequence", or_dash(message.sequence))];
        all.extend(message::facts(message));
        format!("{}\n{}", facts(&all), message::data_block(message))
    });
    blocks.collect::<Vec<_>>().join("\n\n")
}

fn rows(messages: &[model::Message]) -> String {
    let rows = messages.iter().map(|message| {
        vec![
            or_dash(message.sequence),
            message.id.clone(),
            message.topic.clone(),
            time(message.published_at_ms),
            preview(message),
        ]
    });
    table(&["SEQUENCE>", "ID", "TOPIC", "PUBLISHED", "DATA"], rows)
}
