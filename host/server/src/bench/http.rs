//! The host, over HTTP on a loopback socket.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use reqwest::{Method, header::CONTENT_TYPE};
use tokio::net::TcpListener;

use super::{
    host::{Measured, NAME},
    in_process,
    load::Door,
    plan::Plan,
    report::Figures,
};
use crate::{
    client::{
        Client,
        model::{LineAnswer, Published},
    },
    http::App,
    serve::Server,
};

/// How long the server may take to stop; nothing is under way then.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Publishing by requests of many lines.
struct Http {
    client: Client,
    line: Bytes,
}

impl Door for Http {
    async fn publish(&self, messages: u64) -> Result<Vec<u64>> {
        let body = self.line.repeat(usize::try_from(messages)?);
        let request = self.client.request(Method::POST, &["v1", "topics", NAME, "messages"]);
        let request = request.query(&[("raw", "true")]).header(CONTENT_TYPE, "application/x-ndjson").body(body);
        let answer = self.client.send(request).await?.bytes().await?;
        let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let sequences = lines.map(sequence).collect::<Result<Vec<u64>>>()?;
        if sequences.len() as u64 != messages {
            bail!("{} of {messages} messages were answered", sequences.len());
        }
        Ok(sequences)
    }
}

fn sequence(line: &[u8]) -> Result<u64> {
    match serde_json::from_slice(line)? {
        LineAnswer::Published(Published { places, .. }) => {
            Ok(places.first().context("a message went nowhere")?.sequence)
        }
        LineAnswer::Refused { error } => bail!(error.words()),
    }
}

pub(super) async fn measure(plan: &Plan) -> Result<Figures> {
    let measured = Measured::open(plan, &plan.folder("http")).await?;
    measured.declare(plan).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen on a loopback socket")?;
    let client = Client::new(&format!("http://{}", listener.local_addr()?))?;
    let server = Server::start(listener, App::new(measured.host.clone(), measured.count.metrics()));
    let line = Bytes::from([&plan.data[..], b"\n"].concat());
    let figures = in_process::measure_door(plan, &measured, &Arc::new(Http { client, line })).await?;
    server.stop(STOP_PATIENCE).await;
    measured.close().await?;
    Ok(figures)
}
