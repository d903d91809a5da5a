//! What a message costs in the engine alone: published, leased and settled, without a disk and without a handler.
//!
//! `cargo bench -p wasmill-delivery --bench engine`: criterion reports the time of one message as `thrpt`'s inverse;
//! `time` is that of all 300.

use std::{collections::BTreeMap, convert::Infallible, hint::black_box, sync::Arc};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use wasmill_delivery::{
    effect::Effect,
    engine::{Engine, EngineLimits, Recovery},
    input::{AttemptResult, Effects, Input, Lease, Order, PublishEntry, Settlement, Ticket},
    message::{Lineage, Message},
    name::{ConsumerId, ConsumerName, HandlerName, MessageId, QueueName},
    record::{ConsumerConfig, HandlerLimits, HandlerRecord, QueueConfig},
    time::Timestamp,
    topic::{Topic, TopicPattern},
    write::{DedupId, Write},
};

const MESSAGES: usize = 300;
const CONSUMER: ConsumerId = ConsumerId(1);
const TICKET: Ticket = Ticket(1);

fn tick(engine: Engine, inputs: Vec<Input>) -> (Engine, Vec<Effect>) {
    let commit = |writes: &[Write]| {
        black_box(writes);
        Ok::<(), Infallible>(())
    };
    let Ok(after) = engine.tick(Timestamp(1), inputs, commit);
    after
}

fn declared() -> Engine {
    let name = HandlerName::new("handler").expect("a name");
    let queue = QueueName::new("orders").expect("a name");
    let bindings = vec![TopicPattern::new("orders.*").expect("a pattern").into()];
    let orders = [
        Order::PutHandler {
            record: Box::new(HandlerRecord {
                name: name.clone(),
                digest: None,
                loaded_at: Timestamp(0),
                config: BTreeMap::new(),
                limits: HandlerLimits::default(),
                grants: Default::default(),
                secrets: Default::default(),
                imports: None,
                versions: Box::default(),
                replacing: Box::default(),
            }),
        },
        Order::PutQueue { name: queue.clone(), config: QueueConfig { bindings, ..QueueConfig::default() } },
        Order::PutConsumer {
            queue,
            name: ConsumerName::new("consumer").expect("a name"),
            config: ConsumerConfig::new(name),
            from: None,
        },
    ];
    let inputs = orders.into_iter().map(|order| Input::Order { ticket: TICKET, order }).collect();
    tick(Recovery::new(EngineLimits::default()).finish(), inputs).0
}

/// 300 publishes of one message each, as independent publishers send them.
fn publishes(dedup: bool) -> Vec<Input> {
    let topic = Topic::new("orders.created").expect("a topic");
    (0..MESSAGES)
        .map(|number| {
            let message = Arc::new(Message {
                id: MessageId::new(format!("message-{number}")).expect("an id"),
                topic: topic.clone(),
                key: None,
                content_type: None,
                headers: Vec::new(),
                data: Bytes::from_static(&[7; 256]),
                published_at: Timestamp(1),
                expires_at: None,
                lineage: Lineage::default(),
            });
            let dedup = dedup.then_some(DedupId(number as u128));
            Input::Publish { ticket: TICKET, entries: vec![PublishEntry { dedup, ..PublishEntry::new(message) }] }
        })
        .collect()
}

fn messages(inputs: &[Input]) -> Vec<Arc<Message>> {
    let message = |input: &Input| {
        let Input::Publish { entries, .. } = input else { return None };
        entries.first().map(|entry| Arc::clone(&entry.message))
    };
    inputs.iter().filter_map(message).collect()
}

fn settle(messages: Vec<Arc<Message>>, leases: &[Lease]) -> Input {
    let settlements = messages.into_iter().zip(leases).map(|(message, lease)| Settlement {
        lease: *lease,
        message,
        earlier: Vec::new(),
        result: AttemptResult::Succeeded(Effects::default()),
        capsule: None,
    });
    Input::Settle { ticket: TICKET, consumer: CONSUMER, settlements: settlements.collect() }
}

/// Publish, lease and settle all of them, in three ticks.
fn pass(engine: Engine, publishes: Vec<Input>) -> Engine {
    let messages = messages(&publishes);
    let (engine, _) = tick(engine, publishes);
    let lease = Input::Lease { ticket: TICKET, consumer: CONSUMER, deliveries_max: u32::MAX };
    let (engine, effects) = tick(engine, vec![lease]);
    let Some(Effect::Leased { leases, .. }) = effects.first() else { panic!("nothing was leased: {effects:?}") };
    assert_eq!(leases.len(), MESSAGES);
    tick(engine, vec![settle(messages, leases)]).0
}

fn engine(c: &mut Criterion) {
    let engine = declared();
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    for (name, dedup) in [("publish, lease, settle", false), ("publish with an id, lease, settle", true)] {
        let prepare = || (engine.clone(), publishes(dedup));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(prepare, |(engine, publishes)| pass(engine, publishes), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
