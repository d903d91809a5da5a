//! What was cancelled never takes effect.

use std::sync::Arc;

use wasmill_delivery::{
    effect::{Effect, OrderReceipt, OrderRefusal, SettleAnswer},
    engine::EngineLimits,
    input::{Input, Order, PublishEntry, Ticket},
    job::JobState,
    name::ConsumerId,
    record::DelayedKey,
    time::Timestamp,
    write::Write,
};

use crate::world::{DONE, World, id, reply, retry};

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
