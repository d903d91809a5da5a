//! One attempt's view of its handler's state: its own writes, over those of earlier deliveries of the run, over
//! what the store has.

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::time::Instant;
use wasmill_delivery::{
    input::{StateAccess, StateWrite},
    limits::{STATE_KEY_BYTES_MAX, STATE_KEYS_PAGE_MAX, STATE_VALUE_BYTES_MAX},
};

use crate::{
    attempt::HandlerContext,
    bindings::wasmill::handler::state::{KeyPage, StateError},
    capsule::Tape,
    limits::{STATE_READS_MAX, STATE_WRITES_MAX},
    overlay::{Change, Overlay, StagedState, decimal, integer},
    stop::Stop,
    sum::Sum,
};

/// What an increment counts against the limit of state bytes besides its key: the integer.
const INTEGER_BYTES: usize = size_of::<i64>();

/// A call that does not do what it was made for.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The guest is told why.
    Answer(StateError),
    /// The guest is ended.
    Stop(Stop),
}

impl From<Stop> for Refused {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<StateError> for Refused {
    fn from(error: StateError) -> Self {
        Self::Answer(error)
    }
}

/// Where the values are that this run did not change.
#[derive(Clone, Copy)]
pub(crate) struct Below<'a> {
    pub(crate) context: &'a HandlerContext,
    /// A read may go to a disk, so the clock is looked at before each.
    pub(crate) deadline: Instant,
    /// What is read is taken down here.
    pub(crate) tape: &'a Tape,
}

/// What one attempt reads and writes.
#[derive(Debug, Default)]
pub(crate) struct StateView {
    staged: StagedState,
    own: Overlay,
    access: StateAccess,
    reads: BTreeSet<String>,
    revision_is_known: bool,
    bytes: u64,
    unavailable: Option<String>,
}

impl StateView {
    pub(crate) fn over(staged: StagedState) -> Self {
        Self { staged, ..Self::default() }
    }

    /// What the store answered when it could not be read.
    pub(crate) const fn unavailable(&mut self) -> Option<String> {
        self.unavailable.take()
    }

    /// End a successful attempt: later deliveries of the run see what it wrote.
    pub(crate) fn succeed(self) -> (StagedState, StateAccess) {
        let mut staged = self.staged;
        staged.0.absorb(self.own);
        let access = StateAccess { reads: self.reads.into_iter().collect(), ..self.access };
        (staged, access)
    }

    /// End any other attempt: nothing that it wrote exists.
    pub(crate) fn fail(self) -> StagedState {
        self.staged
    }

    pub(crate) fn get(&mut self, below: Below<'_>, key: &str) -> Result<Option<Bytes>, Refused> {
        check_key(key)?;
        let (value, from_store) = self.visible(below, key)?;
        if from_store {
            self.remember_read(key);
        }
        Ok(value)
    }

    pub(crate) fn set(&mut self, below: Below<'_>, key: String, value: Bytes) -> Result<(), Refused> {
        check_key(&key)?;
        if value.len() > STATE_VALUE_BYTES_MAX {
            return Err(StateError::TooLarge(STATE_VALUE_BYTES_MAX as u64).into());
        }
        self.make_room(below, key.len() + value.len())?;
        self.access.writes.push(StateWrite::Set { key: key.clone(), value: value.clone() });
        self.own.change(key, Change::Put(value));
        Ok(())
    }

    pub(crate) fn delete(&mut self, below: Below<'_>, key: String) -> Result<(), Refused> {
        check_key(&key)?;
        self.make_room(below, key.len())?;
        self.access.writes.push(StateWrite::Delete { key: key.clone() });
        self.own.change(key, Change::Deleted);
        Ok(())
    }

    /// On a value of the store it is no read, though it looks at it: it is right on top of any integer, and the
    /// engine knows when the value was replaced since `access.revision`. On a value of this run it is a plain write.
    pub(crate) fn increment(&mut self, below: Below<'_>, key: String, delta: i64) -> Result<(), Refused> {
        check_key(&key)?;
        let (value, from_store) = self.visible(below, &key)?;
        let number = value.as_deref().map_or(Some(0), integer).ok_or(StateError::NotAnInteger)?;
        self.make_room(below, key.len() + INTEGER_BYTES)?;
        if from_store {
            self.access.writes.push(StateWrite::Add { key: key.clone(), delta });
            self.own.change(key, Change::Added(Sum::of(delta)));
        } else {
            let value = decimal(number.saturating_add(delta));
            self.access.writes.push(StateWrite::Set { key: key.clone(), value: value.clone() });
            self.own.change(key, Change::Put(value));
        }
        Ok(())
    }

    /// A page of the keys that are visible now. A page of the store may shrink by what the run deleted, so it takes
    /// as many of them as it needs.
    pub(crate) fn list_keys(
        &mut self,
        below: Below<'_>,
        prefix: &str,
        after: Option<String>,
    ) -> Result<KeyPage, Refused> {
        check_text("prefix", prefix)?;
        check_text("after", after.as_deref().unwrap_or_default())?;
        self.access.listed = true;
        let mut found = BTreeSet::new();
        let asked_after = after.clone();
        let mut after = after;
        while found.len() <= STATE_KEYS_PAGE_MAX {
            let page = self.stored_keys(below, prefix, after.as_deref())?;
            let last = if page.len() < STATE_KEYS_PAGE_MAX { None } else { page.last().cloned() };
            found.extend(page.into_iter().filter(|key| self.has(key) != Some(false)));
            self.collect_present(prefix, after.as_deref(), last.as_deref(), &mut found);
            if last.is_none() {
                break;
            }
            after = last;
        }
        let page = page_of(found);
        below.tape.keys(prefix, asked_after.as_deref(), &page.keys, page.next.is_some());
        Ok(page)
    }

