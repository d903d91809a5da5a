//! Playing a capsule back.
//!
//! The component that was recorded asks for the same things in the same order, and gets the same answers in that order,
//! also about what was ready when. Another component, a candidate, may ask for other things: it gets the state by key,
//! answers by method and URL, clocks and random numbers in their order, and everything is ready at once. What the
//! capsule does not have is answered as if there were nothing, and noted.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use wasmill_delivery::{input::Revision, name::HandlerName};

use super::{
    Capsule, Exchange,
    clocks::Seeds,
    exchange::{Answer, Rest, Url},
    recorder::{KeysRead, Readiness},
};
use crate::attempt::StateReader;

/// What a replay says of where it went another way, at most so many lines.
const NOTES_MAX: usize = 32;
/// How far a clock goes on from one reading to the next when the capsule has no more of them.
const READING_NS: u64 = 1_000_000;
/// A candidate that sleeps does so for no longer: long enough that an answer, which is there at once, comes first.
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// Plays one capsule back, once.
pub(crate) struct Player {
    /// Whether the component is the one that was recorded.
    exact: bool,
    /// Whether the recorded attempt ended because its time was over.
    timed_out: bool,
    complete: bool,
    grants_known: bool,
    playing: Mutex<Playing>,
}

struct Playing {
    wall_clock: Readings,
    monotonic: Readings,
    seeds: Seeds,
    state: BTreeMap<String, VecDeque<Option<Bytes>>>,
    keys: BTreeMap<(String, Option<String>), VecDeque<KeysRead>>,
    http: Vec<Option<Exchange>>,
    readiness: VecDeque<Readiness>,
    notes: Vec<String>,
    notes_dropped: u64,
}

/// The readings of a clock that are still to come, and the last one.
struct Readings {
    next: VecDeque<u64>,
    last_ns: u64,
}

/// What the capsule has for a request.
pub(crate) enum PlayedAnswer {
    Answered(Answer, Rest),
    /// The attempt waited for it until its time was over.
    Never,
    Unknown,
}

/// What the capsule has for a question about readiness.
pub(crate) enum Expected {
    /// This was answered.
    Recorded(Readiness),
    /// The attempt's time was over while it waited for the answer.
    TimedOut,
    /// Ask the host.
    Unknown,
}

impl Player {
    /// For a component that is, or is not, the one that was recorded. `began_ms` is what the clock shows when none was
    /// read.
    pub(crate) fn new(capsule: &Capsule, exact: bool, timed_out: bool, began_ms: u64) -> Self {
        let calls = capsule.calls.clone();
        let mut state: BTreeMap<String, VecDeque<Option<Bytes>>> = BTreeMap::new();
        for read in calls.state {
            state.entry(read.key).or_default().push_back(read.value);
        }
        let mut keys: BTreeMap<_, VecDeque<KeysRead>> = BTreeMap::new();
        for read in calls.keys {
            keys.entry((read.prefix.clone(), read.after.clone())).or_default().push_back(read);
        }
        let playing = Playing {
            wall_clock: Readings { next: calls.wall_clock_ns.into(), last_ns: began_ms.saturating_mul(1_000_000) },
            monotonic: Readings { next: calls.monotonic_ns.into(), last_ns: 0 },
            seeds: calls.seeds.unwrap_or_default(),
            state,
            keys,
            http: calls.http.into_iter().map(Some).collect(),
            readiness: calls.readiness.into(),
            notes: Vec::new(),
            notes_dropped: 0,
        };
        Self {
            exact,
            timed_out,
            complete: capsule.is_complete(),
            grants_known: !capsule.left_out.iter().any(|part| part == "grants"),
            playing: Mutex::new(playing),
        }
    }

