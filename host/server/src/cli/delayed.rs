//! `wasmill delayed`: messages that wait for their time.

use anyhow::Result;
use clap::Subcommand;
use reqwest::Method;
use serde::Deserialize;

use super::{
    Remote,
    output::{or_dash, say, say_json, size, table, time},
};
use crate::client::read;

/// Look at messages that wait for their time, and cancel them
#[derive(Debug, clap::Args)]
pub(super) struct DelayedArguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them in the order they become due
    List {
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Those after this id, which the list before ended with
        #[arg(long, value_name = "ID")]
        cursor: Option<String>,
    },
    /// Cancel one; it is never delivered
    Cancel {
        /// Its id, as the list or the publisher's answer shows it
        id: String,
    },
}

#[derive(Deserialize)]
struct Page {
    delayed: Vec<Entry>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    due_ms: u64,
    message: String,
    topic: String,
    queue: Option<String>,
    bytes: u64,
}

pub(super) async fn run(arguments: DelayedArguments) -> Result<()> {
    let client = arguments.remote.client()?;
    match arguments.command {
        Command::List { limit, cursor } => {
            let request = client.request(Method::GET, &["v1", "delayed"]).query(&[("limit", limit.to_string())]);
            let answer = client.json(request.query(&cursor.map(|cursor| [("cursor", cursor)]))).await?;
            if arguments.remote.json {
                return say_json(&answer);
            }
            let page: Page = read(&answer)?;
            let rows = page.delayed.into_iter().map(|entry| {
                vec![entry.id, time(entry.due_ms), entry.topic, or_dash(entry.queue), entry.message, size(entry.bytes)]
            });
            say(table(&["ID", "DUE", "TOPIC", "QUEUE", "MESSAGE", "SIZE>"], rows))?;
            page.next.map_or(Ok(()), |next| say(format!("there are more: --cursor {next}")))
        }
        Command::Cancel { id } => {
            client.json(client.request(Method::DELETE, &["v1", "delayed", &id])).await?;
            say(format!("delayed message {id} is cancelled"))
        }
    }
}
