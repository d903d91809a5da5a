//! Which quarantined deliveries are meant.

use reqwest::RequestBuilder;
use serde::Serialize;

/// Those that match everything given.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
pub(super) struct Matching {
    /// Only those of this queue
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    /// Only those of this consumer
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<String>,
    /// Only those with this reason: rejected, attempts-exhausted, loop, deterministic or expired
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Only those whose last failure has this fingerprint; with * at its end, one that begins so
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// Only those whose message has such a topic; * stands for one word, # for any number
    #[arg(long, value_name = "PATTERN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// Only those of the message with this id
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Only those given up at that time or later: a time such as 2026-03-01T08:00:00Z, or an age such as 2h
    #[arg(long, value_name = "WHEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Only those given up before that time
    #[arg(long, value_name = "WHEN", visible_alias = "older-than")]
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// The same, and of one handler.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
pub(super) struct Filter {
    #[command(flatten)]
    #[serde(flatten)]
    matching: Matching,
    /// Only those of this handler
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<String>,
}

/// All that match.
#[derive(Serialize)]
pub(super) struct All<'a> {
    all: bool,
    #[serde(flatten)]
    filter: &'a Filter,
}

impl Filter {
    pub(super) const fn new(matching: Matching, handler: Option<String>) -> Self {
        Self { matching, handler }
    }

    /// As a query of a list.
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        request.query(self)
    }

    /// As a body that means all that match.
    pub(super) const fn all(&self) -> All<'_> {
        All { all: true, filter: self }
    }
}
