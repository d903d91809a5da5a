//! `wasmill handler`.

use anyhow::Result;
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, Value};

use super::{
    Remote,
    handler_versions::{self, LoadArguments},
    output::{ago, cut, facts, list, or_dash, say, say_bytes, say_json, table, time},
    signature::{self, SigningCommand},
};
use crate::client::{Client, model, read};

/// How much of a value a table shows.
const VALUE_CHARS: usize = 80;
/// How much of a digest a table shows.
pub(super) const DIGEST_CHARS: usize = 12;

/// Load components, and look at handlers and their state
#[derive(Debug, clap::Args)]
pub(super) struct HandlerArguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    OfHost(HostCommand),
    #[command(flatten)]
    Signing(SigningCommand),
}

#[derive(Debug, Subcommand)]
enum HostCommand {
    /// Run this component under that name from now on
    Load(LoadArguments),
    /// The versions that ran or were tried, newest first, and why they do not any more
    History { name: String },
    /// Go back to the version before; a version that is tried is given up
    Rollback {
        name: String,
        /// Go to this version of the history; the first digits of its digest are enough
        #[arg(long, value_name = "DIGEST")]
        to: Option<String>,
    },
    /// Let the version that is tried run for all from now on
    Promote { name: String },
    /// All handlers
    List,
    /// One handler: what it imports, what it is granted, its limits and configuration
    Show { name: String },
    /// Remove a handler that no consumer runs; its state stays
    Delete { name: String },
    /// What a handler stored: all keys with their values, or one value as it is
    State {
        name: String,
        /// Print the value of this key, byte for byte
        key: Option<String>,
        /// Only keys that begin with this
        #[arg(long, conflicts_with = "key")]
        prefix: Option<String>,
        /// Only keys after this one
        #[arg(long, conflicts_with = "key")]
        after: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
}

pub(super) async fn run(arguments: HandlerArguments) -> Result<()> {
    let HandlerArguments { remote, command } = arguments;
    match command {
        Command::OfHost(command) => run_at_host(remote, command).await,
        Command::Signing(command) => signature::run(command),
    }
}

async fn run_at_host(remote: Remote, command: HostCommand) -> Result<()> {
    let client = remote.client()?;
    match command {
        HostCommand::Load(arguments) => handler_versions::load(&client, &arguments, remote.json).await,
        HostCommand::History { name } => handler_versions::history(&client, &name, remote.json).await,
        HostCommand::Rollback { name, to } => {
            let request = client.request(Method::POST, &["v1", "handlers", &name, "rollback"]);
            handler_versions::change(&client, request.query(&[("to", to)]), &name, remote.json).await
        }
        HostCommand::Promote { name } => {
            let request = client.request(Method::POST, &["v1", "handlers", &name, "promote"]);
            handler_versions::change(&client, request, &name, remote.json).await
        }
        HostCommand::List => show_all(&client, remote.json).await,
        HostCommand::Show { name } => {
            let answer = client.get(&["v1", "handlers", &name]).await?;
            if remote.json { say_json(&answer) } else { say(show(read(&answer)?)) }
        }
        HostCommand::Delete { name } => {
            client.send(client.request(Method::DELETE, &["v1", "handlers", &name])).await?;
            if remote.json { Ok(()) } else { say(format!("handler {name} is removed; its state stays")) }
        }
        HostCommand::State { name, key: Some(key), .. } => say_bytes(&value(&client, &name, &key).await?),
        HostCommand::State { name, key: None, prefix, after, limit } => {
            let request = client.request(Method::GET, &["v1", "handlers", &name, "state"]);
            let request = request.query(&[("prefix", prefix), ("after", after), ("limit", Some(limit.to_string()))]);
            let page: model::StateKeys = read(&client.json(request).await?)?;
            show_state(&client, &name, page, remote.json).await
        }
    }
}

async fn show_all(client: &Client, json: bool) -> Result<()> {
    let answer = client.get(&["v1", "handlers"]).await?;
    if json {
        return say_json(&answer);
    }
    let model::Handlers { handlers } = read(&answer)?;
    let rows = handlers.into_iter().map(|handler| {
        let loaded = handler.digest.as_ref().and(handler.loaded_at_ms).map(ago);
        let digest = handler.digest.map(|digest| digest.chars().take(DIGEST_CHARS).collect::<String>());
        let ready = || if handler.candidate.is_some() { "ready, tries another version" } else { "ready" }.to_owned();
        let state = handler.problem.unwrap_or_else(ready);
        vec![handler.name, or_dash(digest), or_dash(loaded), cut(&state, VALUE_CHARS)]
    });
    say(table(&["HANDLER", "DIGEST", "LOADED", "STATE"], rows))
}

fn show(handler: model::Handler) -> String {
    let mut lines = vec![
        ("handler", handler.name),
        ("state", handler.problem.unwrap_or_else(|| "ready".to_owned())),
        ("digest", or_dash(handler.digest)),
        ("loaded", or_dash(handler.loaded_at_ms.map(time))),
        ("signed by", or_dash(handler.signed_by)),
        ("imports", list(&handler.imports)),
        ("tried", or_dash(handler.candidate.as_ref().map(handler_versions::trial))),
        ("retries", handler.retries),
        ("sample", or_dash(handler.sample.map(|sample| sample["topic"].as_str().unwrap_or("-").to_owned()))),
    ];
    let limits: Vec<String> = handler.limits.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let config: Vec<String> = handler.config.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
    let sources = handler.secrets.iter().flat_map(|(name, source)| source.iter().map(move |from| (name, from)));
    let secrets: Vec<String> = sources.map(|(name, (kind, at))| format!("{name} from {kind} {at}")).collect();
    lines.extend([
        ("not granted", list(&handler.imports_not_granted)),
        ("http", list(&handler.grants.http)),
        ("addresses", list(&handler.grants.addresses)),
        ("config", list(&config)),
        ("secrets", list(&secrets)),
        ("unused", list(&handler.grants_unused)),
        ("limits", list(&limits)),
    ]);
    facts(&lines)
}

async fn value(client: &Client, name: &str, key: &str) -> Result<Vec<u8>> {
    let request = client.request(Method::GET, &["v1", "handlers", name, "state", key]);
    Ok(client.send(request).await?.bytes().await?.to_vec())
}

async fn show_state(client: &Client, name: &str, page: model::StateKeys, json: bool) -> Result<()> {
    let mut values = Vec::with_capacity(page.keys.len());
    for key in page.keys {
        let value = value(client, name, &key).await?;
        values.push((key, String::from_utf8_lossy(&value).into_owned()));
    }
    if json {
        let values: Map<String, Value> = values.into_iter().map(|(key, value)| (key, value.into())).collect();
        return say_json(&values);
    }
    let rows = values.into_iter().map(|(key, value)| vec![key, cut(&value, VALUE_CHARS)]);
    say(table(&["KEY", "VALUE"], rows))?;
    page.next.map_or(Ok(()), |next| say(format!("\nmore with --after {next}")))
}
