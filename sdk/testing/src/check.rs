//! What was expected, and what was seen.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use bytes::Bytes;
use wasmill_delivery::{name::MessageId, outcome::Outcome, record::QuarantineRecord};
use wasmill_runtime::simulated::SentRequest;
use wasmill_settings::forms::Headers;

use crate::{
    data::{Data, DurationOrNone, OrNone, Shown, Written},
    ends::{self, Ends},
    error::HarnessError,
    forms::{OneOf, RawExpect, RawPublished, RawQuarantined, RawRequest, RawValue},
    harness::Harness,
    matching::{assign, wanted_message},
    notes::{Attempt, Published},
};

/// Something that is not as it was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What, as the case calls it.
    pub what: String,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  expected  {}\n  saw       {}", self.what, self.expected, self.seen)
    }
}

/// Everything that came of one run.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) published: Vec<Published>,
    pub(crate) quarantined: Vec<QuarantineRecord>,
    pub(crate) requests: Vec<SentRequest>,
    pub(crate) state: BTreeMap<String, Bytes>,
    pub(crate) elapsed: Duration,
    pub(crate) unsettled: u64,
    /// Messages that the test published, and how deliveries ended.
    pub(crate) given: Vec<MessageId>,
    pub(crate) ends: Ends,
    /// Where a capsule went another way than the recorded attempt.
    pub(crate) notes: Vec<String>,
}

impl Seen {
    pub(crate) fn of(harness: &Harness) -> Result<Self, HarnessError> {
        Ok(Self {
            attempts: harness.attempts(),
            published: harness.published(),
            quarantined: harness.quarantined(),
            requests: harness.requests(),
            state: harness.state()?,
            elapsed: harness.elapsed(),
            unsettled: harness.progress()?.unsettled,
            given: harness.given(),
            ends: harness.ends(),
            notes: Vec::new(),
        })
    }
}

/// What a run in which the host was killed is compared with.
#[derive(Clone, Copy)]
pub(crate) struct AfterCrash<'a> {
    /// The same run without a crash.
    pub(crate) plain: &'a Seen,
    /// Whether the test is over after some time, and not when all is done.
    pub(crate) is_cut_off: bool,
}

/// Compares one run with what is expected of it.
pub(crate) struct Check<'a> {
    pub(crate) expect: &'a RawExpect,
    pub(crate) folder: &'a Path,
    pub(crate) seen: &'a Seen,
    /// Whether a crash had attempts made again: then how many there were, and how long it took, is not compared.
    /// How deliveries end is: it must not depend on a crash.
    pub(crate) after_crash: Option<AfterCrash<'a>>,
    mismatches: Vec<Mismatch>,
}

impl<'a> Check<'a> {
    pub(crate) const fn new(
        expect: &'a RawExpect,
        folder: &'a Path,
        seen: &'a Seen,
        after_crash: Option<AfterCrash<'a>>,
    ) -> Self {
        Self { expect, folder, seen, after_crash, mismatches: Vec::new() }
    }

    pub(crate) fn run(mut self) -> Result<Vec<Mismatch>, HarnessError> {
        self.ends();
        if self.after_crash.is_none() {
            self.attempts();
            self.requests()?;
            self.times();
        }
        self.published()?;
        self.state()?;
        self.quarantined();
        self.limits();
        self.logs();
        Ok(self.mismatches)
    }

    fn note(&mut self, what: impl Into<String>, expected: impl fmt::Display, seen: impl fmt::Display) {
        let (expected, seen) = (expected.to_string(), seen.to_string());
        self.mismatches.push(Mismatch { what: what.into(), expected, seen });
    }

    fn ends(&mut self) {
        if self.expect.outcomes.is_none() {
            self.all_succeed();
        }
        let Some(AfterCrash { plain, is_cut_off }) = self.after_crash.filter(|_| self.mismatches.is_empty()) else {
            return;
        };
        if let Some((without, with)) = ends::changed(plain, self.seen, is_cut_off) {
            self.note("deliveries", format!("as without the crash: {}", list(&without)), list(&with));
        }
    }

    /// Without a word about outcomes, every delivery succeeds in the end.
    fn all_succeed(&mut self) {
        const SAY: &str = "all succeed in the end (say outcomes when they do not)";
        let never = ends::never_succeeded(self.seen);
        if self.seen.unsettled > 0 {
            let seen = format!("{} are not settled; the last attempt: {}", self.seen.unsettled, self.last_outcome());
            self.note("deliveries", SAY, seen);
        } else if !never.is_empty() {
            self.note("deliveries", SAY, list(&never));
        }
        if let (None, Some(given_up)) = (&self.expect.quarantined, self.seen.quarantined.first()) {
            let last = given_up.attempts.last().map_or_else(String::new, |attempt| attempt.outcome.describe());
            let seen =
                format!("{} given up, the first {}: {last}", self.seen.quarantined.len(), given_up.reason.name());
            self.note("deliveries", "all succeed in the end (say outcomes or quarantined when they do not)", seen);
        }
    }

