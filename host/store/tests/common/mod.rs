//! What several tests make.

#![allow(dead_code, reason = "each test crate uses some of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use tempfile::TempDir;
use wasmill_delivery::{
    cursor::Cursor,
    message::{Lineage, Message},
    name::{ConsumerId, ConsumerName, HandlerName, MessageId, MessageKey, QuarantineId, QueueId, QueueName, Sequence},
    outcome::Outcome,
    record::{
        AttemptRecord, CapsuleKept, ConsumerConfig, ConsumerRecord, HandlerLimits, HandlerRecord, PendingRecord,
        QuarantineReason, QuarantineRecord, QueueConfig, QueueRecord,
    },
    time::Timestamp,
    topic::Topic,
    write::{Recovered, Write},
};
use wasmill_store::{Store, StoreOptions};

pub(crate) fn message(number: u64, data_bytes: usize) -> Arc<Message> {
    let data: Vec<u8> = (0..data_bytes as u64).map(|at| (at ^ number).to_le_bytes()[0]).collect();
    Arc::new(Message {
        id: MessageId::new(format!("id-{number}")).unwrap(),
        topic: Topic::new("orders.eu.created").unwrap(),
        key: number.is_multiple_of(2).then(|| MessageKey::new(format!("key-{number}")).unwrap()),
        content_type: number.is_multiple_of(3).then(|| "application/json".to_owned()),
        headers: vec![("traceparent".to_owned(), format!("00-{number:032x}-01"))],
        data: data.into(),
        published_at: Timestamp(1_700_000_000_000 + number),
        expires_at: None,
        lineage: Lineage { hops: 1, ..Lineage::default() },
    })
}

pub(crate) fn sizes(messages: &[Arc<Message>]) -> u64 {
    messages.iter().map(|message| message.size_bytes()).sum()
}

pub(crate) fn queue(id: u32) -> QueueRecord {
    let name = QueueName::new(format!("queue-{id}")).unwrap();
    QueueRecord { id: QueueId(id), name, config: QueueConfig::default() }
}

pub(crate) fn handler_name(number: u32) -> HandlerName {
    HandlerName::new(format!("handler-{number}")).unwrap()
}

pub(crate) fn handler(number: u32) -> HandlerRecord {
    HandlerRecord {
        name: handler_name(number),
        digest: None,
        loaded_at: Timestamp(5),
        config: [("k".to_owned(), "v".to_owned())].into(),
        limits: HandlerLimits::default(),
        grants: Default::default(),
        secrets: Default::default(),
        imports: None,
        versions: Box::default(),
        replacing: Box::default(),
    }
}

pub(crate) fn consumer(id: u32, queue: u32) -> ConsumerRecord {
    ConsumerRecord {
        id: ConsumerId(id),
        queue: QueueId(queue),
        name: ConsumerName::new(format!("consumer-{id}")).unwrap(),
        config: ConsumerConfig::new(handler_name(1)),
        paused: None,
    }
}

pub(crate) fn put_consumer(id: u32, queue: u32) -> [Write; 2] {
    let cursor = Cursor::starting_at(Sequence::FIRST);
    [Write::PutConsumer { record: consumer(id, queue) }, Write::PutCursor { consumer: ConsumerId(id), cursor }]
}

pub(crate) fn attempt() -> AttemptRecord {
    AttemptRecord {
        attempt: 1,
        digest: None,
        started_at: Timestamp(9),
        duration_us: 3,
        outcome: Outcome::Trapped { trap: "unreachable".to_owned() },
        fuel_used: 1,
        memory_bytes_peak: 2,
        log: "oh".to_owned(),
        backtrace: vec!["f".to_owned()],
        fresh: true,
    }
}

pub(crate) fn pending(number: u64, data_bytes: usize) -> PendingRecord {
    let attempts_made = u32::try_from(number % 7).unwrap();
    PendingRecord { message: message(number, data_bytes), attempts_made, attempts: vec![attempt()] }
}

pub(crate) fn quarantined(id: u64, data_bytes: usize) -> QuarantineRecord {
    QuarantineRecord {
        id: QuarantineId(id),
        queue: QueueName::new("queue-1").unwrap(),
        consumer_id: ConsumerId(u32::try_from(id % 5).unwrap()),
        consumer: ConsumerName::new("consumer-1").unwrap(),
        handler: Some(handler_name(1)),
        sequence: Sequence(id),
        message: message(id, data_bytes),
        reason: QuarantineReason::Rejected,
        attempts: vec![attempt()],
        attempts_made: 5,
        quarantined_at: Timestamp(77),
        capsule: CapsuleKept::None,
    }
}

