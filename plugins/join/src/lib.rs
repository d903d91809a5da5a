//! Puts messages that belong together into one: the parts that plugin `split` made, or one message of each of several topics
//! with the same key.
//!
//! A group is kept in state until its tick, a delayed message to this handler that its first part publishes: it says
//! that the time is over, and after it nothing of the group is left. Until then repeats of parts are known and dropped. What is
//! completed later still, because its tick was rejected, is not remembered: no other tick would come to delete it.

mod group;

use std::time::Duration;

use wasmill::{Context, Message, Outgoing, Result, reject};
use wasmill_plugin_common::{
    Document, Pick, Template, digest, duration, is_tick, key_topic, keyed, list, log, now_ms, or, publish_tick,
    required_key_topic,
};

use crate::group::Group;

const TIMEOUT: Duration = Duration::from_secs(3_600);
/// More parts than this are not joined.
const PARTS_MAX: usize = 1_000;

#[wasmill::handler]
fn join(ctx: Context) -> Result {
    let topics = list(&ctx, "topics");
    let by = if topics.is_empty() { Pick::Header("split-id".to_owned()) } else { Pick::Key };
    let by = or(&ctx, "by", by)?;
    let timeout = duration(&ctx, "timeout", Some(TIMEOUT))?;
    let (to, incomplete_to) = (required_key_topic(&ctx, "to")?, key_topic(&ctx, "incomplete-to")?);
    if is_tick(&ctx)? {
        return time_is_over(&ctx, incomplete_to.as_ref(), &topics);
    }
    let message = ctx.message();
    let document = Document::new(message);
    document.json()?;
    let Some(id) = document.text(&by)?.filter(|id| !id.is_empty()) else {
        return Err(reject("it says not where it belongs: there is no value for config by"));
    };
    let (index, count) = place(message, &topics)?;
    let name = format!("group/{:032x}", digest(&[id.as_bytes()]));
    let known: Option<Group> = ctx.state().get_json(&name)?;
    let now = now_ms(&ctx);
    if known.is_none() {
        publish_tick(&ctx, &id, timeout, &(&name, message.published_at))?;
    }
    let mut group = known.unwrap_or_else(|| {
        let key = message.header("split-key").map_or_else(|| id.clone(), str::to_owned);
        let due = now.saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        Group { id, key, count, opened: message.published_at, due, ..Group::default() }
    });
    let topic = to.topic_of_key(&group.key)?;
    incomplete_to.map(|to| to.topic_of_key(&group.key)).transpose()?;
    if group.is_done || group.have.contains(&index) {
        log(format_args!("part {index} of {} came before and is dropped", group.id));
        return Ok(());
    }
    if group.count != count {
        return Err(reject(format!("it says that {} has {count} parts; another said {}", group.id, group.count)));
    }
    group.add(&ctx, &name, index, &message.data)?;
    if group.missing().is_empty() {
        let joined = group.joined(&ctx, &name, &topics)?;
        publish(&ctx, topic, &group, joined)?;
        group.close(&ctx, &name)?;
        if now >= group.due {
            return Ok(ctx.state().delete(&name)?);
        }
    }
    Ok(ctx.state().set_json(&name, &group)?)
}

/// Which part of how many the message is.
fn place(message: &Message, topics: &[String]) -> Result<(usize, usize)> {
    if !topics.is_empty() {
        let unknown = || reject(format!("topic {} is not one of config topics", message.topic));
        return Ok((topics.iter().position(|topic| *topic == message.topic).ok_or_else(unknown)?, topics.len()));
    }
    let number = |name: &str| message.header(name).and_then(|text| text.parse::<usize>().ok());
    match (number("split-index"), number("split-count")) {
        (Some(index), Some(count)) if index < count && count <= PARTS_MAX => Ok((index, count)),
        _ => Err(reject(format!(
            "headers split-index and split-count must be numbers, the first below the second, and that at most {PARTS_MAX}"
        ))),
    }
}

fn time_is_over(ctx: &Context, incomplete_to: Option<&Template>, topics: &[String]) -> Result {
    // Which group, and when it was opened: one of that name that was opened later has a tick of its own.
    let (name, opened): (String, u64) = ctx.message().json()?;
    let group: Option<Group> = ctx.state().get_json(&name)?;
    let Some(mut group) = group.filter(|group| group.opened == opened) else { return Ok(()) };
    let missing = group.missing();
    if !missing.is_empty() {
        let state = format!("{} of {} parts of {} came in time", group.have.len(), group.count, group.id);
        // Without a place for what is incomplete the tick goes into quarantine, and the parts stay where they are.
        let Some(to) = incomplete_to else { return Err(reject(format!("{state}; missing: {missing:?}"))) };
        let parts = group.joined(ctx, &name, topics)?;
        publish(ctx, to.topic_of_key(&group.key)?, &group, parts)?;
        log(state);
    }
    group.close(ctx, &name)?;
    Ok(ctx.state().delete(&name)?)
}

fn publish(ctx: &Context, topic: String, group: &Group, data: Vec<u8>) -> Result {
    let mut outgoing = keyed(Outgoing::bytes(topic, data), &group.key).header("join-id", &group.id);
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
