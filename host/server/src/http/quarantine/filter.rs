//! Which quarantined deliveries are meant.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use wasmill_delivery::{
    name::{ConsumerName, HandlerName, MessageId, QuarantineId, QueueName},
    record::{QuarantineReason, QuarantineRecord},
    topic::TopicPattern,
};
use wasmill_runtime::{Host, HostError};

use super::when::When;
use crate::http::problem::Problem;

/// Records that are read from the store at once: they hold whole messages.
pub(super) const READ_RECORDS: usize = 32;
/// Records that one list request looks at before it answers with what it found and a cursor.
const LOOKED_AT_MAX: usize = 10_000;
/// Deliveries that one request redrives or purges.
const SELECTED_MAX: usize = 100_000;
/// What may stand in the value of a query as it is.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request that names quarantined deliveries by what they have in common: fields of its own, and those of a filter.
macro_rules! filtered {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$attribute])* pub(super) $field: $kind,)*
            queue: Option<QueueName>,
            consumer: Option<ConsumerName>,
            handler: Option<HandlerName>,
            reason: Option<QuarantineReason>,
            fingerprint: Option<String>,
            topic: Option<TopicPattern>,
            message: Option<MessageId>,
            since: Option<When>,
            until: Option<When>,
        }

        impl $name {
            /// What the request says of the deliveries it means.
            pub(super) fn filter(&self) -> Filter {
                Filter {
                    queue: self.queue.clone(),
                    consumer: self.consumer.clone(),
                    handler: self.handler.clone(),
                    reason: self.reason,
                    fingerprint: self.fingerprint.clone(),
                    topic: self.topic.clone(),
                    message: self.message.clone(),
                    since: self.since.clone(),
                    until: self.until.clone(),
                }
            }
        }
    };
}

filtered! {
    /// The query of a list.
    ListQuery {
        limit: Option<usize>,
        cursor: Option<u64>,
    }
}

filtered! {
    /// The query of a summary or an export.
    FilterQuery {}
}

filtered! {
    /// Which deliveries a request wants redriven or purged: `ids`, or `all` that match the filters.
    Selection {
        ids: Option<Vec<QuarantineId>>,
        #[serde(default)]
        all: bool,
        /// Redrive them in the background, so many in a second.
        rate_per_second: Option<u32>,
    }
}

impl ListQuery {
    pub(super) fn cursor(&self) -> Option<QuarantineId> {
        self.cursor.map(QuarantineId)
    }

