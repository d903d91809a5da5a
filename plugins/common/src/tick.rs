//! Ticks: delayed messages of a plugin to itself, by which it learns that time went by.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use wasmill::{Context, Outgoing, Result};

use crate::{keyed, topic};

/// Config `tick`, or `QUEUE.tick`, which a queue has that binds `QUEUE.#` as queues do that nobody configured.
fn tick_topic(ctx: &Context) -> Result<String> {
    let own = || format!("{}.tick", ctx.delivery().queue);
    Ok(topic(ctx, "tick")?.map_or_else(own, |topic| topic.text().to_owned()))
}

/// Whether the message is a tick.
///
/// # Errors
/// [`crate::misconfigured`], when config `tick` is no topic.
pub fn is_tick(ctx: &Context) -> Result<bool> {
    Ok(tick_topic(ctx)? == ctx.message().topic)
}

/// Have a tick come after so long, with that as its data, behind other messages of that key.
///
/// # Errors
/// As [`is_tick`], and when it cannot be published.
pub fn publish_tick(ctx: &Context, key: &str, wait: Duration, data: &impl Serialize) -> Result {
    ctx.publish(keyed(Outgoing::json(tick_topic(ctx)?, data)?, key).delay(wait))?;
    Ok(())
}

/// Milliseconds since 1970, by the clock on the wall: what a delay is counted from.
#[must_use]
pub fn now_ms(ctx: &Context) -> u64 {
    let since_1970 = ctx.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use wasmill::Delivery;

    use super::*;

    #[test]
    fn a_tick_comes_back_to_its_queue_or_where_it_is_configured() {
        for (config, topic) in [("", "test-queue.tick"), ("elsewhere", "elsewhere")] {
            let ctx = Context::for_test().with_config("tick", config);
            publish_tick(&ctx, "k", Duration::from_secs(1), &7).expect("published");
            let tick = ctx.published().pop().expect("a tick");
            assert_eq!((tick.topic.as_str(), tick.key.as_deref(), tick.delay), (topic, Some("k"), Some(1_000)));
            assert_eq!(is_tick(&ctx), Ok(false));
            assert_eq!(is_tick(&ctx.with_delivery(Delivery::for_test(topic, tick.data))), Ok(true));
        }
        assert!(is_tick(&Context::for_test().with_config("tick", "a..b")).is_err());
    }
}
