//! Whoever submits jobs, cancels them, and cancels what waits for its time.

use std::sync::Arc;

use wasmill_delivery::{
    input::{Order, PublishEntry},
    job::{JobId, NewJob},
    message::Message,
    record::DelayedKey,
    topic::Topic,
};

use super::Simulation;

/// Where the message of a job says that its result goes.
const REPLY_TO: &str = "reply-to";

impl Simulation {
    /// A new job, or one that was submitted before and may have been forgotten.
    pub(super) fn submit_job(&mut self) -> Order {
        let entry = self.new_entry();
        let number = if self.random.chance(15) { self.random.below(self.next_message) } else { self.next_message };
        let id = JobId::new(format!("j{number}")).expect("an id");
        let mut message = Message::clone(&entry.message);
        message.headers.push((REPLY_TO.to_owned(), id.reply_topic()));
        let callback = self.random.chance(50).then(|| format!("http://127.0.0.1/{number}"));
        let entry = PublishEntry { message: Arc::new(message), ..entry };
        Order::SubmitJob { job: Box::new(NewJob { id, callback }), entry }
    }

    pub(super) fn cancel_job(&mut self) -> Order {
        let known: Vec<JobId> = self.disk.jobs.keys().cloned().collect();
        let unknown = || JobId::new("nobody").expect("an id");
        Order::CancelJob { id: self.random.pick(&known).cloned().unwrap_or_else(unknown) }
    }

    pub(super) fn cancel_delayed(&mut self) -> Order {
        let known: Vec<DelayedKey> = self.disk.delayed.keys().copied().collect();
        let unknown = DelayedKey { due: self.clock, number: 1_000_000 };
        Order::CancelDelayed { key: self.random.pick(&known).copied().unwrap_or(unknown) }
    }

    /// Where a handler may publish the result of the job that its message is of; rarely that of another one.
    pub(super) fn reply_topic(&mut self, message: &Message, draining: bool) -> Option<Topic> {
        if draining {
            return None;
        }
        let known: Vec<JobId> = self.disk.jobs.keys().cloned().collect();
        let other = self.random.pick(&known).filter(|_| self.random.chance(3)).map(JobId::reply_topic);
        let own = message.headers.iter().find(|(name, _)| name == REPLY_TO).map(|(_, topic)| topic.clone());
        other.or(own).and_then(|topic| Topic::new(topic).ok())
    }
}
