//! Schedules: what is put comes back, changed by what came later, and a message and the next time are one commit.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use wasmill_delivery::{
    schedule::{Missed, ScheduleConfig, ScheduleName, ScheduleRecord},
    time::Timestamp,
    topic::Topic,
    write::{Recovered, Write},
};
use wasmill_store::{Store, StoreOptions};

fn record(name: &str, missed: Missed, data_bytes: usize) -> ScheduleRecord {
    let config = ScheduleConfig {
        cron: "*/5 * * * *".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        topic: Topic::new("orders.nightly").unwrap(),
        key: None,
        content_type: Some("text/plain".to_owned()),
        headers: vec![("a".to_owned(), "b".to_owned())],
        data: vec![7; data_bytes].into(),
        missed,
        paused: false,
    };
    ScheduleRecord { name: ScheduleName::new(name).unwrap(), config, next: Some(Timestamp(9)), last: None, fired: 0 }
}

fn schedules(store: &Store) -> Vec<ScheduleRecord> {
    let mut all = Vec::new();
    let mut visit = |recovered| {
        if let Recovered::Schedule { record } = recovered {
            all.push(record);
        }
    };
    store.recover(&mut visit).unwrap();
    all
}

#[test]
fn schedules_come_back_as_they_were_put_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    let (skip, once) = (record("a.skip", Missed::Skip, 0), record("b-once", Missed::Once, 1 << 20));
    let all = record("c_all", Missed::All { max: 7 }, 10);
    let puts = [&skip, &once, &all].map(|record| Write::PutSchedule { record: record.clone() });
    store.commit(&puts).unwrap();
    assert_eq!(schedules(&store), [skip.clone(), once, all.clone()]);
    let fired = ScheduleRecord { next: None, last: Some(Timestamp(9)), fired: 1, ..all };
    store
        .commit(&[
            Write::PutSchedule { record: fired.clone() },
            Write::DeleteSchedule { name: ScheduleName::new("b-once").unwrap() },
        ])
        .unwrap();
    drop(store);
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    assert_eq!(schedules(&store), [skip, fired]);
}
