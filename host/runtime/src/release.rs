//! Which version runs a delivery, when there is more than one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use wasmill_delivery::{
    canary::Side,
    effect::SettleAnswer,
    input::AttemptResult,
    message::Message,
    name::Digest,
    record::{AttemptRecord, HandlerRecord},
    versions::Retries,
};
use wasmill_sandbox::Session;

use crate::{
    canary::Trial,
    registry::{Registry, Version},
};

/// Instances that one slot keeps warm: of the current version, and of the one that is tried.
const SESSIONS_MAX: usize = 2;

/// What may run beside the current version. Empty as a rule.
#[derive(Default)]
pub(crate) struct Release {
    pub(crate) canary: Option<Canary>,
    pub(crate) stay: Option<Stay>,
}

/// A version that is tried.
pub(crate) struct Canary {
    pub(crate) trial: Arc<Trial>,
    pub(crate) candidate: Arc<Version>,
}

/// Earlier versions, for deliveries that stay with the one that ran them last.
pub(crate) struct Stay {
    /// Those that may run: kept, and not given up.
    kept: BTreeSet<Digest>,
    /// Those that were needed so far; none when one cannot run.
    loaded: Mutex<BTreeMap<Digest, Option<Arc<Version>>>>,
}

impl Stay {
    pub(crate) fn of(record: &HandlerRecord) -> Option<Self> {
        let stays = match record.replacing.retries {
            Retries::Stay => true,
            Retries::MoveOn => false,
        };
        let kept = record.digests().filter(|digest| !record.versions.is_given_up(*digest));
        stays.then(|| Self { kept: kept.collect(), loaded: Mutex::default() })
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Option<Arc<Version>>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Version {
    /// The version that runs this delivery; this is the current one.
    pub(crate) async fn chosen_for(
        self: &Arc<Self>,
        registry: &Arc<Registry>,
        message: &Message,
        earlier: &[AttemptRecord],
    ) -> Arc<Self> {
        self.other_for(registry, message, earlier).await.unwrap_or_else(|| Arc::clone(self))
    }

    /// The version that runs this delivery, when it is another than this, the current one.
    pub(crate) async fn other_for(
        self: &Arc<Self>,
        registry: &Arc<Registry>,
        message: &Message,
        earlier: &[AttemptRecord],
    ) -> Option<Arc<Self>> {
        let Release { canary, stay } = &self.release;
        let candidate = canary.as_ref().filter(|canary| canary.trial.takes(message, earlier));
        let last = earlier.iter().rev().find_map(|attempt| attempt.digest);
        if let (Some(stay), Some(last)) = (stay, last) {
            if last == self.program.digest() {
                return None;
            }
            if let Some(candidate) = candidate.filter(|candidate| candidate.trial.record.digest == last) {
                return Some(Arc::clone(&candidate.candidate));
            }
            let is_tried = canary.as_ref().is_some_and(|canary| canary.trial.record.digest == last);
            if !is_tried && let Some(older) = self.older(registry, stay, last).await {
                return Some(older);
            }
            let handler = &self.context.handler;
            tracing::info!(%handler, digest = %last, "a retry moves on: the version of its last attempt is gone or given up");
        }
        candidate.map(|candidate| Arc::clone(&candidate.candidate))
    }

    /// Whether a version that new deliveries go to takes batches. Retries are called alone, whatever their version takes.
    pub(crate) fn some_take_batches(&self) -> bool {
        let candidate = self.release.canary.as_ref().map(|canary| &canary.candidate);
        self.program.takes_batches() || candidate.is_some_and(|candidate| candidate.program.takes_batches())
    }

    async fn older(self: &Arc<Self>, registry: &Arc<Registry>, stay: &Stay, digest: Digest) -> Option<Arc<Self>> {
        if !stay.kept.contains(&digest) {
            return None;
        }
        if let Some(known) = stay.loaded().get(&digest) {
            return known.clone();
        }
        let handler = self.context.handler.clone();
        let registry = Arc::clone(registry);
        let finding = tokio::task::spawn_blocking(move || registry.find(&handler, digest)).await;
        let older = match finding.map_err(|error| error.to_string()).and_then(|found| found.map_err(|e| e.to_string()))
        {
            Ok(program) => {
                let context = Arc::clone(&self.context);
                Some(Arc::new(Self { program, context, release: Release::default() }))
            }
            Err(problem) => {
                let handler = &self.context.handler;
                tracing::warn!(%handler, %digest, problem, "retries cannot stay on an earlier version");
                None
            }
        };
        stay.loaded().insert(digest, older.clone());
        older
    }

    /// What a trial makes of an attempt that this version, or another, has just ended. Answers whose it counts as when
    /// it is settled: only first attempts count.
    pub(crate) fn note_attempt(
        self: &Arc<Self>,
        chosen: &Arc<Self>,
        result: &AttemptResult,
        earlier: &[AttemptRecord],
    ) -> Option<Side> {
        let canary = self.release.canary.as_ref()?;
        let side = if Arc::ptr_eq(chosen, self) {
            Side::Current
        } else if Arc::ptr_eq(chosen, &canary.candidate) {
            Side::Candidate
        } else {
            return None;
        };
        canary.trial.attempted(side, result, earlier);
        earlier.is_empty().then_some(side)
    }
}

/// The warm instances of one slot, the last used last.
#[derive(Default)]
pub(crate) struct Sessions(Vec<(Arc<Version>, Session)>);

impl Sessions {
    /// The session for a version; give it back after use.
    pub(crate) fn take(&mut self, version: &Arc<Version>) -> Session {
        match self.0.iter().position(|(of, _)| Arc::ptr_eq(of, version)) {
            Some(at) => self.0.remove(at).1,
            None => Session::new(Arc::clone(&version.program), Arc::clone(&version.context)),
        }
    }

    /// Keep a session. `current` tells which others may still be of use.
    pub(crate) fn put(&mut self, version: Arc<Version>, session: Session, current: &Arc<Version>) {
        let candidate = current.release.canary.as_ref().map(|canary| &canary.candidate);
        self.0.retain(|(of, _)| Arc::ptr_eq(of, current) || candidate.is_some_and(|other| Arc::ptr_eq(of, other)));
        self.0.push((version, session));
        debug_assert!(self.0.len() <= SESSIONS_MAX + 1, "more instances than a slot may keep");
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What a trial is told once a run is settled.
pub(crate) struct TrialNotes {
    trial: Arc<Trial>,
    /// Of each delivery that was tried, whose it counts as.
    pub(crate) sides: Vec<Option<Side>>,
}

impl TrialNotes {
    /// None when no version is tried.
    pub(crate) fn of(version: &Version) -> Option<Self> {
        let canary = version.release.canary.as_ref()?;
        Some(Self { trial: Arc::clone(&canary.trial), sides: Vec::new() })
    }

    /// These are the outcomes of the run, and what was decided.
    pub(crate) fn settled(&self, outcomes: &[&'static str], answers: &[SettleAnswer]) {
        for ((side, outcome), answer) in self.sides.iter().zip(outcomes).zip(answers) {
            if let Some(side) = side {
                self.trial.settled(*side, outcome, answer);
            }
        }
    }
}
