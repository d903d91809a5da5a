//! Schedules: the host publishes messages by itself, at the times that a cron expression tells in a time zone.
//!
//! The engine keeps the next time of each and publishes and moves on in one commit. Here is what it does not know: the
//! calendar, and the task that sleeps until the next time. Changes and firings take turns, so that a next time is never
//! computed from a record that has changed meanwhile.

mod calendar;
mod missed;
mod runner;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::Notify;
use wasmill_delivery::{
    effect::{OrderReceipt, OrderRefusal},
    input::{Order, PublishEntry},
    name::MessageKey,
    schedule::{Missed, ScheduleConfig, ScheduleName, ScheduleRecord},
    time::Timestamp,
    topic::Topic,
};

pub use self::calendar::{Calendar, CalendarError};
pub(crate) use self::runner::run;
use crate::{
    draft::{Draft, new_id, now},
    error::{HostError, PublishError},
    host::Host,
    publish::Published,
};

/// The header that names the schedule that published a message.
pub const SCHEDULE_HEADER: &str = "wasmill-schedule";
/// The header that says for which time it was published, by RFC 3339 in UTC.
pub const SCHEDULED_AT_HEADER: &str = "wasmill-scheduled-at";
/// Times to come that can be asked for at once.
pub const SCHEDULE_UPCOMING_MAX: usize = 100;

/// What a schedule shall do, as people write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// When: a cron expression of five fields, of six with seconds in front, or a name such as `@hourly`.
    pub cron: String,
    /// The IANA name of the time zone that it means; `UTC` when it is empty.
    pub timezone: String,
    /// The topic of its messages.
    pub topic: String,
    /// Their key.
    pub key: Option<String>,
    /// The media type of their data.
    pub content_type: Option<String>,
    /// Their headers. The host adds [`SCHEDULE_HEADER`] and [`SCHEDULED_AT_HEADER`].
    pub headers: Vec<(String, String)>,
    /// Their data.
    pub data: Bytes,
    /// What happens to runs that fell into a time when the host was down.
    pub missed: Missed,
    /// Whether it rests; when nothing is said, one that exists stays as it is.
    pub paused: Option<bool>,
}

/// A schedule cannot be declared or run.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// Its times cannot be told.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// Its message breaks a rule, or was not taken.
    #[error(transparent)]
    Message(#[from] PublishError),
    /// The host refused it or has stopped.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// A schedule and how it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleView {
    /// What is kept.
    pub record: ScheduleRecord,
    /// Why its message could not be published when its time came. It is tried again until it can.
    pub problem: Option<ScheduleProblem>,
}

/// Why a schedule is late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleProblem {
    /// In words for people.
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
}

impl ScheduleView {
    /// The next times, at most [`SCHEDULE_UPCOMING_MAX`]; none while it is paused.
    #[must_use]
    pub fn upcoming(&self, count: usize) -> Vec<Timestamp> {
        let ScheduleConfig { cron, timezone, .. } = &self.record.config;
        let Ok(calendar) = Calendar::new(cron, timezone) else { return Vec::new() };
        let times = std::iter::successors(self.record.next, |last| calendar.next_after(*last));
        times.take(count.min(SCHEDULE_UPCOMING_MAX)).collect()
    }
}

/// What the doors of the host and the task that fires share.
#[derive(Default)]
pub(crate) struct Schedules {
    /// Something changed: look again.
    news: Notify,
    closed: AtomicBool,
    /// Schedules change and fire one at a time.
    changing: tokio::sync::Mutex<()>,
    /// Those that are due and could not be fired.
    held: Mutex<BTreeMap<ScheduleName, Held>>,
}

/// A planned time that could not be fired.
#[derive(Clone, Debug)]
struct Held {
    planned: Timestamp,
    problem: ScheduleProblem,
    retry_at: Timestamp,
}

impl Schedules {
    /// Fire nothing more.
    pub(crate) fn stop(&self) {
        self.closed.store(true, Ordering::Release);
        self.news.notify_one();
    }

