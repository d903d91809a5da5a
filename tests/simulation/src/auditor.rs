//! The auditor: a naive model of all deliveries that follows the engine tick by tick, input by input, and knows what
//! each answer may be. It keeps every delivery in exactly one place and holds the disk and the engine against that.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "what the model does not expect is a violation, also what it does not know"
)]

mod answers;
mod asked;
mod compare;
mod failing;
mod groups;
mod jobs;
mod leases;
mod orders;
mod priorities;
mod schedules;
mod settling;
mod storms;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use wasmill_delivery::{
    effect::PublishRefusal,
    engine::{EngineLimits, Unrouted},
    input::{Destination, Lease, PublishEntry, Ticket},
    job::JobId,
    message::Message,
    name::{ConsumerId, HandlerName, MessageKey, QuarantineId, QueueId, Sequence},
    priority::Priority,
    record::{
        Binding, CapsuleKept, ConsumerRecord, DelayedKey, DeliveryOrder, HandlerRecord, MatchMode, Overflow, Poison,
        QueueRecord, Retention,
    },
    schedule::{ScheduleName, ScheduleRecord},
    time::Timestamp,
    topic::{Topic, TopicPattern},
    write::DedupId,
};

use self::{jobs::ModelJob, priorities::Given};
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
    delayed: BTreeMap<DelayedKey, PublishEntry>,
    /// Those of them that were asked for.
    delayed_asked: BTreeSet<DelayedKey>,
    next_delayed: u64,
    schedules: BTreeMap<ScheduleName, ScheduleRecord>,
    /// How often each planned time fired: once or not at all.
    fired: BTreeMap<(ScheduleName, Timestamp), u64>,
    /// The delivery that runs while nothing else may.
    alone: Option<(ConsumerId, Sequence)>,
    /// It ran when the host stopped, and the engine must say so in its next tick.
    crashed_alone: Option<(ConsumerId, Sequence)>,
    jobs: BTreeMap<JobId, ModelJob>,
    /// Jobs that ended in this tick.
    jobs_ended: BTreeSet<JobId>,
    /// No callback is tried before.
    callbacks_closed_until: Timestamp,
    tickets: BTreeSet<Ticket>,
    commits: BTreeMap<HandlerName, u64>,
    bumps: BTreeMap<HandlerName, u64>,
    /// How often what happened.
    pub counts: Counts,
}

#[derive(Clone, Debug)]
struct ModelQueue {
    record: QueueRecord,
    /// Of all priorities.
    log: BTreeMap<Sequence, Arc<Message>>,
    ends: BTreeMap<Priority, Ends>,
}

/// The ends of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    /// The oldest message that is kept.
    first: Sequence,
    /// The oldest message that somebody needs.
    needed: Sequence,
    next: Sequence,
}