    fn has(&self, key: &str) -> Option<bool> {
        self.own.has(key).or_else(|| self.staged.0.has(key))
    }

    fn collect_present(&self, prefix: &str, after: Option<&str>, until: Option<&str>, found: &mut BTreeSet<String>) {
        let mut staged = BTreeSet::new();
        self.staged.0.collect_present(prefix, after, until, &mut staged);
        found.extend(staged.into_iter().filter(|key| self.own.has(key) != Some(false)));
        self.own.collect_present(prefix, after, until, found);
    }

    /// The value that the handler sees, and whether the store had a part in it.
    fn visible(&mut self, below: Below<'_>, key: &str) -> Result<(Option<Bytes>, bool), Refused> {
        self.learn_revision(below);
        match self.own.get(key).cloned() {
            Some(Change::Put(value)) => Ok((Some(value), false)),
            Some(Change::Deleted) => Ok((None, false)),
            Some(Change::Added(sum)) => {
                let (value, from_store) = self.visible_in_run(below, key)?;
                Ok((Some(added(value.as_deref(), sum)?), from_store))
            }
            None => self.visible_in_run(below, key),
        }
    }

    fn visible_in_run(&mut self, below: Below<'_>, key: &str) -> Result<(Option<Bytes>, bool), Refused> {
        let (value, from_store) = match self.staged.0.get(key).cloned() {
            Some(Change::Put(value)) => (Some(value), false),
            Some(Change::Deleted) => (None, false),
            Some(Change::Added(sum)) => {
                let value = self.stored(below, key)?;
                (Some(added(value.as_deref(), sum)?), true)
            }
            None => (self.stored(below, key)?, true),
        };
        below.tape.state(key, value.as_ref());
        Ok((value, from_store))
    }

    fn stored(&mut self, below: Below<'_>, key: &str) -> Result<Option<Bytes>, Refused> {
        check_time(below)?;
        let answer = below.context.state.get(&below.context.handler, key);
        answer.map_err(|detail| self.refuse_unavailable(detail))
    }

    fn stored_keys(&mut self, below: Below<'_>, prefix: &str, after: Option<&str>) -> Result<Vec<String>, Refused> {
        check_time(below)?;
        self.learn_revision(below);
        let context = below.context;
        let answer = context.state.list_keys(&context.handler, prefix, after, STATE_KEYS_PAGE_MAX);
        answer.map_err(|detail| self.refuse_unavailable(detail))
    }

    /// Before the first read: what is written after it is a conflict, also if the read has seen it already.
    fn learn_revision(&mut self, below: Below<'_>) {
        if !self.revision_is_known {
            self.access.revision = below.context.state.revision();
            self.revision_is_known = true;
        }
    }

    fn remember_read(&mut self, key: &str) {
        if self.access.listed || self.reads.contains(key) {
            return;
        }
        if self.reads.len() < STATE_READS_MAX {
            self.reads.insert(key.to_owned());
        } else {
            self.reads.clear();
            self.access.listed = true;
        }
    }

    fn refuse_unavailable(&mut self, detail: String) -> Refused {
        self.unavailable.get_or_insert_with(|| detail.clone());
        StateError::Unavailable(detail).into()
    }

    fn make_room(&mut self, below: Below<'_>, bytes: usize) -> Result<(), Stop> {
        let bytes_max = below.context.limits.state_bytes_max;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes > bytes_max {
            return Err(Stop::StateLimit(format!("{bytes_max} bytes")));
        }
        if self.access.writes.len() >= STATE_WRITES_MAX {
            return Err(Stop::StateLimit(format!("{STATE_WRITES_MAX} values")));
        }
        Ok(())
    }
}

fn added(value: Option<&[u8]>, sum: Sum) -> Result<Bytes, StateError> {
    // It was an integer when the sum was made; another delivery may have replaced it since, and the commit will see.
    let number = value.map_or(Some(0), integer).ok_or(StateError::NotAnInteger)?;
    Ok(decimal(sum.apply(number)))
}

fn page_of(found: BTreeSet<String>) -> KeyPage {
    let more = found.len() > STATE_KEYS_PAGE_MAX;
    let keys: Vec<String> = found.into_iter().take(STATE_KEYS_PAGE_MAX).collect();
    let next = if more { keys.last().cloned() } else { None };
    KeyPage { keys, next }
}

fn check_key(key: &str) -> Result<(), StateError> {
    if key.is_empty() {
        return Err(StateError::InvalidKey("the key is empty; give 1 to 255 bytes".to_owned()));
    }
    check_text("key", key)
}

fn check_text(what: &str, text: &str) -> Result<(), StateError> {
    if text.len() > STATE_KEY_BYTES_MAX {
        let problem = format!("the {what} has {} bytes; keys are at most {STATE_KEY_BYTES_MAX}", text.len());
        return Err(StateError::InvalidKey(problem));
    }
    Ok(())
}

fn check_time(below: Below<'_>) -> Result<(), Stop> {
    if Instant::now() >= below.deadline {
        return Err(Stop::TimedOut);
    }
    Ok(())
}
