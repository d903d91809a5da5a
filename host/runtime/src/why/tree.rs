//! From messages that were seen here and there to one tree.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_delivery::{
    engine::{ConsumerView, DeliveryState, QueueView},
    name::{ConsumerId, MessageId, QuarantineId, Sequence},
    time::Timestamp,
};

use super::{
    Answer, LEVELS_MAX, Node, Place, States, Step, StepAttempt, StepState, WHY_MESSAGES_MAX,
    scan::{Scan, Seen, Spot},
};

/// Queues that a reason names before it only counts them.
const QUEUES_NAMED_MAX: usize = 5;

/// All that is known of the chain.
pub(super) struct Known {
    messages: BTreeMap<MessageId, Message>,
    /// What each message caused, oldest first.
    caused: BTreeMap<MessageId, Vec<MessageId>>,
    /// Why something may be missing.
    missing: Vec<String>,
    /// Whether the tree is deeper than it is shown.
    too_deep: bool,
}

/// One message, from all places where it was seen.
struct Message {
    parent: Option<MessageId>,
    redrive_of: Option<QuarantineId>,
    topic: String,
    published_at: Timestamp,
    delayed: Vec<Timestamp>,
    queues: BTreeMap<(String, Sequence), InQueue>,
}

#[derive(Default)]
struct InQueue {
    in_log: bool,
    consumers: BTreeMap<String, Step>,
}

/// Whose messages stand where, so that the place of a redriven message is not taken for that of the old one.
type Standing = BTreeMap<(ConsumerId, Sequence), BTreeSet<MessageId>>;

impl Known {
    pub(super) fn new(scan: Scan, states: &States) -> Self {
        let mut missing = trimmed(scan.queues.values());
        if scan.limited {
            missing.push(format!(
                "more than {WHY_MESSAGES_MAX} copies of messages belong to the chain; the rest is left out"
            ));
        }
        let standing = standing(&scan.seen);
        let Scan { queues, consumers, seen, .. } = scan;
        let mut known = Self { messages: BTreeMap::new(), caused: BTreeMap::new(), missing, too_deep: false };
        for Seen { id, parent, redrive_of, topic, published_at, spot } in seen {
            let message = known.messages.entry(id.clone()).or_insert_with(|| Message {
                parent,
                redrive_of,
                topic,
                published_at,
                delayed: Vec::new(),
                queues: BTreeMap::new(),
            });
            match spot {
                Spot::Delayed { due } => message.delayed.push(due),
                Spot::Log { queue, sequence } => {
                    let Some(view) = queues.get(&queue) else { continue };
                    let place = message.queues.entry((view.record.name.to_string(), sequence)).or_default();
                    place.in_log = true;
                    for consumer in view.consumers.iter().filter_map(|id| consumers.get(id)) {
                        let at = (consumer.record.id, sequence);
                        let other = standing.get(&at).is_some_and(|ids| !ids.contains(&id));
                        place.put(consumer, step_state(states.get(&at), other), Vec::new());
                    }
                }
                Spot::Pending { consumer, sequence, attempts } => {
                    let Some(view) = consumers.get(&consumer) else { continue };
                    let state = step_state(states.get(&(consumer, sequence)), false);
                    let place = message.queues.entry((view.queue.to_string(), sequence)).or_default();
                    place.put(view, state, attempts);
                }
                Spot::Quarantine { id, queue, consumer, handler, sequence, reason, attempts, .. } => {
                    let state = StepState::Quarantined { quarantine_id: id, reason: reason.name() };
                    let place = message.queues.entry((queue, sequence)).or_default();
                    place.consumers.insert(consumer.clone(), Step { consumer, handler, state, attempts });
                }
            }
        }
        known.link();
        known
    }

    fn link(&mut self) {
        for (id, message) in &self.messages {
            if let Some(parent) = &message.parent {
                self.caused.entry(parent.clone()).or_default().push(id.clone());
            }
        }
        let at = |id: &MessageId| self.messages.get(id).map(|message| message.published_at);
        for caused in self.caused.values_mut() {
            caused.sort_by_key(at);
        }
    }

    pub(super) fn answer(mut self, id: MessageId) -> Answer {
        let mut shown = BTreeSet::from([id.clone()]);
        let mut causes = Vec::new();
        let mut child = id.clone();
        while let Some(parent) = self.messages.get(&child).and_then(|message| message.parent.clone()) {
            if causes.len() == LEVELS_MAX || !shown.insert(parent.clone()) {
                self.too_deep = true;
                break;
            }
            if !self.messages.contains_key(&parent) {
                self.missing.push(format!("message {parent}, which comes before {child}, is not kept any more"));
            }
            causes.push(self.node(&parent));
            child = parent;
        }
        causes.reverse();
        if !self.messages.contains_key(&id) {
            self.missing.push(format!("message {id} itself is not kept any more"));
        }
        let message = self.subtree(&id, &mut shown, 0);
        if self.too_deep {
            self.missing.push(format!("the chain has more than {LEVELS_MAX} levels; the rest is left out"));
        }
        Answer { id, complete: self.missing.is_empty(), incomplete_because: self.missing, causes, message }
    }