#[derive(Clone, Debug)]
struct ModelConsumer {
    record: ConsumerRecord,
    /// Unsettled in the log.
    log: BTreeSet<Sequence>,
    /// Off the log.
    pending: BTreeMap<Sequence, Waiting>,
    /// How many of those were dropped with the last commit, because they had been cancelled.
    dropped_pending: usize,
    leased: BTreeMap<Sequence, Lease>,
    waiting: VecDeque<(Ticket, u32)>,
    /// How often each delivery was committed: once or not at all.
    committed: BTreeMap<Sequence, u64>,
    /// The most that `attempts` ever was.
    attempts_max_ever: u32,
    /// The most that `in-flight-max` ever was.
    in_flight_max_ever: u32,
    dispatched_to: BTreeMap<Priority, Sequence>,
    /// What it was given of late, for priorities.
    given: Given,
    /// They may have been running when the host stopped.
    suspects: BTreeSet<Sequence>,
    /// How its last deliveries ended, for storms.
    recent: Vec<(Sequence, Option<String>)>,
    /// When its deliveries of the last second were leased.
    leased_at: Vec<Timestamp>,
    /// Nothing runs before.
    closed_until: Timestamp,
    /// Nothing of these keys runs before.
    keys_closed_until: BTreeMap<MessageKey, Timestamp>,
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
    capsule: Option<Bytes>,
    kept: CapsuleKept,
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
            delayed: BTreeMap::new(),
            delayed_asked: BTreeSet::new(),
            next_delayed: 0,
            schedules: BTreeMap::new(),
            fired: BTreeMap::new(),
            alone: None,
            crashed_alone: None,
            jobs: BTreeMap::new(),
            jobs_ended: BTreeSet::new(),
            callbacks_closed_until: Timestamp(0),
            tickets: BTreeSet::new(),
            commits: BTreeMap::new(),
            bumps: BTreeMap::new(),
            counts: Counts::new(),
        }
    }

    /// The host stopped: leases, waiting workers and unanswered tickets are gone; nothing else is.
    pub fn crashed(&mut self, disk: &Disk) {
        self.now = Timestamp(0);
        self.delayed_asked.clear();
        self.callbacks_closed_until = Timestamp(0);
        self.crashed_alone = self.alone.take().or(self.crashed_alone);
        let crashed = self.crashed_alone;
        for (id, consumer) in &mut self.consumers {
            consumer.leased.clear();
            consumer.waiting.clear();
            consumer.recent.clear();
            consumer.leased_at.clear();
            consumer.closed_until = Timestamp(0);
            consumer.keys_closed_until.clear();
            consumer.given = Given::default();
            let leased_maybe = |at: &Sequence| *at < disk.cursor(*id, Priority::of(*at)).dispatch_bound;
            consumer.suspects.extend(consumer.log.iter().copied().filter(leased_maybe));
            let marked = disk.running.keys().filter(|(of, _)| of == id).map(|(_, sequence)| *sequence);
            consumer.suspects.extend(marked);
            // Deliveries that crashed the host before run alone for as long as the host remembers them.
            consumer.suspects.retain(|at| {
                let in_log = consumer.log.contains(at) && leased_maybe(at);
                let marked = disk.running.contains_key(&(*id, *at));
                (in_log || marked) && crashed != Some((*id, *at))
            });
        }
        for (id, queue) in &mut self.queues {
            for (priority, ends) in &mut queue.ends {
                let kept = disk.queues.get(id).map(|queue| queue.log(*priority).bounds());
                ends.first = kept.map_or(ends.next, |kept| kept.first);
                ends.needed = ends.first;
            }
        }
        self.trim();
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn queue_id(&self, name: &wasmill_delivery::name::QueueName) -> Option<QueueId> {
        self.queues.values().find(|queue| queue.record.name == *name).map(|queue| queue.record.id)
    }

    /// The queues that take a message, after policy had its say; none when policy drops it.
    fn route(&self, message: &Message) -> Result<Vec<QueueId>, PublishRefusal> {
        let takes = |binding: &Binding| {
            let has = |wanted: &(String, String)| message.headers.iter().any(|header| header == wanted);
            let by_headers = binding.headers.as_ref().is_none_or(|wanted| match wanted.mode {
                MatchMode::All => wanted.headers.iter().all(has),
                MatchMode::Any => wanted.headers.iter().any(has),
            });
            matches(&binding.topic, &message.topic) && by_headers
        };
        let binds = |queue: &&ModelQueue| queue.record.config.bindings.iter().any(takes);
        let bound: Vec<QueueId> = self.queues.values().filter(binds).map(|queue| queue.record.id).collect();
        if !bound.is_empty() {
            return Ok(bound);
        }
        match &self.limits.unrouted {
            Unrouted::Refuse => Err(PublishRefusal::Unroutable { topic: message.topic.to_string() }),
            Unrouted::Drop => Ok(Vec::new()),
            Unrouted::Park(name) => match self.queue_id(name) {
                Some(id) => Ok(vec![id]),
                None => Err(PublishRefusal::UnknownQueue { queue: name.clone() }),
            },
        }
    }

    fn destinations(&self, entry: &PublishEntry) -> Result<Vec<QueueId>, PublishRefusal> {
        if entry.message.topic.is_reply() {
            return Ok(Vec::new());
        }
        match &entry.to {
            Destination::Topic => self.route(&entry.message),
            Destination::Queue(name) => match self.queue_id(name) {
                Some(id) => Ok(vec![id]),
                None => Err(PublishRefusal::UnknownQueue { queue: name.clone() }),
            },
        }
    }

    /// The message of a delivery that is not settled.
    fn message_of(&self, consumer: &ModelConsumer, at: Sequence) -> Option<Arc<Message>> {
        let pending = consumer.pending.get(&at).map(|waiting| Arc::clone(&waiting.message));
        pending.or_else(|| self.queues.get(&consumer.record.queue)?.log.get(&at).cloned())
    }

    /// The first delivery that one of this consumer must wait for, by the order that it keeps.
    fn must_wait_for(
        &self,
        id: ConsumerId,
        at: Sequence,
        message: &Message,
        but: &BTreeSet<Sequence>,
    ) -> Option<Sequence> {
        let consumer = self.consumers.get(&id)?;
        let config = &consumer.record.config;
        if at.is_imported() {
            return None;
        }
        let same = |other: &Message| match config.order {
            DeliveryOrder::None => false,
            DeliveryOrder::Key => message.key.is_some() && other.key == message.key,
            DeliveryOrder::Strict => true,
        };
        let unsettled = consumer.log.iter().chain(consumer.pending.keys()).copied().filter(|other| *other < at);
        let before = unsettled.filter(|other| self.message_of(consumer, *other).is_some_and(|other| same(&other)));
        let here = self.quarantine.values().filter(|resting| !resting.sequence.is_imported());
        let held = here.filter(|resting| {
            config.poison != Poison::Skip && resting.consumer == id && resting.sequence < at && same(&resting.message)
        });
        before.chain(held.map(|resting| resting.sequence)).filter(|other| !but.contains(other)).min()
    }

    fn append(&mut self, id: QueueId, message: &Arc<Message>) -> Option<Sequence> {
        self.make_room(id);
        let queue = self.queues.get_mut(&id)?;
        let priority = queue.lane(message);
        let ends = queue.ends.entry(priority).or_insert_with(|| Ends::new(priority));
        let at = ends.next;
        ends.next = at.next();
        queue.log.insert(at, Arc::clone(message));
        for consumer in self.consumers.values_mut().filter(|consumer| consumer.record.queue == id) {
            consumer.log.insert(at);
        }
        Some(at)
    }

    /// A queue whose policy is to drop its oldest message does so.
    fn make_room(&mut self, id: QueueId) {
        loop {
            let Some(queue) = self.queues.get_mut(&id) else { return };
            let config = &queue.record.config;
            let full = queue.messages() >= config.messages_max;
            if config.overflow != Overflow::DropOldest || !full {
                return;
            }
            let not_empty = queue.ends.values_mut().find(|ends| ends.needed < ends.next);
            let Some(ends) = not_empty else { return };
            let oldest = ends.needed;
            let mut floor = None;
            for consumer in self.consumers.values_mut().filter(|consumer| consumer.record.queue == id) {
                if consumer.log.remove(&oldest) {
                    consumer.suspects.remove(&oldest);
                }
                if consumer.leased.get(&oldest).is_some_and(|lease| lease.pending_due.is_none()) {
                    consumer.leased.remove(&oldest);
                    if self.alone == Some((consumer.record.id, oldest)) {
                        self.alone = None;
                    }
                }
                let lowest = consumer.floor(*ends);
                floor = Some(floor.map_or(lowest, |floor: Sequence| floor.min(lowest)));
            }
            ends.needed = floor.unwrap_or(oldest.next()).max(oldest.next());
            *self.counts.entry("dropped the oldest").or_default() += 1;
        }
    }

    /// What every consumer of a queue settled is gone from the log, as far as limits, newcomers and retention go.
    fn trim(&mut self) {
        for (id, queue) in &mut self.queues {
            let retention = queue.record.config.retention;
            for ends in queue.ends.values_mut() {
                let consumers = self.consumers.values().filter(|consumer| consumer.record.queue == *id);
                let floors = consumers.map(|consumer| consumer.floor(*ends));
                let nobody = if retention.is_some() { ends.next } else { ends.needed };
                ends.needed = floors.min().unwrap_or(nobody);
                let kept = match retention {
                    None => ends.needed,
                    Some(Retention { messages: None, .. }) => ends.first,
                    Some(Retention { messages: Some(most), .. }) => {
                        ends.needed.min(Sequence(ends.next.0.saturating_sub(most)))
                    }
                };
                ends.first = ends.first.max(kept);
            }
        }
    }
}

