//! Counts, sums, smallest, largest and mean by key and tumbling window of time.
//!
//! A window is published when it is over: when a later message of its key shows it (by event time and lateness), or when no
//! message of its key has come for a while, which a delayed message to this handler, its tick, finds out. A key has one tick
//! under way; a tick that is not the entry's own is nothing.

mod entry;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wasmill::{Context, Outgoing, Result, reject};
use wasmill_plugin_common::{
    Document, Pick, Template, digest, duration, misconfigured, optional, or, pass_on, required_topic, topic,
};

use crate::entry::{Entry, Tally};

const FORGET: Duration = Duration::from_secs(24 * 3_600);
const AHEAD_MAX: Duration = Duration::from_secs(3_600);
/// So many windows of a key are open at most: those that lateness holds open.
const OPEN_MAX: i64 = 100;

/// What the delayed message says: when the entry's last message was published, and when the tick was to come.
#[derive(Debug, Deserialize, Serialize)]
struct Tick {
    entry: String,
    seen: i64,
    due: i64,
}

/// The config, checked. Times are milliseconds.
struct Settings {
    key: Pick,
    value: Option<Pick>,
    time: Option<Pick>,
    size: i64,
    lateness: i64,
    idle: i64,
    forget: i64,
    ahead_max: i64,
    to: Template,
    late_to: Option<Template>,
    tick: String,
}

impl Settings {
    fn read(ctx: &Context) -> Result<Self> {
        let ms = |name, default| {
            duration(ctx, name, default).map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
        };
        let (size, lateness) = (ms("size", None)?, ms("lateness", Some(Duration::ZERO))?);
        if size == 0 || lateness / size >= OPEN_MAX {
            return Err(misconfigured(format_args!("config lateness must be less than {OPEN_MAX} times config size")));
        }
        let idle = Duration::from_millis(u64::try_from(size.saturating_add(lateness)).unwrap_or(u64::MAX));
        let own = || format!("{}.tick", ctx.delivery().queue);
        Ok(Self {
            key: or(ctx, "key", Pick::Key)?,
            value: optional(ctx, "value")?,
            time: optional(ctx, "time")?,
            size,
            lateness,
            idle: ms("idle", Some(idle))?,
            forget: ms("forget", Some(FORGET))?,
            ahead_max: ms("ahead-max", Some(AHEAD_MAX))?,
            to: required_topic(ctx, "to")?,
            late_to: topic(ctx, "late-to")?,
            tick: topic(ctx, "tick")?.map_or_else(own, |tick| tick.text().to_owned()),
        })
    }

    fn over_at(&self, start: i64) -> i64 {
        start.saturating_add(self.size).saturating_add(self.lateness)
    }
}

#[wasmill::handler]
fn window(ctx: Context) -> Result {
    let settings = Settings::read(&ctx)?;
    if ctx.message().topic == settings.tick {
        return nothing_came(&ctx, &settings);
    }
    let document = Document::new(ctx.message());
    let published_at = i64::try_from(ctx.message().published_at).unwrap_or(i64::MAX);
    let time = settings.time.as_ref().map_or(Ok(published_at), |pick| event_time(&document, pick))?;
    if time > published_at.saturating_add(settings.ahead_max) {
        let problem = "its event time is further ahead of the time it was published than config ahead-max";
        return Err(reject(format!("{problem}: {}", written(time))));
    }
    let value = settings.value.as_ref().map(|pick| number(&document, pick)).transpose()?;
    let key = document.text(&settings.key)?.unwrap_or_default();

    let name = format!("key/{:032x}", digest(&[key.as_bytes()]));
    let mut entry: Entry = ctx.state().get_json(&name)?.unwrap_or_else(|| Entry::new(key));
    let start = time.div_euclid(settings.size) * settings.size;
    if start < entry.closed || settings.over_at(start) <= entry.latest {
        ctx.state().increment("late", 1)?;
        if let Some(topic) = settings.late_to {
            ctx.publish(pass_on(ctx.message(), topic.topic(&document)?))?;
        }
        return Ok(());
    }
    let is_tick_overdue = published_at > entry.tick_due.saturating_add(settings.idle);
    entry.seen = entry.seen.max(published_at);
    if entry.windows.is_empty() || is_tick_overdue {
        entry.tick_due = entry.seen.saturating_add(settings.idle);
        tick(&ctx, &settings, &name, &entry, settings.idle)?;
    }
    entry.latest = entry.latest.max(time);
    entry.windows.entry(start).or_default().add(value.unwrap_or_default()).map_err(reject)?;
    while let Some(start) =
        entry.windows.keys().next().copied().filter(|start| settings.over_at(*start) <= entry.latest)
    {
        close(&ctx, &settings, &mut entry, start)?;
    }
    Ok(ctx.state().set_json(&name, &entry)?)
}

