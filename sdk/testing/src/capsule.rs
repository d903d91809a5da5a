//! Quarantined deliveries as tests: a capsule has the message and all that the host answered then.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use wasmill_delivery::{
    input::{AttemptResult, Effects, StateWrite},
    outcome::Outcome,
    record::QuarantineRecord,
};
use wasmill_runtime::{
    replay::{CapsuleFile, Replayed, replay},
    simulated::Program,
};

use crate::{
    check::Seen,
    ends::Ends,
    error::HarnessError,
    loader::Loader,
    notes::{Attempt, Published},
};

/// A quarantined delivery that is run again, offline, with nothing of what it does taking effect.
///
/// `wasmill quarantine export ID --capsule FILE` writes such files.
#[derive(Clone, Debug)]
pub struct Capsule {
    file: CapsuleFile,
}

/// What running a capsule again brought.
#[derive(Clone, Debug)]
pub struct CapsuleRun {
    /// How it ended.
    pub attempt: Attempt,
    /// What it would have published.
    pub published: Vec<Published>,
    /// What it would have stored: the values that it set, and sums from 0 of what it added.
    pub state: BTreeMap<String, Bytes>,
    /// Where it went another way than the recorded attempt, in words.
    pub notes: Vec<String>,
}

impl Capsule {
    /// Read a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no capsule file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, HarnessError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|problem| HarnessError::File { path: path.to_owned(), problem })?;
        Self::from_bytes(&bytes)
    }

    /// Read the bytes of a file.
    ///
    /// # Errors
    /// When they are no capsule file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HarnessError> {
        Ok(Self { file: CapsuleFile::from_bytes(bytes)? })
    }

    pub(crate) const fn of(record: QuarantineRecord, capsule: Bytes) -> Self {
        Self { file: CapsuleFile { record, capsule, component: None } }
    }

    /// As a file has it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.file.to_bytes()
    }

    /// The component that failed, if the file has it.
    #[must_use]
    pub const fn component(&self) -> Option<&Bytes> {
        self.file.component.as_ref()
    }

    /// Run this program on it: the one that failed, or one that is to mend it.
    ///
    /// # Errors
    /// When the capsule in the file cannot be read, or there is no runtime.
    ///
    /// # Panics
    /// When it is called within an asynchronous task: it waits by itself.
    pub fn run(&self, program: &Arc<Program>) -> Result<CapsuleRun, HarnessError> {
        let (capsule, recorded) = (self.file.capsule()?, self.file.last_attempt()?);
        let message = Arc::clone(&self.file.record.message);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().map_err(HarnessError::Runtime)?;
        let replaying = Box::pin(replay(Arc::clone(program), &capsule, recorded, Arc::clone(&message)));
        let Replayed { attempt, notes, .. } = runtime.block_on(replaying);
        let outcome = attempt.result.outcome().clone();
        let effects = match attempt.result {
            AttemptResult::Succeeded(effects) => effects,
            AttemptResult::SucceededWithNext | AttemptResult::Failed(_) => Effects::default(),
        };
        let published = effects.published.into_iter().map(|entry| Published {
            delay_ms: entry.deliver_at.map(|at| at.ms_since(entry.message.published_at)),
            message: (*entry.message).clone(),
        });
        Ok(CapsuleRun {
            attempt: Attempt {
                message: (*message).clone(),
                attempt: recorded.attempt,
                ended_at: recorded.started_at,
                outcome,
                fuel: attempt.fuel_used,
                memory_bytes: attempt.memory_bytes_peak,
                log: attempt.log,
            },
            published: published.collect(),
            state: stored(effects.state.writes),
            notes,
        })
    }

    pub(crate) fn see(&self, loader: &Loader, program: Option<&Arc<Program>>) -> Result<Seen, HarnessError> {
        let program = match (program, self.component()) {
            (Some(program), _) => Arc::clone(program),
            (None, Some(component)) => loader.load(component)?,
            (None, None) => return Err(HarnessError::Setting("the capsule file has no component".to_owned())),
        };
        let CapsuleRun { attempt, published, state, notes } = self.run(&program)?;
        let unsettled = u64::from(attempt.outcome != Outcome::Success);
        Ok(Seen {
            attempts: vec![attempt],
            published,
            quarantined: Vec::new(),
            requests: Vec::new(),
            state,
            elapsed: Duration::ZERO,
            unsettled,
            given: Vec::new(),
            ends: Ends::default(),
            notes,
        })
    }
}

fn stored(writes: Vec<StateWrite>) -> BTreeMap<String, Bytes> {
    let mut state: BTreeMap<String, Bytes> = BTreeMap::new();
    for write in writes {
        match write {
            StateWrite::Set { key, value } => drop(state.insert(key, value)),
            StateWrite::Delete { key } => drop(state.remove(&key)),
            StateWrite::Add { key, delta } => {
                let before = state.get(&key).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
                let sum = before.unwrap_or(0_i64).saturating_add(delta);
                state.insert(key, sum.to_string().into());
            }
        }
    }
    state
}
