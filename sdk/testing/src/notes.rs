//! What is taken down while a handler runs: attempts as the slots see them, effects as they are committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;
use wasmill_delivery::{
    effect::SettleAnswer,
    input::{AttemptResult, PublishEntry, Settlement},
    message::Message,
    name::{HandlerName, MessageId, QueueId, Sequence},
    outcome::Outcome,
    record::{AttemptRecord, QuarantineRecord},
    time::Timestamp,
    write::Write,
};
use wasmill_runtime::{
    AttemptSeen, Observer, SettleSeen,
    simulated::{Clock, CommitWatch, StoreError},
};

use crate::{
    ends::{End, Ends},
    http::PlannedHttp,
};

/// One attempt, as it ended. A delivery that expired has one too, though it never ran: without fuel, memory and log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The message that was delivered.
    pub message: Message,
    /// Which run of it this was, from 1.
    pub attempt: u32,
    /// When it ended, by the test's clock.
    pub ended_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Units of fuel it used; of a call with many deliveries, its part.
    pub fuel: u64,
    /// The largest memory of its instance, in bytes.
    pub memory_bytes: u64,
    /// What the handler printed.
    pub log: String,
}

/// One message that a handler published, and whose delivery committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The message.
    pub message: Message,
    /// How long the handler asked to hold it back, in milliseconds; none when it did not.
    pub delay_ms: Option<u64>,
}

impl Published {
    /// How long it is of use, in milliseconds; none when the handler did not say.
    #[must_use]
    pub fn expires_after_ms(&self) -> Option<u64> {
        self.message.expires_at.map(|at| at.ms_since(self.message.published_at))
    }
}

/// Where a test kills the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashAt {
    /// Right before the commit of this number is durable, from 0.
    Before(u64),
    /// Right after it is, and before anybody is told.
    After(u64),
}

/// What was taken down so far.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) attempts: Vec<Attempt>,
    /// With more of them the test has no end.
    pub(crate) attempts_max: u64,
    /// Messages that the test published.
    pub(crate) given: BTreeSet<MessageId>,
    pub(crate) ends: Ends,
    pub(crate) published: Vec<Published>,
    pub(crate) quarantined: Vec<QuarantineRecord>,
    /// Of each of them, the inputs of its last attempt.
    pub(crate) capsules: Vec<Option<Bytes>>,
    /// When the last attempt ended, or the last delivery was given up.
    pub(crate) last_event: Timestamp,
    /// Since the handler was set up.
    pub(crate) commits: u64,
    pub(crate) crash_at: Option<CrashAt>,
    pub(crate) crashed: bool,
    /// Whether the handler is set up.
    pub(crate) is_set_up: bool,
    /// The queues that each message of a handler is in.
    places: BTreeMap<MessageId, BTreeSet<QueueId>>,
    clock: Clock,
}

/// Takes notes; all clones have the same.
#[derive(Clone, Default)]
pub(crate) struct NoteTaker {
    notes: Arc<Mutex<Notes>>,
    too_many: Arc<Notify>,
    pub(crate) http: PlannedHttp,
}

impl NoteTaker {
    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host begins, or begins again, with this clock.
    pub(crate) fn begin(&self, clock: Clock) {
        let mut notes = self.notes();
        notes.clock = clock;
        notes.is_set_up = false;
        notes.crashed = false;
    }

    /// Who is told by the commits of one host.
    pub(crate) fn watch(&self) -> Box<dyn CommitWatch> {
        Box::new(Watch { taker: self.clone(), tried: Vec::new(), settled: Vec::new() })
    }

    /// Until there were more attempts than a test may have.
    pub(crate) async fn too_many(&self) {
        loop {
            self.too_many.notified().await;
            let notes = self.notes();
            if notes.attempts.len() as u64 > notes.attempts_max {
                return;
            }
        }
    }
}

impl Observer for NoteTaker {
    fn attempted(&self, seen: &AttemptSeen<'_>) {
        self.http.ended(seen.sequence);
        let mut notes = self.notes();
        let ended_at = notes.clock.now();
        notes.last_event = ended_at;
        notes.attempts.push(Attempt {
            message: seen.message.clone(),
            attempt: seen.attempt,
            ended_at,
            outcome: seen.outcome.clone(),
            fuel: seen.fuel_used,
            memory_bytes: seen.memory_bytes_peak,
            log: seen.log.to_owned(),
        });
        if notes.attempts.len() as u64 > notes.attempts_max {
            self.too_many.notify_one();
        }
    }

    fn settled(&self, seen: &SettleSeen<'_>) {
        match seen.answer {
            // It ended; the commit has told how.
            SettleAnswer::Committed
            | SettleAnswer::Quarantined { .. }
            | SettleAnswer::Expired
            | SettleAnswer::Cancelled => {}
            SettleAnswer::RetryAt { .. }
            | SettleAnswer::Conflict
            | SettleAnswer::PublishRefused { .. }
            | SettleAnswer::OutOfOrder
            | SettleAnswer::StaleFence => self.notes().ends.forget(seen.sequence),
        }
    }
}

struct Watch {
    taker: NoteTaker,
    /// What the deliveries published that are settled in this step, in order.
    tried: Vec<PublishEntry>,
    /// Those deliveries, with how they end unless the writes say otherwise.
    settled: Vec<(Sequence, MessageId, Option<End>)>,
}

