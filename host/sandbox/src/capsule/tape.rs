//! The one thing that the host's functions see of recording and replaying.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{
    Exchange, Player,
    clocks::Seeds,
    recorder::{Calls, Readiness, Recorder},
};
use crate::simulation::Simulation;

/// Where the answers of one instance's host go to, or come from.
#[derive(Clone)]
pub(crate) enum Tape {
    /// The host answers, and what it answers is taken down.
    Recording(Arc<Recording>),
    /// A capsule answers.
    Playing(Arc<Player>),
}

/// A recording, which the tasks of HTTP requests share.
pub(crate) struct Recording {
    recorder: Mutex<Recorder>,
    seeds: Mutex<Seeds>,
    simulation: Option<Arc<Simulation>>,
}

impl Tape {
    /// Of the world outside, or of what stands in for it.
    pub(crate) fn recording(simulation: Option<Arc<Simulation>>) -> Self {
        let seeds = Mutex::new(Seeds::of_instance(simulation.clone()));
        Self::Recording(Arc::new(Recording { recorder: Mutex::default(), seeds, simulation }))
    }

    /// What stands in for the world outside.
    pub(crate) fn simulation(&self) -> Option<&Arc<Simulation>> {
        match self {
            Self::Recording(recording) => recording.simulation.as_ref(),
            Self::Playing(_) => None,
        }
    }

    /// The next attempt begins.
    pub(crate) fn begin_attempt(&self) {
        if let Self::Recording(recording) = self {
            recording.recorder().begin_attempt();
            recording.seeds().begin_attempt();
        }
    }

    /// What was taken down. Without WASI there were no random numbers to know the seeds of.
    pub(crate) fn take(&self, uses_wasi: bool) -> Calls {
        match self {
            Self::Playing(_) => Calls::default(),
            Self::Recording(recording) => {
                let seeds = uses_wasi.then(|| recording.seeds().clone());
                Calls { seeds, ..recording.recorder().take() }
            }
        }
    }

    pub(crate) fn player(&self) -> Option<&Arc<Player>> {
        match self {
            Self::Recording(_) => None,
            Self::Playing(player) => Some(player),
        }
    }

    /// Take something down, if this is a recording.
    pub(crate) fn note(&self, note: impl FnOnce(&mut Recorder)) {
        if let Self::Recording(recording) = self {
            note(&mut recording.recorder());
        }
    }

    pub(crate) fn state(&self, key: &str, value: Option<&Bytes>) {
        self.note(|recorder| recorder.state(key, value));
    }

    pub(crate) fn keys(&self, prefix: &str, after: Option<&str>, keys: &[String], more: bool) {
        self.note(|recorder| recorder.keys(prefix, after, keys, more));
    }

    pub(crate) fn readiness(&self, answer: Readiness) {
        self.note(|recorder| recorder.readiness(answer));
    }

    /// A request is sent. Answers with its number.
    pub(crate) fn begin_exchange(&self, exchange: impl FnOnce() -> Exchange) -> Option<usize> {
        let mut number = None;
        self.note(|recorder| number = recorder.begin_exchange(exchange()));
        number
    }

    pub(crate) fn exchange(&self, number: Option<usize>, bytes: usize, note: impl FnOnce(&mut Exchange)) {
        if let Some(number) = number {
            self.note(|recorder| recorder.exchange(number, bytes, note));
        }
    }

    /// The seeds of random numbers.
    pub(crate) fn with_seeds<T>(&self, with: impl FnOnce(&mut Seeds) -> T) -> T {
        match self {
            Self::Recording(recording) => with(&mut recording.seeds()),
            Self::Playing(player) => player.with_seeds(with),
        }
    }
}

impl Recording {
    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seeds(&self) -> MutexGuard<'_, Seeds> {
        self.seeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