    fn last_outcome(&self) -> String {
        self.seen.attempts.last().map_or_else(|| "none".to_owned(), |attempt| attempt.outcome.describe())
    }

    fn attempts(&mut self) {
        let seen = &self.seen.attempts;
        if let Some(expected) = &self.expect.outcomes {
            let fits = expected.len() == seen.len()
                && expected.iter().zip(seen).all(|(expected, seen)| is_one_of(expected, &seen.outcome));
            if !fits {
                let expected: Vec<String> = expected.iter().map(|OneOf(names)| names.join(" or ")).collect();
                let seen: Vec<&str> = seen.iter().map(|attempt| attempt.outcome.name()).collect();
                self.note("outcomes", list(&expected), list(&seen));
            }
        }
        let ran = seen.iter().filter(|attempt| attempt.outcome != Outcome::Expired).count();
        if let Some(expected) = self.expect.attempts.filter(|expected| *expected != ran as u64) {
            self.note("attempts", expected, ran);
        }
    }

    fn times(&mut self) {
        let seen = self.seen.elapsed;
        let ms = |duration: &crate::forms::Duration| Duration::from_millis(duration.0);
        if let Some(expected) = self.expect.elapsed.as_ref().map(ms).filter(|expected| *expected != seen) {
            self.note("elapsed", format!("{expected:?}"), format!("{seen:?}"));
        }
        if let Some(least) = self.expect.elapsed_at_least.as_ref().map(ms).filter(|least| seen < *least) {
            self.note("elapsed-at-least", format!("{least:?}"), format!("{seen:?}"));
        }
        if let Some(most) = self.expect.elapsed_at_most.as_ref().map(ms).filter(|most| seen > *most) {
            self.note("elapsed-at-most", format!("{most:?}"), format!("{seen:?}"));
        }
    }

    fn limits(&mut self) {
        let at_most =
            |of: fn(&Attempt) -> u64| self.seen.attempts.iter().map(of).enumerate().max_by_key(|(_, used)| *used);
        let fuel = at_most(|attempt| attempt.fuel);
        let memory = at_most(|attempt| attempt.memory_bytes);
        if let (Some(most), Some((number, used))) = (self.expect.fuel_at_most, fuel)
            && used > most
        {
            self.note("fuel-at-most", most, format!("{used} in attempt {}", number + 1));
        }
        if let (Some(most), Some((number, used))) = (self.expect.memory_at_most, memory)
            && used > most.0
        {
            self.note("memory-at-most", format!("{} bytes", most.0), format!("{used} bytes in attempt {}", number + 1));
        }
    }

    fn logs(&mut self) {
        let all: String = self.seen.attempts.iter().map(|attempt| attempt.log.as_str()).collect();
        for words in &self.expect.log_has {
            if !all.contains(words.as_str()) {
                self.note("log-has", format!("{words:?}"), Shown(all.as_bytes()));
            }
        }
        for words in &self.expect.log_lacks {
            if all.contains(words.as_str()) {
                self.note("log-lacks", format!("no {words:?}"), Shown(all.as_bytes()));
            }
        }
    }

    fn published(&mut self) -> Result<(), HarnessError> {
        let seen = &self.seen.published;
        if let Some(expected) = self.expect.published_count.filter(|expected| *expected != seen.len() as u64) {
            self.note("published-count", expected, seen.len());
        }
        if self.expect.published_differ {
            let mut all: Vec<&[u8]> = seen.iter().map(|published| &*published.message.data).collect();
            all.sort_unstable();
            if let Some(same) = all.windows(2).find(|pair| pair[0] == pair[1]) {
                self.note("published-differ", "no two have the same data", format!("twice {}", Shown(same[0])));
            }
        }
        let Some(expected) = &self.expect.published else { return Ok(()) };
        if expected.len() != seen.len() {
            let all: Vec<String> = seen.iter().map(shown).collect();
            self.note("published", format!("{} messages", expected.len()), format!("{}: {}", seen.len(), list(&all)));
            return Ok(());
        }
        if self.expect.in_any_order {
            return self.published_in_any_order(expected);
        }
        for (number, (expected, seen)) in expected.iter().zip(seen).enumerate() {
            for (field, expected, seen) in differences(expected, seen, self.folder)? {
                self.note(format!("published[{number}].{field}"), expected, seen);
            }
        }
        Ok(())
    }