/// Appends with the right number of bytes before each.
#[derive(Default)]
pub(crate) struct Log {
    next: u64,
    bytes: u64,
}

impl Log {
    /// The log of a queue as it is.
    pub(crate) fn of(store: &Store, of: u32) -> Self {
        let mut bounds = None;
        for found in recovered(store) {
            if let Recovered::Queue { record, logs, .. } = found
                && record.id == QueueId(of)
            {
                bounds = Some(logs[0]);
            }
        }
        let bounds = bounds.unwrap();
        Self { next: bounds.next.0 - 1, bytes: bounds.bytes_before_next }
    }

    pub(crate) fn append(&mut self, queue: u32, messages: Vec<Arc<Message>>) -> Write {
        let (first, bytes_before) = (Sequence(self.next + 1), self.bytes);
        self.next += messages.len() as u64;
        self.bytes += sizes(&messages);
        Write::Append { queue: QueueId(queue), first, bytes_before, messages }
    }
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, StoreOptions::default()).unwrap()
}

pub(crate) fn recovered(store: &Store) -> Vec<Recovered> {
    let mut all = Vec::new();
    store.recover(&mut |recovered| all.push(recovered)).unwrap();
    all
}

/// The database below a store that is closed. Threads of sled may hold its lock a moment longer.
pub(crate) fn raw(folder: &Path) -> sled::Db {
    loop {
        let config = sled::Config::new().path(folder.join("db")).segment_size(16 << 20).flush_every_ms(None);
        match config.open() {
            Ok(db) => return db,
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Entries of a store that is closed, without those of its own account.
pub(crate) fn left(folder: &Path) -> usize {
    raw(folder).iter().keys().filter(|key| !matches!(key.as_ref().unwrap()[0], b'b' | b'w')).count()
}

/// The key of a slot.
pub(crate) fn slot_key(slot: u32) -> Vec<u8> {
    [b"v".as_slice(), &slot.to_be_bytes(), &[0]].concat()
}

/// The slot of each chunk and part that lies in one.
pub(crate) fn pointers(db: &sled::Db) -> BTreeMap<Vec<u8>, u32> {
    let entries = db.scan_prefix("l").chain(db.scan_prefix("~l")).map(Result::unwrap);
    let pointers = entries.filter(|(_, value)| value[0] == u8::MAX);
    pointers.map(|(key, value)| (key.to_vec(), u32::from_le_bytes(value[11..].try_into().unwrap()))).collect()
}

/// What holds of the slots of a store that is closed. Answers how many slots there are, and how many are taken.
#[track_caller]
pub(crate) fn check_slots(folder: &Path) -> (usize, usize) {
    let db = raw(folder);
    let pointers = pointers(&db);
    let taken: BTreeSet<u32> = pointers.values().copied().collect();
    assert_eq!(taken.len(), pointers.len(), "two chunks lie in one slot");
    let mut slots = 0;
    for entry in db.scan_prefix("v") {
        let (key, value) = entry.unwrap();
        let slot = u32::from_be_bytes(key[1..5].try_into().unwrap());
        slots += usize::from(key[5] == 0);
        assert_eq!(value.len() > 1, key[5] == 0 && taken.contains(&slot), "slot {slot}, filling {}", key[5]);
    }
    (slots, taken.len())
}

/// Messages with these numbers.
pub(crate) fn messages(first: u64, count: u64, bytes: usize) -> Vec<Arc<Message>> {
    (first..first + count).map(|number| message(number, bytes)).collect()
}

/// The log of a queue without what is below.
pub(crate) fn trim(queue: u32, below: u64) -> Write {
    Write::Trim { queue: QueueId(queue), below: Sequence(below) }
}

/// What the log of a queue has from there on.
pub(crate) fn page(store: &Store, queue: u32, from: u64) -> Vec<(Sequence, Arc<Message>)> {
    store.reader().log_page(QueueId(queue), Sequence(from), 1_000_000).unwrap()
}

/// A store with two large chunks of queue 1.
pub(crate) fn with_two_chunks(folder: &Path) {
    let mut store = open(folder);
    let mut log = Log::default();
    store.commit(&[Write::PutQueue { record: queue(1) }, log.append(1, messages(1, 50, 300))]).unwrap();
    store.commit(&[log.append(1, messages(51, 50, 300))]).unwrap();
}

/// Change a store that is closed, below it.
pub(crate) fn change<T>(folder: &Path, change: impl FnOnce(&sled::Db) -> T) -> T {
    let db = raw(folder);
    let changed = change(&db);
    db.flush().unwrap();
    changed
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

pub(crate) fn copy_of(folder: &Path) -> TempDir {
    let copied = tempfile::tempdir().unwrap();
    copy(folder, copied.path());
    copied
}
