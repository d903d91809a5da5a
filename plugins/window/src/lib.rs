//! Counts, sums, smallest, largest and mean by key and tumbling window of time.
//!
//! A window is published when it is over: when a later message of its key shows it (by event time and lateness), or when no
//! message of its key has come for a while, which a delayed message to this handler, its tick, finds out. A key has one tick
//! under way; a tick that is not the entry's own is nothing.

mod entry;

use std::time::Duration;

use serde_json::json;
use wasmill::{Context, Outgoing, Result, reject};
use wasmill_plugin_common::{
    Document, Pick, Template, digest, duration_ms, is_tick, keyed, misconfigured, optional, or, pass_on, publish_tick,
    required_key_topic, rfc3339, topic,
};

use crate::entry::Entry;

const FORGET: i64 = 24 * AHEAD_MAX;
/// An hour.
const AHEAD_MAX: i64 = 3_600_000;
/// So many windows of a key are open at most: those that lateness holds open.
const OPEN_MAX: i64 = 100;

/// The config, checked. Times are milliseconds.
struct Settings {
    value: Option<Pick>,
    time: Option<Pick>,
    size: i64,
    lateness: i64,
    idle: i64,
    forget: i64,
    ahead_max: i64,
    to: Template,
}

impl Settings {
    fn read(ctx: &Context) -> Result<Self> {
        let (size, lateness) = (duration_ms(ctx, "size", None)?, duration_ms(ctx, "lateness", Some(0))?);
        if size == 0 || lateness / size >= OPEN_MAX {
            return Err(misconfigured(format_args!("config lateness must be less than {OPEN_MAX} times config size")));
        }
        Ok(Self {
            value: optional(ctx, "value")?,
            time: optional(ctx, "time")?,
            size,
            lateness,
            idle: duration_ms(ctx, "idle", Some(size.saturating_add(lateness)))?,
            forget: duration_ms(ctx, "forget", Some(FORGET))?,
            ahead_max: duration_ms(ctx, "ahead-max", Some(AHEAD_MAX))?,
            to: required_key_topic(ctx, "to")?,
        })
    }

    fn is_over(&self, start: i64, latest: Option<i64>) -> bool {
        latest >= Some(start.saturating_add(self.size).saturating_add(self.lateness))
    }
}

#[wasmill::handler]
fn window(ctx: Context) -> Result {
    let settings = Settings::read(&ctx)?;
    let (key, late_to) = (or(&ctx, "key", Pick::Key)?, topic(&ctx, "late-to")?);
    if is_tick(&ctx)? {
        return nothing_came(&ctx, &settings);
    }
    let document = Document::new(ctx.message());
    let published_at = i64::try_from(ctx.message().published_at).unwrap_or(i64::MAX);
    let time = settings.time.as_ref().map_or(Ok(published_at), |pick| document.time_ms(pick, "time"))?;
    if time > published_at.saturating_add(settings.ahead_max) {
        let at = rfc3339(time);
        return Err(reject(format!("its event time {at} is further ahead of its publication than config ahead-max")));
    }
    let value = settings.value.as_ref().map(|pick| document.number(pick, "value")).transpose()?;
    let key = document.text(&key)?.unwrap_or_default();
    settings.to.topic_of_key(&key)?;

    let name = format!("key/{:032x}", digest(&[key.as_bytes()]));
    let mut entry: Entry = ctx.state().get_json(&name)?.unwrap_or_else(|| Entry { key, ..Entry::default() });
    let start = time.div_euclid(settings.size) * settings.size;
    if entry.closed > Some(start) || settings.is_over(start, entry.latest) {
        ctx.state().increment("late", 1)?;
        if let Some(topic) = late_to {
            ctx.publish(pass_on(ctx.message(), topic.topic(&document)?))?;
        }
        return Ok(());
    }
    let is_tick_overdue = published_at > entry.tick_due.saturating_add(settings.idle);
    entry.seen = entry.seen.max(published_at);
    if entry.windows.is_empty() || is_tick_overdue {
        entry.tick_due = entry.seen.saturating_add(settings.idle);
        tick(&ctx, &name, &entry, settings.idle)?;
    }
    entry.latest = entry.latest.max(Some(time));
    entry.windows.entry(start).or_default().add(value.unwrap_or_default()).map_err(reject)?;
    let latest = entry.latest;
    close(&ctx, &settings, &mut entry, |start| settings.is_over(start, latest))?;
    Ok(ctx.state().set_json(&name, &entry)?)
}

/// The tick: what is open is over when nothing came since, and later the key is forgotten.
fn nothing_came(ctx: &Context, settings: &Settings) -> Result {
    let (name, seen, due): (String, i64, i64) = ctx.message().json()?;
    let entry: Option<Entry> = ctx.state().get_json(&name)?;
    let Some(mut entry) = entry.filter(|entry| entry.tick_due == due) else { return Ok(()) };
    let is_idle = entry.seen == seen;
    if is_idle && entry.windows.is_empty() {
        return Ok(ctx.state().delete(&name)?);
    }
    close(ctx, settings, &mut entry, |_| is_idle)?;
    let wait = if is_idle { settings.forget } else { entry.seen - seen };
    entry.tick_due = entry.tick_due.saturating_add(wait.max(1));
    tick(ctx, &name, &entry, wait)?;
    Ok(ctx.state().set_json(&name, &entry)?)
}

/// It says whose it is, when the last message had been published, and when it is due: the name of the only one that counts.
fn tick(ctx: &Context, name: &str, entry: &Entry, wait: i64) -> Result {
    let wait = Duration::from_millis(wait.max(1).unsigned_abs());
    publish_tick(ctx, &entry.key, wait, &(name, entry.seen, entry.tick_due))
}

fn close(ctx: &Context, settings: &Settings, entry: &mut Entry, is_over: impl Fn(i64) -> bool) -> Result {
    let topic = settings.to.topic_of_key(&entry.key)?;
    while let Some(first) = entry.windows.first_entry().filter(|first| is_over(*first.key())) {
        let (start, tally) = first.remove_entry();
        let end = start.saturating_add(settings.size);
        entry.closed = entry.closed.max(Some(end));
        let (start, end) = (rfc3339(start), rfc3339(end));
        let mut result = json!({ "key": entry.key, "start": start, "end": end, "count": tally.count });
        if settings.value.is_some() {
            let mean = tally.sum / f64::from(tally.count);
            for (name, value) in [("sum", tally.sum), ("min", tally.min), ("max", tally.max), ("mean", mean)] {
                result[name] = value.into();
            }
        }
        ctx.publish(keyed(Outgoing::json(&topic, &result)?, &entry.key))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
