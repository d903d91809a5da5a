//! Jobs: what their status says through all that can become of a message, and each of their limits.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind and passes over all others")]

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use serde_json::Value;
use wasmill_delivery::{
    effect::{Effect, OrderReceipt, OrderRefusal, PublishRefusal, SettleAnswer},
    engine::{Engine, EngineLimits, Recovery},
    input::{AttemptResult, Destination, Effects, Input, Lease, Order, PublishEntry, Settlement, Ticket},
    job::{CALLBACK_QUEUE, CALLBACK_URL_HEADER, JobDelivery, JobId, JobRecord, JobResult, JobState, NewJob},
    limits::{JOB_DELIVERIES_MAX, JOB_OUTCOME_BYTES_MAX},
    message::{Lineage, Message},
    name::{ConsumerId, ConsumerName, MessageId, QueueName},
    outcome::Outcome,
    record::{AttemptRecord, ConsumerConfig, DelayedKey, Overflow, PauseReason, QuarantineRecord, QueueConfig},
    time::Timestamp,
    topic::Topic,
    write::{Recovered, Write},
};

const DONE: AttemptResult = AttemptResult::Succeeded(Effects { published: Vec::new(), state: NO_STATE });
const NO_STATE: wasmill_delivery::input::StateAccess = wasmill_delivery::input::StateAccess {
    revision: wasmill_delivery::input::Revision(0),
    reads: Vec::new(),
    listed: false,
    writes: Vec::new(),
};

/// An engine, what it wrote last, and what it kept of jobs.
struct World {
    engine: Option<Engine>,
    now: u64,
    writes: Vec<Write>,
    all: Vec<Write>,
    effects: Vec<Effect>,
    messages: u64,
    quarantined: Vec<QuarantineRecord>,
}

impl World {
    /// With queue `q`, which binds `t`, and its pulled consumer `c`.
    fn new(limits: EngineLimits) -> Self {
        let mut world = Self {
            engine: Some(Recovery::new(limits).finish()),
            now: 1_000,
            writes: Vec::new(),
            all: Vec::new(),
            effects: Vec::new(),
            messages: 0,
            quarantined: Vec::new(),
        };
        let bindings = vec!["t".parse::<wasmill_delivery::topic::TopicPattern>().expect("a pattern").into()];
        world.queue("q", QueueConfig { bindings, ..QueueConfig::default() });
        world.consumer("q", "c");
        world
    }

    fn queue(&mut self, name: &str, config: QueueConfig) {
        self.order(Order::PutQueue { name: queue(name), config }).expect("a queue");
    }