impl Ends {
    const fn new(priority: Priority) -> Self {
        let first = priority.first();
        Self { first, needed: first, next: first }
    }
}

impl ModelQueue {
    fn messages(&self) -> u64 {
        self.ends.values().map(|ends| ends.next.0 - ends.needed.0).sum()
    }

    fn lane(&self, message: &Message) -> Priority {
        if self.record.config.priorities { priority_of(message) } else { Priority::LOWEST }
    }

    /// The place that this message would get now.
    fn place_for(&self, message: &Message) -> Sequence {
        self.ends_of(self.lane(message)).next
    }

    fn ends_of(&self, priority: Priority) -> Ends {
        self.ends.get(&priority).copied().unwrap_or(Ends::new(priority))
    }
}

impl ModelConsumer {
    /// The first message of one log that it needs.
    fn floor(&self, log: Ends) -> Sequence {
        self.log.range(log.first..log.next).next().copied().unwrap_or(log.next)
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.leased.get(&lease.sequence) == Some(lease)
    }
}

/// What a message says of itself.
fn priority_of(message: &Message) -> Priority {
    let said = message.headers.iter().find(|(name, _)| name == "priority");
    said.and_then(|(_, value)| value.parse::<u8>().ok()).and_then(|n| Priority::try_from(n).ok()).unwrap_or_default()
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