/// The tick: what is open is over when nothing came since, and later the key is forgotten.
fn nothing_came(ctx: &Context, settings: &Settings) -> Result {
    let arrived: Tick = ctx.message().json()?;
    let entry: Option<Entry> = ctx.state().get_json(&arrived.entry)?;
    let Some(mut entry) = entry.filter(|entry| entry.tick_due == arrived.due) else { return Ok(()) };
    let is_idle = entry.seen == arrived.seen;
    if is_idle && entry.windows.is_empty() {
        return Ok(ctx.state().delete(&arrived.entry)?);
    }
    let wait = if is_idle { settings.forget } else { entry.seen - arrived.seen };
    while let Some(start) = entry.windows.keys().next().copied().filter(|_| is_idle) {
        close(ctx, settings, &mut entry, start)?;
    }
    entry.tick_due = entry.tick_due.saturating_add(wait.max(1));
    tick(ctx, settings, &arrived.entry, &entry, wait)?;
    Ok(ctx.state().set_json(&arrived.entry, &entry)?)
}

fn tick(ctx: &Context, settings: &Settings, name: &str, entry: &Entry, wait: i64) -> Result {
    let tick = Tick { entry: name.to_owned(), seen: entry.seen, due: entry.tick_due };
    let wait = Duration::from_millis(u64::try_from(wait.max(1)).unwrap_or_default());
    let mut outgoing = Outgoing::json(&settings.tick, &tick)?.delay(wait);
    outgoing.key = Some(entry.key.clone()).filter(|key| !key.is_empty() && key.len() <= 255);
    ctx.publish(outgoing)?;
    Ok(())
}

fn close(ctx: &Context, settings: &Settings, entry: &mut Entry, start: i64) -> Result {
    let Some(tally) = entry.windows.remove(&start) else { return Ok(()) };
    let end = start.saturating_add(settings.size);
    entry.closed = entry.closed.max(end);
    let result = result(entry, &tally, (start, end), settings.value.is_some());
    let mut outgoing = Outgoing::json(settings.to.topic(&Document::new(ctx.message()))?, &result)?;
    outgoing.key = Some(entry.key.clone()).filter(|key| !key.is_empty() && key.len() <= 255);
    ctx.publish(outgoing)?;
    Ok(())
}

fn result(entry: &Entry, tally: &Tally, (start, end): (i64, i64), has_values: bool) -> Value {
    let mut result = json!({
        "key": entry.key, "start": written(start), "end": written(end), "count": tally.count,
    });
    if has_values {
        result["sum"] = json!(tally.sum);
        result["min"] = json!(tally.min);
        result["max"] = json!(tally.max);
        result["mean"] = json!(tally.mean());
    }
    result
}

fn number(document: &Document<'_>, pick: &Pick) -> Result<f64> {
    let found = document.value(pick)?;
    let number = found.as_ref().and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    number
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| reject(format!("config value points to {}; it must be a number", found.unwrap_or_default())))
}

/// RFC 3339, or milliseconds since 1970.
fn event_time(document: &Document<'_>, pick: &Pick) -> Result<i64> {
    let found = document.value(pick)?.unwrap_or_default();
    let wrong = || reject(format!("config time points to {found}; it must be RFC 3339 or milliseconds since 1970"));
    let time = match &found {
        Value::String(text) => text.parse().map_err(|_| wrong())?,
        other => other.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok()).ok_or_else(wrong)?,
    };
    Ok(time.as_millisecond())
}

fn written(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests;
