//! A queue as the engine knows it: its logs, its limits and who reads it.

use std::collections::{BTreeMap, BTreeSet};

use super::{consumer::Consumer, log::Log};
use crate::{
    consumer_config::{DeliveryOrder, Start},
    effect::{OrderRefusal, PublishRefusal},
    message::Message,
    name::{ConsumerId, Sequence},
    priority::Priority,
    queue_config::{Overflow, QueueConfig},
    record::QueueRecord,
    time::Timestamp,
    write::LogBounds,
};

#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) record: QueueRecord,
    pub(super) consumers: BTreeSet<ConsumerId>,
    /// Its consumers that have an order, which look at messages as they come.
    pub(super) ordered: BTreeSet<ConsumerId>,
    /// One, or one for each priority, the lowest first.
    pub(super) logs: Vec<Log>,
    /// Whether it was told that it is full, since it last had room.
    pub(super) told_full: bool,
}

impl Queue {
    pub(super) fn new(record: QueueRecord, logs: &[LogBounds]) -> Self {
        let mut queue = Self {
            record,
            consumers: BTreeSet::new(),
            ordered: BTreeSet::new(),
            logs: logs.iter().copied().map(Log::new).collect(),
            told_full: false,
        };
        queue.open_lanes();
        queue
    }

    /// A queue that has priorities, or has had them, has a log for each.
    pub(super) fn open_lanes(&mut self) {
        let wanted = if self.record.config.priorities || self.logs.len() > 1 { Priority::all().count() } else { 1 };
        let missing = Priority::all().take(wanted).skip(self.logs.len());
        self.logs.extend(missing.map(|priority| Log::new(LogBounds::empty(priority))));
    }

    /// The log of what is not urgent, which is the only one of most queues.
    pub(super) fn plain_log(&self) -> &Log {
        &self.logs[0]
    }

    /// The log that has, or will have, this place.
    pub(super) fn log_of(&self, sequence: Sequence) -> Option<&Log> {
        self.logs.get(Priority::of(sequence).index())
    }

    /// The lane that takes a message.
    pub(super) fn lane(&self, message: &Message) -> Priority {
        if self.record.config.priorities { message.priority() } else { Priority::LOWEST }
    }

    /// Whether it may become so.
    pub(super) fn check_change(&self, wanted: &QueueConfig) -> Result<(), OrderRefusal> {
        match (self.record.config.priorities, wanted.priorities) {
            (false, true) if !self.ordered.is_empty() => Err(self.contradiction("a consumer with an order")),
            (true, false) => {
                let problem = format!(
                    "priorities cannot be taken from queue {}, because messages of theirs may be in it; declare \
                     another queue and remove this one",
                    self.record.name
                );
                Err(OrderRefusal::Contradiction { problem })
            }
            (false, false) | (_, true) => Ok(()),
        }
    }

    /// Whether a consumer may have this order.
    pub(super) fn check_order(&self, order: DeliveryOrder) -> Result<(), OrderRefusal> {
        let fits = !self.record.config.priorities || order == DeliveryOrder::None;
        if fits { Ok(()) } else { Err(self.contradiction("a consumer with an order")) }
    }

    /// Whether a consumer may start there.
    pub(super) fn check_start(&self, start: Start) -> Result<(), OrderRefusal> {
        let fits = !self.record.config.priorities || matches!(start, Start::Beginning | Start::End);
        if fits { Ok(()) } else { Err(self.contradiction("a consumer that starts at a sequence or a time")) }
    }

    fn contradiction(&self, what: &str) -> OrderRefusal {
        let problem = format!(
            "queue {} cannot have both priorities and {what}, because urgent messages overtake others; use a queue \
             without priorities for one of the two",
            self.record.name
        );
        OrderRefusal::Contradiction { problem }
    }

    /// How many messages somebody still needs.
    pub(super) fn messages(&self) -> u64 {
        self.logs.iter().map(Log::messages).sum()
    }

    /// How large those are together; between two marks it is estimated.
    pub(super) fn bytes(&self) -> u64 {
        self.logs.iter().map(Log::bytes).sum()
    }

    /// Whether so much more fits.
    pub(super) fn check_room(&self, messages: u64, bytes: u64) -> Result<(), PublishRefusal> {
        self.check_ever(messages, bytes)?;
        let config = &self.record.config;
        let limit = if self.messages() + messages > config.messages_max {
            format!("messages-max = {}", config.messages_max)
        } else if self.bytes() + bytes > config.bytes_max {
            format!("bytes-max = {}", config.bytes_max)
        } else {
            return Ok(());
        };
        let wait_ms = match config.overflow {
            Overflow::DropOldest => return Ok(()),
            Overflow::Refuse => 0,
            Overflow::Wait { wait_ms } => wait_ms,
        };
        Err(PublishRefusal::QueueFull { queue: self.record.name.clone(), limit, wait_ms })
    }

    /// Whether so much would fit if it were empty.
    fn check_ever(&self, messages: u64, bytes: u64) -> Result<(), PublishRefusal> {
        let config = &self.record.config;
        let limit = if messages > config.messages_max && config.overflow != Overflow::DropOldest {
            format!("messages-max = {}", config.messages_max)
        } else if bytes > config.bytes_max && (messages == 1 || config.overflow != Overflow::DropOldest) {
            format!("bytes-max = {}", config.bytes_max)
        } else {
            return Ok(());
        };
        Err(PublishRefusal::NeverFits { queue: self.record.name.clone(), limit })
    }

    /// Whether the oldest message must make room for one of that size.
    pub(super) fn is_over(&self, bytes: u64) -> bool {
        let config = &self.record.config;
        let full = self.messages() + 1 > config.messages_max || self.bytes() + bytes > config.bytes_max;
        full && self.messages() > 0 && config.overflow == Overflow::DropOldest
    }

    /// The oldest message of those that are the least urgent.
    pub(super) fn oldest(&self) -> Option<Sequence> {
        self.logs.iter().find(|log| log.messages() > 0).map(|log| log.needed)
    }

    /// Let go of what every consumer has settled and policy does not retain. Answers with the first message that is
    /// kept, for each log where that is news.
    pub(super) fn trim_to_floors(
        &mut self,
        consumers: &BTreeMap<ConsumerId, Consumer>,
        now: Timestamp,
    ) -> impl Iterator<Item = Sequence> {
        // Told again only after a tenth of it was free: a queue that is always about full is no news.
        self.told_full &= self.messages() > self.record.config.messages_max / 10 * 9;
        let Self { logs, consumers: mine, record, .. } = self;
        let retention = record.config.retention;
        logs.iter_mut().enumerate().filter_map(move |(lane, log)| {
            let floors = mine.iter().filter_map(|id| consumers.get(id)).map(|c| c.lanes[lane].cursor.floor);
            // Without a consumer nobody is done with a message, unless the queue is there to be replayed.
            let nobody = if retention.is_some() { log.next } else { log.needed };
            log.trim(floors.min().unwrap_or(nobody), retention, now)
        })
    }
}
