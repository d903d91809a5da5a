//! What a job says through all that can become of its message.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use wasmill_delivery::{
    effect::{OrderReceipt, OrderRefusal, SettleAnswer},
    engine::{Engine, EngineLimits, Recovery},
    input::Order,
    job::{CALLBACK_QUEUE, CALLBACK_URL_HEADER, JobResult, JobState},
    limits::JOB_OUTCOME_BYTES_MAX,
    name::{ConsumerId, ConsumerName},
    outcome::Outcome,
    record::{Overflow, PauseReason, QueueConfig},
    time::Timestamp,
    write::{Recovered, Write},
};

use crate::world::{DONE, World, failed, id, queue, reply, retry};

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
