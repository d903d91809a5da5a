//! Limits of a host, reached at their real size.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use wasmill_delivery::{
    limits::IN_FLIGHT_MAX_CEILING,
    message::{Lineage, Message},
    name::{ConsumerName, MessageId, QueueId, QueueName, Sequence},
    record::{ConsumerConfig, QueueConfig, Retention},
    time::Timestamp,
    topic::{Topic, TopicPattern},
    write::Write,
};
use wasmill_runtime::{
    Draft, Durability, Host, HostError, HostOptions, PUBLISH_BYTES_WAITING_MAX, PULL_BYTES_MAX, PULL_DELIVERIES_MAX,
    PULLED_BYTES_MAX, PULLED_MAX, PublishError, PulledOutcome, PulledSettlement, REDRIVES_KEPT_MAX,
    REQUESTS_WAITING_MAX, RedriveState, StoreOptions, WHY_MESSAGES_MAX, WhyNode,
};
use wasmill_store::Store;

/// Nothing that is waited for takes longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(folder: &Path) -> HostOptions {
    let mut options = HostOptions::new(folder);
    options.store.durability = Durability::Interval { flush_ms: 50 };
    options
}

/// With a queue `all` that takes every topic and keeps what is settled.
async fn with_queue(options: HostOptions) -> Host {
    let host = Host::open(options).await.unwrap();
    let retention = Some(Retention { messages: Some(1_000_000), ..Retention::default() });
    let bindings = vec![TopicPattern::new("#").unwrap().into()];
    let config = QueueConfig { bindings, retention, ..QueueConfig::default() };
    host.put_queue(QueueName::new("all").unwrap(), config).await.unwrap();
    host
}

fn place(consumer: usize) -> (QueueName, ConsumerName) {
    (QueueName::new("all").unwrap(), ConsumerName::new(format!("outside-{consumer}")).unwrap())
}

/// A consumer that is pulled, and holds as much as one can.
async fn put_pulled(host: &Host, number: usize) {
    let (queue, name) = place(number);
    let config = ConsumerConfig { in_flight_max: IN_FLIGHT_MAX_CEILING, ..ConsumerConfig::pulled() };
    host.put_consumer(queue, name, config).await.unwrap();
}

async fn publish(host: &Host, drafts: Vec<Draft>) {
    for published in host.publish_many(drafts).await.unwrap() {
        published.unwrap();
    }
}

#[tokio::test]
async fn why_looks_at_so_many_copies_and_says_that_there_are_more() {
    let folder = tempfile::tempdir().unwrap();
    let host = with_queue(options(folder.path())).await;
    let copy = || Draft { headers: vec![("correlationid".to_owned(), "chain".to_owned())], ..Draft::new("t", "") };
    publish(&host, vec![copy(); WHY_MESSAGES_MAX - 1]).await;
    publish(&host, vec![copy().id("asked")]).await;
    let ask = || async { host.why(MessageId::new("asked").unwrap()).await.unwrap().unwrap() };
    assert!(ask().await.complete, "the limit itself fits");
    publish(&host, vec![copy()]).await;
    let why = ask().await;
    let more = why.incomplete_because.iter().any(|because| because.contains("more than 10000 copies"));
    assert!(!why.complete && more, "{:?}", why.incomplete_because);
}

