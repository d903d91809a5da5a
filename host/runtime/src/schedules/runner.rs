//! The task that sleeps until the next time of any schedule, and fires.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures::future::join_all;
use wasmill_delivery::{
    input::Order,
    schedule::{Missed, ScheduleName, ScheduleRecord},
    time::Timestamp,
};

use super::{
    Calendar, Schedules,
    missed::{Step, in_time, make_up},
    planned_entry,
};
use crate::{
    draft::now,
    error::HostError,
    host::{Host, Inner},
};

/// The wait before another try when a message could not be published, in milliseconds.
const RETRY_MS: u64 = 1_000;
/// A time that is noticed later than this was missed: the machine slept, or its clock was put forward.
const LATE_MS_MAX: u64 = 10_000;
/// The longest sleep while a schedule waits, so that a clock that jumps is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The sleep when no schedule waits; whoever declares one wakes the task.
const IDLE: Duration = Duration::from_secs(3_600);

/// What is known of one run of the host.
struct Runner {
    /// Times before it were missed while the host was down.
    started: Timestamp,
    /// Times up to these are being made up for, and are not judged again.
    making_up: BTreeMap<ScheduleName, Timestamp>,
}

/// What one look at a due schedule came to.
enum Done {
    /// It went on to its next time.
    Moved,
    /// It is tried again then.
    Held { retry_at: Timestamp },
}

/// Fire schedules until the host is gone or stops.
pub(crate) async fn run(host: Weak<Inner>, schedules: Arc<Schedules>, started: Timestamp) {
    let mut runner = Runner { started, making_up: BTreeMap::new() };
    loop {
        let Some(inner) = host.upgrade() else { return };
        let looked = runner.look(&Host { inner }, &schedules).await;
        let Ok(wait) = looked else { return };
        tokio::select! {
            () = schedules.news.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Runner {
    /// Fire what is due. Answers how long to sleep.
    async fn look(&mut self, host: &Host, schedules: &Schedules) -> Result<Duration, HostError> {
        let _changing = schedules.changing.lock().await;
        if schedules.closed.load(Ordering::Acquire) {
            return Err(HostError::Stopped { reason: None });
        }
        let now = now();
        let (due, next) = host.inner.broker.query(move |engine| due(engine.schedules(), now)).await?;
        let mut wake = next;
        let mut moved = false;
        let mut steps = Vec::with_capacity(due.len());
        for (planned, record) in due {
            match self.decide(schedules, &record, planned, now) {
                Ok(step) => steps.push((record, planned, step)),
                Err(retry_at) => wake = Some(wake.map_or(retry_at, |wake| wake.min(retry_at))),
            }
        }
        // All at once, so that many share a commit.
        let taken = steps.into_iter().map(|(record, planned, step)| take(host, schedules, record, planned, step));
        for done in join_all(taken).await {
            match done? {
                Done::Moved => moved = true,
                Done::Held { retry_at } => wake = Some(wake.map_or(retry_at, |wake| wake.min(retry_at))),
            }
        }
        if moved {
            return Ok(Duration::ZERO);
        }
        Ok(wake.map_or(IDLE, |wake| Duration::from_millis(wake.ms_since(now)).min(LOOK_EVERY)))
    }

    /// What to do about a schedule that is due, or when to look at it again.
    fn decide(
        &mut self,
        schedules: &Schedules,
        record: &ScheduleRecord,
        planned: Timestamp,
        now: Timestamp,
    ) -> Result<Step, Timestamp> {
        let name = &record.name;
        let held = schedules.held(name, Some(planned));
        if let Some(held) = held.as_ref().filter(|held| held.retry_at > now) {
            return Err(held.retry_at);
        }
        let calendar = Calendar::new(&record.config.cron, &record.config.timezone).map_err(|error| {
            schedules.hold(name, planned, error.to_string(), RETRY_MS);
            now.plus_ms(RETRY_MS)
        })?;
        let judged = self.making_up.get(name).is_some_and(|until| planned <= *until);
        if !judged {
            self.making_up.remove(name);
        }
        let missed = planned < self.started || now.ms_since(planned) > LATE_MS_MAX;
        let rule = record.config.missed;
        // What was due and could not be fired is owed, whatever the rule; only what came after it is judged then.
        if !missed || judged || (held.is_some() && rule != Missed::Once) {
            return Ok(in_time(&calendar, planned));
        }
        if matches!(rule, Missed::All { .. }) {
            self.making_up.insert(name.clone(), now);
        }
        let step = make_up(&calendar, rule, planned, now);
        tracing::info!(schedule = %name, planned_ms = planned.0, ?step, "the time of a schedule was missed");
        Ok(step)
    }
}

/// Those that are due, with their times, and the first time of all others.
fn due<'a>(
    schedules: impl Iterator<Item = &'a ScheduleRecord>,
    now: Timestamp,
) -> (Vec<(Timestamp, ScheduleRecord)>, Option<Timestamp>) {
    let (mut due, mut first) = (Vec::new(), None);
    for record in schedules {
        match record.next {
            Some(next) if next <= now => due.push((next, record.clone())),
            Some(next) => first = Some(first.map_or(next, |first: Timestamp| first.min(next))),
            None => {}
        }
    }
    (due, first)
}

async fn take(
    host: &Host,
    schedules: &Schedules,
    record: ScheduleRecord,
    planned: Timestamp,
    step: Step,
) -> Result<Done, HostError> {
    let name = record.name.clone();
    let order = match step {
        Step::Skip { next } => Order::PutSchedule { record: Box::new(ScheduleRecord { next, ..record }) },
        Step::Fire { next } => match planned_entry(&name, &record.config, planned, host.data_bytes_max()) {
            Ok(entry) => Order::FireSchedule { name: name.clone(), planned, next, entry },
            Err(error) => return Ok(hold(schedules, &name, planned, error.to_string())),
        },
    };
    match host.order(order).await {
        Ok(_) => {
            schedules.let_go(&name);
            Ok(Done::Moved)
        }
        Err(HostError::Refused(refusal)) => Ok(hold(schedules, &name, planned, refusal.to_string())),
        Err(stopped) => Err(stopped),
    }
}

fn hold(schedules: &Schedules, name: &ScheduleName, planned: Timestamp, detail: String) -> Done {
    schedules.hold(name, planned, detail, RETRY_MS);
    Done::Held { retry_at: now().plus_ms(RETRY_MS) }
}
