//! Each limit of jobs.

use std::sync::Arc;

use wasmill_delivery::{
    effect::{OrderRefusal, PublishRefusal},
    engine::{Engine, EngineLimits},
    input::{Destination, Order, PublishEntry},
    job::NewJob,
    limits::JOB_DELIVERIES_MAX,
    record::QueueConfig,
    time::Timestamp,
};

use crate::world::{DONE, World, id, queue, reply};

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
