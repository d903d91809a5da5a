//! What handlers publish and store: handed back when they succeed, and nothing when they do not.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::Ordering;

use common::{
    guest::{Guest, OK, Use},
    host::{Host, delivery, failed, rejected, succeeded},
};
use wasmill_delivery::{
    input::{Revision, StateWrite},
    outcome::Outcome,
};
use wasmill_sandbox::{StagedState, limits::STATE_WRITES_MAX};

/// Texts that test guests use, by address.
const TEXTS: &str = r#"
  (data (memory $memory) (i32.const 200) "orders.paid")
  (data (memory $memory) (i32.const 220) "$sys.x")
  (data (memory $memory) (i32.const 230) "K")
  (data (memory $memory) (i32.const 240) "n")
  (data (memory $memory) (i32.const 241) "o")
  (data (memory $memory) (i32.const 250) "12")
  ;; one header: X-Trace: abc
  (data (memory $memory) (i32.const 260) "X-Traceabc")
  (data (memory $memory) (i32.const 280) "\04\01\00\00\07\00\00\00\0b\01\00\00\03\00\00\00")
  (func $error-case (result i32) (i32.load8_u (i32.const 1032)))
  ;; the option of a get, whose own tag lies here, as a rejection; a dash when there is none
  (func $tell-at (param $option i32) (result i32)
    (if (result i32) (i32.load8_u (i32.const 1024))
      (then (call $reject (i32.const 2000) (i32.const 5)))
      (else (if (result i32) (i32.load8_u (local.get $option))
        (then (call $reject (i32.load offset=4 (local.get $option)) (i32.load offset=8 (local.get $option))))
        (else (call $reject (i32.const 2010) (i32.const 1)))))))
  (func $tell (result i32) (call $tell-at (i32.const 1032)))
  (func $tell-config (result i32) (call $tell-at (i32.const 1028)))
  (data (memory $memory) (i32.const 2000) "error")
  (data (memory $memory) (i32.const 2010) "-")"#;

fn publish(topic: (u32, u32), key: Option<(u32, u32)>, headers: u32, data_bytes: u32) -> String {
    let (key_is, (key_at, key_bytes)) = (u32::from(key.is_some()), key.unwrap_or_default());
    let (topic_at, topic_bytes) = topic;
    format!(
        "(call $publish (i32.const {topic_at}) (i32.const {topic_bytes}) (i32.const {key_is}) (i32.const {key_at})
           (i32.const {key_bytes}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 280) (i32.const {headers})
           (i32.const 200) (i32.const {data_bytes}) (i32.const 1) (i64.const 5000) (i32.const 0) (i64.const 0)
           (i32.const 1024))"
    )
}

const TOPIC: (u32, u32) = (200, 11);

fn publisher(body: &str) -> Guest {
    Guest::new(body).with(TEXTS).using(&[Use::Producer])
}

#[tokio::test]
async fn what_a_handler_publishes_is_handed_back_when_it_succeeds() {
    let host = Host::new();
    let body = format!("{}{} (call $ok)", publish(TOPIC, Some((230, 1)), 1, 6), publish(TOPIC, None, 0, 11));
    let effects = succeeded(host.run(&publisher(&body)).await);
    let [first, second] = effects.published.as_slice() else { panic!("{:?}", effects.published) };
    let held_back = first.deliver_at.map(|at| at.ms_since(first.message.published_at));
    assert_eq!(held_back, Some(5_000), "the delay that the guest asked for");
    let (first, second) = (&first.message, &second.message);
    assert_eq!(first.topic.as_str(), "orders.paid");
    assert_eq!(first.key.as_ref().map(|key| key.as_str()), Some("K"));
    assert_eq!(first.headers, [("x-trace".to_owned(), "abc".to_owned())]);
    assert_eq!(first.data, "orders");
    assert_eq!(first.lineage.hops, 4);
    assert_eq!(first.lineage.cause.as_ref().map(|id| id.as_str()), Some("message-1"));
    assert!(first.published_at.0 > 1_700_000_000_123);
    assert_eq!((second.key.as_ref(), second.data.as_ref()), (None, b"orders.paid".as_slice()));
    assert_ne!(first.id, second.id);
}

