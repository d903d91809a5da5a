//! Redrives of many quarantined deliveries in the background, at a rate.
//!
//! They are a convenience of the running host: nothing of them is stored, so none survives a restart. What was redriven
//! until then stays redriven, and the rest stays in quarantine, where the same request finds it again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use wasmill_delivery::{effect::OrderRefusal, limits::RATE_PER_SECOND_MAX, name::QuarantineId, time::Timestamp};

use crate::{
    draft::now,
    error::{HostError, PublishError},
    host::{Host, Inner},
};

/// Redrives that run in the background at once.
pub const REDRIVES_RUNNING_MAX: usize = 8;
/// Redrives that ended and are still shown; the oldest go first.
pub const REDRIVES_KEPT_MAX: usize = 32;
/// Refusals that one redrive keeps to show; the first ones.
const REFUSED_SHOWN_MAX: usize = 20;
/// Deliveries are redriven in groups this far apart when the rate is high.
const STEP: Duration = Duration::from_millis(20);
/// Deliveries of one group: one commit takes all of them, as far as it takes so many bytes.
const GROUP_MAX: usize = 64;

/// The number of a redrive, from 1 in each run of the host.
pub type RedriveId = u64;

/// How far a redrive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedriveState {
    /// It goes on.
    Running,
    /// Every delivery was tried.
    Done,
    /// An operator cancelled it.
    Cancelled,
    /// The host stopped.
    Stopped,
}

/// A delivery that was not redriven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RedriveRefused {
    /// Its number.
    pub quarantine_id: QuarantineId,
    /// Why.
    pub problem: String,
}

/// A redrive of many deliveries, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RedriveOperation {
    /// Its number.
    pub id: RedriveId,
    /// What is redriven, in words.
    pub meant: String,
    /// So many in a second.
    pub rate_per_second: u32,
    /// How far it is.
    pub state: RedriveState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Deliveries in all.
    pub total: u64,
    /// Deliveries that were redriven.
    pub redriven: u64,
    /// Deliveries that were redriven or purged by somebody else meanwhile.
    pub skipped: u64,
    /// Deliveries that could not be redriven.
    pub refused: u64,
    /// The first of them.
    pub refusals: Vec<RedriveRefused>,
}

struct Entry {
    shown: RedriveOperation,
    cancel: Arc<AtomicBool>,
}

/// All redrives of the host.
#[derive(Default)]
pub(crate) struct Redrives {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    last: RedriveId,
    by_id: BTreeMap<RedriveId, Entry>,
}