    /// What went another way than recorded, in words.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        let mut playing = self.playing();
        let mut notes = std::mem::take(&mut playing.notes);
        if playing.notes_dropped > 0 {
            notes.push(format!("and {} more", playing.notes_dropped));
        }
        notes
    }

    pub(crate) const fn knows_grants(&self) -> bool {
        self.grants_known
    }

    pub(super) fn wall_clock_ns(&self) -> u64 {
        let mut playing = self.playing();
        let (now_ns, known) = playing.wall_clock.read();
        if !known {
            playing.note("asks for the time of day more often than was recorded".to_owned());
        }
        now_ns
    }

    pub(super) fn monotonic_ns(&self) -> u64 {
        let mut playing = self.playing();
        let (now_ns, known) = playing.monotonic.read();
        if !known {
            playing.note("reads the monotonic clock more often than was recorded".to_owned());
        }
        now_ns
    }

    /// The guest sleeps. Answers with how long it really does.
    pub(super) fn sleep(&self, wanted: Duration) -> Duration {
        let mut playing = self.playing();
        let wanted_ns = u64::try_from(wanted.as_nanos()).unwrap_or(u64::MAX);
        playing.wall_clock.pass(wanted_ns);
        playing.monotonic.pass(wanted_ns);
        if self.exact { Duration::ZERO } else { wanted.min(SLEEP_MAX) }
    }

    pub(super) fn with_seeds<T>(&self, with: impl FnOnce(&mut Seeds) -> T) -> T {
        with(&mut self.playing().seeds)
    }

    /// What was answered to a question of this kind, if that was the next question.
    pub(super) fn expect(&self, is_kind: impl FnOnce(&Readiness) -> bool) -> Expected {
        if !self.exact {
            return Expected::Unknown;
        }
        let mut playing = self.playing();
        match playing.readiness.front() {
            Some(next) if is_kind(next) => match playing.readiness.pop_front() {
                Some(next) => Expected::Recorded(next),
                None => Expected::Unknown,
            },
            Some(_) => {
                playing.note("waits for things in another order than was recorded".to_owned());
                Expected::Unknown
            }
            None if self.timed_out && self.complete => Expected::TimedOut,
            None => {
                playing.note("waits more often than was recorded".to_owned());
                Expected::Unknown
            }
        }
    }

    /// Whether the next answer was this one; it is used up then.
    pub(super) fn was(&self, answer: &Readiness) -> bool {
        let mut playing = self.playing();
        let was = self.exact && playing.readiness.front() == Some(answer);
        if was {
            playing.readiness.pop_front();
        }
        was
    }

    /// What came back to the next request of this method to this URL.
    pub(crate) fn answer(&self, method: &str, url: &str) -> PlayedAnswer {
        let mut playing = self.playing();
        let url = Url(url.to_owned());
        let found = playing.http.iter_mut().find(|exchange| {
            exchange.as_ref().is_some_and(|exchange| exchange.method == method && exchange.url == url)
        });
        let Some(exchange) = found.and_then(Option::take) else {
            playing.note(format!("the request {method} {} was not recorded; it fails", url.0));
            return PlayedAnswer::Unknown;
        };
        let waited = self.exact && self.timed_out;
        match exchange.answer {
            Some(answer) => PlayedAnswer::Answered(answer, if waited { Rest::Never } else { Rest::Unknown }),
            None if waited => PlayedAnswer::Never,
            None => {
                playing.note(format!("no answer to {method} {} was recorded; it fails", url.0));
                PlayedAnswer::Unknown
            }
        }
    }

    fn playing(&self) -> MutexGuard<'_, Playing> {
        self.playing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Playing {
    fn note(&mut self, words: String) {
        if self.notes.contains(&words) {
            return;
        }
        if self.notes.len() < NOTES_MAX {
            self.notes.push(words);
        } else {
            self.notes_dropped += 1;
        }
    }
}

impl Readings {
    /// The next reading, and whether it was recorded.
    fn read(&mut self) -> (u64, bool) {
        let next = self.next.pop_front();
        self.last_ns = next.unwrap_or_else(|| self.last_ns.saturating_add(READING_NS));
        (self.last_ns, next.is_some())
    }

    fn pass(&mut self, passed_ns: u64) {
        if self.next.is_empty() {
            self.last_ns = self.last_ns.saturating_add(passed_ns);
        }
    }
}

/// The state as the attempt saw it.
pub(crate) struct StateOfCapsule(pub(super) Arc<Player>);

impl StateReader for StateOfCapsule {
    fn revision(&self) -> Revision {
        Revision::default()
    }

    fn get(&self, _: &HandlerName, key: &str) -> Result<Option<Bytes>, String> {
        let mut playing = self.0.playing();
        let Some(values) = playing.state.get_mut(key) else {
            playing.note(format!("the value of {key:?} was not recorded; it is taken to be missing"));
            return Ok(None);
        };
        // The last one stays: whoever asks again finds what was there last.
        Ok(if values.len() > 1 { values.pop_front().flatten() } else { values.front().cloned().flatten() })
    }

    fn list_keys(
        &self,
        _: &HandlerName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, String> {
        let mut playing = self.0.playing();
        let page = match playing.keys.get_mut(&(prefix.to_owned(), after.map(ToOwned::to_owned))) {
            Some(pages) if pages.len() > 1 => pages.pop_front(),
            Some(pages) => pages.front().cloned(),
            None => None,
        };
        if let Some(page) = page {
            return Ok(page.keys.into_iter().take(limit).collect());
        }
        if let Some(after) = after
            && playing
                .keys
                .values()
                .flatten()
                .any(|page| page.more && page.keys.last().is_some_and(|last| last == after))
        {
            // The guest was told that there are more, and did not ask for them. One is enough to tell it again.
            return Ok(vec![format!("{after}\u{10ffff}")]);
        }
        playing.note(format!("the keys from {prefix:?} on were not recorded; there are taken to be none"));
        Ok(Vec::new())
    }
}
