//! Priorities with a backlog longer than any simulation makes: urgent messages wait behind nothing less urgent, and
//! what is not urgent is not forgotten.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use wasmill_delivery::{
    effect::{Effect, OrderRefusal},
    engine::{Engine, EngineLimits, Recovery},
    input::{AttemptResult, Destination, Input, Lease, Order, PublishEntry, Settlement, Ticket},
    message::{Lineage, Message},
    name::{ConsumerId, ConsumerName, MessageId, QueueId, QueueName, Sequence},
    outcome::Outcome,
    priority::Priority,
    queue_config::{QueueConfig, Retention},
    record::{AttemptRecord, ConsumerConfig, DeliveryOrder, Start},
    time::Timestamp,
    topic::Topic,
};
use wasmill_simulation::disk::{Disk, Trimming};

const TICKET: Ticket = Ticket(1);
const CONSUMER: ConsumerId = ConsumerId(1);
const QUEUE: QueueId = QueueId(1);

struct Host {
    engine: Option<Engine>,
    disk: Disk,
}

impl Host {
    /// With one queue and a pull consumer that takes as many as it likes.
    fn new() -> Self {
        let mut host = Self { engine: Some(Recovery::new(EngineLimits::default()).finish()), disk: Disk::default() };
        host.put_queue(QueueConfig { priorities: true, ..QueueConfig::default() }).expect("a queue");
        host.put_consumer("c", consumer()).expect("a consumer");
        host
    }

    fn tick(&mut self, at: u64, input: Input) -> Vec<Effect> {
        let engine = self.engine.take().expect("an engine");
        let commit = |writes: &[_]| {
            self.disk.commit(writes, Trimming::Eager).expect("legal writes");
            Ok::<(), Infallible>(())
        };
        let Ok((engine, effects)) = engine.tick(Timestamp(at), vec![input], commit);
        self.engine = Some(engine);
        effects
    }

    fn order(&mut self, order: Order) -> Result<(), OrderRefusal> {
        let effects = self.tick(0, Input::Order { ticket: TICKET, order });
        let Some(Effect::Ordered { answer, .. }) = effects.last() else { panic!("{effects:?}") };
        answer.clone().map(drop)
    }

    fn put_queue(&mut self, config: QueueConfig) -> Result<(), OrderRefusal> {
        self.order(Order::PutQueue { name: queue(), config })
    }

    fn put_consumer(&mut self, name: &str, config: ConsumerConfig) -> Result<(), OrderRefusal> {
        let name = ConsumerName::new(name).expect("a name");
        self.order(Order::PutConsumer { queue: queue(), name, config, from: None })
    }

    fn publish(&mut self, priority: u8, count: usize) {
        let to = Destination::Queue(queue());
        let entry = PublishEntry { message: message(priority), to, dedup: None, deliver_at: None };
        self.tick(0, Input::Publish { ticket: TICKET, entries: vec![entry; count] });
    }

    fn lease(&mut self, at: u64, deliveries_max: u32) -> Vec<Lease> {
        let effects = self.tick(at, Input::Lease { ticket: TICKET, consumer: CONSUMER, deliveries_max });
        let leased = effects.into_iter().filter_map(|effect| {
            let Effect::Leased { leases, .. } = effect else { return None };
            Some(leases)
        });
        leased.flatten().collect()
    }

    fn settle(&mut self, lease: Lease, outcome: Option<Outcome>) {
        let message = message(Priority::of(lease.sequence).number());
        let failed =
            outcome.map(|o| AttemptResult::Failed(AttemptRecord::without_sandbox(lease.attempt, Timestamp(0), o)));
        let result = failed.unwrap_or_else(|| AttemptResult::Succeeded(wasmill_delivery::input::Effects::default()));
        let settlements = vec![Settlement { lease, message, earlier: Vec::new(), result, capsule: None }];
        self.tick(1, Input::Settle { ticket: TICKET, consumer: CONSUMER, settlements });
    }

    fn crash(&mut self) {
        let mut recovery = Recovery::new(EngineLimits::default());
        self.disk.recover().into_iter().for_each(|recovered| recovery.take(recovered));
        self.engine = Some(recovery.finish());
    }

    fn by_priority(&self) -> Vec<u64> {
        self.engine.as_ref().and_then(|engine| engine.queue(QUEUE)).expect("the queue").by_priority
    }
}

fn queue() -> QueueName {
    QueueName::new("q").expect("a name")
}

fn consumer() -> ConsumerConfig {
    ConsumerConfig { in_flight_max: 10_000, ..ConsumerConfig::pulled() }
}

fn message(priority: u8) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId::new("m").expect("an id"),
        topic: Topic::new("t").expect("a topic"),
        key: None,
        content_type: None,
        headers: vec![("priority".to_owned(), priority.to_string())],
        data: bytes::Bytes::new(),
        published_at: Timestamp(0),
        expires_at: None,
        lineage: Lineage::default(),
    })
}

fn priorities(leases: &[Lease]) -> Vec<u8> {
    leases.iter().map(|lease| Priority::of(lease.sequence).number()).collect()
}

fn count(leases: &[Lease]) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    priorities(leases).into_iter().for_each(|priority| *counts.entry(priority).or_default() += 1);
    counts
}

