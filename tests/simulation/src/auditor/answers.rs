//! One durable tick: its inputs in order, each with the effects that answer it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use wasmill_delivery::{
    effect::{Effect, PublishRefusal, Receipt},
    input::{Destination, Input, PublishEntry, Ticket},
    message::Message,
    name::{ConsumerId, QueueId, Sequence},
    time::Timestamp,
};

use super::Auditor;
use crate::{
    handler::Notes,
    violation::{Checked, Violation, ensure, violated},
};

/// The effects of a tick, taken from the front.
pub(super) struct Answers<'a> {
    effects: VecDeque<&'a Effect>,
}

impl<'a> Answers<'a> {
    pub(super) fn take(&mut self, what: &str) -> Result<&'a Effect, Violation> {
        self.effects.pop_front().ok_or_else(|| Violation(format!("there is no answer to {what}")))
    }
}

impl Auditor {
    /// Follow a tick whose writes are durable.
    ///
    /// # Errors
    /// When an answer is missing, or is not one that the model allows.
    pub fn observe(
        &mut self,
        now: Timestamp,
        inputs: &[Input],
        effects: &[Effect],
        notes: &BTreeMap<Ticket, Vec<Notes>>,
    ) -> Checked {
        self.now = self.now.max(now);
        self.latest = self.latest.max(now);
        self.clock_went_back |= self.now < self.latest;
        let mut answers = Answers { effects: effects.iter().collect() };
        for input in inputs {
            self.observe_input(input, &mut answers, notes)?;
        }
        while let Some(effect) = answers.effects.pop_front() {
            self.leased(effect)?;
        }
        self.nothing_left_to_lease()?;
        self.trim();
        Ok(())
    }

    fn observe_input(
        &mut self,
        input: &Input,
        answers: &mut Answers<'_>,
        notes: &BTreeMap<Ticket, Vec<Notes>>,
    ) -> Checked {
        match input {
            Input::Publish { ticket, entries } => {
                self.use_up(*ticket)?;
                self.published(*ticket, entries, answers.take("a publish")?)
            }
            Input::Lease { ticket, consumer, deliveries_max } => {
                self.use_up(*ticket)?;
                match self.consumers.get_mut(consumer) {
                    Some(consumer) if *deliveries_max > 0 => {
                        consumer.waiting.push_back((*ticket, *deliveries_max));
                        Ok(())
                    }
                    Some(_) | None => expect_lease_ended(*ticket, answers),
                }
            }
            Input::CancelLease { ticket, consumer } => {
                if let Some(consumer) = self.consumers.get_mut(consumer) {
                    consumer.waiting.retain(|(waiting, _)| waiting != ticket);
                }
                Ok(())
            }
            Input::Settle { ticket, consumer, settlements } => {
                self.use_up(*ticket)?;
                let notes = notes.get(ticket).map_or(&[][..], Vec::as_slice);
                self.settled(*ticket, *consumer, settlements, notes, answers)
            }
            Input::Return { consumer, leases } => {
                for lease in leases {
                    self.give_back(*consumer, lease);
                }
                Ok(())
            }
            Input::Order { ticket, order } => {
                self.use_up(*ticket)?;
                self.ordered(*ticket, order, answers)
            }
        }
    }

    fn use_up(&mut self, ticket: Ticket) -> Checked {
        ensure!(self.tickets.insert(ticket), "the simulation used {ticket:?} twice");
        Ok(())
    }

    pub(super) fn give_back(&mut self, id: ConsumerId, lease: &wasmill_delivery::input::Lease) {
        if let Some(consumer) = self.consumers.get_mut(&id).filter(|consumer| consumer.holds(lease)) {
            consumer.leased.remove(&lease.sequence);
            self.count("returned");
        }
    }

    fn published(&mut self, ticket: Ticket, entries: &[PublishEntry], effect: &Effect) -> Checked {
        let Effect::Published { ticket: answered, answers } = effect else {
            violated!("a publish is answered by {effect:?}");
        };
        ensure!(*answered == ticket, "{ticket:?} published, {answered:?} is answered");
        ensure!(answers.len() == entries.len(), "{} entries, {} answers", entries.len(), answers.len());
        entries.iter().zip(answers).try_for_each(|(entry, answer)| self.published_entry(entry, answer))
    }

