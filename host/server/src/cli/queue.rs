//! `wasmill queue`.

use anyhow::Result;
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Remote,
    message::{self, preview},
    output::{duration, facts, list, or_dash, say, say_json, size, table, time},
};
use crate::{
    client::{Client, model, read},
    config::{parse_duration_ms, parse_size_bytes},
    forms::BindingForm,
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
    /// Take messages of these topics: `*` stands for one word, `#` for any number. Behind it may stand headers that they
    /// must have, "orders.# region=eu tier=1"; with any before them one is enough. May be repeated
    #[arg(long = "bind", value_name = "PATTERN [any] [NAME=VALUE ...]")]
    bindings: Vec<BindingForm>,
    /// It is full with so many messages that a consumer still needs
    #[arg(long, value_name = "COUNT")]
    messages_max: Option<u64>,
    /// It is full with so many bytes of such messages, for example 10GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    bytes_max: Option<u64>,
    /// What happens to a message that finds it full: refuse, drop-oldest, or wait=2s for its publisher to wait
    #[arg(long, value_name = "POLICY", value_parser = parse_overflow)]
    overflow: Option<Value>,
    /// Keep the newest so many messages that are settled
    #[arg(long, value_name = "COUNT")]
    retain_messages: Option<u64>,
    /// Keep the newest so many bytes of messages that are settled, for example 1GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    retain_bytes: Option<u64>,
    /// Keep messages that are settled until they are so old, for example 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    retain_age: Option<u64>,
    /// Urgent messages go first: those with a header priority of 9 before those of 8, and so on to 0. Such a queue cannot
    /// have consumers with an order, nor retention
    #[arg(long)]
    priorities: bool,
}

fn parse_overflow(text: &str) -> Result<Value, String> {
    match (text, text.strip_prefix("wait=")) {
        ("refuse" | "drop-oldest", _) => Ok(text.into()),
        (_, Some(wait)) => Ok(json!({ "wait_ms": parse_duration_ms(wait)? })),
        (_, None) => Err(format!("{text:?} is no policy; write refuse, drop-oldest, or for example wait=2s")),
    }
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
            bindings(&queue.bindings),
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
        ("bindings", bindings(&queue.bindings)),
        ("messages", format!("{} (at most {})", queue.messages, queue.messages_max)),
        ("size", format!("{} (at most {})", size(queue.bytes), size(queue.bytes_max))),
        ("when full", overflow(&queue.overflow)),
        ("retention", or_dash(queue.retention.as_ref().map(retention))),
        ("priorities", or_dash(by_priority(&queue.messages_by_priority))),
        (
            "sequences",
            format!("first {}, needed {}, next {}", queue.first_sequence, queue.needed_sequence, queue.next_sequence),
        ),
        ("oldest", or_dash(queue.oldest_message_age_ms.map(duration))),
        ("consumers", list(&queue.consumers)),
    ]))
}

fn bindings(bindings: &[BindingForm]) -> String {
    list(&bindings.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn overflow(overflow: &model::Overflow) -> String {
    match overflow {
        model::Overflow::Refuse => "refuse".to_owned(),
        model::Overflow::DropOldest => "drop the oldest".to_owned(),
        model::Overflow::WaitMs(ms) => format!("publishers wait up to {}", duration(*ms)),
    }
}

/// The most urgent first.
fn by_priority(messages: &[u64]) -> Option<String> {
    if messages.is_empty() {
        return None;
    }
    let some = messages.iter().enumerate().rev().filter(|(_, count)| **count > 0);
    let words: Vec<String> = some.map(|(priority, count)| format!("{count} of priority {priority}")).collect();
    Some(if words.is_empty() { "yes, no messages".to_owned() } else { words.join(", ") })
}

fn retention(retention: &model::Retention) -> String {
    let bounds = [
        retention.messages.map(|messages| format!("{messages} messages")),
        retention.bytes.map(size),
        retention.age_ms.map(duration),
    ];
    format!("settled ones up to {}", bounds.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

async fn declare(client: &Client, put: &PutArguments, json: bool) -> Result<()> {
    let mut body = json!({ "bindings": put.bindings, "priorities": put.priorities });
    if let Some(messages_max) = put.messages_max {
        body["messages_max"] = messages_max.into();
    }
    if let Some(bytes_max) = put.bytes_max {
        body["bytes_max"] = bytes_max.into();
    }
    if let Some(overflow) = &put.overflow {
        body["overflow"] = overflow.clone();
    }
    if put.retain_messages.is_some() || put.retain_bytes.is_some() || put.retain_age.is_some() {
        body["retention"] =
            json!({ "messages": put.retain_messages, "bytes": put.retain_bytes, "age_ms": put.retain_age });
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