/// Handlers make chains of 32 at most. What is kept may say otherwise: it is another host's, or damaged.
#[tokio::test]
async fn why_goes_down_so_many_levels_and_says_that_there_are_more() {
    const LEVELS_MAX: usize = 64;
    let folder = tempfile::tempdir().unwrap();
    let host = with_queue(options(folder.path())).await;
    let queue = host.queues().await.unwrap()[0].record.id;
    assert!(host.close(PATIENCE).await);
    drop(host);
    append_chain(folder.path(), queue, LEVELS_MAX + 2).await;
    let host = Host::open(options(folder.path())).await.unwrap();
    let id = |level: usize| MessageId::new(format!("level-{level}")).unwrap();
    let why = host.why(id(0)).await.unwrap().unwrap();
    assert!(!why.complete && why.incomplete_because[0].contains("more than 64 levels"), "{:?}", why.incomplete_because);
    let (mut node, mut depth): (&WhyNode, usize) = (&why.message, 0);
    while let Some(caused) = node.caused.first() {
        (node, depth) = (caused, depth + 1);
    }
    assert_eq!((depth, &node.id), (LEVELS_MAX, &id(LEVELS_MAX)));
    let all = host.why(id(1)).await.unwrap().unwrap();
    assert!(all.complete && all.causes.len() == 1, "{:?}", all.incomplete_because);
    let from_below = host.why(id(LEVELS_MAX + 1)).await.unwrap().unwrap();
    assert_eq!((from_below.complete, from_below.causes.len()), (false, LEVELS_MAX));
}

