//! The auditor: a naive model of all deliveries that follows the engine tick by tick, input by input, and knows what
//! each answer may be. It keeps every delivery in exactly one place and holds the disk and the engine against that.

mod answers;
mod compare;
mod leases;
mod orders;
mod settling;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use wasmill_delivery::{
    engine::EngineLimits,
    input::{Lease, Ticket},
    message::Message,
    name::{ConsumerId, HandlerName, QuarantineId, QueueId, Sequence},
    record::{ConsumerRecord, HandlerRecord, QueueRecord},
    time::Timestamp,
    topic::{Topic, TopicPattern},
    write::DedupId,
};

use crate::{disk::Disk, state::State};

/// How often something happened; what a simulation never reaches it cannot check.
pub type Counts = BTreeMap<&'static str, u64>;

/// The naive model.
#[derive(Clone, Debug)]
pub struct Auditor {
    limits: EngineLimits,
    now: Timestamp,
    /// The latest time there ever was: what was forgotten then stays forgotten when the clock is set back.
    latest: Timestamp,
    /// Whether the clock went back over a restart, after which ids may be known for longer.
    clock_went_back: bool,
    queues: BTreeMap<QueueId, ModelQueue>,
    consumers: BTreeMap<ConsumerId, ModelConsumer>,
    handlers: BTreeMap<HandlerName, HandlerRecord>,
    quarantine: BTreeMap<QuarantineId, Resting>,
    state: State,
    dedup: BTreeMap<DedupId, Timestamp>,
    last_queue: QueueId,
    last_consumer: ConsumerId,
    last_quarantine: QuarantineId,
    last_fence: u64,
    tickets: BTreeSet<Ticket>,
    commits: BTreeMap<HandlerName, u64>,
    bumps: BTreeMap<HandlerName, u64>,
    /// How often what happened.
    pub counts: Counts,
}

#[derive(Clone, Debug)]
struct ModelQueue {
    record: QueueRecord,
    log: BTreeMap<Sequence, Arc<Message>>,
    first: Sequence,
    next: Sequence,
}

#[derive(Clone, Debug)]
struct ModelConsumer {
    record: ConsumerRecord,
    /// Unsettled in the log.
    log: BTreeSet<Sequence>,
    /// Off the log.
    pending: BTreeMap<Sequence, Waiting>,
    leased: BTreeMap<Sequence, Lease>,
    waiting: VecDeque<(Ticket, u32)>,
    /// How often each delivery was committed: once or not at all.
    committed: BTreeMap<Sequence, u64>,
    /// The most that `attempts` ever was.
    attempts_max_ever: u32,
    /// The most that `in-flight-max` ever was.
    in_flight_max_ever: u32,
    dispatched_to: Sequence,
}

#[derive(Clone, Debug)]
struct Waiting {
    due: Timestamp,
    attempts_made: u32,
    message: Arc<Message>,
    /// How many attempts must be in its evidence.
    evidence: usize,
}

#[derive(Clone, Debug)]
struct Resting {
    consumer: ConsumerId,
    sequence: Sequence,
    message: Arc<Message>,
    attempts_made: u32,
}

impl Auditor {
    /// Of an engine on an empty disk.
    #[must_use]
    pub fn new(limits: EngineLimits) -> Self {
        Self {
            limits,
            now: Timestamp(0),
            latest: Timestamp(0),
            clock_went_back: false,
            queues: BTreeMap::new(),
            consumers: BTreeMap::new(),
            handlers: BTreeMap::new(),
            quarantine: BTreeMap::new(),
            state: State::default(),
            dedup: BTreeMap::new(),
            last_queue: QueueId(0),
            last_consumer: ConsumerId(0),
            last_quarantine: QuarantineId(0),
            last_fence: 0,
            tickets: BTreeSet::new(),
            commits: BTreeMap::new(),
            bumps: BTreeMap::new(),
            counts: Counts::new(),
        }
    }

    /// The host stopped: leases, waiting workers and unanswered tickets are gone; nothing else is.
    pub fn crashed(&mut self, disk: &Disk) {
        self.now = Timestamp(0);
        self.last_fence = 0;
        for consumer in self.consumers.values_mut() {
            consumer.leased.clear();
            consumer.waiting.clear();
        }
        for (id, queue) in &mut self.queues {
            queue.first = disk.queues.get(id).map_or(queue.next, |queue| queue.bounds().first);
        }
        self.trim();
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn queue_id(&self, name: &wasmill_delivery::name::QueueName) -> Option<QueueId> {
        self.queues.values().find(|queue| queue.record.name == *name).map(|queue| queue.record.id)
    }

    fn route(&self, topic: &Topic) -> Vec<QueueId> {
        let binds = |queue: &&ModelQueue| queue.record.config.bindings.iter().any(|pattern| matches(pattern, topic));
        self.queues.values().filter(binds).map(|queue| queue.record.id).collect()
    }

    fn append(&mut self, id: QueueId, message: &Arc<Message>) -> Option<Sequence> {
        let queue = self.queues.get_mut(&id)?;
        let at = queue.next;
        queue.log.insert(at, Arc::clone(message));
        queue.next = at.next();
        for consumer in self.consumers.values_mut().filter(|consumer| consumer.record.queue == id) {
            consumer.log.insert(at);
        }
        Some(at)
    }

    /// What every consumer of a queue settled is gone from the log, as far as limits and newcomers go.
    fn trim(&mut self) {
        for (id, queue) in &mut self.queues {
            let consumers = self.consumers.values().filter(|consumer| consumer.record.queue == *id);
            let floors = consumers.map(|consumer| consumer.log.first().copied().unwrap_or(queue.next));
            queue.first = floors.min().map_or(queue.first, |floor| floor.max(queue.first));
        }
    }
}

impl ModelConsumer {
    fn holds(&self, lease: &Lease) -> bool {
        self.leased.get(&lease.sequence) == Some(lease)
    }
}

/// Whether a pattern takes a topic; the plainest way to say it.
fn matches(pattern: &TopicPattern, topic: &Topic) -> bool {
    fn go(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern.split_first(), topic.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => {
                go(rest, topic) || topic.split_first().is_some_and(|(_, tail)| go(pattern, tail))
            }
            (Some((word, rest)), Some((first, tail))) => (*word == "*" || word == first) && go(rest, tail),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
    go(&pattern.words().collect::<Vec<_>>(), &topic.words().collect::<Vec<_>>())
}
