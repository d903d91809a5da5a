//! Puts messages that belong together into one: the parts that plugin `split` made, or one message of each of several topics
//! with the same key.
//!
//! A group is kept in state until its tick, a delayed message to this handler that its first part publishes: it says
//! that the time is over, and after it nothing of the group is left. Until then repeats of parts are known and dropped.

mod group;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmill::{Context, Outgoing, Result, reject};
use wasmill_plugin_common::{Document, Pick, Template, digest, duration, list, log, optional, required_topic, topic};

use crate::group::Group;

const TIMEOUT: Duration = Duration::from_secs(3_600);
/// More parts than this are not joined.
const PARTS_MAX: usize = 1_000;

/// What the delayed message says: the group of that name, as it was opened then, has had its time.
#[derive(Debug, Deserialize, Serialize)]
struct Tick {
    group: String,
    opened: u64,
}

/// The config, checked.
struct Settings {
    to: Template,
    incomplete_to: Option<Template>,
    topics: Vec<String>,
    by: Pick,
    timeout: Duration,
    tick: String,
}

impl Settings {
    fn read(ctx: &Context) -> Result<Self> {
        let topics = list(ctx, "topics");
        let by = if topics.is_empty() { Pick::Header("split-id".to_owned()) } else { Pick::Key };
        let own = || format!("{}.tick", ctx.delivery().queue);
        Ok(Self {
            to: required_topic(ctx, "to")?,
            incomplete_to: topic(ctx, "incomplete-to")?,
            topics,
            by: optional(ctx, "by")?.unwrap_or(by),
            timeout: duration(ctx, "timeout", Some(TIMEOUT))?,
            tick: topic(ctx, "tick")?.map_or_else(own, |tick| tick.text().to_owned()),
        })
    }

    /// Which part of how many the message is.
    fn place(&self, ctx: &Context) -> Result<(usize, usize)> {
        let message = ctx.message();
        if !self.topics.is_empty() {
            let index = self.topics.iter().position(|topic| *topic == message.topic);
            let unknown = || reject(format!("topic {} is not one of config topics", message.topic));
            return Ok((index.ok_or_else(unknown)?, self.topics.len()));
        }
        let number = |name: &str| message.header(name).and_then(|text| text.parse::<usize>().ok());
        match (number("split-index"), number("split-count")) {
            (Some(index), Some(count)) if index < count && count <= PARTS_MAX => Ok((index, count)),
            (index, count) => Err(reject(format!(
                "headers split-index and split-count are {index:?} and {count:?}; they must be numbers, the first below \
                 the second, and that at most {PARTS_MAX}"
            ))),
        }
    }
}

#[wasmill::handler]
fn join(ctx: Context) -> Result {
    let settings = Settings::read(&ctx)?;
    if ctx.message().topic == settings.tick {
        return time_is_over(&ctx, &settings);
    }
    let message = ctx.message();
    let document = Document::new(message);
    document.json()?;
    let Some(id) = document.text(&settings.by)?.filter(|id| !id.is_empty()) else {
        return Err(reject("it says not where it belongs: there is no value for config by"));
    };
    let (index, count) = settings.place(&ctx)?;
    let name = format!("{:032x}", digest(&[id.as_bytes()]));
    let mut group = match Group::read(&ctx, &name)? {
        Some(group) => group,
        None => {
            let tick = Tick { group: name.clone(), opened: message.published_at };
            ctx.publish(Outgoing::json(&settings.tick, &tick)?.key(&id).delay(settings.timeout))?;
            let key = message.header("split-key").map_or_else(|| id.clone(), str::to_owned);
            Group::new(id, key, count, message.published_at)
        }
    };
    if group.is_done() || group.has(index) {
        log(format_args!("part {index} of {} came before and is dropped", group.id));
        return Ok(());
    }
    if group.count != count {
        return Err(reject(format!("it says that {} has {count} parts; another said {}", group.id, group.count)));
    }
    group.add(&ctx, &name, index, &message.data)?;
    if group.missing().is_empty() {
        let joined = group.joined(&ctx, &name, &settings.topics)?;
        publish(&ctx, settings.to.topic(&document)?, &group, joined)?;
        group.close(&ctx, &name)?;
    }
    group.write(&ctx, &name)
}

fn time_is_over(ctx: &Context, settings: &Settings) -> Result {
    let tick: Tick = ctx.message().json()?;
    let Some(mut group) = Group::read(ctx, &tick.group)?.filter(|group| group.opened == tick.opened) else {
        return Ok(());
    };
    let missing = group.missing();
    if !missing.is_empty() {
        let state = format!("{} of {} parts of {} came in time", group.count - missing.len(), group.count, group.id);
        // Without a place for what is incomplete the tick goes into quarantine, and the parts stay where they are.
        let Some(to) = &settings.incomplete_to else { return Err(reject(format!("{state}; missing: {missing:?}"))) };
        let parts = group.joined(ctx, &tick.group, &settings.topics)?;
        publish(ctx, to.topic(&Document::new(ctx.message()))?, &group, parts)?;
        log(state);
    }
    group.close(ctx, &tick.group)?;
    Group::forget(ctx, &tick.group)
}

fn publish(ctx: &Context, topic: String, group: &Group, data: Vec<u8>) -> Result {
    let mut outgoing = Outgoing::bytes(topic, data).key(&group.key).header("join-id", &group.id);
    outgoing.content_type = Some("application/json".to_owned());
    if !group.missing().is_empty() {
        let missing: Vec<String> = group.missing().iter().map(usize::to_string).collect();
        outgoing = outgoing.header("join-missing", missing.join(","));
    }
    ctx.publish(outgoing)?;
    Ok(())
}

#[cfg(test)]
mod tests;