    fn consumer(&mut self, on: &str, name: &str) -> ConsumerId {
        let name = ConsumerName::new(name).expect("a name");
        let config = ConsumerConfig { attempts_max: 2, ..ConsumerConfig::pulled() };
        match self.order(Order::PutConsumer { queue: queue(on), name, config, from: None }).expect("a consumer") {
            OrderReceipt::Consumer { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    fn step(&mut self, input: Option<Input>) {
        let engine = self.engine.take().expect("an engine");
        self.writes.clear();
        let keep = |writes: &[Write]| {
            self.writes = writes.to_vec();
            Ok::<(), Infallible>(())
        };
        let Ok((engine, effects)) = engine.tick(Timestamp(self.now), input.into_iter().collect(), keep);
        self.engine = Some(engine);
        self.effects = effects;
        self.all.extend(self.writes.iter().cloned());
        for write in &self.writes {
            if let Write::PutQuarantine { record, .. } = write {
                self.quarantined.push((**record).clone());
            }
        }
    }

    fn order(&mut self, order: Order) -> Result<OrderReceipt, OrderRefusal> {
        self.step(Some(Input::Order { ticket: Ticket(1), order }));
        let answer = self.effects.iter().find_map(|effect| match effect {
            Effect::Ordered { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        answer.expect("an answer")
    }

    fn message(&mut self, topic: &str) -> Message {
        self.messages += 1;
        Message {
            id: MessageId::new(format!("m{}", self.messages)).expect("an id"),
            topic: Topic::new(topic).expect("a topic"),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: Bytes::from_static(b"x"),
            published_at: Timestamp(self.now),
            expires_at: None,
            lineage: Lineage::default(),
        }
    }

    fn submit(&mut self, name: &str) -> Result<OrderReceipt, OrderRefusal> {
        self.submit_with(name, None, None)
    }

    fn submit_with(
        &mut self,
        name: &str,
        callback: Option<&str>,
        deliver_at: Option<u64>,
    ) -> Result<OrderReceipt, OrderRefusal> {
        let entry = PublishEntry::new(Arc::new(self.message("t")));
        let entry = PublishEntry { deliver_at: deliver_at.map(Timestamp), ..entry };
        let job = Box::new(NewJob { id: id(name), callback: callback.map(str::to_owned) });
        self.order(Order::SubmitJob { job, entry })
    }

    fn cancel(&mut self, name: &str) -> Result<OrderReceipt, OrderRefusal> {
        self.order(Order::CancelJob { id: id(name) })
    }

    fn leases(&mut self, consumer: u32, most: u32) -> Vec<Lease> {
        let consumer = ConsumerId(consumer);
        self.step(Some(Input::Lease { ticket: Ticket(9), consumer, deliveries_max: most }));
        let leases = self.effects.iter().find_map(|effect| match effect {
            Effect::Leased { leases, .. } => Some(leases.clone()),
            _ => None,
        });
        if leases.is_none() {
            let effects = std::mem::take(&mut self.effects);
            let writes = std::mem::take(&mut self.writes);
            self.step(Some(Input::CancelLease { ticket: Ticket(9), consumer }));
            (self.effects, self.writes) = (effects, writes);
        }
        leases.unwrap_or_default()
    }

    fn lease(&mut self, consumer: u32) -> Lease {
        self.leases(consumer, 1).pop().expect("a lease")
    }

    fn settle(&mut self, consumer: u32, lease: Lease, result: AttemptResult) -> SettleAnswer {
        let message = Arc::new(self.message("t"));
        let settlements = vec![Settlement { lease, message, earlier: Vec::new(), result, capsule: None }];
        self.step(Some(Input::Settle { ticket: Ticket(3), consumer: ConsumerId(consumer), settlements }));
        let answers = self.effects.iter().find_map(|effect| match effect {
            Effect::Settled { answers, .. } => answers.first().cloned(),
            _ => None,
        });
        answers.expect("an answer")
    }

    fn job(&self, name: &str) -> JobRecord {
        self.engine.as_ref().expect("an engine").job(&id(name)).unwrap_or_else(|| panic!("job {name} is not known"))
    }

    fn states(&self, name: &str) -> Vec<JobState> {
        let record = self.job(name);
        std::iter::once(record.state()).chain(record.deliveries.iter().map(|d| d.state)).collect()
    }

    fn delivery(&self, name: &str) -> JobDelivery {
        self.job(name).deliveries.remove(0)
    }

    /// What is on the disk of a job is what the engine shows, when nothing runs.
    fn kept(&self, name: &str) -> Option<JobRecord> {
        let mut kept = None;
        for write in &self.all {
            match write {
                Write::PutJob { record } if record.id == id(name) => kept = Some((**record).clone()),
                Write::DeleteJob { id: gone } if *gone == id(name) => kept = None,
                _ => {}
            }
        }
        kept
    }

    fn appended(&self) -> Vec<Arc<Message>> {
        let appended = self.writes.iter().filter_map(|write| match write {
            Write::Append { messages, .. } => Some(messages.clone()),
            _ => None,
        });
        appended.flatten().collect()
    }

    fn ended(&self) -> Vec<(String, JobState)> {
        let ended = self.effects.iter().filter_map(|effect| match effect {
            Effect::JobEnded { id, state } => Some((id.to_string(), *state)),
            _ => None,
        });
        ended.collect()
    }
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a name")
}

fn id(name: &str) -> JobId {
    JobId::new(name).expect("an id")
}

fn failed(attempt: u32, outcome: Outcome) -> AttemptResult {
    AttemptResult::Failed(AttemptRecord::without_sandbox(attempt, Timestamp(0), outcome))
}

fn retry(attempt: u32) -> AttemptResult {
    failed(attempt, Outcome::Retry { reason: "not yet".to_owned(), after_ms: Some(10) })
}

fn reply(world: &mut World, name: &str, data: &'static [u8]) -> AttemptResult {
    let mut message = world.message(&id(name).reply_topic());
    message.data = Bytes::from_static(data);
    message.content_type = Some("x/y".to_owned());
    let published = vec![PublishEntry::new(Arc::new(message))];
    AttemptResult::Succeeded(Effects { published, ..Effects::default() })
}

#[test]
fn a_job_is_queued_runs_retries_and_is_done_with_its_result() {
    let mut world = World::new(EngineLimits::default());
    assert_eq!(world.submit("j"), Ok(OrderReceipt::Job { known: false, delayed_until: None }));
    assert_eq!(world.states("j"), [JobState::Queued; 2]);
    assert_eq!(world.submit("j"), Ok(OrderReceipt::Job { known: true, delayed_until: None }));
    assert!(world.writes.is_empty(), "a job that is known is not published again");
    let lease = world.lease(1);
    assert_eq!((world.states("j"), world.delivery("j").attempts), (vec![JobState::Running; 2], 1));
    let answer = world.settle(1, lease, retry(1));
    assert!(matches!(answer, SettleAnswer::RetryAt { .. }));
    assert_eq!(world.states("j"), [JobState::Retrying; 2]);
    let waits = world.delivery("j");
    assert_eq!((waits.attempts, waits.due), (1, Some(Timestamp(world.now + 10))));
    assert!(waits.last_outcome.is_some_and(|words| words.contains("not yet")));
    world.now += 10;
    let lease = world.lease(1);
    let result = reply(&mut world, "j", b"42");
    assert_eq!(world.settle(1, lease, result), SettleAnswer::Committed);
    assert_eq!((world.states("j"), world.delivery("j").attempts), (vec![JobState::Done; 2], 2));
    assert_eq!(world.ended(), [("j".to_owned(), JobState::Done)]);
    let kept = JobResult { content_type: Some("x/y".to_owned()), data: Bytes::from_static(b"42") };
    assert_eq!(world.job("j").result, Some(kept.head()));
    assert!(world.writes.contains(&Write::PutJobResult { id: id("j"), result: kept }), "in the commit of the settle");
    assert_eq!(world.kept("j"), Some(world.job("j")));
    assert_eq!(
        world.cancel("j"),
        Err(OrderRefusal::JobEnded { job: id("j"), state: JobState::Done }),
        "what is done stays done"
    );
    assert_eq!(world.cancel("k"), Err(OrderRefusal::UnknownJob { job: id("k") }));
}

#[test]
fn a_result_of_somebody_else_or_of_a_failure_is_none() {
    let mut world = World::new(EngineLimits { job_result_bytes_max: 3, ..EngineLimits::default() });
    world.submit("j").expect("a job");
    world.submit("k").expect("a job");
    let lease = world.lease(1);
    let other = reply(&mut world, "k", b"1");
    assert_eq!(world.settle(1, lease, other), SettleAnswer::Committed);
    assert_eq!((world.job("j").result, world.job("k").result), (None, None), "j may not answer for k");
    let lease = world.lease(1);
    let large = reply(&mut world, "k", b"1234");
    assert!(matches!(world.settle(1, lease, large), SettleAnswer::RetryAt { .. }), "over the limit it fails");
    let outcome = world.delivery("k").last_outcome.expect("an outcome");
    assert!(outcome.contains("result-bytes-max = 3"), "{outcome}");
    world.now += 60_000;
    let lease = world.lease(1);
    let fits = reply(&mut world, "k", b"123");
    assert_eq!(world.settle(1, lease, fits), SettleAnswer::Committed);
    assert_eq!(world.job("k").result.expect("a result").bytes, 3);
}

#[test]
fn a_job_given_up_is_quarantined_and_lives_again_when_it_is_redriven() {
    let mut world = World::new(EngineLimits::default());
    world.submit("j").expect("a job");
    let lease = world.lease(1);
    world.settle(1, lease, failed(1, Outcome::Reject { reason: "no".repeat(1_000) }));
    assert_eq!(world.delivery("j").last_outcome.map(|words| words.len()), Some(JOB_OUTCOME_BYTES_MAX));
    assert_eq!(world.states("j"), [JobState::Quarantined; 2]);
    let record = world.quarantined.pop().expect("a record");
    assert_eq!(world.delivery("j").quarantine, Some(record.id));
    let message = Arc::new(world.message("t"));
    world.order(Order::Redrive { record: Box::new(record), message }).expect("a redrive");
    assert_eq!((world.states("j"), world.job("j").ended_at), (vec![JobState::Queued; 2], None));
    let lease = world.lease(1);
    world.settle(1, lease, DONE);
    assert_eq!((world.states("j"), world.job("j").ends), (vec![JobState::Done; 2], 2));
    assert_eq!(world.ended(), [("j".to_owned(), JobState::Done)]);
}

#[test]
fn a_job_expires() {
    let mut world = World::new(EngineLimits::default());
    world.submit("j").expect("a job");
    let lease = world.lease(1);
    assert_eq!(world.settle(1, lease, failed(1, Outcome::Expired)), SettleAnswer::Expired);
    assert_eq!((world.states("j"), world.delivery("j").attempts), (vec![JobState::Expired; 2], 0));
}

#[test]
fn a_cancelled_job_never_runs() {
    let mut world = World::new(EngineLimits::default());
    for name in ["a", "b", "c"] {
        world.submit(name).expect("a job");
    }
    // One waits for a retry, one in the log; the third one stays.
    let lease = world.lease(1);
    world.settle(1, lease, retry(1));
    for name in ["a", "b"] {
        assert_eq!(world.cancel(name), Ok(OrderReceipt::Done));
        assert_eq!(world.states(name), [JobState::Cancelled; 2], "at once");
        assert_eq!(world.ended(), [(name.to_owned(), JobState::Cancelled)]);
        assert_eq!(world.cancel(name), Ok(OrderReceipt::Done), "again is fine");
    }
    world.now += 1_000;
    let leases = world.leases(1, 10);
    assert_eq!(leases.len(), 1, "only the third: {leases:?}");
    let deleted = world.writes.iter().any(|write| matches!(write, Write::DeletePending { .. }));
    assert!(deleted, "the one that waited off the log is gone from there");
    assert!(!world.delivery("a").void && !world.delivery("b").void);
    assert_eq!(world.states("c")[0], JobState::Running);
    assert!(world.leases(1, 10).is_empty(), "nothing is left");
}

#[test]
fn whoever_waits_goes_on_waiting_when_all_there_is_was_cancelled() {
    let mut world = World::new(EngineLimits::default());
    for number in 0..5 {
        world.submit(&format!("j{number}")).expect("a job");
        world.cancel(&format!("j{number}")).expect("a cancel");
    }
    world.step(Some(Input::Lease { ticket: Ticket(9), consumer: ConsumerId(1), deliveries_max: 2 }));
    assert!(world.effects.is_empty(), "{:?}", world.effects);
    world.submit("k").expect("a job");
    let leased =
        |effect: &Effect| matches!(effect, Effect::Leased { ticket: Ticket(9), leases, .. } if leases.len() == 1);
    assert!(world.effects.iter().any(leased), "{:?}", world.effects);
}

#[test]
fn a_job_cancelled_while_it_runs_takes_no_effect() {
    let mut world = World::new(EngineLimits::default());
    world.submit("j").expect("a job");
    let lease = world.lease(1);
    world.cancel("j").expect("a cancel");
    assert_eq!(world.states("j"), [JobState::Cancelled; 2]);
    assert!(world.delivery("j").void);
    let result = reply(&mut world, "j", b"too late");
    assert_eq!(world.settle(1, lease, result), SettleAnswer::Cancelled);
    assert!(!world.writes.iter().any(|write| matches!(write, Write::PutJobResult { .. })));
    assert_eq!((world.job("j").result, world.delivery("j").void), (None, false));
    assert_eq!(world.settle(1, lease, DONE), SettleAnswer::StaleFence);
    assert!(world.leases(1, 1).is_empty(), "it does not come again");
}

#[test]
fn a_delayed_job_waits_and_can_be_cancelled() {
    let mut world = World::new(EngineLimits::default());
    let until = Some(Timestamp(5_000));
    assert_eq!(world.submit_with("j", None, Some(5_000)), Ok(OrderReceipt::Job { known: false, delayed_until: until }));
    world.submit_with("k", None, Some(5_000)).expect("a job");
    let key = world.job("j").delayed.expect("a key");
    assert_eq!(world.order(Order::CancelDelayed { key }), Err(OrderRefusal::DelayedJob { job: id("j") }));
    world.cancel("j").expect("a cancel");
    assert!(world.writes.contains(&Write::DeleteDelayed { key }));
    assert_eq!((world.states("j"), world.job("j").delayed), (vec![JobState::Cancelled], None));
    world.now = 5_000;
    world.step(None);
    let keys = world.effects.iter().find_map(|effect| match effect {
        Effect::ReadDelayed { keys } => Some(keys.clone()),
        _ => None,
    });
    let [other] = keys.expect("one is due")[..] else { panic!("only one is left") };
    let entry = PublishEntry { deliver_at: Some(other.due), ..PublishEntry::new(Arc::new(world.message("t"))) };
    world.step(Some(Input::Delayed { entries: vec![(other, entry)] }));
    assert_eq!((world.states("k"), world.job("k").delayed), (vec![JobState::Queued; 2], None));
    let lease = world.lease(1);
    world.settle(1, lease, DONE);
    assert_eq!(world.states("k"), [JobState::Done; 2]);
}

#[test]
fn a_delayed_message_is_cancelled_also_when_it_is_on_its_way() {
    let mut world = World::new(EngineLimits::default());
    let mut delayed = Vec::new();
    for _ in 0..2 {
        let entry = PublishEntry::new(Arc::new(world.message("t")));
        let entry = PublishEntry { deliver_at: Some(Timestamp(2_000)), ..entry };
        world.step(Some(Input::Publish { ticket: Ticket(5), entries: vec![entry.clone()] }));
        let [Effect::Published { answers, .. }] = &world.effects[..] else { panic!("{:?}", world.effects) };
        let receipt = answers[0].clone().expect("taken");
        assert_eq!(receipt.delayed_until(), Some(Timestamp(2_000)));
        delayed.push((receipt.delayed.expect("a key"), entry));
    }
    let cancel = |key: DelayedKey| Order::CancelDelayed { key };
    assert_eq!(world.order(cancel(delayed[0].0)), Ok(OrderReceipt::Done));
    assert_eq!(world.order(cancel(delayed[0].0)), Err(OrderRefusal::UnknownDelayed { key: delayed[0].0 }));
    world.now = 2_000;
    world.step(None);
    assert_eq!(world.order(cancel(delayed[1].0)), Ok(OrderReceipt::Done));
    world.step(Some(Input::Delayed { entries: delayed }));
    assert!(world.appended().is_empty(), "cancelled on its way to the engine");
    assert_eq!(world.engine.as_ref().expect("an engine").delayed_len(), 0);
}

#[test]
fn of_several_deliveries_the_worst_tells_once_all_have_ended() {
    let mut world = World::new(EngineLimits::default());
    let second = world.consumer("q", "d").0;
    world.submit("j").expect("a job");
    let (first, other) = (world.lease(1), world.lease(second));
    world.settle(1, first, failed(1, Outcome::Reject { reason: "no".to_owned() }));
    assert_eq!(
        world.states("j"),
        [JobState::Running, JobState::Quarantined, JobState::Running].map(|s| s)[..].to_vec()
    );
    assert_eq!(world.job("j").ended_at, None);
    world.settle(second, other, DONE);
    assert_eq!(world.states("j"), [JobState::Quarantined, JobState::Quarantined, JobState::Done]);
}

#[test]
fn a_job_whose_delivery_is_taken_away_is_cancelled_and_says_why() {
    let mut world = World::new(EngineLimits::default());
    world.submit("j").expect("a job");
    world.submit("k").expect("a job");
    world.cancel("k").expect("a cancel");
    let name = ConsumerName::new("c").expect("a name");
    world.order(Order::DeleteConsumer { queue: queue("q"), name }).expect("removed");
    assert_eq!(world.states("j"), [JobState::Cancelled; 2]);
    assert_eq!(world.delivery("j").last_outcome.as_deref(), Some("consumer removed"));
    assert!(!world.delivery("k").void, "nothing of a cancelled job is left either");
    let bindings = vec!["t".parse::<wasmill_delivery::topic::TopicPattern>().expect("a pattern").into()];
    world.queue(
        "q",
        QueueConfig { bindings, messages_max: 1, overflow: Overflow::DropOldest, ..QueueConfig::default() },
    );
    world.consumer("q", "c2");
    world.submit("l").expect("a job");
    world.submit("m").expect("a job");
    assert_eq!(world.delivery("l").last_outcome.as_deref(), Some("dropped from a full queue"));
    assert_eq!((world.states("l")[0], world.states("m")[0]), (JobState::Cancelled, JobState::Queued));
}

#[test]
fn a_job_needs_somebody_who_handles_it_and_not_too_many() {
    let mut world = World::new(EngineLimits::default());
    world.queue("empty", QueueConfig::default());
    let entry = PublishEntry::new(Arc::new(world.message("t")));
    let to = |name: &str| PublishEntry { to: Destination::Queue(queue(name)), ..entry.clone() };
    let submit = |entry: PublishEntry| {
        let job = Box::new(NewJob { id: id("j"), callback: None });
        Order::SubmitJob { job, entry }
    };
    let refused = world.order(submit(to("empty")));
    assert!(matches!(refused, Err(OrderRefusal::Publish(PublishRefusal::NoConsumer { .. }))), "{refused:?}");
    for number in 0..JOB_DELIVERIES_MAX {
        world.consumer("empty", &format!("c{number}"));
    }
    assert!(world.order(submit(to("empty"))).is_ok(), "the limit itself");
    world.consumer("empty", "one-more");
    let job = Box::new(NewJob { id: id("k"), callback: None });
    let refused = world.order(Order::SubmitJob { job, entry: to("empty") });
    assert!(matches!(refused, Err(OrderRefusal::Publish(PublishRefusal::TooManyConsumers { .. }))), "{refused:?}");
}

#[test]
fn ended_jobs_make_room_and_jobs_under_way_do_not() {
    let mut world = World::new(EngineLimits { jobs_max: 2, ..EngineLimits::default() });
    world.submit("a").expect("a job");
    world.submit("b").expect("a job");
    let full = world.submit("c");
    assert_eq!(full, Err(OrderRefusal::TooMany { what: "jobs that have not ended", max: 2 }));
    let lease = world.lease(1);
    world.settle(1, lease, DONE);
    world.submit("c").expect("a job");
    assert_eq!((world.kept("a"), world.engine.as_ref().map(Engine::jobs_len)), (None, Some(2)));
    // What was cancelled and not come to yet must not be forgotten, or it would run.
    world.cancel("b").expect("a cancel");
    assert!(world.submit("d").is_err());
    assert_eq!(world.leases(1, 10).len(), 1);
    world.submit("d").expect("b made room");
}

#[test]
fn jobs_are_forgotten_after_a_while() {
    let mut world = World::new(EngineLimits { job_keep_ms: 500, ..EngineLimits::default() });
    for number in 0..300 {
        world.submit(&format!("j{number}")).expect("a job");
    }
    for lease in world.leases(1, 300) {
        world.settle(1, lease, DONE);
    }
    let due = world.engine.as_ref().and_then(Engine::next_due);
    assert_eq!(due, Some(Timestamp(world.now + 500)));
    world.now += 499;
    world.step(None);
    assert_eq!(world.engine.as_ref().map(Engine::jobs_len), Some(300));
    world.now += 1;
    world.step(None);
    assert_eq!(world.engine.as_ref().map(Engine::jobs_len), Some(44), "so many in one step");
    assert_eq!(world.engine.as_ref().and_then(Engine::next_due), due, "the rest in the next one");
    world.step(None);
    assert_eq!(world.engine.as_ref().map(Engine::jobs_len), Some(0));
    assert_eq!(world.engine.as_ref().and_then(Engine::next_due), None);
}

#[test]
fn results_of_all_jobs_have_a_limit() {
    let mut world = World::new(EngineLimits { job_results_bytes_max: 4, ..EngineLimits::default() });
    for (name, known) in [("a", 1), ("b", 2), ("c", 2)] {
        world.submit(name).expect("a job");
        let lease = world.lease(1);
        let result = reply(&mut world, name, b"22");
        world.settle(1, lease, result);
        assert_eq!(world.engine.as_ref().map(Engine::jobs_len), Some(known));
    }
    assert_eq!((world.kept("a"), world.kept("b").is_some()), (None, true), "the oldest goes");
}

#[test]
fn the_callback_is_put_into_its_queue_in_the_commit_in_which_the_job_ends() {
    let mut world = World::new(EngineLimits::default());
    world.queue(CALLBACK_QUEUE, QueueConfig { messages_max: 1, ..QueueConfig::default() });
    for name in ["a", "b"] {
        world.submit_with(name, Some("http://127.0.0.1:1/x"), None).expect("a job");
    }
    let lease = world.lease(1);
    world.settle(1, lease, DONE);
    let [callback] = &world.appended()[..] else { panic!("one callback") };
    assert_eq!(callback.id.as_str(), "a-1");
    assert!(callback.headers.contains(&(CALLBACK_URL_HEADER.to_owned(), "http://127.0.0.1:1/x".to_owned())));
    let body: Value = serde_json::from_slice(&callback.data).expect("JSON");
    assert_eq!((&body["id"], &body["state"], &body["attempts"]), (&"a".into(), &"done".into(), &1.into()));
    assert!(!world.job("a").callback_owed);
    // The queue is full: it is owed, and tried again.
    let lease = world.lease(1);
    world.settle(1, lease, DONE);
    assert!(world.appended().is_empty());
    assert!(world.job("b").callback_owed);
    assert_eq!(world.kept("b"), Some(world.job("b")), "also after a crash");
    let due = world.engine.as_ref().and_then(Engine::next_due).expect("another try");
    world.queue(CALLBACK_QUEUE, QueueConfig { messages_max: 2, ..QueueConfig::default() });
    assert!(world.job("b").callback_owed, "not before its time");
    world.now = due.0;
    world.step(None);
    assert_eq!(world.appended().first().map(|callback| callback.id.to_string()), Some("b-1".to_owned()));
    assert!(!world.job("b").callback_owed);
}

#[test]
fn a_restart_forgets_nothing() {
    let mut world = World::new(EngineLimits::default());
    world.submit_with("owed", Some("http://127.0.0.1:1/x"), None).expect("a job");
    let lease = world.lease(1);
    world.settle(1, lease, DONE);
    world.submit("void").expect("a job");
    world.cancel("void").expect("a cancel");
    world.submit_with("late", None, Some(9_000)).expect("a job");
    world.order(Order::Pause { consumer: ConsumerId(1), reason: PauseReason::Operator }).expect("a pause");
    let jobs = world.engine.as_ref().expect("an engine").jobs(None, None, 10);
    let mut recovery = Recovery::new(EngineLimits::default());
    for record in &jobs {
        assert_eq!(world.kept(record.id.as_str()).as_ref(), Some(record));
        recovery.take(Recovered::Job { record: record.clone() });
    }
    let engine = recovery.finish();
    assert_eq!(engine.jobs(None, None, 10), jobs);
    assert_eq!(engine.jobs(None, Some(JobState::Cancelled), 10).len(), 1);
    assert_eq!(engine.jobs(Some(&id("late")), None, 10).len(), 2, "in the order of ids");
    assert_eq!(engine.jobs(None, None, 1).len(), 1);
    assert_eq!(engine.next_due(), Some(Timestamp(0)), "the callback is owed");
    assert_eq!(engine.jobs_by_state()[&JobState::Queued], 1);
}