    fn held(&self, name: &ScheduleName, planned: Option<Timestamp>) -> Option<Held> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(name).filter(|held| Some(held.planned) == planned).cloned()
    }

    fn hold(&self, name: &ScheduleName, planned: Timestamp, detail: String, retry_ms: u64) {
        let now = now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.get(name).filter(|held| held.planned == planned);
        let since = before.map_or(now, |held| held.problem.since);
        if before.is_none_or(|held| held.problem.detail != detail) {
            tracing::warn!(schedule = %name, problem = %detail, "a schedule is due and its message cannot be published");
        }
        let problem = ScheduleProblem { detail, since };
        held.insert(name.clone(), Held { planned, problem, retry_at: now.plus_ms(retry_ms) });
    }

    fn let_go(&self, name: &ScheduleName) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Host {
    /// Declare a schedule, or change it. Answers whether it is new. What it fired before stays known, and as long as its
    /// times do not change, so does what is due.
    ///
    /// # Errors
    /// When its times cannot be told or never come, when its message breaks a rule, or the host has stopped.
    pub async fn put_schedule(&self, name: ScheduleName, settings: ScheduleSettings) -> Result<bool, ScheduleError> {
        let schedules = &self.inner.schedules;
        let _changing = schedules.changing.lock().await;
        let before = self.find_schedule(&name).await?;
        let was_paused = before.as_ref().is_some_and(|record| record.config.paused);
        let config = check(&name, settings, was_paused, self.data_bytes_max())?;
        let next = next_of(&config, before.as_ref())?;
        let record = ScheduleRecord { name: name.clone(), config, next, last: None, fired: 0 };
        let receipt = self.order(Order::PutSchedule { record: Box::new(record) }).await?;
        schedules.let_go(&name);
        schedules.news.notify_one();
        Ok(receipt == OrderReceipt::Schedule { created: true })
    }

    /// Remove a schedule.
    ///
    /// # Errors
    /// When there is no such schedule or the host has stopped.
    pub async fn delete_schedule(&self, name: ScheduleName) -> Result<(), HostError> {
        let schedules = &self.inner.schedules;
        let _changing = schedules.changing.lock().await;
        self.order(Order::DeleteSchedule { name: name.clone() }).await?;
        schedules.let_go(&name);
        Ok(())
    }

    /// All schedules, by name.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, HostError> {
        let records = self.inner.broker.query(|engine| engine.schedules().cloned().collect::<Vec<_>>()).await?;
        Ok(records.into_iter().map(|record| self.view_schedule(record)).collect())
    }

    /// One schedule.
    ///
    /// # Errors
    /// When there is no such schedule or the host has stopped.
    pub async fn schedule(&self, name: &ScheduleName) -> Result<ScheduleView, HostError> {
        self.known_schedule(name).await.map(|record| self.view_schedule(record))
    }

    /// Let a schedule rest. What falls into the pause is not made up for.
    ///
    /// # Errors
    /// When there is no such schedule or the host has stopped.
    pub async fn pause_schedule(&self, name: &ScheduleName) -> Result<(), ScheduleError> {
        self.set_schedule_paused(name, true).await
    }

    /// Let a schedule that rests fire again, from its next time on.
    ///
    /// # Errors
    /// When there is no such schedule, its times cannot be told any more, or the host has stopped.
    pub async fn resume_schedule(&self, name: &ScheduleName) -> Result<(), ScheduleError> {
        self.set_schedule_paused(name, false).await
    }

    /// Publish a schedule's message once, now, also when it is paused. Its next time does not change.
    ///
    /// # Errors
    /// When there is no such schedule, no queue takes its message, or the host has stopped.
    pub async fn run_schedule(&self, name: &ScheduleName) -> Result<Published, ScheduleError> {
        let record = self.known_schedule(name).await?;
        let id = new_id().map_err(PublishError::from)?;
        Ok(self.publish(draft(name, &record.config, id.to_string(), now())).await?)
    }

    async fn set_schedule_paused(&self, name: &ScheduleName, paused: bool) -> Result<(), ScheduleError> {
        let schedules = &self.inner.schedules;
        let _changing = schedules.changing.lock().await;
        let mut record = self.known_schedule(name).await?;
        if record.config.paused == paused {
            return Ok(());
        }
        let before = record.clone();
        record.config.paused = paused;
        record.next = next_of(&record.config, Some(&before))?;
        self.order(Order::PutSchedule { record: Box::new(record) }).await?;
        schedules.let_go(name);
        schedules.news.notify_one();
        Ok(())
    }

    async fn find_schedule(&self, name: &ScheduleName) -> Result<Option<ScheduleRecord>, HostError> {
        let name = name.clone();
        self.inner.broker.query(move |engine| engine.schedule(&name).cloned()).await
    }

    async fn known_schedule(&self, name: &ScheduleName) -> Result<ScheduleRecord, HostError> {
        let found = self.find_schedule(name).await?;
        found.ok_or_else(|| HostError::Refused(OrderRefusal::UnknownSchedule { schedule: name.clone() }))
    }

    fn view_schedule(&self, record: ScheduleRecord) -> ScheduleView {
        let held = self.inner.schedules.held(&record.name, record.next);
        ScheduleView { record, problem: held.map(|held| held.problem) }
    }
}