#[tokio::test]
async fn every_attempt_makes_the_same_ids_and_tells_the_guest() {
    let host = Host::new();
    let body = format!(
        "{} (call $reject (i32.load (i32.const 1032)) (i32.load (i32.const 1036)))",
        publish(TOPIC, None, 0, 1)
    );
    let mut session = host.session(&publisher(&body));
    let mut told = Vec::new();
    for (sequence, attempt) in [(1, 1), (1, 2), (2, 1)] {
        told.push(rejected(session.run(&delivery(sequence, attempt), &mut StagedState::default()).await));
    }
    assert_eq!(told[0], told[1]);
    assert_ne!(told[0], told[2]);
    let body = format!("{} (call $ok)", publish(TOPIC, None, 0, 1));
    let effects = succeeded(host.run(&publisher(&body)).await);
    assert_eq!(effects.published[0].message.id.as_str(), told[0]);
}

#[tokio::test]
async fn what_could_never_be_queued_is_refused_and_the_handler_goes_on() {
    let host = Host::new();
    for (call, case) in [
        (publish((220, 6), None, 0, 0), 0),
        (publish((200, 7), None, 0, 0), 0),
        (publish((200, 0), None, 0, 0), 0),
        (publish(TOPIC, Some((230, 0)), 0, 0), 1),
        (publish(TOPIC, None, 0, 1_001), 2),
    ] {
        let body = format!("{call} (call $defer (i64.add (i64.const 10) (i64.extend_i32_u (call $error-case))))");
        let record = host.fail(&publisher(&body)).await;
        assert_eq!(record.outcome, Outcome::Defer { after_ms: 10 + case }, "{call}");
        // The refused one is not there, and does not count.
        let body = format!("{call}{} (call $ok)", publish(TOPIC, None, 0, 1_000));
        assert_eq!(succeeded(host.run(&publisher(&body)).await).published.len(), 1);
    }
}

#[tokio::test]
async fn a_flood_of_messages_is_stopped() {
    let mut host = Host::new();
    let flood = publisher(&format!("(loop $again {} (br $again)) (unreachable)", publish(TOPIC, None, 0, 100)));
    host.limits.published_max = 50;
    let record = host.fail(&flood).await;
    assert_eq!(record.outcome, Outcome::PublishLimit { limit: "50 messages".to_owned() });
    assert_eq!(record.backtrace, ["handle"]);
    host.limits.published_bytes_max = 1_000;
    assert_eq!(host.fail(&flood).await.outcome, Outcome::PublishLimit { limit: "1000 bytes".to_owned() });
    // Exactly as many as are allowed are.
    let ten = publisher(&format!("{} (call $ok)", publish(TOPIC, None, 0, 100).repeat(10)));
    assert_eq!(succeeded(host.run(&ten).await).published.len(), 10);
}

const KEY_N: &str = "(i32.const 240) (i32.const 1)";
const KEY_O: &str = "(i32.const 241) (i32.const 1)";

fn get(key: &str) -> String {
    format!("(call $get {key} (i32.const 1024))")
}

fn set(key: &str, bytes: u32) -> String {
    format!("(call $set {key} (i32.const 250) (i32.const {bytes}) (i32.const 1024))")
}

fn increment(key: &str, delta: i64) -> String {
    format!("(call $increment {key} (i64.const {delta}) (i32.const 1024))")
}

fn keeper(body: &str) -> Guest {
    Guest::new(body).with(TEXTS).using(&[Use::State])
}

fn added(delta: i64) -> StateWrite {
    StateWrite::Add { key: "n".to_owned(), delta }
}

