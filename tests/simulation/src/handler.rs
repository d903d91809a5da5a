//! A model of a handler: a short random program over state and topics, run in pieces between other steps, so that
//! what it reads may be old by the time it commits.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use wasmill_delivery::{
    input::{Effects, PublishEntry, Revision, StateAccess, StateWrite},
    message::{Lineage, Message},
    name::{HandlerName, MessageId},
    time::Timestamp,
    topic::Topic,
};

use crate::{
    disk::Disk,
    random::Random,
    state::{State, integer},
};

/// Every success adds 1 to it, without reading it.
pub const COMMITS_KEY: &str = "commits";
/// A [`Op::Bump`] reads it and writes 1 more.
pub const BUMPS_KEY: &str = "bumps";
const KEYS: [&str; 3] = ["a", "b", "c"];

/// One step of a handler.
#[derive(Clone, Debug)]
pub enum Op {
    /// Read a key.
    Get(&'static str),
    /// Read [`BUMPS_KEY`] and write 1 more.
    Bump,
    /// Write a number that follows from all that was read, or a text.
    Set(&'static str),
    /// Remove a key.
    Delete(&'static str),
    /// Add blindly; nothing happens when the value is no integer.
    Add(&'static str, i64),
    /// List all keys.
    List,
    /// Publish to a topic, now or after so many milliseconds.
    Publish(Topic, Option<u64>),
}

/// What an attempt saw, and must still be so when it commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A key's value.
    Value(String, Option<Bytes>),
    /// That a key can be added to.
    Integer(String),
    /// All keys.
    Keys(Vec<String>),
}

/// What the auditor needs to know of a settlement and the engine must not.
#[derive(Clone, Debug)]
pub struct Notes {
    /// Under which handler it ran.
    pub handler: HandlerName,
    /// What it saw.
    pub observed: Vec<Observation>,
    /// How often it bumped.
    pub bumps: u64,
}

/// A handler at work on one delivery.
#[derive(Clone, Debug)]
pub struct Execution {
    handler: HandlerName,
    message: Arc<Message>,
    rest: VecDeque<Op>,
    /// What earlier deliveries of the run wrote.
    staged: Vec<StateWrite>,
    effects: Effects,
    observed: Vec<Observation>,
    bumps: u64,
    /// Grows with all that was read.
    digest: u64,
}

impl Execution {
    /// A handler that begins, with what earlier deliveries of its run wrote, and the revision that it reads at.
    #[must_use]
    pub fn new(
        handler: HandlerName,
        message: Arc<Message>,
        program: VecDeque<Op>,
        staged: Vec<StateWrite>,
        revision: Revision,
    ) -> Self {
        let state = StateAccess { revision, ..StateAccess::default() };
        Self {
            handler,
            message,
            rest: program,
            staged,
            effects: Effects { published: Vec::new(), state },
            observed: Vec::new(),
            bumps: 0,
            digest: 0,
        }
    }

    /// Run up to `ops` further steps on what is durable now. Answers whether it is through.
    pub fn advance(&mut self, disk: &Disk, now: Timestamp, ops: usize) -> bool {
        for _ in 0..ops {
            let Some(op) = self.rest.pop_front() else { break };
            self.step(disk, now, op);
        }
        self.rest.is_empty()
    }

    /// Its result if it succeeds.
    #[must_use]
    pub fn finish(self) -> (Effects, Notes) {
        (self.effects, Notes { handler: self.handler, observed: self.observed, bumps: self.bumps })
    }

    fn step(&mut self, disk: &Disk, now: Timestamp, op: Op) {
        match op {
            Op::Get(key) => {
                self.read(disk, key);
            }
            Op::Bump => {
                let count = integer(self.read(disk, BUMPS_KEY).as_ref()).unwrap_or_default();
                self.bumps += 1;
                self.write(StateWrite::Set { key: BUMPS_KEY.to_owned(), value: Bytes::from((count + 1).to_string()) });
            }
            Op::Set(key) => {
                let text = if self.digest % 4 == 1 { "text".to_owned() } else { (self.digest % 1_000).to_string() };
                self.write(StateWrite::Set { key: key.to_owned(), value: Bytes::from(text) });
            }
            Op::Delete(key) => self.write(StateWrite::Delete { key: key.to_owned() }),
            Op::Add(key, delta) => self.increment(disk, key, delta),
            Op::List => self.list(disk),
            Op::Publish(topic, delay_ms) => self.publish(topic, delay_ms, now),
        }
    }

    fn write(&mut self, write: StateWrite) {
        self.effects.state.writes.push(write);
    }

    /// The store as this delivery sees it, without its own writes.
    fn before_own(&self, disk: &Disk) -> State {
        let mut view = disk.state.clone();
        self.staged.iter().for_each(|write| view.write(&self.handler, write));
        view
    }

    /// Whether what is there now follows from these writes alone.
    fn replaced(writes: &[StateWrite], key: &str) -> bool {
        writes.iter().any(|write| match write {
            StateWrite::Set { key: at, .. } | StateWrite::Delete { key: at } => at == key,
            StateWrite::Add { .. } => false,
        })
    }

    fn value(&self, disk: &Disk, key: &str) -> Option<Bytes> {
        let mut view = self.before_own(disk);
        self.effects.state.writes.iter().for_each(|write| view.write(&self.handler, write));
        view.get(&self.handler, key)
    }

    fn read(&mut self, disk: &Disk, key: &str) -> Option<Bytes> {
        if !Self::replaced(&self.effects.state.writes, key) {
            if !Self::replaced(&self.staged, key) {
                self.effects.state.reads.push(key.to_owned());
            }
            let seen = self.before_own(disk).get(&self.handler, key);
            self.observed.push(Observation::Value(key.to_owned(), seen));
        }
        let value = self.value(disk, key);
        for byte in value.iter().flatten() {
            self.digest = self.digest.wrapping_mul(31).wrapping_add(u64::from(*byte) + 1);
        }
        value
    }

    fn increment(&mut self, disk: &Disk, key: &str, delta: i64) {
        if integer(self.value(disk, key).as_ref()).is_none() {
            // The handler is told so: that is a read.
            self.read(disk, key);
            return;
        }
        if !Self::replaced(&self.effects.state.writes, key) {
            self.observed.push(Observation::Integer(key.to_owned()));
        }
        self.write(StateWrite::Add { key: key.to_owned(), delta });
    }

    fn list(&mut self, disk: &Disk) {
        self.effects.state.listed = true;
        // Only what others wrote is noted: its own writes are its own matter.
        self.observed.push(Observation::Keys(self.before_own(disk).keys(&self.handler)));
        self.digest = self.digest.wrapping_add(self.observed.len() as u64);
    }

    fn publish(&mut self, topic: Topic, delay_ms: Option<u64>, now: Timestamp) {
        let cause = &self.message;
        let number = self.effects.published.len();
        let name = format!("{}.{number}", cause.id.as_str().chars().rev().take(60).collect::<String>());
        let message = Message {
            id: MessageId::new(name).expect("short and printable"),
            topic,
            key: cause.key.clone(),
            content_type: None,
            headers: Vec::new(),
            data: cause.data.clone(),
            published_at: now,
            expires_at: None,
            lineage: Lineage { hops: cause.lineage.hops + 1, cause: Some(cause.id.clone()), ..Lineage::default() },
        };
        let deliver_at = delay_ms.map(|ms| now.plus_ms(ms));
        self.effects.published.push(PublishEntry { deliver_at, ..PublishEntry::new(Arc::new(message)) });
    }
}

/// A random program. It publishes only when there are topics.
pub fn program(random: &mut Random, topics: &[Topic]) -> VecDeque<Op> {
    let mut ops = VecDeque::new();
    for _ in 0..random.below(5) {
        let key = KEYS[random.index(KEYS.len())];
        let delta = i64::from(random.small(0, 10)) - 3;
        let extreme = if random.chance(5) { i64::MAX } else { delta };
        ops.push_back(match random.below(9) {
            0 | 1 => Op::Get(key),
            2 | 3 => Op::Bump,
            4 => Op::Set(key),
            5 => Op::Delete(key),
            6 | 7 => Op::Add(key, extreme),
            _ => Op::List,
        });
    }
    if random.chance(40) {
        for _ in 0..random.below(4) {
            let delay_ms = random.chance(15).then(|| random.below(300));
            ops.extend(random.pick(topics).cloned().map(|topic| Op::Publish(topic, delay_ms)));
        }
    }
    ops.push_back(Op::Add(COMMITS_KEY, 1));
    ops
}
