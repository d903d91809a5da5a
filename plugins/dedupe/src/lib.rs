//! Passes on the first message of each value within a time, and drops the others.
//!
//! Two deliveries of one value cannot both be first: both read the same state, so the host runs the one that commits later
//! again, and then it finds the value.

use std::time::Duration;

use wasmill::Context;
use wasmill_plugin_common::{Document, Pick, Recent, digest, duration, or, pass_on, required_topic, topic};

const WINDOW: Duration = Duration::from_secs(3_600);

#[wasmill::handler]
fn dedupe(ctx: Context) -> wasmill::Result {
    let by = or(&ctx, "by", Pick::Id)?;
    let window = duration(&ctx, "window", Some(WINDOW))?;
    let to = required_topic(&ctx, "to")?;
    let duplicates_to = topic(&ctx, "duplicates-to")?;

    let message = ctx.message();
    let document = Document::new(message);
    if let Some(value) = document.text(&by)? {
        let hash = digest(&[value.as_bytes()]);
        let recent = Recent::look_up(&ctx.state(), hash, message.published_at)?;
        if recent.until().is_some() {
            if let Some(topic) = duplicates_to {
                ctx.publish(pass_on(message, topic.topic(&document)?))?;
            }
            return Ok(());
        }
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        recent.keep(&ctx.state(), message.published_at.saturating_add(window_ms))?;
    }
    ctx.publish(pass_on(message, to.topic(&document)?))?;
    Ok(())
}

#[cfg(test)]
mod tests;