    /// The same list from the next page on, as a `Link` header (RFC 8288).
    pub(super) fn link(&self, next: QuarantineId) -> String {
        let mut target = format!("/v1/quarantine?cursor={next}");
        let limit = self.limit.map(|limit| ("limit", limit.to_string()));
        for (name, value) in limit.into_iter().chain(self.filter().given()) {
            target += &format!("&{name}={}", utf8_percent_encode(&value, QUERY_VALUE));
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
    /// Of the last attempt; one that ends with `*` says how it begins.
    fingerprint: Option<String>,
    topic: Option<TopicPattern>,
    message: Option<MessageId>,
    /// Given up then or later.
    since: Option<When>,
    /// Given up before.
    until: Option<When>,
}

/// Some of the records that match.
pub(super) struct Page {
    pub(super) records: Vec<QuarantineRecord>,
    /// Where to go on; none when there is nothing more.
    pub(super) next: Option<QuarantineId>,
}

/// What the failure of the last attempt has in common with others of its kind.
pub(super) fn fingerprint(record: &QuarantineRecord) -> Option<String> {
    record.attempts.last().map(|attempt| attempt.outcome.fingerprint())
}

impl Filter {
    fn matches(&self, record: &QuarantineRecord) -> bool {
        self.queue.as_ref().is_none_or(|queue| *queue == record.queue)
            && self.consumer.as_ref().is_none_or(|consumer| *consumer == record.consumer)
            && self.handler.as_ref().is_none_or(|handler| record.handler.as_ref() == Some(handler))
            && self.reason.is_none_or(|reason| reason == record.reason)
            && self.message.as_ref().is_none_or(|id| *id == record.message.id)
            && self.since.as_ref().is_none_or(|since| record.quarantined_at >= since.at)
            && self.until.as_ref().is_none_or(|until| record.quarantined_at < until.at)
            && self.topic.as_ref().is_none_or(|pattern| takes(pattern, record))
            && self.fingerprint.as_ref().is_none_or(|wanted| is_like(wanted, record))
    }

    const fn is_open(&self) -> bool {
        self.queue.is_none()
            && self.consumer.is_none()
            && self.handler.is_none()
            && self.reason.is_none()
            && self.fingerprint.is_none()
            && self.topic.is_none()
            && self.message.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }

    /// What was given, by name.
    fn given(&self) -> impl Iterator<Item = (&'static str, String)> {
        let all = [
            ("queue", self.queue.as_ref().map(ToString::to_string)),
            ("consumer", self.consumer.as_ref().map(ToString::to_string)),
            ("handler", self.handler.as_ref().map(ToString::to_string)),
            ("reason", self.reason.map(|reason| reason.name().to_owned())),
            ("fingerprint", self.fingerprint.clone()),
            ("topic", self.topic.as_ref().map(ToString::to_string)),
            ("message", self.message.as_ref().map(ToString::to_string)),
            ("since", self.since.as_ref().map(|since| since.text.clone())),
            ("until", self.until.as_ref().map(|until| until.text.clone())),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// In words, for whoever looks at what goes on.
    pub(super) fn describe(&self) -> String {
        let given: Vec<String> = self.given().map(|(name, value)| format!("{name} {value}")).collect();
        if given.is_empty() { "everything in quarantine".to_owned() } else { given.join(", ") }
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

    /// Look at every record that matches, until `look` has seen enough and says false.
    pub(super) fn each(&self, host: &Host, mut look: impl FnMut(QuarantineRecord) -> bool) -> Result<(), HostError> {
        let mut after = None;
        loop {
            let read = host.quarantine_page(after, READ_RECORDS)?;
            let Some(last) = read.last().map(|record| record.id) else { return Ok(()) };
            for record in read.into_iter().filter(|record| self.matches(record)) {
                if !look(record) {
                    return Ok(());
                }
            }
            after = Some(last);
        }
    }

    fn ids(&self, host: &Host) -> Result<Selected, Problem> {
        let mut selected = Selected { ids: Vec::new(), more: false, meant: self.describe() };
        self.each(host, |record| {
            selected.more = selected.ids.len() == SELECTED_MAX;
            if !selected.more {
                selected.ids.push(record.id);
            }
            !selected.more
        })?;
        Ok(selected)
    }
}

/// Whether the pattern takes the topic, as a queue that binds it would; a filter's wildcards also stand for the first
/// word of the host's own topics.
fn takes(pattern: &TopicPattern, record: &QuarantineRecord) -> bool {
    let pattern: Vec<&str> = pattern.words().collect();
    let topic: Vec<&str> = record.message.topic.words().collect();
    words_match(&pattern, &topic)
}

/// By rows rather than by trying: what it costs is the product of the words, whatever the wildcards.
fn words_match(pattern: &[&str], topic: &[&str]) -> bool {
    // Whether the pattern so far takes the first n words.
    let mut taken = vec![false; topic.len() + 1];
    taken[0] = true;
    for word in pattern {
        let mut next = vec![false; topic.len() + 1];
        next[0] = *word == "#" && taken[0];
        for n in 1..=topic.len() {
            next[n] = match *word {
                "#" => taken[n] || next[n - 1],
                "*" => taken[n - 1],
                word => taken[n - 1] && word == topic[n - 1],
            };
        }
        taken = next;
    }
    taken[topic.len()]
}

fn is_like(wanted: &str, record: &QuarantineRecord) -> bool {
    let Some(found) = fingerprint(record) else { return false };
    match wanted.strip_suffix('*') {
        Some(beginning) => found.starts_with(beginning),
        None => found == wanted,
    }
}

/// What was meant.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) ids: Vec<QuarantineId>,
    /// Whether there are more than one request takes.
    pub(super) more: bool,
    /// In words.
    pub(super) meant: String,
}

impl Selection {
    /// Find them. Reads the disk.
    pub(super) fn find(self, host: &Host) -> Result<Selected, Problem> {
        let filter = self.filter();
        match (self.ids, self.all) {
            (Some(ids), false) if filter.is_open() => {
                let meant = format!("{} by number", ids.len());
                Ok(Selected { ids, more: false, meant })
            }
            (None, true) => filter.ids(host),
            (Some(_), _) | (None, false) => Err(Problem::invalid(
                "invalid-value",
                "give either ids, or all: true with filters if you like (queue, consumer, handler, reason, \
                 fingerprint, topic, message, since, until)",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_topics_as_bindings_do() {
        for (pattern, topic, taken) in [
            ("a.b", "a.b", true),
            ("a.b", "a", false),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("#.c", "a.b.c", true),
            ("#.c", "c", true),
            ("#.b.#", "a.c", false),
            ("*.#.*", "a", false),
            ("*.#.*", "a.b", true),
            ("#", "$sys.paused", true),
        ] {
            let words = |text: &'static str| text.split('.').collect::<Vec<&str>>();
            assert_eq!(words_match(&words(pattern), &words(topic)), taken, "{pattern} of {topic}");
        }
    }
}