#[test]
fn urgent_messages_overtake_a_long_backlog_and_nothing_starves() {
    let mut host = Host::new();
    host.publish(0, 5_000);
    assert_eq!(priorities(&host.lease(0, 3)), [0, 0, 0], "nothing more urgent is there");
    host.publish(9, 1_000);
    host.publish(4, 1_000);
    assert_eq!(host.by_priority(), [5_000, 0, 0, 0, 1_000, 0, 0, 0, 0, 1_000]);
    let run = host.lease(0, 900);
    assert_eq!(run[0].sequence, Priority::try_from(9).expect("one").first(), "the newest goes first");
    assert_eq!(count(&run), BTreeMap::from([(0, 30), (4, 30), (9, 840)]), "each tenth goes around");
    let starved =
        priorities(&run).chunks(31).find(|thirty| !(thirty.contains(&0) && thirty.contains(&4))).map(<[u8]>::to_vec);
    assert_eq!(starved.filter(|rest| rest.len() == 31), None, "of three, each gets one of thirty");
}

#[test]
fn a_retry_keeps_its_priority_also_over_a_crash() {
    let mut host = Host::new();
    host.publish(0, 20);
    host.publish(7, 1);
    let urgent = host.lease(0, 1).remove(0);
    assert_eq!(Priority::of(urgent.sequence).number(), 7);
    host.settle(urgent, Some(Outcome::Defer { after_ms: 5 }));
    assert_eq!(priorities(&host.lease(2, 1)), [0], "it is not due");
    host.crash();
    let next = host.lease(100, 2);
    assert_eq!(next[0].sequence, urgent.sequence, "{next:?}");
    host.settle(next[0], None);
    host.settle(next[1], None);
    host.crash();
    assert_eq!(host.by_priority()[7], 0);
    assert_eq!(host.lease(200, 100).len(), 19, "nothing twice, nothing lost");
}

#[test]
fn the_least_urgent_make_room_first() {
    let mut host = Host::new();
    let overflow = wasmill_delivery::record::Overflow::DropOldest;
    host.put_queue(QueueConfig { priorities: true, messages_max: 10, overflow, ..QueueConfig::default() })
        .expect("it may");
    host.publish(2, 6);
    host.publish(0, 4);
    host.publish(5, 7);
    assert_eq!(host.by_priority(), [0, 0, 3, 0, 0, 7, 0, 0, 0, 0]);
    let leased: Vec<Sequence> = host.lease(0, 100).into_iter().map(|lease| lease.sequence).collect();
    assert_eq!(leased.len(), 10, "{leased:?}");
}

#[test]
fn what_priorities_do_not_go_with_is_refused_in_words() {
    let mut host = Host::new();
    let ordered = ConsumerConfig { order: DeliveryOrder::Key, ..consumer() };
    let from_there = ConsumerConfig { start: Start::Sequence(Sequence(3)), ..consumer() };
    let retaining = QueueConfig { priorities: true, retention: Some(Retention::default()), ..QueueConfig::default() };
    let refusals = [
        (host.put_consumer("ordered", ordered.clone()), "a consumer with an order"),
        (host.put_consumer("c", ordered.clone()), "a consumer with an order"),
        (host.put_consumer("starts", from_there), "starts at a sequence or a time"),
        (host.put_queue(retaining), "either priorities or retention"),
        (host.put_queue(QueueConfig::default()), "cannot be taken from queue q"),
    ];
    for (answer, words) in refusals {
        let refusal = answer.expect_err(words).to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
    let plain = QueueName::new("plain").expect("a name");
    host.order(Order::PutQueue { name: plain.clone(), config: QueueConfig::default() }).expect("a queue");
    let name = ConsumerName::new("o").expect("a name");
    host.order(Order::PutConsumer { queue: plain.clone(), name, config: ordered, from: None }).expect("a consumer");
    let config = QueueConfig { priorities: true, ..QueueConfig::default() };
    let refusal = host.order(Order::PutQueue { name: plain, config }).expect_err("it has a consumer with an order");
    assert!(refusal.to_string().contains("a consumer with an order"), "{refusal}");
}

#[test]
fn a_queue_may_get_priorities_while_it_has_messages() {
    let mut host = Host { engine: Some(Recovery::new(EngineLimits::default()).finish()), disk: Disk::default() };
    host.put_queue(QueueConfig::default()).expect("a queue");
    host.put_consumer("c", consumer()).expect("a consumer");
    host.publish(9, 3);
    assert_eq!(host.by_priority(), Vec::<u64>::new());
    host.put_queue(QueueConfig { priorities: true, ..QueueConfig::default() }).expect("it may");
    host.publish(9, 2);
    host.crash();
    assert_eq!(host.by_priority(), [3, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(priorities(&host.lease(0, 10)), [9, 9, 0, 0, 0], "what came before stays where it is");
}

/// Lanes that have nothing are asked first, and must not take the turns of the one that has both.
#[test]
fn retries_have_their_share_of_each_priority() {
    for (priorities, retry_share) in [(true, 10), (true, 50), (true, 75), (false, 10), (false, 99)] {
        let mut host = Host { engine: Some(Recovery::new(EngineLimits::default()).finish()), disk: Disk::default() };
        host.put_queue(QueueConfig { priorities, ..QueueConfig::default() }).expect("a queue");
        host.put_consumer("c", ConsumerConfig { retry_share, ..consumer() }).expect("a consumer");
        host.publish(8, 200);
        let first = host.lease(0, 100);
        let last = first[99].sequence;
        for lease in first {
            host.settle(lease, Some(Outcome::Defer { after_ms: 1 }));
        }
        for (leased, each) in [(40, 1), (60, 20)] {
            let leases: Vec<Lease> = (0..leased / each).flat_map(|_| host.lease(10, each)).collect();
            let retries = leases.iter().filter(|lease| lease.sequence <= last).count();
            let fair = leased as usize * retry_share as usize / 100;
            let is_fair = (fair.saturating_sub(1)..=fair + 1).contains(&retries);
            assert!(is_fair, "{retries} of {leased} are retries, by {each}, at {retry_share} %, {priorities}");
        }
        assert_eq!(host.lease(10, 200).len(), 100, "what is left goes when nothing else waits");
    }
}
