//! Which quarantined deliveries are meant.

use reqwest::RequestBuilder;
use serde::Serialize;

/// Those that match everything given.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
pub(super) struct Filter {
    /// Only those of this queue
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    /// Only those of this consumer
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<String>,
    /// Only those of this handler
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<String>,
    /// Only those with this reason: rejected, attempts-exhausted or loop
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// All that match.
#[derive(Serialize)]
pub(super) struct All<'a> {
    all: bool,
    #[serde(flatten)]
    filter: &'a Filter,
}

impl Filter {
    /// As a query of a list.
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        request.query(self)
    }

    /// As a body that means all that match.
    pub(super) const fn all(&self) -> All<'_> {
        All { all: true, filter: self }
    }
}