    fn published_entry(&mut self, entry: &PublishEntry, answer: &Result<Receipt, PublishRefusal>) -> Checked {
        let id = &entry.message.id;
        if let Ok(Receipt { duplicate: true, places }) = answer {
            ensure!(places.is_empty(), "duplicate {id} has places");
            return self.is_duplicate(entry);
        }
        self.is_fresh(entry)?;
        let wanted = self.destinations(entry);
        match (answer, wanted) {
            (Ok(receipt), Ok(queues)) => {
                if let Some(full) = queues.iter().find(|queue| self.is_full(**queue, 1)) {
                    violated!("{id} was taken although {full:?} is full");
                }
                let places = self.append_to(&queues, &entry.message);
                ensure!(places == receipt.places, "{id} went to {:?}, not to {places:?}", receipt.places);
                if let Some(dedup) = entry.dedup.filter(|_| self.limits.dedup_window_ms > 0) {
                    self.dedup.insert(dedup, self.now);
                }
                self.count(if places.len() > 1 { "published to several queues" } else { "published" });
                Ok(())
            }
            (Err(refusal), Ok(queues)) => self.may_refuse(refusal, &queues, 1),
            (Err(refusal), Err(wanted)) => {
                ensure!(*refusal == wanted, "{id} was refused by {refusal}, not {wanted}");
                self.count("publish unroutable");
                Ok(())
            }
            (Ok(receipt), Err(wanted)) => violated!("{id} got {receipt:?} but: {wanted}"),
        }
    }

    fn is_duplicate(&mut self, entry: &PublishEntry) -> Checked {
        let id = &entry.message.id;
        let Some(dedup) = entry.dedup else { violated!("{id} has no dedup id and is called a duplicate") };
        let Some(at) = self.dedup.get(&dedup) else { violated!("{id} was never taken and is called a duplicate") };
        let age_ms = self.now.ms_since(*at);
        let in_window = age_ms <= self.limits.dedup_window_ms;
        ensure!(in_window || self.clock_went_back, "{id} is called a duplicate after {age_ms} ms, past the window");
        self.count("publish duplicate");
        Ok(())
    }

    fn is_fresh(&self, entry: &PublishEntry) -> Checked {
        let at = entry.dedup.and_then(|dedup| self.dedup.get(&dedup));
        let in_window = at.is_some_and(|at| self.latest.ms_since(*at) <= self.limits.dedup_window_ms);
        let bounded = self.dedup.len() > self.limits.dedup_ids_max;
        let off = self.limits.dedup_window_ms == 0;
        ensure!(!in_window || bounded || off, "{} was published at {at:?} and is not known", entry.message.id);
        Ok(())
    }

    fn destinations(&self, entry: &PublishEntry) -> Result<Vec<QueueId>, PublishRefusal> {
        match &entry.to {
            Destination::Topic => {
                let queues = self.route(&entry.message.topic);
                let topic = entry.message.topic.to_string();
                if queues.is_empty() { Err(PublishRefusal::Unroutable { topic }) } else { Ok(queues) }
            }
            Destination::Queue(name) => match self.queue_id(name) {
                Some(id) => Ok(vec![id]),
                None => Err(PublishRefusal::UnknownQueue { queue: name.clone() }),
            },
        }
    }

    pub(super) fn is_full(&self, id: QueueId, more: u64) -> bool {
        let queue = &self.queues[&id];
        queue.next.0 - queue.first.0 + more > queue.record.config.messages_max
    }

    pub(super) fn append_to(&mut self, queues: &[QueueId], message: &Arc<Message>) -> Vec<(QueueId, Sequence)> {
        queues.iter().filter_map(|queue| Some((*queue, self.append(*queue, message)?))).collect()
    }

    /// Whether one of these queues may be called full.
    pub(super) fn may_refuse(&mut self, refusal: &PublishRefusal, queues: &[QueueId], more: u64) -> Checked {
        let PublishRefusal::QueueFull { queue, limit } = refusal else {
            violated!("there are queues {queues:?}, but: {refusal}");
        };
        let id = self.queue_id(queue).filter(|id| queues.contains(id));
        let Some(id) = id else { violated!("queue {queue} is not among {queues:?}: {refusal}") };
        // The engine knows bytes only to about a thousand messages, so the model takes its word for them.
        let by_bytes = limit.starts_with("bytes-max") && self.queues[&id].record.config.bytes_max < 100_000;
        ensure!(by_bytes || self.is_full(id, more), "queue {queue} is not full: {refusal}");
        self.count("publish refused: full");
        Ok(())
    }
}

fn expect_lease_ended(ticket: Ticket, answers: &mut Answers<'_>) -> Checked {
    let effect = answers.take("a lease that cannot be")?;
    ensure!(*effect == Effect::LeaseEnded { ticket }, "lease {ticket:?} cannot be, but: {effect:?}");
    Ok(())
}