#[tokio::test]
async fn a_handler_reads_what_is_stored_and_what_it_wrote() {
    let host = Host::new();
    host.state.put("n", "40");
    host.state.put("o", "other");
    for (body, expected) in [
        (get(KEY_N), "40"),
        (get("(i32.const 230) (i32.const 1)"), "-"),
        (format!("{}{}", set(KEY_N, 2), get(KEY_N)), "12"),
        (format!("{}{}", increment(KEY_N, 2), get(KEY_N)), "42"),
        (format!("{}{}{}", increment(KEY_N, 2), increment(KEY_N, -50), get(KEY_N)), "-8"),
        (format!("{}{}{}", set(KEY_N, 2), increment(KEY_N, 5), get(KEY_N)), "17"),
        (format!("{}{}", increment("(i32.const 230) (i32.const 1)", 3), get("(i32.const 230) (i32.const 1)")), "3"),
        (get("(i32.const 0) (i32.const 0)"), "error"),
        (get("(i32.const 200) (i32.const 256)"), "error"),
    ] {
        assert_eq!(rejected(host.run(&keeper(&format!("{body} (call $tell)"))).await), expected, "{body}");
    }
    let record = host
        .fail(&keeper(&format!("{} (call $defer (i64.extend_i32_u (call $error-case)))", increment(KEY_O, 1))))
        .await;
    assert_eq!(record.outcome, Outcome::Defer { after_ms: 2 }, "not-an-integer");
}

#[tokio::test]
async fn accesses_are_handed_back_for_the_commit() {
    let host = Host::new();
    host.state.put("n", "40");
    host.state.revision.store(7, Ordering::Relaxed);
    let access = |body: String| {
        let guest = keeper(&format!("{body} (call $ok)"));
        let host = &host;
        async move { succeeded(host.run(&guest).await).state }
    };
    let read = access(get(KEY_N)).await;
    assert_eq!((read.revision, read.reads.as_slice(), read.writes.len()), (Revision(7), &["n".to_owned()][..], 0));

    let incremented = access(increment(KEY_N, 2)).await;
    assert_eq!(incremented.revision, Revision(7), "the commit compares increments with it");
    assert!(incremented.reads.is_empty(), "an increment reads nothing");
    assert_eq!(incremented.writes, [added(2)]);

    let sum = access(format!("{}{}", increment(KEY_N, 2), get(KEY_N))).await;
    assert_eq!(sum.reads, ["n"], "the sum depends on what is stored");

    let own = access(format!("{}{}", set(KEY_N, 2), get(KEY_N))).await;
    assert!(own.reads.is_empty());
    assert_eq!(own.writes, [StateWrite::Set { key: "n".to_owned(), value: "12".into() }]);

    let listed = access(
        "(call $list-keys (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1024))"
            .to_owned(),
    )
    .await;
    assert!(listed.listed);
    assert_eq!(listed.revision, Revision(7));
}

#[tokio::test]
async fn later_deliveries_of_a_run_see_what_earlier_ones_stored() {
    let host = Host::new();
    host.state.put("n", "40");
    let mut staged = StagedState::default();
    let increments = host.load(&keeper(&format!("{} (call $ok)", increment(KEY_N, 1))));
    let tells = host.load(&keeper(&format!("{} (call $tell)", get(KEY_N))));
    let sets_and_fails = host.load(&keeper(&format!("{} (unreachable)", set(KEY_N, 2))));
    let context = std::sync::Arc::new(host.context());
    let session =
        |program: &std::sync::Arc<_>| wasmill_sandbox::Session::new(std::sync::Arc::clone(program), context.clone());
    for sequence in 1..=3 {
        let effects = succeeded(session(&increments).run(&delivery(sequence, 1), &mut staged).await);
        assert_eq!(effects.state.writes, [added(1)]);
    }
    failed(session(&sets_and_fails).run(&delivery(4, 1), &mut staged).await);
    assert_eq!(rejected(session(&tells).run(&delivery(5, 1), &mut staged).await), "43");
    assert_eq!(rejected(session(&tells).run(&delivery(5, 1), &mut StagedState::default()).await), "40");

    // What was replaced in the run is known without the store, so on top of it an increment is a plain write.
    let sets = host.load(&keeper(&format!("{} (call $ok)", set(KEY_N, 2))));
    succeeded(session(&sets).run(&delivery(6, 1), &mut staged).await);
    let effects = succeeded(session(&increments).run(&delivery(7, 1), &mut staged).await);
    assert_eq!(effects.state.writes, [StateWrite::Set { key: "n".to_owned(), value: "13".into() }]);
}

