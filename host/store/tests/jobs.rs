//! Jobs and their results come back as they were.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use bytes::Bytes;
use wasmill_delivery::{
    job::{JobDelivery, JobId, JobRecord, JobResult, JobState},
    name::{ConsumerId, ConsumerName, MessageId, QuarantineId, QueueName, Sequence},
    record::DelayedKey,
    time::Timestamp,
    topic::Topic,
    write::{Recovered, Write},
};

use common::{open, recovered};

fn id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}

fn record(name: &str) -> JobRecord {
    JobRecord {
        id: id(name),
        message: MessageId::new("m").unwrap(),
        topic: Topic::new("t").unwrap(),
        callback: Some("https://example.com/x".to_owned()),
        submitted_at: Timestamp(5),
        delayed: Some(DelayedKey { due: Timestamp(9), number: 3 }),
        deliveries: vec![JobDelivery {
            consumer: ConsumerId(2),
            queue: QueueName::new("q").unwrap(),
            name: ConsumerName::new("c").unwrap(),
            sequence: Sequence(7),
            state: JobState::Quarantined,
            attempts: 4,
            due: Some(Timestamp(8)),
            last_outcome: Some("trapped: unreachable".to_owned()),
            quarantine: Some(QuarantineId(1)),
            void: true,
        }],
        cancelled_at: Some(Timestamp(6)),
        ended_at: Some(Timestamp(7)),
        ends: 2,
        callback_owed: true,
        result: None,
    }
}

#[test]
fn jobs_and_results_come_back_and_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    // Larger than one entry holds.
    let result = JobResult { content_type: Some("x/y".to_owned()), data: Bytes::from(vec![7; 100_000]) };
    let plain = JobResult { content_type: None, data: Bytes::new() };
    store
        .commit(&[
            Write::PutJob { record: Box::new(record("a")) },
            Write::PutJobResult { id: id("a"), result: result.clone() },
            Write::PutJob { record: Box::new(record("b")) },
            Write::PutJobResult { id: id("b"), result: plain.clone() },
        ])
        .unwrap();
    drop(store);
    let mut store = open(folder.path());
    assert_eq!(recovered(&store), ["a", "b"].map(|name| Recovered::Job { record: record(name) }));
    assert_eq!(store.reader().job_result(&id("a")).unwrap(), Some(result));
    assert_eq!(store.reader().job_result(&id("b")).unwrap(), Some(plain));
    store.commit(&[Write::DeleteJob { id: id("a") }]).unwrap();
    assert_eq!(recovered(&store), [Recovered::Job { record: record("b") }]);
    assert_eq!(store.reader().job_result(&id("a")).unwrap(), None);
}