impl Redrives {
    fn change<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        change(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entries {
    fn make_room(&mut self) -> Result<(), HostError> {
        let running = |entry: &Entry| entry.shown.state == RedriveState::Running;
        if self.by_id.values().filter(|entry| running(entry)).count() >= REDRIVES_RUNNING_MAX {
            return Err(HostError::TooManyRedrives);
        }
        let ended: Vec<RedriveId> = self.by_id.iter().filter(|(_, entry)| !running(entry)).map(|(id, _)| *id).collect();
        for id in ended.iter().take((ended.len() + 1).saturating_sub(REDRIVES_KEPT_MAX)) {
            self.by_id.remove(id);
        }
        Ok(())
    }
}

impl Host {
    /// Redrive these deliveries in the background, `rate_per_second` of them in a second. `meant` says in words which
    /// they are. It must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the rate is not from 1 to [`RATE_PER_SECOND_MAX`], or [`REDRIVES_RUNNING_MAX`] run already.
    pub fn start_redrive(
        &self,
        ids: Vec<QuarantineId>,
        rate_per_second: u32,
        meant: String,
    ) -> Result<RedriveOperation, HostError> {
        if !(1..=RATE_PER_SECOND_MAX).contains(&rate_per_second) {
            let (what, given) = ("rate per second", rate_per_second.into());
            return Err(OrderRefusal::OutOfRange { what, given, min: 1, max: RATE_PER_SECOND_MAX.into() }.into());
        }
        let cancel = Arc::new(AtomicBool::new(false));
        let shown = self.inner.redrives.change(|entries| {
            entries.make_room()?;
            entries.last += 1;
            let shown = RedriveOperation {
                id: entries.last,
                meant,
                rate_per_second,
                state: RedriveState::Running,
                started_at: now(),
                ended_at: None,
                total: ids.len() as u64,
                redriven: 0,
                skipped: 0,
                refused: 0,
                refusals: Vec::new(),
            };
            entries.by_id.insert(shown.id, Entry { shown: shown.clone(), cancel: Arc::clone(&cancel) });
            Ok::<_, HostError>(shown)
        })?;
        let run = Run { id: shown.id, host: Arc::downgrade(&self.inner), cancel };
        tokio::spawn(run.run(ids, rate_per_second));
        Ok(shown)
    }

    /// Redrives that run, and the last ones that ended, oldest first.
    #[must_use]
    pub fn redrives(&self) -> Vec<RedriveOperation> {
        self.inner.redrives.change(|entries| entries.by_id.values().map(|entry| entry.shown.clone()).collect())
    }

    /// Stop a redrive. What it redrove stays redriven. Answers how it stands; none when there is none of that number.
    #[must_use]
    pub fn cancel_redrive(&self, id: RedriveId) -> Option<RedriveOperation> {
        self.inner.redrives.change(|entries| {
            let entry = entries.by_id.get_mut(&id)?;
            entry.cancel.store(true, Ordering::Relaxed);
            if entry.shown.state == RedriveState::Running {
                entry.shown.state = RedriveState::Cancelled;
                entry.shown.ended_at = Some(now());
            }
            Some(entry.shown.clone())
        })
    }
}

/// One redrive while it runs. It does not keep the host alive.
struct Run {
    id: RedriveId,
    host: Weak<Inner>,
    cancel: Arc<AtomicBool>,
}

impl Run {
    async fn run(self, ids: Vec<QuarantineId>, rate_per_second: u32) {
        let step = STEP.max(Duration::from_secs(1) / rate_per_second);
        let mut ticks = tokio::time::interval(step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ids = ids.into_iter();
        let (started, mut taken) = (Instant::now(), 0_u64);
        while ids.len() > 0 {
            ticks.tick().await;
            let allowed = 1 + u64::try_from(started.elapsed().as_millis())
                .unwrap_or(u64::MAX)
                .saturating_mul(rate_per_second.into())
                / 1_000;
            let group = usize::try_from(allowed.saturating_sub(taken)).unwrap_or(usize::MAX).min(GROUP_MAX);
            taken = taken.saturating_add(group as u64);
            if self.cancel.load(Ordering::Relaxed) {
                return;
            }
            let Some(inner) = self.host.upgrade() else { return };
            let host = &Host { inner };
            let redriving =
                ids.by_ref().take(group).map(|id| async move { (id, host.redrive(id, None).await.map(drop)) });
            for (id, result) in futures::future::join_all(redriving).await {
                let stopped = matches!(result, Err(PublishError::Host(HostError::Stopped { .. })));
                self.note(host, |shown| count(shown, id, result));
                if stopped {
                    self.note(host, |shown| end(shown, RedriveState::Stopped));
                    return;
                }
            }
        }
        if let Some(inner) = self.host.upgrade() {
            self.note(&Host { inner }, |shown| end(shown, RedriveState::Done));
        }
    }

    fn note(&self, host: &Host, note: impl FnOnce(&mut RedriveOperation)) {
        host.inner.redrives.change(|entries| {
            if let Some(entry) = entries.by_id.get_mut(&self.id) {
                note(&mut entry.shown);
            }
        });
    }
}

fn count(shown: &mut RedriveOperation, id: QuarantineId, result: Result<(), PublishError>) {
    match result {
        Ok(()) => shown.redriven += 1,
        Err(PublishError::Host(HostError::Refused(OrderRefusal::UnknownQuarantine { .. }))) => shown.skipped += 1,
        Err(error) => {
            shown.refused += 1;
            if shown.refusals.len() < REFUSED_SHOWN_MAX {
                shown.refusals.push(RedriveRefused { quarantine_id: id, problem: error.to_string() });
            }
        }
    }
}

fn end(shown: &mut RedriveOperation, state: RedriveState) {
    if shown.state == RedriveState::Running {
        shown.state = state;
        shown.ended_at = Some(now());
    }
}