/// Answers `ok` after listing all keys, and says by `defer` how many there were and whether there are more.
const LIST_ALL: &str =
    "(call $list-keys (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1024))
   (call $defer (i64.add (i64.mul (i64.const 10) (i64.load32_u (i32.const 1036))) (i64.load8_u (i32.const 1040))))";

#[tokio::test]
async fn listing_goes_over_what_is_stored_and_what_was_written() {
    let host = Host::new();
    for number in 0..1_003 {
        host.state.put(&format!("key-{number:04}"), "1");
    }
    let deferred = |record: wasmill_delivery::record::AttemptRecord| {
        let Outcome::Defer { after_ms } = record.outcome else { panic!("{:?}", record.outcome) };
        after_ms
    };
    let list = keeper(LIST_ALL).memory("4");
    assert_eq!(deferred(host.fail(&list).await), 10_001, "1,000 keys and more");
    host.state.values.lock().unwrap().retain(|key, _| key.as_str() < "key-0990");
    assert_eq!(deferred(host.fail(&list).await), 9_900, "990 keys and no more");
    let with_own = keeper(&format!("{}{LIST_ALL}", set(KEY_N, 2))).memory("4");
    assert_eq!(deferred(host.fail(&with_own).await), 9_910);
    let prefix = LIST_ALL.replacen("(i32.const 0) (i32.const 0)", "(i32.const 240) (i32.const 1)", 1);
    let only_own = keeper(&format!("{}{prefix}", set(KEY_N, 2))).memory("4");
    assert_eq!(deferred(host.fail(&only_own).await), 10);
}

#[tokio::test]
async fn a_flood_of_state_is_stopped() {
    let mut host = Host::new();
    let flood = keeper(&format!("(loop $again {} (br $again)) (unreachable)", set(KEY_N, 99)));
    host.limits.state_bytes_max = 1_000;
    assert_eq!(host.fail(&flood).await.outcome, Outcome::StateLimit { limit: "1000 bytes".to_owned() });
    let ten = keeper(&format!("{} {OK}", set(KEY_N, 99).repeat(10)));
    succeeded(host.run(&ten).await);
    host.limits.state_bytes_max = u64::MAX;
    let many = Outcome::StateLimit { limit: format!("{STATE_WRITES_MAX} values") };
    assert_eq!(host.fail(&flood).await.outcome, many);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_a_fault_of_the_host_whatever_the_handler_makes_of_it() {
    let host = Host::new();
    host.state.break_it("the disk is gone");
    for ending in ["(call $ok)", "(call $tell)", "(unreachable)"] {
        let record = host.fail(&keeper(&format!("{} {ending}", get(KEY_N)))).await;
        let Outcome::HostFault { detail } = record.outcome else { panic!("{ending}: {:?}", record.outcome) };
        assert!(detail.contains("the disk is gone"), "{detail}");
    }
    // A handler that does not read does not notice.
    succeeded(host.run(&keeper(&format!("{} (call $ok)", set(KEY_N, 2)))).await);
}

#[tokio::test]
async fn config_is_what_the_handler_was_given() {
    let mut host = Host::new();
    host.config.insert("n".to_owned(), "a value".to_owned());
    let ask = |key: &str| {
        Guest::new(&format!("(call $config {key} (i32.const 1024)) (call $tell-config)"))
            .with(TEXTS)
            .using(&[Use::Config])
    };
    assert_eq!(rejected(host.run(&ask(KEY_N)).await), "a value");
    assert_eq!(rejected(host.run(&ask(KEY_O)).await), "-");
}