/// Check what was given, by making a message of it.
fn check(
    name: &ScheduleName,
    settings: ScheduleSettings,
    was_paused: bool,
    data_bytes_max: usize,
) -> Result<ScheduleConfig, ScheduleError> {
    let ScheduleSettings { cron, timezone, topic, key, content_type, mut headers, data, missed, paused } = settings;
    for (header, _) in &mut headers {
        header.make_ascii_lowercase();
    }
    let config = ScheduleConfig {
        cron,
        timezone: if timezone.is_empty() { "UTC".to_owned() } else { timezone },
        topic: Topic::new(topic).map_err(PublishError::from)?,
        key: key.map(MessageKey::new).transpose().map_err(PublishError::from)?,
        content_type,
        headers,
        data,
        missed,
        paused: paused.unwrap_or(was_paused),
    };
    planned_entry(name, &config, now(), data_bytes_max)?;
    Ok(config)
}

/// The next time of a schedule that is declared, changed or resumed.
fn next_of(config: &ScheduleConfig, before: Option<&ScheduleRecord>) -> Result<Option<Timestamp>, CalendarError> {
    let calendar = Calendar::new(&config.cron, &config.timezone)?;
    let last = before.and_then(|record| record.last).unwrap_or_default();
    let next = calendar.next_after(now().max(last));
    if next.is_none() {
        return Err(CalendarError::Never { given: config.cron.clone() });
    }
    if config.paused {
        return Ok(None);
    }
    let same =
        |record: &&ScheduleRecord| (&record.config.cron, &record.config.timezone) == (&config.cron, &config.timezone);
    // What is due already stays due.
    Ok(before.filter(same).and_then(|record| record.next).or(next))
}

/// The message for one planned time. Its id is the same however often it is tried.
fn planned_entry(
    name: &ScheduleName,
    config: &ScheduleConfig,
    planned: Timestamp,
    data_bytes_max: usize,
) -> Result<PublishEntry, PublishError> {
    let id = format!("{name}@{}", in_words(planned));
    let entry = draft(name, config, id, planned).into_entry(data_bytes_max)?;
    // Firing once does not rest on the window in which ids are remembered.
    Ok(PublishEntry { dedup: None, ..entry })
}

fn draft(name: &ScheduleName, config: &ScheduleConfig, id: String, planned: Timestamp) -> Draft {
    let mut headers = config.headers.clone();
    headers.push((SCHEDULE_HEADER.to_owned(), name.to_string()));
    headers.push((SCHEDULED_AT_HEADER.to_owned(), in_words(planned)));
    Draft {
        topic: config.topic.to_string(),
        id: Some(id),
        key: config.key.as_ref().map(ToString::to_string),
        content_type: config.content_type.clone(),
        headers,
        data: config.data.clone(),
        ..Draft::default()
    }
}

/// By RFC 3339, in UTC.
fn in_words(time: Timestamp) -> String {
    let time_ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(time_ms).unwrap_or(jiff::Timestamp::MAX).to_string()
}