    /// A message with everything that it caused.
    fn subtree(&mut self, id: &MessageId, shown: &mut BTreeSet<MessageId>, level: usize) -> Node {
        let mut node = self.node(id);
        let caused = self.caused.get(id).cloned().unwrap_or_default();
        if level == LEVELS_MAX {
            self.too_deep |= !caused.is_empty();
            return node;
        }
        for id in caused {
            // An id that a publisher outside used twice could make a ring.
            if shown.insert(id.clone()) {
                node.caused.push(self.subtree(&id, shown, level + 1));
            }
        }
        node
    }

    /// A message alone.
    fn node(&mut self, id: &MessageId) -> Node {
        let mut node = Node {
            id: id.clone(),
            kept: false,
            topic: None,
            published_at_ms: None,
            redrive_of: None,
            places: Vec::new(),
            caused: Vec::new(),
        };
        if let Some(message) = self.messages.get_mut(id) {
            node.kept = true;
            node.topic = Some(message.topic.clone());
            node.published_at_ms = Some(message.published_at.0);
            node.redrive_of = message.redrive_of;
            let delayed = message.delayed.iter().map(|due| Place::Delayed { due_at_ms: due.0 });
            let queues = std::mem::take(&mut message.queues).into_iter().map(|((queue, sequence), place)| {
                let consumers = place.consumers.into_values().collect();
                Place::Queue { queue, sequence: sequence.original().0, in_log: place.in_log, consumers }
            });
            node.places = delayed.chain(queues).collect();
        }
        node
    }
}

impl InQueue {
    fn put(&mut self, consumer: &ConsumerView, state: StepState, attempts: Vec<StepAttempt>) {
        let name = consumer.record.name.to_string();
        let handler = consumer.record.config.handler.as_ref().map(ToString::to_string);
        self.consumers.insert(name.clone(), Step { consumer: name, handler, state, attempts });
    }
}

/// `other` says that another message stands in its place: it was redriven.
fn step_state(state: Option<&DeliveryState>, other: bool) -> StepState {
    match state {
        None => StepState::Settled,
        Some(DeliveryState::Settled) if !other => StepState::Settled,
        Some(_) if other => StepState::Redriven,
        Some(DeliveryState::Settled) => StepState::Settled,
        Some(DeliveryState::Waiting) => StepState::Waiting,
        Some(DeliveryState::Running { attempt }) => StepState::Running { attempt: *attempt },
        Some(DeliveryState::Retry { due, attempts_made }) => {
            StepState::Retry { attempt: attempts_made + 1, due_at_ms: due.0 }
        }
        Some(DeliveryState::Parked { behind }) => StepState::Parked { behind_sequence: behind.original().0 },
        // Its record was not seen: it was redriven or purged meanwhile.
        Some(DeliveryState::Quarantined { .. }) => StepState::Redriven,
    }
}

fn standing(seen: &[Seen]) -> Standing {
    let mut standing = Standing::new();
    for Seen { id, spot, .. } in seen {
        let place = match spot {
            Spot::Pending { consumer, sequence, .. } => (*consumer, *sequence),
            Spot::Quarantine { consumer_id, sequence, .. } => (*consumer_id, *sequence),
            Spot::Log { .. } | Spot::Delayed { .. } => continue,
        };
        standing.entry(place).or_default().insert(id.clone());
    }
    standing
}

/// Queues that may have let messages of the chain go.
fn trimmed<'a>(queues: impl Iterator<Item = &'a QueueView>) -> Vec<String> {
    let trimmed: Vec<&QueueView> = queues.filter(|view| view.first > Sequence::FIRST).collect();
    let mut reasons: Vec<String> = trimmed.iter().take(QUEUES_NAMED_MAX).map(|view| trimmed_reason(view)).collect();
    if let Some(more) = trimmed.len().checked_sub(QUEUES_NAMED_MAX).filter(|more| *more > 0) {
        reasons.push(format!("and so have {more} other queues"));
    }
    reasons
}

fn trimmed_reason(view: &QueueView) -> String {
    let (queue, first) = (&view.record.name, view.first.0);
    let why = match view.record.config.retention {
        None => "it keeps none that every consumer has settled, because it has no retention",
        Some(_) => "they are beyond its retention",
    };
    format!("queue {queue} has let messages before {first} go: {why}")
}