/// Put messages into a closed store of which each caused the next.
async fn append_chain(folder: &Path, queue: QueueId, length: usize) {
    let message = |level: usize| Message {
        id: MessageId::new(format!("level-{level}")).unwrap(),
        topic: Topic::new("t").unwrap(),
        key: None,
        content_type: None,
        headers: Vec::new(),
        data: Bytes::new(),
        published_at: Timestamp(level as u64),
        expires_at: None,
        lineage: Lineage {
            cause: level.checked_sub(1).map(|above| MessageId::new(format!("level-{above}")).unwrap()),
            correlation: (level > 0).then(|| MessageId::new("level-0").unwrap()),
            ..Lineage::default()
        },
    };
    let messages = (0..length).map(|level| Arc::new(message(level))).collect();
    let started = Instant::now();
    let mut store = loop {
        // Threads of the host may hold the folder a moment longer.
        match Store::open(folder, StoreOptions::default()) {
            Ok(store) => break store,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    store.commit(&[Write::Append { queue, first: Sequence::FIRST, bytes_before: 0, messages }]).unwrap();
}

/// One commit sweeps 256 chunks at most.
#[tokio::test]
async fn a_quiet_host_sweeps_what_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let host = with_queue(options(folder.path())).await;
    for _ in 0..10 {
        publish(&host, vec![Draft::new("t", vec![7; 30_000]); 100]).await;
    }
    host.delete_queue(QueueName::new("all").unwrap()).await.unwrap();
    let started = Instant::now();
    // Nobody asks for anything, and the file would say nothing: what is not swept is found when the store is opened.
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(host);
    let store = loop {
        match Store::open(folder.path(), StoreOptions::default()) {
            Ok(store) => break store,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(!store.is_sweeping());
}

#[tokio::test]
async fn redrives_that_ended_are_shown_for_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(options(folder.path())).await.unwrap();
    let started = Instant::now();
    for number in 1..=REDRIVES_KEPT_MAX as u64 + 3 {
        let redrive = host.start_redrive(Vec::new(), 1_000, "nothing".to_owned()).unwrap();
        assert_eq!(redrive.id, number);
        while host.redrives().iter().any(|shown| shown.state == RedriveState::Running) {
            assert!(started.elapsed() < PATIENCE, "a redrive of nothing does not end");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let shown: Vec<u64> = host.redrives().iter().map(|shown| shown.id).collect();
    assert_eq!(shown.len(), REDRIVES_KEPT_MAX);
    assert!(!shown.contains(&3) && shown.contains(&4), "the oldest go first: {shown:?}");
}

#[tokio::test]
async fn so_many_leases_are_out_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let host = with_queue(options(folder.path())).await;
    publish(&host, vec![Draft::new("t", ""); IN_FLIGHT_MAX_CEILING as usize]).await;
    let consumers = PULLED_MAX / IN_FLIGHT_MAX_CEILING as usize;
    let mut last = None;
    for number in 0..=consumers {
        put_pulled(&host, number).await;
    }
    for number in 0..consumers {
        let (queue, name) = place(number);
        for _ in 0..IN_FLIGHT_MAX_CEILING / PULL_DELIVERIES_MAX {
            let pulled = host.pull(&queue, &name, PULL_DELIVERIES_MAX, Duration::ZERO).await.unwrap();
            assert_eq!(pulled.len(), PULL_DELIVERIES_MAX as usize);
            last = pulled.into_iter().next_back();
        }
    }
    let (queue, name) = place(consumers);
    let refused = host.pull(&queue, &name, 1, Duration::ZERO).await.unwrap_err();
    assert!(matches!(refused, HostError::TooManyPulled), "{refused}");
    let last = last.unwrap();
    let settlement = PulledSettlement { sequence: last.sequence, fence: last.fence, outcome: PulledOutcome::Ack };
    let (_, holder) = place(consumers - 1);
    host.settle_pulled(&queue, &holder, vec![settlement]).await.unwrap();
    assert_eq!(host.pull(&queue, &name, 2, Duration::ZERO).await.unwrap().len(), 1, "there is room for one");
}

#[tokio::test]
async fn messages_of_so_many_bytes_are_leased_at_once() {
    const MESSAGE_BYTES: usize = 16 * 1024 * 1024 - 1_024;
    let folder = tempfile::tempdir().unwrap();
    let host = with_queue(HostOptions { data_bytes_max: MESSAGE_BYTES, ..options(folder.path()) }).await;
    let data = Bytes::from(vec![7; MESSAGE_BYTES]);
    // More than may wait for the pump at once goes through all the same.
    let count = usize::try_from(PULLED_BYTES_MAX).unwrap() / MESSAGE_BYTES + 2;
    assert!(count * MESSAGE_BYTES > PUBLISH_BYTES_WAITING_MAX as usize);
    join_all((0..count).map(|_| publish(&host, vec![Draft::new("t", data.clone())]))).await;
    put_pulled(&host, 0).await;
    let (queue, name) = place(0);
    let mut bytes = 0;
    let mut held = Vec::new();
    while bytes < PULLED_BYTES_MAX {
        let pulled = host.pull(&queue, &name, PULL_DELIVERIES_MAX, Duration::ZERO).await.unwrap();
        let pulled_bytes: u64 = pulled.iter().map(|pulled| pulled.message.size_bytes()).sum();
        assert!((1..=PULL_BYTES_MAX + MESSAGE_BYTES as u64).contains(&pulled_bytes), "{pulled_bytes} in one pull");
        bytes += pulled_bytes;
        held.extend(pulled.into_iter().map(|pulled| (pulled.sequence, pulled.fence)));
    }
    let refused = host.pull(&queue, &name, 1, Duration::ZERO).await.unwrap_err();
    assert!(matches!(refused, HostError::TooManyPulled), "{refused}");
    let (sequence, fence) = held[0];
    let settlement = PulledSettlement { sequence, fence, outcome: PulledOutcome::Ack };
    host.settle_pulled(&queue, &name, vec![settlement]).await.unwrap();
    assert_eq!(host.pull(&queue, &name, 1, Duration::ZERO).await.unwrap().len(), 1, "there is room again");
}

#[tokio::test]
async fn so_many_requests_wait_for_their_reply_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let host = with_queue(options(folder.path())).await;
    let waiting: Vec<_> = (0..REQUESTS_WAITING_MAX)
        .map(|_| {
            let host = host.clone();
            tokio::spawn(async move { host.request(Draft::new("t", ""), PATIENCE).await })
        })
        .collect();
    let started = Instant::now();
    while host.queues().await.unwrap()[0].next.0 <= REQUESTS_WAITING_MAX as u64 {
        assert!(started.elapsed() < PATIENCE, "they are not all published");
    }
    let refused = host.request(Draft::new("t", ""), PATIENCE).await.unwrap_err();
    assert!(matches!(refused, PublishError::Host(HostError::TooManyRequests)), "{refused}");
    waiting[0].abort();
    let one_more = || host.request(Draft::new("t", ""), Duration::from_millis(1));
    while one_more().await.is_err() {
        assert!(started.elapsed() < PATIENCE, "whoever waits no more makes no room");
        tokio::task::yield_now().await;
    }
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}
