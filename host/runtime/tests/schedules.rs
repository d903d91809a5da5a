//! Schedules on a real host and a real store: each planned time fires once, whatever stops the host.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use wasmill_delivery::{
    message::Message,
    name::{QueueName, Sequence},
    record::QueueConfig,
    schedule::{Missed, ScheduleName, ScheduleRecord},
    time::Timestamp,
    topic::TopicPattern,
    write::Write,
};
use wasmill_runtime::{
    Calendar, Host, HostError, HostOptions, SCHEDULE_HEADER, SCHEDULED_AT_HEADER, ScheduleSettings, StoreOptions,
};
use wasmill_store::Store;

/// Nothing that is waited for takes longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Open a host; threads of one that was dropped before may hold the folder a moment longer.
async fn open(folder: &Path) -> Host {
    let started = Instant::now();
    loop {
        match Host::open(HostOptions::new(folder)).await {
            Ok(host) => return host,
            Err(HostError::Store(error)) if started.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                drop(error);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn put_queue(host: &Host, messages_max: u64) {
    let bindings = vec![TopicPattern::new("ticks.#").unwrap().into()];
    let config = QueueConfig { bindings, messages_max, ..QueueConfig::default() };
    host.put_queue(QueueName::new("ticks").unwrap(), config).await.unwrap();
}

async fn messages(host: &Host) -> Vec<Arc<Message>> {
    let queue = host.queues().await.unwrap().pop().unwrap();
    let page = host.messages(queue.record.id, Sequence::FIRST, 10_000).unwrap();
    page.into_iter().map(|(_, message)| message).collect()
}

async fn wait_for_messages(host: &Host, count: usize) -> Vec<Arc<Message>> {
    let started = Instant::now();
    loop {
        let messages = messages(host).await;
        if messages.len() >= count {
            return messages;
        }
        assert!(started.elapsed() < PATIENCE, "waited for {count} messages in vain, there are {}", messages.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn name(name: &str) -> ScheduleName {
    ScheduleName::new(name).unwrap()
}

fn every_second(missed: Missed) -> ScheduleSettings {
    ScheduleSettings {
        cron: "* * * * * *".to_owned(),
        topic: "ticks.a".to_owned(),
        data: "tick".into(),
        missed,
        ..ScheduleSettings::default()
    }
}

fn planned(message: &Message) -> jiff::Timestamp {
    let header = message.headers.iter().find(|(name, _)| name == SCHEDULED_AT_HEADER);
    header.expect("a planned time").1.parse().expect("a time")
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_again_and_again_fires_each_second_once_and_leaves_none_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = open(folder.path()).await;
    put_queue(&host, 10_000).await;
    host.put_schedule(name("every-second"), every_second(Missed::ALL)).await.unwrap();
    for round in 1..=4 {
        wait_for_messages(&host, round * 2).await;
        drop(host);
        if round == 3 {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
        }
        host = open(folder.path()).await;
    }
    let messages = wait_for_messages(&host, 12).await;
    let ids: BTreeSet<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids.len(), messages.len(), "a planned time fired twice: {ids:?}");
    for pair in messages.windows(2) {
        let gap = planned(&pair[1]).duration_since(planned(&pair[0]));
        assert_eq!(gap.as_secs(), 1, "{} after {}", pair[1].id, pair[0].id);
    }
    let first = &messages[0];
    assert_eq!(first.id.as_str(), format!("every-second@{}", planned(first)));
    assert!(first.headers.contains(&(SCHEDULE_HEADER.to_owned(), "every-second".to_owned())));
    let view = host.schedule(&name("every-second")).await.unwrap();
    assert!(view.record.fired >= 12 && view.problem.is_none(), "{view:?}");
    host.close(Duration::from_secs(5)).await;
}

/// Times of a month's first day, so that the test does not depend on the minute it runs in.
#[tokio::test(flavor = "multi_thread")]
async fn what_fell_into_a_time_without_a_host_is_made_up_for_as_the_rule_says() {
    let folder = tempfile::tempdir().unwrap();
    let host = open(folder.path()).await;
    put_queue(&host, 10_000).await;
    let rules =
        [("skip", Missed::Skip), ("once", Missed::Once), ("three", Missed::All { max: 3 }), ("all", Missed::ALL)];
    for (rule, missed) in rules {
        let settings = ScheduleSettings { cron: "@monthly".to_owned(), ..every_second(missed) };
        host.put_schedule(name(rule), settings).await.unwrap();
    }
    let records: Vec<ScheduleRecord> = host.schedules().await.unwrap().into_iter().map(|view| view.record).collect();
    host.close(Duration::from_secs(5)).await;
    drop(host);

    let calendar = Calendar::new("@monthly", "UTC").unwrap();
    let half_a_year_ago = Timestamp(now_ms() - 180 * 24 * 3_600_000);
    let missed: Vec<Timestamp> =
        std::iter::successors(calendar.next_after(half_a_year_ago), |last| calendar.next_after(*last))
            .take_while(|time| time.0 < now_ms())
            .collect();
    assert!(missed.len() > 3);
    let puts: Vec<Write> = records
        .into_iter()
        .map(|record| Write::PutSchedule { record: ScheduleRecord { next: missed.first().copied(), ..record } })
        .collect();
    let mut store = loop {
        match Store::open(folder.path(), StoreOptions::default()) {
            Ok(store) => break store,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    store.commit(&puts).unwrap();
    drop(store);

    let host = open(folder.path()).await;
    wait_for_messages(&host, 1 + 3 + missed.len()).await;
    let started = Instant::now();
    while host.schedules().await.unwrap().iter().any(|view| view.record.next.unwrap().0 < now_ms()) {
        assert!(started.elapsed() < PATIENCE, "some schedule is due for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let all = messages(&host).await;
    let of = |rule: &str| -> Vec<u64> {
        let mine = all.iter().filter(|message| message.id.as_str().starts_with(&format!("{rule}@")));
        mine.map(|message| u64::try_from(planned(message).as_millisecond()).unwrap()).collect()
    };
    let times: Vec<u64> = missed.iter().map(|time| time.0).collect();
    assert_eq!(of("skip"), Vec::<u64>::new());
    assert_eq!(of("once"), times[..1]);
    assert_eq!(of("three"), times[times.len() - 3..]);
    assert_eq!(of("all"), times);
    for view in host.schedules().await.unwrap() {
        assert_eq!(view.record.next, calendar.next_after(*missed.last().unwrap()), "{}", view.record.name);
    }
    host.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_whose_queue_is_full_says_so_and_fires_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let host = open(folder.path()).await;
    put_queue(&host, 1).await;
    host.put_schedule(name("s"), every_second(Missed::Skip)).await.unwrap();
    let started = Instant::now();
    let held = loop {
        let view = host.schedule(&name("s")).await.unwrap();
        if view.problem.is_some() {
            break view;
        }
        assert!(started.elapsed() < PATIENCE, "it never came to a full queue");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(held.problem.unwrap().detail.contains("queue ticks is full (messages-max = 1)"));
    assert_eq!((held.record.fired, messages(&host).await.len()), (1, 1));
    put_queue(&host, 1_000).await;
    let messages = wait_for_messages(&host, 3).await;
    let due = jiff::Timestamp::from_millisecond(i64::try_from(held.record.next.unwrap().0).unwrap()).unwrap();
    assert_eq!(planned(&messages[1]), due, "what was held fires first");
    assert_eq!(host.schedule(&name("s")).await.unwrap().problem, None);
    host.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_declared_paused_run_resumed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let host = open(folder.path()).await;
    put_queue(&host, 1_000).await;
    let yearly = || ScheduleSettings { cron: "@yearly".to_owned(), ..every_second(Missed::Skip) };
    assert!(host.put_schedule(name("s"), yearly()).await.unwrap());
    assert!(!host.put_schedule(name("s"), yearly()).await.unwrap());
    let view = host.schedule(&name("s")).await.unwrap();
    let upcoming = view.upcoming(3);
    assert_eq!((upcoming.len(), upcoming.first().copied()), (3, view.record.next));
    host.pause_schedule(&name("s")).await.unwrap();
    host.put_schedule(name("s"), yearly()).await.unwrap();
    let paused = host.schedule(&name("s")).await.unwrap();
    assert!(paused.record.config.paused && paused.record.next.is_none() && paused.upcoming(3).is_empty());
    let run = host.run_schedule(&name("s")).await.unwrap();
    assert_eq!(run.places.len(), 1);
    host.resume_schedule(&name("s")).await.unwrap();
    let resumed = host.schedule(&name("s")).await.unwrap();
    assert_eq!((resumed.record.next, resumed.record.fired), (view.record.next, 0));
    for (settings, words) in [
        (ScheduleSettings { cron: "61 * * * *".to_owned(), ..yearly() }, "field 1, the minute"),
        (ScheduleSettings { cron: "0 0 31 2 *".to_owned(), ..yearly() }, "never comes"),
        (ScheduleSettings { timezone: "Mars".to_owned(), ..yearly() }, "Europe/Berlin"),
        (ScheduleSettings { topic: "a..b".to_owned(), ..yearly() }, "empty word"),
        (ScheduleSettings { topic: "$sys.a".to_owned(), ..yearly() }, "the host's own"),
        (ScheduleSettings { missed: Missed::All { max: 1_001 }, ..yearly() }, "from 1 to 1000"),
        (ScheduleSettings { data: vec![0; 2 << 20].into(), ..yearly() }, "data-bytes-max"),
    ] {
        let error = host.put_schedule(name("s"), settings).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    host.delete_schedule(name("s")).await.unwrap();
    let gone = host.delete_schedule(name("s")).await.unwrap_err().to_string();
    assert!(gone.contains("no schedule s"), "{gone}");
    host.close(Duration::from_secs(5)).await;
}
