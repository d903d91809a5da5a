//! How deliveries ended, and whether a crash changed that.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_delivery::name::{MessageId, Sequence};

use crate::check::Seen;

/// How a delivery left its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Succeeded,
    Expired,
    GivenUp,
}

impl End {
    const fn words(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Expired => "expired",
            Self::GivenUp => "was given up",
        }
    }
}

/// The ends of deliveries that are durable, by their place in the queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends(BTreeMap<Sequence, (MessageId, End)>);

/// Each message, with each end of a delivery of it: how often one was published twice is not looked at, for a publisher that
/// got no answer publishes again.
type Ways<'a> = BTreeSet<(End, &'a str)>;

impl Ends {
    pub(crate) fn note(&mut self, sequence: Sequence, message: &MessageId, end: End) {
        self.0.insert(sequence, (message.clone(), end));
    }

    /// It is to be tried again.
    pub(crate) fn forget(&mut self, sequence: Sequence) {
        self.0.remove(&sequence);
    }

    fn ways(&self) -> Ways<'_> {
        self.0.values().map(|(message, end)| (*end, message.as_str())).collect()
    }
}

/// Messages of the test that no attempt succeeded for, nor was given up, in words.
pub(crate) fn never_succeeded(seen: &Seen) -> Vec<String> {
    let ways = seen.ends.ways();
    let has = |end, message: &MessageId| ways.contains(&(end, message.as_str()));
    let left = seen.given.iter().filter(|message| !has(End::Succeeded, message) && !has(End::GivenUp, message));
    left.map(|message| {
        let words = if has(End::Expired, message) { "expired" } else { "was never delivered" };
        format!("{message} {words}")
    })
    .collect()
}

/// What a crash changed in how deliveries end: how they ended without it, and how with it. Which of several deliveries ends in
/// which way can depend on their order, so they are counted.
///
/// A test that is over after some time may find deliveries unsettled that a crash held up.
pub(crate) fn changed(plain: &Seen, seen: &Seen, is_cut_off: bool) -> Option<(Vec<String>, Vec<String>)> {
    let (before, after) = (plain.ends.ways(), seen.ends.ways());
    let counts = |ways: &Ways<'_>| {
        [End::Succeeded, End::Expired, End::GivenUp].map(|end| ways.iter().filter(|(other, _)| *other == end).count())
    };
    if counts(&before) == counts(&after) && (plain.unsettled == 0) == (seen.unsettled == 0) {
        return None;
    }
    let (missing, more): (Vec<_>, Vec<_>) = (before.difference(&after).collect(), after.difference(&before).collect());
    if is_cut_off && more.is_empty() && missing.len() as u64 <= seen.unsettled {
        return None;
    }
    Some((words(&missing, plain.unsettled), words(&more, seen.unsettled)))
}

fn words(ways: &[&(End, &str)], unsettled: u64) -> Vec<String> {
    let ends = ways.iter().map(|(end, message)| format!("{message} {}", end.words()));
    ends.chain((unsettled > 0).then(|| format!("{unsettled} not settled"))).collect()
}
