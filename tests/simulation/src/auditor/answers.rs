//! One durable tick: its inputs in order, each with the effects that answer it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use wasmill_delivery::{
    effect::{Effect, PublishRefusal, Receipt},
    input::{Input, PublishEntry, Ticket},
    message::Message,
    name::{ConsumerId, QueueId, QueueName, Sequence},
    record::Overflow,
    time::Timestamp,
};

use super::Auditor;
use crate::{
    disk::Disk,
    handler::Notes,
    violation::{Checked, Violation, ensure, violated},
};

/// The effects of a tick, taken from the front.
pub(super) struct Answers<'a> {
    effects: VecDeque<&'a Effect>,
}

impl<'a> Answers<'a> {
    /// The next effect, if it is one of those.
    pub(super) fn take_if(&mut self, wanted: impl Fn(&Effect) -> bool) -> Option<&'a Effect> {
        self.effects.pop_front_if(|effect| wanted(effect))
    }

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
        disk: &Disk,
    ) -> Checked {
        self.now = self.now.max(now);
        self.latest = self.latest.max(now);
        self.clock_went_back |= self.now < self.latest;
        let mut answers = Answers { effects: effects.iter().collect() };
        self.jobs_ended.clear();
        self.crashed_is_told(&mut answers)?;
        for input in inputs {
            self.observe_input(input, &mut answers, notes, disk)?;
            self.deliveries_are_lost();
        }
        self.delayed_are_asked_for(&mut answers)?;
        self.jobs_are_tended(&mut answers, disk)?;
        while let Some(effect) = answers.effects.pop_front() {
            match effect {
                Effect::Read { queue, .. } => self.may_read(*queue)?,
                effect => self.leased(effect)?,
            }
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
        disk: &Disk,
    ) -> Checked {
        match input {
            Input::Messages { queue, .. } => self.parked(*queue, disk),
            Input::Delayed { entries } => self.delayed_came(entries, disk),
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
            if self.alone == Some((id, lease.sequence)) {
                self.alone = None;
            }
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
        if let Ok(Receipt { duplicate: true, places, .. }) = answer {
            ensure!(places.is_empty(), "duplicate {id} has places");
            return self.is_duplicate(entry);
        }
        self.is_fresh(entry)?;
        let wanted = self.destinations(entry);
        let delayed_until = entry.deliver_at.filter(|due| *due > self.now);
        match (answer, wanted) {
            (Ok(receipt), Ok(_)) if delayed_until.is_some() => {
                let shown = (receipt.delayed_until(), receipt.places.len());
                ensure!(shown == (delayed_until, 0), "{id} is to wait until {delayed_until:?}, but: {receipt:?}");
                self.delay(entry)?;
                self.remember(entry);
                Ok(())
            }
            (Err(PublishRefusal::DelayedFull { .. }), Ok(_)) if delayed_until.is_some() => {
                let full = self.delayed.len() as u64 >= self.limits.delayed_max;
                ensure!(full, "{id} is refused, but only {} are delayed", self.delayed.len());
                self.count("publish refused: too many delayed");
                Ok(())
            }
            (Ok(receipt), Ok(queues)) => {
                if let Some(full) = queues.iter().find(|queue| self.is_full(**queue, 1)) {
                    violated!("{id} was taken although {full:?} is full");
                }
                if queues.is_empty() {
                    self.count("publish dropped: unroutable");
                }
                let places = self.append_to(&queues, &entry.message);
                ensure!(places == receipt.places, "{id} went to {:?}, not to {places:?}", receipt.places);
                self.remember(entry);
                self.count(if places.len() > 1 { "published to several queues" } else { "published" });
                Ok(())
            }
            (Err(PublishRefusal::NeverFits { queue, .. }), Ok(queues)) => {
                let size = entry.message.size_bytes();
                self.never_fits(queue, &queues, size)
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

    pub(super) fn remember(&mut self, entry: &PublishEntry) {
        if let Some(dedup) = entry.dedup.filter(|_| self.limits.dedup_window_ms > 0) {
            self.dedup.insert(dedup, self.now);
        }
    }

    pub(super) fn never_fits(&mut self, name: &QueueName, queues: &[QueueId], size: u64) -> Checked {
        let id = self.queue_id(name).filter(|id| queues.contains(id));
        let Some(id) = id else { violated!("queue {name} is not among {queues:?} and never fits") };
        let most = self.queues[&id].record.config.bytes_max;
        ensure!(size > most, "{size} bytes never fit {name}, which holds {most}");
        self.count("publish refused: never fits");
        Ok(())
    }

    pub(super) fn is_full(&self, id: QueueId, more: u64) -> bool {
        let queue = &self.queues[&id];
        let config = &queue.record.config;
        config.overflow != Overflow::DropOldest && queue.messages() + more > config.messages_max
    }

    pub(super) fn append_to(&mut self, queues: &[QueueId], message: &Arc<Message>) -> Vec<(QueueId, Sequence)> {
        queues.iter().filter_map(|queue| Some((*queue, self.append(*queue, message)?))).collect()
    }

    /// Whether one of these queues may be called full.
    pub(super) fn may_refuse(&mut self, refusal: &PublishRefusal, queues: &[QueueId], more: u64) -> Checked {
        let PublishRefusal::QueueFull { queue, limit, .. } = refusal else {
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