    fn published_in_any_order(&mut self, expected: &[RawPublished]) -> Result<(), HarnessError> {
        let seen = &self.seen.published;
        let fits =
            |expected| seen.iter().map(|seen| Ok(differences(expected, seen, self.folder)?.is_empty())).collect();
        let fits = expected.iter().map(fits).collect::<Result<Vec<Vec<bool>>, HarnessError>>()?;
        let taken = assign(&fits, seen.len());
        let left: Vec<String> =
            seen.iter().zip(&taken).filter(|(_, by)| by.is_none()).map(|(seen, _)| shown(seen)).collect();
        for (number, expected) in expected.iter().enumerate().filter(|(number, _)| !taken.contains(&Some(*number))) {
            self.note(format!("published[{number}]"), wanted_message(expected, self.folder)?, list(&left));
        }
        Ok(())
    }

    fn state(&mut self) -> Result<(), HarnessError> {
        let seen = &self.seen.state;
        if let Some(expected) = &self.expect.state {
            for (key, value) in seen.iter().filter(|(key, _)| !expected.contains_key(*key)) {
                self.note(format!("state {key:?}"), "nothing", Shown(value));
            }
            self.values(expected)?;
        }
        self.values(&self.expect.state_has)
    }

    fn values(&mut self, expected: &BTreeMap<String, RawValue>) -> Result<(), HarnessError> {
        for (key, RawValue(written)) in expected {
            let expected = written.data(self.folder)?.unwrap_or_else(|| Data::Text(String::new()));
            match self.seen.state.get(key) {
                Some(seen) if expected.is(seen) => {}
                Some(seen) => self.note(format!("state {key:?}"), Shown(&expected.bytes()), Shown(seen)),
                None => self.note(format!("state {key:?}"), Shown(&expected.bytes()), "nothing"),
            }
        }
        Ok(())
    }

    fn quarantined(&mut self) {
        let Some(expected) = &self.expect.quarantined else { return };
        let seen = &self.seen.quarantined;
        if expected.len() != seen.len() {
            let all: Vec<String> = seen.iter().map(given_up).collect();
            self.note(
                "quarantined",
                format!("{} deliveries", expected.len()),
                format!("{}: {}", seen.len(), list(&all)),
            );
            return;
        }
        for (number, (expected, seen)) in expected.iter().zip(seen).enumerate() {
            if !is_given_up_so(expected, seen) {
                self.note(format!("quarantined[{number}]"), wanted(expected), given_up(seen));
            }
        }
    }

    fn requests(&mut self) -> Result<(), HarnessError> {
        let Some(expected) = &self.expect.requests else { return Ok(()) };
        let seen = &self.seen.requests;
        if expected.len() != seen.len() {
            let all: Vec<String> = seen.iter().map(|request| format!("{} {}", request.method, request.url)).collect();
            self.note("requests", format!("{} requests", expected.len()), format!("{}: {}", seen.len(), list(&all)));
            return Ok(());
        }
        for (number, (expected, seen)) in expected.iter().zip(seen).enumerate() {
            for (field, expected, seen) in request_differences(expected, seen, self.folder)? {
                self.note(format!("requests[{number}].{field}"), expected, seen);
            }
        }
        Ok(())
    }
}

