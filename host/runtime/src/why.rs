//! What became of a message: what caused it, what it caused, and how far each consumer is with each of them.
//!
//! There is no index for this question, so everything that is kept is looked through, page by page. What is held in
//! memory is only what belongs to the chain, at most [`WHY_MESSAGES_MAX`] messages.

mod scan;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use wasmill_delivery::{
    engine::{ConsumerView, DeliveryState, QueueView},
    name::{ConsumerId, MessageId, QuarantineId, Sequence},
    record::AttemptRecord,
};

use self::{
    scan::{Scan, Spot},
    tree::Known,
};
use crate::{error::HostError, host::Host};

/// Copies of messages that one answer looks at: one in two queues counts twice.
pub const WHY_MESSAGES_MAX: usize = 10_000;
/// Levels of an answer: messages that cause messages, and redrives of them.
pub(crate) const LEVELS_MAX: usize = 64;
/// Deliveries whose state the engine is asked for at once.
const TRACE_AT_ONCE: usize = 1_000;
/// How often everything is looked through when deliveries move on meanwhile. What an answer then misses are attempts of
/// such deliveries, never deliveries.
const SCANS_MAX: usize = 3;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The message that was asked for.
    pub id: MessageId,
    /// Whether nothing that belongs to the chain can have been missed.
    pub complete: bool,
    /// Why something may be missing.
    pub incomplete_because: Vec<String>,
    /// What caused it, the message from outside first.
    pub causes: Vec<Node>,
    /// The message, with what it caused.
    pub message: Node,
}

/// One message of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its id.
    pub id: MessageId,
    /// Whether it is still kept anywhere. If not, only its id is known.
    pub kept: bool,
    /// Its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// When it was accepted, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at_ms: Option<u64>,
    /// The quarantined delivery that it is a redrive of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrive_of: Option<QuarantineId>,
    /// Where it is.
    pub places: Vec<Place>,
    /// What it caused.
    pub caused: Vec<Self>,
}

/// Where a message is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Place {
    /// It was put into a queue.
    Queue {
        /// Its name.
        queue: String,
        /// The message's place in it.
        sequence: u64,
        /// Whether the queue's log still has it.
        in_log: bool,
        /// How far each consumer is with it.
        consumers: Vec<Step>,
    },
    /// It waits for its time.
    Delayed {
        /// When it goes to its queues, in milliseconds since 1970.
        due_at_ms: u64,
    },
}

/// How far one consumer is with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name.
    pub consumer: String,
    /// Its handler; none when programs outside pull it.
    pub handler: Option<String>,
    /// How far it is.
    #[serde(flatten)]
    pub state: StepState,
    /// Attempts that did not succeed, as far as they are kept.
    pub attempts: Vec<StepAttempt>,
}

/// How far a consumer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum StepState {
    /// It is done with it, or the message is from before the consumer began.
    Settled,
    /// It waits for its turn.
    Waiting,
    /// A lease is out.
    Running {
        /// Which run it is.
        attempt: u32,
    },
    /// It runs again later.
    Retry {
        /// Which run that will be.
        attempt: u32,
        /// When, in milliseconds since 1970.
        due_at_ms: u64,
    },
    /// It waits until an earlier delivery of its key is settled.
    Parked {
        /// The place of that one.
        behind_sequence: u64,
    },
    /// It was given up.
    Quarantined {
        /// As this number.
        quarantine_id: QuarantineId,
        /// Why.
        reason: &'static str,
    },
    /// It was given up and redriven: another message stands in its place.
    Redriven,
}

/// An attempt that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepAttempt {
    /// Which run it was.
    pub attempt: u32,
    /// The outcome's name.
    pub outcome: &'static str,
    /// The outcome in words.
    pub detail: String,
    /// When it began, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

impl StepAttempt {
    fn of(records: &[AttemptRecord]) -> Vec<Self> {
        let one = |record: &AttemptRecord| Self {
            attempt: record.attempt,
            outcome: record.outcome.name(),
            detail: record.outcome.describe(),
            started_at_ms: record.started_at.0,
            duration_us: record.duration_us,
        };
        records.iter().map(one).collect()
    }
}

type States = BTreeMap<(ConsumerId, Sequence), DeliveryState>;

impl Host {
    /// What became of a message: none when nothing of it or of what it caused is kept.
    ///
    /// # Errors
    /// When the store is damaged, or the host has stopped.
    pub async fn why(&self, id: MessageId) -> Result<Option<Answer>, HostError> {
        let mut scans = 1;
        loop {
            let (queues, consumers) = (self.queues().await?, self.consumers().await?);
            let scan = Scan::new(self.inner.reader.clone(), queues, consumers, id.clone());
            let scanning = tokio::task::spawn_blocking(move || scan.run());
            let scan = scanning.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })??;
            if scan.seen.is_empty() {
                return Ok(None);
            }
            let states = self.states(&scan).await?;
            if scans == SCANS_MAX || !moved_on(&scan, &states) {
                return Ok(Some(Known::new(scan, &states).answer(id)));
            }
            scans += 1;
        }
    }

    /// The state of every delivery that the answer speaks of.
    async fn states(&self, scan: &Scan) -> Result<States, HostError> {
        let mut states = States::new();
        for places in places(scan).chunks(TRACE_AT_ONCE) {
            let asked = places.to_vec();
            let answers = self.inner.broker.query(move |engine| engine.trace(&asked)).await?;
            let known = places.iter().zip(answers).filter_map(|(place, state)| Some((*place, state?)));
            states.extend(known);
        }
        Ok(states)
    }
}

/// Whether a delivery has left the log since it was looked at, so that its attempts are missing.
fn moved_on(scan: &Scan, states: &States) -> bool {
    let off_log: BTreeSet<_> = scan
        .seen
        .iter()
        .filter_map(|seen| match seen.spot {
            Spot::Pending { consumer, sequence, .. } => Some((consumer, sequence)),
            Spot::Quarantine { consumer_id, sequence, .. } => Some((consumer_id, sequence)),
            Spot::Log { .. } | Spot::Delayed { .. } => None,
        })
        .collect();
    states.iter().any(|(place, state)| match state {
        DeliveryState::Retry { .. } | DeliveryState::Quarantined { .. } => !off_log.contains(place),
        DeliveryState::Settled
        | DeliveryState::Waiting
        | DeliveryState::Running { .. }
        | DeliveryState::Parked { .. } => false,
    })
}

fn places(scan: &Scan) -> Vec<(ConsumerId, Sequence)> {
    let mut places = Vec::new();
    for seen in &scan.seen {
        match &seen.spot {
            Spot::Log { queue, sequence } => {
                let consumers = scan.queues.get(queue).map(|view| view.consumers.as_slice()).unwrap_or_default();
                places.extend(consumers.iter().map(|consumer| (*consumer, *sequence)));
            }
            Spot::Pending { consumer, sequence, .. } => places.push((*consumer, *sequence)),
            Spot::Quarantine { .. } | Spot::Delayed { .. } => {}
        }
    }
    places.sort_unstable();
    places.dedup();
    places
}

/// Consumers and queues by their numbers.
fn by_number(
    queues: Vec<QueueView>,
    consumers: Vec<ConsumerView>,
) -> (BTreeMap<wasmill_delivery::name::QueueId, QueueView>, BTreeMap<ConsumerId, ConsumerView>) {
    let queues = queues.into_iter().map(|view| (view.record.id, view)).collect();
    (queues, consumers.into_iter().map(|view| (view.record.id, view)).collect())
}
