//! What simulations, and reading the engine to write them, brought to light: the smallest case of each.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use bytes::Bytes;
use wasmill_delivery::{
    effect::{Effect, Receipt, SettleAnswer},
    engine::{Engine, EngineLimits, Recovery},
    input::{
        AttemptResult, Destination, Effects, Input, Lease, Order, PublishEntry, Settlement, StateAccess, StateWrite,
        Ticket,
    },
    message::{Lineage, Message},
    name::{ConsumerId, ConsumerName, HandlerName, MessageId, QueueName, Sequence},
    outcome::Outcome,
    record::{AttemptRecord, ConsumerConfig, HandlerLimits, HandlerRecord, QueueConfig},
    time::Timestamp,
    topic::Topic,
    write::{DedupId, Write},
};

const TICKET: Ticket = Ticket(1);
const CONSUMER: ConsumerId = ConsumerId(1);

/// An engine with one queue and one consumer, and what its ticks wrote.
struct Host {
    engine: Option<Engine>,
    written: Vec<Write>,
}

impl Host {
    fn new(limits: EngineLimits, in_flight_max: u32) -> Self {
        let mut host = Self { engine: Some(Recovery::new(limits).finish()), written: Vec::new() };
        host.order(Order::PutHandler { record: Box::new(handler_record("first")) });
        host.order(Order::PutHandler { record: Box::new(handler_record("second")) });
        host.order(Order::PutQueue { name: queue(), config: QueueConfig::default() });
        host.put_consumer("first", in_flight_max);
        host
    }

    fn tick(&mut self, at: u64, input: Input) -> Vec<Effect> {
        let engine = self.engine.take().expect("an engine");
        let written = &mut self.written;
        let commit = |writes: &[Write]| {
            written.extend_from_slice(writes);
            Ok::<(), Infallible>(())
        };
        let Ok((engine, effects)) = engine.tick(Timestamp(at), vec![input], commit);
        self.engine = Some(engine);
        effects
    }

    fn order(&mut self, order: Order) {
        let effects = self.tick(0, Input::Order { ticket: TICKET, order });
        assert!(matches!(&effects[..], [Effect::Ordered { answer: Ok(_), .. }, ..]), "{effects:?}");
    }

    fn put_consumer(&mut self, handler: &str, in_flight_max: u32) {
        let config = ConsumerConfig { in_flight_max, ..ConsumerConfig::new(handler_name(handler)) };
        let name = ConsumerName::new("c").expect("a name");
        self.order(Order::PutConsumer { queue: queue(), name, config, from: None });
    }

    fn publish(&mut self, at: u64, id: u128) -> Receipt {
        let to = Destination::Queue(queue());
        let entries = vec![PublishEntry { message: message(), to, dedup: Some(DedupId(id)), deliver_at: None }];
        let effects = self.tick(at, Input::Publish { ticket: TICKET, entries });
        let Some(Effect::Published { answers, .. }) = effects.first() else { panic!("{effects:?}") };
        answers[0].clone().expect("taken")
    }

    fn lease(&mut self, at: u64) -> Lease {
        let effects = self.tick(at, Input::Lease { ticket: TICKET, consumer: CONSUMER, deliveries_max: 1 });
        let Some(Effect::Leased { leases, .. }) = effects.first() else { panic!("{effects:?}") };
        leases[0]
    }

    fn settle(&mut self, at: u64, lease: Lease, result: AttemptResult) -> SettleAnswer {
        let settlement = Settlement { lease, message: message(), earlier: Vec::new(), result, capsule: None };
        let input = Input::Settle { ticket: TICKET, consumer: CONSUMER, settlements: vec![settlement] };
        let effects = self.tick(at, input);
        let Some(Effect::Settled { answers, .. }) = effects.first() else { panic!("{effects:?}") };
        answers[0].clone()
    }
}

fn queue() -> QueueName {
    QueueName::new("q").expect("a name")
}

fn handler_name(name: &str) -> HandlerName {
    HandlerName::new(name).expect("a name")
}

fn handler_record(name: &str) -> HandlerRecord {
    HandlerRecord {
        name: handler_name(name),
        digest: None,
        loaded_at: Timestamp(0),
        config: BTreeMap::new(),
        limits: HandlerLimits::default(),
        grants: Default::default(),
        secrets: Default::default(),
        imports: None,
        versions: Box::default(),
        replacing: Box::default(),
    }
}

fn message() -> Arc<Message> {
    Arc::new(Message {
        id: MessageId::new("m").expect("an id"),
        topic: Topic::new("t").expect("a topic"),
        key: None,
        content_type: None,
        headers: Vec::new(),
        data: Bytes::new(),
        published_at: Timestamp(0),
        expires_at: None,
        lineage: Lineage::default(),
    })
}

fn wrote_state() -> AttemptResult {
    let writes = vec![StateWrite::Set { key: "k".to_owned(), value: Bytes::new() }];
    AttemptResult::Succeeded(Effects { published: Vec::new(), state: StateAccess { writes, ..StateAccess::default() } })
}

fn deferred() -> AttemptResult {
    AttemptResult::Failed(AttemptRecord {
        attempt: 1,
        digest: None,
        started_at: Timestamp(0),
        duration_us: 0,
        outcome: Outcome::Defer { after_ms: 0 },
        fuel_used: 0,
        memory_bytes_peak: 0,
        log: String::new(),
        backtrace: Vec::new(),
        fresh: false,
    })
}

fn state_of(write: &Write) -> Option<&str> {
    if let Write::PutState { handler, .. } = write { Some(handler.as_str()) } else { None }
}

/// An id was known until the next one was published, however long that took: the second message was lost.
#[test]
fn an_id_past_its_window_is_taken_again() {
    let mut host = Host::new(EngineLimits { dedup_window_ms: 100, ..EngineLimits::default() }, 10);
    assert!(!host.publish(0, 7).duplicate);
    assert!(host.publish(100, 7).duplicate, "within the window");
    assert!(!host.publish(101, 7).duplicate, "past the window");
    let dedup = host.written.iter().filter(|write| matches!(write, Write::PutDedup { .. } | Write::DeleteDedup { .. }));
    assert!(matches!(dedup.last(), Some(Write::PutDedup { .. })), "deleting after putting would lose the new one");
}

/// What ran as one handler was committed as another, into the other one's state.
#[test]
fn another_handler_fences_off_what_the_old_one_runs() {
    let mut host = Host::new(EngineLimits::default(), 10);
    host.publish(0, 1);
    let lease = host.lease(0);
    host.put_consumer("second", 10);
    assert_eq!(host.settle(0, lease, wrote_state()), SettleAnswer::StaleFence);
    let again = host.lease(0);
    assert_eq!((again.sequence, again.attempt), (lease.sequence, 1));
    host.put_consumer("second", 5);
    assert_eq!(host.settle(0, again, wrote_state()), SettleAnswer::Committed, "the same handler goes on");
    let states = host.written.iter().filter_map(state_of).collect::<Vec<_>>();
    assert_eq!(states, ["second"]);
}

/// With room for one delivery, one that defers itself was always taken before what is in the log.
#[test]
fn a_delivery_that_waits_for_another_does_not_keep_it_out() {
    let mut host = Host::new(EngineLimits::default(), 1);
    host.publish(0, 1);
    host.publish(0, 2);
    let mut ran = Vec::new();
    for _ in 0..6 {
        let lease = host.lease(0);
        ran.push(lease.sequence);
        host.settle(0, lease, deferred());
    }
    assert!(ran.contains(&Sequence(2)), "only {ran:?} ran");
}
