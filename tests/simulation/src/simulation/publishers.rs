//! Publishers: new messages, repeated ones, some that nobody takes, some that have come round nearly too often.

use std::sync::Arc;

use wasmill_delivery::{
    input::{Destination, Input, PublishEntry},
    limits::HOPS_MAX,
    message::{Lineage, Message},
    name::{MessageId, MessageKey, QueueName},
    topic::Topic,
    write::DedupId,
};

use super::Simulation;

/// What is published to, by publishers and by handlers.
pub(super) const TOPICS: [&str; 6] =
    ["orders.eu.created", "orders.us.created", "orders.eu.shipped", "logs.app", "back", "nobody.binds.this"];
const OLD_PUBLISHES: usize = 12;

impl Simulation {
    pub(super) fn publish(&mut self) {
        if self.random.chance(12) {
            let order = self.submit_job();
            return self.send_order(order);
        }
        let entries: Vec<PublishEntry> = (0..self.random.between(1, 4)).map(|_| self.entry()).collect();
        let ticket = self.ticket();
        let names: Vec<String> = entries.iter().map(words).collect();
        self.say(format!("{ticket:?}: publish {}", names.join(", ")));
        self.mailbox.push_back(Input::Publish { ticket, entries });
    }

    fn entry(&mut self) -> PublishEntry {
        if self.random.chance(25)
            && let Some(entry) = self.random.pick(self.old_publishes.make_contiguous()).cloned()
        {
            return entry;
        }
        let entry = self.new_entry();
        if self.old_publishes.len() == OLD_PUBLISHES {
            self.old_publishes.pop_front();
        }
        self.old_publishes.push_back(entry.clone());
        entry
    }

    pub(super) fn new_entry(&mut self) -> PublishEntry {
        let message = Arc::new(self.message());
        let queue = QueueName::new(format!("q{}", self.random.between(0, 3))).expect("a name");
        let to = if self.random.chance(25) { Destination::Queue(queue) } else { Destination::Topic };
        let dedup = self.random.chance(60).then_some(DedupId(self.next_message.into()));
        let deliver_at = self.random.chance(12).then(|| self.clock.plus_ms(self.random.below(800)));
        PublishEntry { message, to, dedup, deliver_at }
    }

    pub(super) fn message(&mut self) -> Message {
        self.next_message += 1;
        let hops = if self.random.chance(20) { HOPS_MAX } else { 0 };
        Message {
            id: MessageId::new(format!("m{}", self.next_message)).expect("an id"),
            topic: self.topic(),
            key: self.key(),
            content_type: None,
            headers: self.headers(),
            data: self.data(),
            published_at: self.clock,
            expires_at: self.random.chance(10).then(|| self.clock.plus_ms(self.random.below(500))),
            lineage: Lineage { hops, ..Lineage::default() },
        }
    }

    fn key(&mut self) -> Option<MessageKey> {
        let key = self.random.below(5);
        (key < 4).then(|| MessageKey::new(format!("k{key}")).expect("a key"))
    }

    fn headers(&mut self) -> Vec<(String, String)> {
        let all = [("region", "eu"), ("tier", "1"), ("tier", "2")];
        let some = all.into_iter().filter(|_| self.random.chance(30));
        let mut headers: Vec<_> = some.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if self.random.chance(50) {
            headers.push(("priority".to_owned(), self.random.small(0, 9).to_string()));
        }
        headers
    }

    /// Rarely the last one, which nobody takes unless it takes everything.
    pub(super) fn topic(&mut self) -> Topic {
        let rare = if self.random.chance(3) { 1 } else { 0 };
        let index = self.random.index(TOPICS.len() - 1 + rare);
        Topic::new(TOPICS[index]).expect("a topic")
    }
}

fn words(entry: &PublishEntry) -> String {
    let to = match &entry.to {
        Destination::Topic => entry.message.topic.to_string(),
        Destination::Queue(queue) => format!("queue {queue}"),
    };
    let once = if entry.dedup.is_some() { " once" } else { "" };
    format!("{}{once} to {to}", entry.message.id)
}