impl CommitWatch for Watch {
    fn settling(&mut self, settlements: &[Settlement]) {
        for (at, settlement) in settlements.iter().enumerate() {
            if let AttemptResult::Succeeded(effects) = &settlement.result {
                self.tried.extend(effects.published.iter().cloned());
            }
            let end = match &settlement.result {
                AttemptResult::Succeeded(_) | AttemptResult::SucceededWithNext => Some(End::Succeeded),
                AttemptResult::Failed(record) if record.outcome == Outcome::Expired => {
                    self.taker.notes().expired(settlement, &settlements[at + 1..]);
                    Some(End::Expired)
                }
                AttemptResult::Failed(_) => None,
            };
            self.settled.push((settlement.lease.sequence.original(), settlement.message.id.clone(), end));
        }
    }

    fn before(&mut self, _: &[Write]) -> Result<(), StoreError> {
        let mut notes = self.taker.notes();
        let number = notes.commits;
        notes.end_at(CrashAt::Before(number))
    }

    fn after(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut notes = self.taker.notes();
        for (sequence, message, end) in self.settled.drain(..) {
            self.taker.http.settled(sequence);
            if let Some(end) = end {
                notes.ends.note(sequence, &message, end);
            }
        }
        notes.committed(writes, &std::mem::take(&mut self.tried));
        let number = notes.commits;
        notes.commits += u64::from(notes.is_set_up);
        notes.end_at(CrashAt::After(number))
    }
}

impl Notes {
    fn end_at(&mut self, at: CrashAt) -> Result<(), StoreError> {
        if self.is_set_up && self.crash_at == Some(at) {
            self.crash_at = None;
            self.crashed = true;
            return Err(StoreError::Poisoned { first: "the test ends the host here".to_owned() });
        }
        Ok(())
    }

    fn committed(&mut self, writes: &[Write], tried: &[PublishEntry]) {
        let mut news: BTreeMap<MessageId, u64> = BTreeMap::new();
        for write in writes {
            if let Write::Append { queue, messages, .. } = write {
                for message in messages.iter().filter(|message| self.is_news(message, Some(*queue))) {
                    *news.entry(message.id.clone()).or_default() += 1;
                }
            } else if let Write::PutDelayed { entry, .. } = write
                && self.is_news(&entry.message, None)
            {
                *news.entry(entry.message.id.clone()).or_default() += 1;
            } else if let Write::PutPending { key, record } = write {
                self.ends.forget(key.sequence.original());
                self.judged(&record.message.id, &record.attempts);
            } else if let Write::PutQuarantine { record, capsule } = write {
                self.judged(&record.message.id, &record.attempts);
                self.last_event = self.clock.now();
                self.ends.note(record.sequence.original(), &record.message.id, End::GivenUp);
                self.capsules.push(capsule.clone());
                self.quarantined.push((**record).clone());
            }
        }
        // In the order in which the handler published them.
        for entry in tried {
            let Some(left) = news.get_mut(&entry.message.id).filter(|left| **left > 0) else { continue };
            *left -= 1;
            let delay_ms = entry.deliver_at.map(|at| at.ms_since(entry.message.published_at));
            self.published.push(Published { message: (*entry.message).clone(), delay_ms });
        }
    }

    /// A delivery whose time was over is settled without an attempt. It stands before those that were tried after it.
    fn expired(&mut self, settlement: &Settlement, later: &[Settlement]) {
        let is_of = |noted: &Attempt, settlement: &Settlement| {
            noted.message.id == settlement.message.id && noted.attempt == settlement.lease.attempt
        };
        let place = |later: &Settlement| self.attempts.iter().rposition(|noted| is_of(noted, later));
        let at = later.iter().find_map(place).unwrap_or(self.attempts.len());
        self.last_event = self.clock.now();
        let attempt = Attempt {
            message: (*settlement.message).clone(),
            attempt: settlement.lease.attempt,
            ended_at: self.last_event,
            outcome: Outcome::Expired,
            fuel: 0,
            memory_bytes: 0,
            log: String::new(),
        };
        self.attempts.insert(at, attempt);
    }

    /// The host may have found that what succeeded in the sandbox did not: no queue takes what it published.
    fn judged(&mut self, message: &MessageId, evidence: &[AttemptRecord]) {
        let Some(last) = evidence.last() else { return };
        let noted = self.attempts.iter_mut().rev().find(|noted| noted.message.id == *message);
        if let Some(noted) = noted.filter(|noted| noted.attempt == last.attempt && noted.outcome == Outcome::Success) {
            noted.outcome = last.outcome.clone();
        }
    }

    /// Whether a handler published this now. It may be in several queues, but in none of them twice.
    fn is_news(&mut self, message: &Message, queue: Option<QueueId>) -> bool {
        if message.lineage.cause.is_none() {
            return false;
        }
        let known = self.places.contains_key(&message.id);
        let places = self.places.entry(message.id.clone()).or_default();
        let again = queue.is_some_and(|queue| !places.insert(queue));
        !known || again
    }
}

/// The one handler of a test.
pub(crate) fn handler_name() -> HandlerName {
    HandlerName::new("handler").expect("it follows the rules")
}
