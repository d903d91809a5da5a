//! Versions that are tried now: what is counted of them, and the end of each trial.
//!
//! Whoever finds that a trial is over marks it so, and from that moment nothing new goes to the version that was tried.
//! What that means for the record is done by [`keep`], one trial after the other, for it takes a commit.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use wasmill_delivery::{
    canary::{CanaryEnd, Counts, Side, Tally, is_of_share},
    effect::SettleAnswer,
    input::AttemptResult,
    message::Message,
    name::HandlerName,
    outcome::Outcome,
    record::AttemptRecord,
    versions::CanaryRecord,
};

use crate::{
    draft::now,
    host::{Host, Inner},
};

/// How often is looked whether the time of a trial is over.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One trial. It outlives changes of the handler's settings.
pub(crate) struct Trial {
    pub(crate) handler: HandlerName,
    pub(crate) record: CanaryRecord,
    tally: Mutex<Tally>,
    ended: OnceLock<CanaryEnd>,
    ends: UnboundedSender<Arc<Trial>>,
}

impl Trial {
    /// Whether a message goes to the version that is tried. A delivery that failed there does not go there again: so it
    /// is known whether the version or the message is at fault, and no attempt more is burned on it. If it did, a storm
    /// of failures of that version could pause the consumer on a delivery that can only fail, and never end the trial.
    pub(crate) fn takes(&self, message: &Message, earlier: &[AttemptRecord]) -> bool {
        let CanaryRecord { digest, policy, .. } = &self.record;
        // What only settling found out, such as unroutable, names no version: it may have been this one.
        let failed =
            |attempt: &AttemptRecord| attempt.digest.is_none_or(|of| of == *digest) && is_failure(&attempt.outcome);
        self.end().is_none() && is_of_share(policy.share_percent, *digest, message) && !earlier.iter().any(failed)
    }

    /// An attempt ended in the sandbox.
    pub(crate) fn attempted(self: &Arc<Self>, side: Side, result: &AttemptResult, earlier: &[AttemptRecord]) {
        let AttemptResult::Failed(record) = result else { return };
        let mut tally = self.tally();
        let end = tally.attempted(side, &record.outcome, earlier, self.record.digest);
        self.end_by(end);
    }

    /// A first attempt was settled.
    pub(crate) fn settled(self: &Arc<Self>, side: Side, outcome: &str, answer: &SettleAnswer) {
        if outcome == "expired" {
            return;
        }
        let failed = match answer {
            SettleAnswer::Committed => false,
            SettleAnswer::RetryAt { burned_attempt: true, .. } | SettleAnswer::Quarantined { .. } => true,
            // While a storm lasts no attempt is burned, and it failed all the same.
            SettleAnswer::RetryAt { burned_attempt: false, .. } => match outcome {
                "defer" | "throttle" | "host-fault" => return,
                // What a group published was refused, and it is not known which of its deliveries is to blame.
                "success" => return,
                _ => true,
            },
            SettleAnswer::Conflict
            | SettleAnswer::PublishRefused { .. }
            | SettleAnswer::Expired
            | SettleAnswer::OutOfOrder
            | SettleAnswer::Cancelled
            | SettleAnswer::StaleFence => return,
        };
        let mut tally = self.tally();
        // What comes after the end did not decide it, and is not told as if it had.
        if self.end().is_none() {
            let end = tally.settled(side, failed, &self.record.policy);
            self.end_by(end);
        }
    }

    /// How it ended, when it has.
    pub(crate) fn end(&self) -> Option<&CanaryEnd> {
        self.ended.get()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.tally().counts()
    }

    fn end_by(self: &Arc<Self>, end: Option<CanaryEnd>) {
        if let Some(end) = end
            && self.ended.set(end).is_ok()
        {
            // Nobody listens when the host is gone, and then nothing is to be done.
            let _ = self.ends.send(Arc::clone(self));
        }
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a version that answers so has failed; else it asks for another time.
const fn is_failure(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Defer { .. } | Outcome::Throttle { .. } | Outcome::HostFault { .. })
}

/// All trials, at most one of each handler.
pub(crate) struct Trials {
    running: Mutex<BTreeMap<HandlerName, Arc<Trial>>>,
    ends: UnboundedSender<Arc<Trial>>,
}

impl Trials {
    pub(crate) const fn new(ends: UnboundedSender<Arc<Trial>>) -> Self {
        Self { running: Mutex::new(BTreeMap::new()), ends }
    }

    /// The trial that this record tells of: the one that runs, or a new one.
    pub(crate) fn begin(&self, handler: &HandlerName, record: &CanaryRecord) -> Arc<Trial> {
        let mut running = self.running();
        if let Some(trial) = running.get(handler).filter(|trial| trial.record == *record) {
            return Arc::clone(trial);
        }
        let trial = Arc::new(Trial {
            handler: handler.clone(),
            record: record.clone(),
            tally: Mutex::default(),
            ended: OnceLock::new(),
            ends: self.ends.clone(),
        });
        running.insert(handler.clone(), Arc::clone(&trial));
        trial
    }

    pub(crate) fn of(&self, handler: &HandlerName) -> Option<Arc<Trial>> {
        self.running().get(handler).cloned()
    }

    pub(crate) fn forget(&self, handler: &HandlerName) {
        self.running().remove(handler);
    }

    fn end_late_ones(&self) {
        let now = now();
        for trial in self.running().values() {
            let CanaryRecord { began_at, policy, .. } = &trial.record;
            if now >= began_at.plus_ms(policy.duration_ms) {
                trial.end_by(Some(CanaryEnd::Undecided));
            }
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<HandlerName, Arc<Trial>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Do what the end of each trial means, for as long as the host lives.
pub(crate) async fn keep(host: Weak<Inner>, mut ended: UnboundedReceiver<Arc<Trial>>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut owed: Vec<Arc<Trial>> = Vec::new();
    loop {
        let trials = tokio::select! {
            trial = ended.recv() => match trial {
                Some(trial) => vec![trial],
                None => return,
            },
            _ = looks.tick() => {
                let Some(inner) = host.upgrade() else { return };
                inner.registry.trials().end_late_ones();
                std::mem::take(&mut owed)
            }
        };
        for trial in trials {
            let Some(inner) = host.upgrade() else { return };
            if let Err(error) = (Host { inner }).end_trial(&trial).await {
                let (handler, digest) = (&trial.handler, trial.record.digest);
                tracing::error!(%handler, %digest, %error, "the end of a canary cannot be recorded now; it takes nothing meanwhile");
                owed.push(trial);
            }
        }
    }
}
