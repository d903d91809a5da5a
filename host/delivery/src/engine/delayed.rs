//! Messages that wait for their time. Their bodies rest in the store; the engine knows when each is due, asks for those
//! that are, and publishes them like any other.

use super::{Engine, order::Answer, tick::Tick};
use crate::{
    effect::{Effect, OrderReceipt, OrderRefusal, PublishRefusal},
    input::PublishEntry,
    limits::READ_MESSAGES_MAX,
    record::DelayedKey,
    time::Timestamp,
    write::Write,
};

/// The wait before another try when a queue was full when the time came, in milliseconds.
pub const DELAYED_RETRY_MS: u64 = 1_000;
/// The wait before another try when no queue took it when the time came, in milliseconds.
pub const DELAYED_UNROUTABLE_MS: u64 = 60_000;

impl Engine {
    pub(super) fn check_delayed(&self, more: u64) -> Result<(), PublishRefusal> {
        let delayed_max = self.limits.delayed_max;
        if self.delayed_len() + more > delayed_max { Err(PublishRefusal::DelayedFull { delayed_max }) } else { Ok(()) }
    }

    /// How many messages wait for their time.
    #[must_use]
    pub fn delayed_len(&self) -> u64 {
        (self.delayed.len() + self.delayed_asked.len()) as u64
    }

    /// Keep the message until then.
    pub(super) fn delay(&mut self, tick: &mut Tick, entry: &PublishEntry, due: Timestamp) -> DelayedKey {
        tick.counters_before.get_or_insert(self.counters);
        let key = DelayedKey { due, number: self.counters.delayed };
        self.counters.delayed += 1;
        self.put_delayed(tick, key, entry);
        key
    }

    fn put_delayed(&mut self, tick: &mut Tick, key: DelayedKey, entry: &PublishEntry) {
        self.delayed.insert(key);
        let entry = PublishEntry { dedup: None, deliver_at: Some(key.due), ..entry.clone() };
        tick.writes.push(Write::PutDelayed { key, entry });
    }

    /// Ask for the messages that are due, if none are on their way.
    pub(super) fn ask_for_delayed(&mut self, tick: &mut Tick) {
        if !self.delayed_asked.is_empty() || self.delayed_closed_until > tick.now {
            return;
        }
        let due = self.delayed.iter().take_while(|key| key.due <= tick.now).take(READ_MESSAGES_MAX);
        let keys: Vec<DelayedKey> = due.copied().collect();
        if !keys.is_empty() {
            for key in &keys {
                self.delayed.remove(key);
            }
            self.delayed_asked.extend(&keys);
            tick.effects.push(Effect::ReadDelayed { keys });
        }
    }

    /// Their time has come. A message that finds a queue full waits a little more; it is never lost.
    pub(super) fn publish_delayed(&mut self, tick: &mut Tick, entries: &[(DelayedKey, PublishEntry)]) {
        for (key, entry) in entries {
            if !self.delayed_asked.remove(key) {
                continue;
            }
            tick.writes.push(Write::DeleteDelayed { key: *key });
            let taken = self.destinations(tick, &entry.message, &entry.to).and_then(|queues| {
                self.check_rooms(&queues, entry.message.size_bytes())?;
                self.check_job_can_start(*key, &queues, &entry.message)?;
                Ok(queues)
            });
            let wait_ms = match taken {
                Ok(queues) => {
                    let places = self.append_to(tick, &queues, &entry.message);
                    self.start_delayed_job(*key, &places);
                    continue;
                }
                Err(PublishRefusal::QueueFull { .. }) => DELAYED_RETRY_MS,
                Err(
                    PublishRefusal::Unroutable { .. }
                    | PublishRefusal::UnknownQueue { .. }
                    | PublishRefusal::NeverFits { .. }
                    | PublishRefusal::NoConsumer { .. }
                    | PublishRefusal::TooManyConsumers { .. }
                    | PublishRefusal::DelayedFull { .. },
                ) => DELAYED_UNROUTABLE_MS,
            };
            let later = DelayedKey { due: tick.now.plus_ms(wait_ms), number: key.number };
            self.put_delayed(tick, later, entry);
            self.move_delayed_job(later);
        }
        // What was asked for and did not come cannot be read now. It is asked for again later.
        if !self.delayed_asked.is_empty() {
            self.delayed_closed_until = tick.now.plus_ms(DELAYED_UNROUTABLE_MS);
            self.delayed.append(&mut self.delayed_asked);
        }
    }

    pub(super) fn cancel_delayed(&mut self, tick: &mut Tick, key: DelayedKey) -> Answer {
        if let Some(job) = self.jobs.of_delayed(key) {
            return Err(OrderRefusal::DelayedJob { job: job.clone() });
        }
        if !self.drop_delayed(tick, key) {
            return Err(OrderRefusal::UnknownDelayed { key });
        }
        Ok(OrderReceipt::Done)
    }

    /// Forget a message that waits for its time, also when it was asked for.
    pub(super) fn drop_delayed(&mut self, tick: &mut Tick, key: DelayedKey) -> bool {
        let known = self.delayed.remove(&key) || self.delayed_asked.remove(&key);
        if known {
            tick.writes.push(Write::DeleteDelayed { key });
        }
        known
    }

    /// When a delayed message must be asked for.
    pub(super) fn next_delayed(&self) -> Option<Timestamp> {
        let next = self.delayed.first().filter(|_| self.delayed_asked.is_empty())?;
        Some(next.due.max(self.delayed_closed_until))
    }
}
