//! `wasmill handler load`, `history`, `rollback` and `promote`: versions come and go.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use reqwest::{Method, RequestBuilder, header::CONTENT_TYPE};
use serde_json::{Value, json};
use wasmill_delivery::canary::Counts;

use super::{
    handler::DIGEST_CHARS,
    output::{cut, list, say, say_json, table, time},
};
use crate::{
    client::{Client, model, read},
    forms::parse_percent,
    http::SIGNATURE_HEADER,
    signature_file,
};

/// How much of a reason a table shows.
const WHY_CHARS: usize = 80;

#[derive(Debug, clap::Args)]
pub(super) struct LoadArguments {
    name: String,
    file: PathBuf,
    /// Approve of what it imports, when that is more than the version before it did
    #[arg(long)]
    approve: bool,
    /// Let it run for this share of the keys first; it replaces the old version when it does not fail more often, and
    /// is given up by itself when it does. 0% replaces the old version at once, whatever the handler's settings say
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    canary: Option<u32>,
    /// Keep the message in this file with the handler, as JSON (topic, key, content_type, headers, and data, data_text
    /// or data_base64); this version and all later ones must handle it before they take a delivery
    #[arg(long, value_name = "FILE", conflicts_with = "skip_sample")]
    sample: Option<PathBuf>,
    /// Do not run it on the handler's sample message
    #[arg(long)]
    skip_sample: bool,
    /// Its signature, when it is not in FILE.sig
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

pub(super) async fn load(client: &Client, arguments: &LoadArguments, json: bool) -> Result<()> {
    let LoadArguments { name, file, approve, canary, sample, skip_sample, signature } = arguments;
    let wasm = tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    if let Some(sample) = sample {
        keep_sample(client, name, sample).await?;
    }
    let request = client.request(Method::PUT, &["v1", "handlers", name]);
    let mut query = Vec::new();
    query.extend(approve.then(|| ("approve", "true".to_owned())));
    query.extend(canary.map(|percent| ("canary", percent.to_string())));
    query.extend(skip_sample.then(|| ("skip_sample", "true".to_owned())));
    let request = signed(request.query(&query), file, signature.as_deref())?;
    let request = request.header(CONTENT_TYPE, "application/wasm").body(wasm);
    change(client, request, name, json).await
}

/// With the signature that was named, or else the one that lies beside the component.
fn signed(request: RequestBuilder, file: &Path, signature: Option<&Path>) -> Result<RequestBuilder> {
    let signature = match signature {
        Some(path) => Some(signature_file::read(path)?),
        None => signature_file::find(file)?,
    };
    Ok(match signature {
        Some(signature) => request.header(SIGNATURE_HEADER, signature.to_string()),
        None => request,
    })
}

async fn keep_sample(client: &Client, name: &str, file: &PathBuf) -> Result<()> {
    let text = tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let sample: Value =
        serde_json::from_slice(&text).with_context(|| format!("the sample {} is no JSON", file.display()))?;
    let request = client.request(Method::PUT, &["v1", "handlers", name]).json(&json!({ "sample": sample }));
    client.json(request).await.map(|_| ())
}

/// Ask for another version, and say what runs then.
pub(super) async fn change(client: &Client, request: RequestBuilder, name: &str, json: bool) -> Result<()> {
    let answer = client.json(request).await?;
    if json {
        return say_json(&answer);
    }
    let loaded: model::HandlerLoaded = read(&answer)?;
    let what = match (loaded.canary_share_percent, loaded.changed) {
        (Some(share), true) => format!("tries this version now, for {share}% of the keys"),
        (Some(share), false) => format!("tries this version already, for {share}% of the keys"),
        (None, true) => "runs this version now".to_owned(),
        (None, false) => "runs this version already".to_owned(),
    };
    say(format!("handler {name} {what}: {}", loaded.digest))?;
    if let Some(key) = loaded.signed_by {
        say(format!("signed by: {key}"))?;
    }
    say(format!("imports: {}", list(&loaded.imports)))
}

pub(super) async fn history(client: &Client, name: &str, json: bool) -> Result<()> {
    let answer = client.get(&["v1", "handlers", name, "history"]).await?;
    if json {
        return say_json(&answer);
    }
    let model::HandlerHistory { candidate, versions } = read(&answer)?;
    let tried = candidate.map(|candidate| {
        vec![short(&candidate.digest), time(candidate.began_at_ms), "tried".to_owned(), trial(&candidate)]
    });
    let rows = versions.into_iter().map(|version| {
        let state = match (version.current, version.given_up) {
            (true, _) => "runs",
            (false, true) => "given up",
            (false, false) => "",
        };
        let counted = version.counts.map(|counts| counted(&counts));
        let why: Vec<String> = version.why.into_iter().chain(counted).collect();
        let why = cut(&why.join("; "), WHY_CHARS);
        let what = if state.is_empty() { version.change } else { format!("{}, {state}", version.change) };
        vec![short(&version.digest), time(version.at_ms), what, why]
    });
    say(table(&["VERSION", "SINCE", "WHAT", "WHY"], tried.into_iter().chain(rows)))
}

/// How a version does that is tried.
pub(super) fn trial(candidate: &model::Candidate) -> String {
    let share = candidate.policy.share_percent;
    format!("{} for {share}% of the keys; {}", short(&candidate.digest), counted(&candidate.counts))
}

fn counted(counts: &Counts) -> String {
    let Counts { current_deliveries, current_failures, candidate_deliveries, candidate_failures } = counts;
    format!("{candidate_failures} of {candidate_deliveries} failed, against {current_failures} of {current_deliveries}")
}

fn short(digest: &str) -> String {
    digest.chars().take(DIGEST_CHARS).collect()
}