type Difference = (&'static str, String, String);

fn differ(found: &mut Vec<Difference>, field: &'static str, expected: Option<&str>, seen: Option<&str>) {
    if expected != seen {
        let words = |text: Option<&str>| text.map_or_else(|| "none".to_owned(), |text| format!("{text:?}"));
        found.push((field, words(expected), words(seen)));
    }
}

fn differ_in_data(
    found: &mut Vec<Difference>,
    written: &Written,
    has: Option<&str>,
    seen: &[u8],
    folder: &Path,
) -> Result<(), HarnessError> {
    if let Some(expected) = written.data(folder)?
        && !expected.is(seen)
    {
        found.push(("data", Shown(&expected.bytes()).to_string(), Shown(seen).to_string()));
    }
    if let Some(words) = has
        && !String::from_utf8_lossy(seen).contains(words)
    {
        found.push(("text-has", format!("{words:?}"), Shown(seen).to_string()));
    }
    Ok(())
}

fn differences(expected: &RawPublished, seen: &Published, folder: &Path) -> Result<Vec<Difference>, HarnessError> {
    let mut found = Vec::new();
    let message = &seen.message;
    if let Some(topic) = &expected.topic {
        differ(&mut found, "topic", Some(topic), Some(message.topic.as_str()));
    }
    if let Some(id) = &expected.id {
        differ(&mut found, "id", Some(id), Some(message.id.as_str()));
    }
    if let Some(OrNone(key)) = &expected.key {
        differ(&mut found, "key", key.as_deref(), message.key.as_ref().map(|key| key.as_str()));
    }
    if let Some(OrNone(content_type)) = &expected.content_type {
        differ(&mut found, "content-type", content_type.as_deref(), message.content_type.as_deref());
    }
    if let Some(Headers(headers)) = &expected.headers
        && !same_headers(headers, &message.headers)
    {
        found.push(("headers", format!("{headers:?}"), format!("{:?}", message.headers)));
    }
    let ms = |ms: Option<u64>| ms.map_or_else(|| "none".to_owned(), |ms| format!("{:?}", Duration::from_millis(ms)));
    if let Some(DurationOrNone(delay)) = expected.delay.filter(|delay| delay.0 != seen.delay_ms) {
        found.push(("delay", ms(delay), ms(seen.delay_ms)));
    }
    if let Some(DurationOrNone(after)) = expected.expires_after.filter(|after| after.0 != seen.expires_after_ms()) {
        found.push(("expires-after", ms(after), ms(seen.expires_after_ms())));
    }
    differ_in_data(&mut found, &expected.written(), expected.text_has.as_deref(), &message.data, folder)?;
    Ok(found)
}

fn request_differences(
    expected: &RawRequest,
    seen: &SentRequest,
    folder: &Path,
) -> Result<Vec<Difference>, HarnessError> {
    let mut found = Vec::new();
    if let Some(method) = &expected.method {
        differ(&mut found, "method", Some(method), Some(&seen.method));
    }
    if let Some(url) = &expected.url {
        differ(&mut found, "url", Some(url), Some(&seen.url));
    }
    for (name, value) in expected.headers.iter().flat_map(|Headers(headers)| headers) {
        let is_there = |(other, given): &(String, String)| other.eq_ignore_ascii_case(name) && given == value;
        if !seen.headers.iter().any(is_there) {
            found.push(("headers", format!("{name}: {value}"), format!("{:?}", seen.headers)));
        }
    }
    differ_in_data(&mut found, &expected.written(), expected.text_has.as_deref(), &seen.body, folder)?;
    Ok(found)
}

/// In their order when names repeat; a table has none.
fn same_headers(expected: &[(String, String)], seen: &[(String, String)]) -> bool {
    let lower = |headers: &[(String, String)]| -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
    };
    let (mut expected, mut seen) = (lower(expected), lower(seen));
    let repeats =
        expected.iter().enumerate().any(|(at, (name, _))| expected[..at].iter().any(|(other, _)| other == name));
    if !repeats {
        expected.sort();
        seen.sort();
    }
    expected == seen
}

fn is_one_of(OneOf(names): &OneOf, outcome: &Outcome) -> bool {
    names.iter().any(|name| name == outcome.name())
}

/// The words of the handler, or else those of the host.
fn reason_of(outcome: &Outcome) -> String {
    if let Outcome::Retry { reason, .. } | Outcome::Reject { reason } = outcome {
        return reason.clone();
    }
    outcome.describe()
}

fn is_given_up_so(expected: &RawQuarantined, seen: &QuarantineRecord) -> bool {
    let last = seen.attempts.last().map(|attempt| &attempt.outcome);
    let reason = last.map(reason_of).unwrap_or_default();
    expected.outcome.as_ref().is_none_or(|names| last.is_some_and(|last| is_one_of(names, last)))
        && expected.reason.as_ref().is_none_or(|expected| *expected == reason)
        && expected.reason_has.as_ref().is_none_or(|words| reason.contains(words.as_str()))
        && expected.topic.as_ref().is_none_or(|topic| topic == seen.message.topic.as_str())
        && expected.id.as_ref().is_none_or(|id| id == seen.message.id.as_str())
        && expected.attempts.is_none_or(|attempts| attempts == seen.attempts_made)
}

fn wanted(expected: &RawQuarantined) -> String {
    let RawQuarantined { outcome, reason, reason_has, topic, id, attempts } = expected;
    let parts = [
        outcome.as_ref().map(|OneOf(names)| names.join(" or ")),
        reason.as_ref().map(|reason| format!("reason {reason:?}")),
        reason_has.as_ref().map(|words| format!("a reason with {words:?}")),
        topic.as_ref().map(|topic| format!("topic {topic}")),
        id.as_ref().map(|id| format!("id {id}")),
        attempts.map(|attempts| format!("{attempts} attempts")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn given_up(seen: &QuarantineRecord) -> String {
    let last = seen.attempts.last().map(|attempt| &attempt.outcome);
    let (name, reason) = last.map_or(("none", String::new()), |last| (last.name(), reason_of(last)));
    let (topic, id, attempts) = (&seen.message.topic, &seen.message.id, seen.attempts_made);
    format!("{name}, reason {reason:?}, topic {topic}, id {id}, {attempts} attempts")
}

fn shown(published: &Published) -> String {
    format!("{} {}", published.message.topic, Shown(&published.message.data))
}

fn list<T: AsRef<str>>(items: &[T]) -> String {
    const MAX: usize = 20;
    let shown: Vec<&str> = items.iter().take(MAX).map(AsRef::as_ref).collect();
    match items.len() - shown.len() {
        0 if shown.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
