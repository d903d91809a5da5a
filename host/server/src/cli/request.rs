//! `wasmill request`: publish a message and print the reply to it.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Method, Response, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{
    Remote,
    output::{say_bytes, say_json},
    publish::{guess_content_type, parse_header},
};
use crate::config::parse_duration_ms;

/// Publish a message, wait for the reply to it, and print that
#[derive(Debug, clap::Args)]
pub(super) struct RequestArguments {
    #[command(flatten)]
    remote: Remote,
    /// Where to, for example prices.get
    topic: String,
    /// The data; - reads it from standard input
    data: String,
    /// How long to wait for the reply; 30s unless it is given, at most 5m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    timeout: Option<u64>,
    /// Messages with the same key belong together
    #[arg(long)]
    key: Option<String>,
    /// What to call the message
    #[arg(long)]
    id: Option<String>,
    /// The media type of the data; application/json when it is JSON, or else text/plain
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A header, as NAME=VALUE; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
}

pub(super) async fn run(arguments: RequestArguments) -> Result<()> {
    let client = arguments.remote.client()?;
    let data = arguments.read_data()?;
    let content_type = arguments.content_type.as_deref().unwrap_or_else(|| guess_content_type(&data)).to_owned();
    let mut request = client.request(Method::POST, &["v1", "request", &arguments.topic]);
    request = request.header(CONTENT_TYPE, content_type);
    if let Some(timeout_ms) = arguments.timeout {
        request = request.query(&[("timeout", format!("{timeout_ms}ms"))]);
    }
    for (name, value) in [("wasmill-id", &arguments.id), ("wasmill-key", &arguments.key)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    for (name, value) in &arguments.headers {
        request = request.header(format!("wasmill-header-{name}"), value);
    }
    let reply = client.send(request.body(data)).await?;
    if arguments.remote.json { say_json(&as_json(reply).await?) } else { say_bytes(&body(reply).await?) }
}

impl RequestArguments {
    fn read_data(&self) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        if self.data == "-" {
            std::io::stdin().read_to_end(&mut data).context("cannot read the data")?;
        } else {
            data.extend_from_slice(self.data.as_bytes());
        }
        Ok(data)
    }
}

async fn body(reply: Response) -> Result<Vec<u8>> {
    Ok(reply.bytes().await.context("the answer broke off")?.into())
}

/// The reply in the form that messages have in the API.
async fn as_json(reply: Response) -> Result<Value> {
    let text =
        |name: &str| reply.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let headers = reply.headers().iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("wasmill-header-")?;
        Some(json!([name, String::from_utf8_lossy(value.as_bytes())]))
    });
    let mut answer = json!({
        "request_id": text("wasmill-request-id"),
        "id": text("wasmill-id"),
        "key": text("wasmill-key"),
        "content_type": text("content-type"),
        "headers": headers.collect::<Vec<_>>(),
    });
    let data = body(reply).await?;
    match (serde_json::from_slice::<Value>(&data), std::str::from_utf8(&data)) {
        (Ok(data), _) => answer["data"] = data,
        (Err(_), Ok(text)) => answer["data_text"] = text.into(),
        (Err(_), Err(_)) => answer["data_base64"] = BASE64_STANDARD.encode(&data).into(),
    }
    Ok(answer)
}
