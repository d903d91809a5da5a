//! Which quarantined deliveries are meant.

use serde::Deserialize;
use wasmill_delivery::{
    name::{ConsumerName, HandlerName, QuarantineId, QueueName},
    record::{QuarantineReason, QuarantineRecord},
};
use wasmill_runtime::{Host, HostError};

use crate::http::problem::Problem;

/// Records that are read from the store at once: they hold whole messages.
const READ_RECORDS: usize = 32;
/// Records that one list request looks at before it answers with what it found and a cursor.
const LOOKED_AT_MAX: usize = 10_000;
/// Deliveries that one request redrives or purges.
const SELECTED_MAX: usize = 100_000;

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    pub(super) limit: Option<usize>,
    cursor: Option<u64>,
    queue: Option<QueueName>,
    consumer: Option<ConsumerName>,
    handler: Option<HandlerName>,
    reason: Option<QuarantineReason>,
}

impl ListQuery {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            queue: self.queue.clone(),
            consumer: self.consumer.clone(),
            handler: self.handler.clone(),
            reason: self.reason,
        }
    }

    pub(super) fn cursor(&self) -> Option<QuarantineId> {
        self.cursor.map(QuarantineId)
    }

    /// The same list from the next page on, as a `Link` header (RFC 8288). Names need no escapes in a URL.
    pub(super) fn link(&self, next: QuarantineId) -> String {
        let texts = [
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("queue", self.queue.as_ref().map(ToString::to_string)),
            ("consumer", self.consumer.as_ref().map(ToString::to_string)),
            ("handler", self.handler.as_ref().map(ToString::to_string)),
            ("reason", self.reason.map(|reason| reason.name().to_owned())),
        ];
        let mut target = format!("/v1/quarantine?cursor={next}");
        for (name, value) in texts {
            target.extend(value.map(|value| format!("&{name}={value}")));
        }
        format!("<{target}>; rel=\"next\"")
    }
}

/// What a record must be to be meant; what is none may be anything.
#[derive(Debug)]
pub(super) struct Filter {
    queue: Option<QueueName>,
    consumer: Option<ConsumerName>,
    handler: Option<HandlerName>,
    reason: Option<QuarantineReason>,
}

/// Some of the records that match.
pub(super) struct Page {
    pub(super) records: Vec<QuarantineRecord>,
    /// Where to go on; none when there is nothing more.
    pub(super) next: Option<QuarantineId>,
}

impl Filter {
    fn matches(&self, record: &QuarantineRecord) -> bool {
        self.queue.as_ref().is_none_or(|queue| *queue == record.queue)
            && self.consumer.as_ref().is_none_or(|consumer| *consumer == record.consumer)
            && self.handler.as_ref().is_none_or(|handler| *handler == record.handler)
            && self.reason.is_none_or(|reason| reason == record.reason)
    }

    /// At most `limit` records after a place. It may be fewer, or none, though there are more: then `next` is set.
    pub(super) fn page(&self, host: &Host, after: Option<QuarantineId>, limit: usize) -> Result<Page, HostError> {
        let mut records = Vec::new();
        let mut looked_at = 0;
        let mut after = after;
        while looked_at < LOOKED_AT_MAX {
            let read = host.quarantine_page(after, READ_RECORDS)?;
            let Some(last) = read.last().map(|record| record.id) else { return Ok(Page { records, next: None }) };
            looked_at += read.len();
            for record in read.into_iter().filter(|record| self.matches(record)) {
                if records.len() == limit {
                    return Ok(Page { next: records.last().map(|record: &QuarantineRecord| record.id), records });
                }
                records.push(record);
            }
            after = Some(last);
        }
        Ok(Page { records, next: after })
    }
}

/// Which deliveries a request wants redriven or purged: `ids`, or `all` that match the filters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    ids: Option<Vec<QuarantineId>>,
    #[serde(default)]
    all: bool,
    queue: Option<QueueName>,
    consumer: Option<ConsumerName>,
    handler: Option<HandlerName>,
    reason: Option<QuarantineReason>,
}

/// What was meant.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) ids: Vec<QuarantineId>,
    /// Whether there are more than one request takes.
    pub(super) more: bool,
}

impl Selection {
    /// Find them. Reads the disk.
    pub(super) fn find(self, host: &Host) -> Result<Selected, Problem> {
        let Self { ids, all, queue, consumer, handler, reason } = self;
        let filter = Filter { queue, consumer, handler, reason };
        match (ids, all) {
            (Some(ids), false) if filter.is_open() => Ok(Selected { ids, more: false }),
            (None, true) => filter.ids(host),
            (Some(_), _) | (None, false) => Err(Problem::invalid(
                "invalid-value",
                "give either ids, or all: true with filters (queue, consumer, handler, reason) if you like",
            )),
        }
    }
}

impl Filter {
    const fn is_open(&self) -> bool {
        self.queue.is_none() && self.consumer.is_none() && self.handler.is_none() && self.reason.is_none()
    }

    fn ids(&self, host: &Host) -> Result<Selected, Problem> {
        let mut ids = Vec::new();
        let mut after = None;
        loop {
            let read = host.quarantine_page(after, READ_RECORDS)?;
            let Some(last) = read.last().map(|record| record.id) else { return Ok(Selected { ids, more: false }) };
            for record in read.iter().filter(|record| self.matches(record)) {
                if ids.len() == SELECTED_MAX {
                    return Ok(Selected { ids, more: true });
                }
                ids.push(record.id);
            }
            after = Some(last);
        }
    }
}
