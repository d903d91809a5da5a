//! What a message costs the pump's thread: encoding and decoding, with rmp-serde for comparison, and whole commits
//! next to a plain append with fdatasync of the same bytes.
//!
//! `cargo bench -p wasmill-store`

use std::{
    fs::File,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wasmill_delivery::{
    cursor::Cursor,
    message::{Lineage, Message},
    name::{ConsumerId, MessageId, QueueId, QueueName, Sequence},
    record::{QueueConfig, QueueRecord},
    time::Timestamp,
    topic::Topic,
    write::Write,
};
use wasmill_store::{Durability, Store, StoreOptions, measure};

const MESSAGES: u64 = 300;
const KEPT: u64 = 100_000;
const CHUNK_BYTES: usize = 32 * 1024;
const QUEUE: QueueId = QueueId(1);

/// 256 bytes of data, two headers, no key.
fn message(number: u64) -> Arc<Message> {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Arc::new(Message {
        id: MessageId::new(format!("01890a5d-ac96-774b-bcce-{number:012}")).expect("a good id"),
        topic: Topic::new("orders.eu.created").expect("a good topic"),
        key: None,
        content_type: Some("application/json".to_owned()),
        headers: vec![
            header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            header("x-source", "till"),
        ],
        data: vec![b'x'; 256].into(),
        published_at: Timestamp(1_700_000_000_000),
        expires_at: None,
        lineage: Lineage::default(),
    })
}

fn messages(first: u64) -> Vec<Arc<Message>> {
    (first..first + MESSAGES).map(message).collect()
}

fn decode(chunks: &[Bytes]) -> Vec<Arc<Message>> {
    chunks.iter().flat_map(|chunk| measure::decode(chunk).expect("sound")).collect()
}

fn chunk(c: &mut Criterion) {
    let messages = messages(1);
    let encoded = measure::encode(&messages, CHUNK_BYTES);
    let rmp = rmp_serde::to_vec(&messages).expect("to memory");
    assert_eq!(decode(&encoded), messages);
    let mut group = c.benchmark_group("chunk");
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("encode", |b| b.iter(|| measure::encode(&messages, CHUNK_BYTES)));
    group.bench_function("decode", |b| b.iter(|| decode(&encoded)));
    group.bench_function("encode with rmp-serde", |b| b.iter(|| rmp_serde::to_vec(&messages)));
    group.bench_function("decode with rmp-serde", |b| b.iter(|| rmp_serde::from_slice::<Vec<Arc<Message>>>(&rmp)));
    group.finish();
}

/// A queue that is appended to, read up and trimmed, [`KEPT`] messages behind.
struct Pump {
    store: Store,
    next: u64,
    bytes: u64,
}

impl Pump {
    fn new(store: Store) -> Self {
        let mut pump = Self { store, next: 1, bytes: 0 };
        let name = QueueName::new("q").expect("a good name");
        let record = QueueRecord { id: QUEUE, name, config: QueueConfig::default() };
        pump.store.commit(&[Write::PutQueue { record }]).expect("a disk");
        while pump.next < KEPT {
            pump.commit(messages(pump.next));
        }
        pump
    }

    /// One commit, and how long it took.
    fn commit(&mut self, messages: Vec<Arc<Message>>) -> Duration {
        let (first, bytes_before) = (Sequence(self.next), self.bytes);
        self.next += messages.len() as u64;
        self.bytes += messages.iter().map(|message| message.size_bytes()).sum::<u64>();
        let writes = [
            Write::Append { queue: QUEUE, first, bytes_before, messages },
            Write::PutCursor { consumer: ConsumerId(1), cursor: Cursor::starting_at(first) },
            Write::Trim { queue: QUEUE, below: Sequence(self.next.saturating_sub(KEPT).max(1)) },
        ];
        let began = Instant::now();
        self.store.commit(&writes).expect("a disk");
        began.elapsed()
    }
}

fn commit(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut group = c.benchmark_group("commit");
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(20);
    let durabilities = [("fsync", Durability::Fsync), ("interval", Durability::Interval { flush_ms: 100 })];
    for (name, durability) in durabilities {
        let options = StoreOptions { durability, ..StoreOptions::default() };
        let mut pump = Pump::new(Store::open(&folder.path().join(name), options).expect("a disk"));
        group.bench_function(name, |b| {
            b.iter_custom(|count| (0..count).map(|_| pump.commit(messages(pump.next))).sum())
        });
    }
    let mut file = File::create(folder.path().join("plain")).expect("a disk");
    let bytes = measure::encode(&messages(1), CHUNK_BYTES).concat();
    group.bench_function("plain append and fdatasync", |b| {
        b.iter(|| file.write_all(&bytes).and_then(|()| file.sync_data()).expect("a disk"));
    });
    group.finish();
}

criterion_group!(benches, chunk, commit);
criterion_main!(benches);
