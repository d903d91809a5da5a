//! Passes on messages no faster than a rate: a token bucket for each value, or one for all.
//!
//! A bucket is kept as one time, when it will be full again (the generic cell rate algorithm of ITU-T I.371): it is a full
//! bucket, and needs no memory, once that time has passed. Times are microseconds.

use std::{
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use wasmill::{Context, Failure, defer};
use wasmill_plugin_common::{
    Document, Pick, Recent, digest, misconfigured, one_of, optional, or, pass_on, required, required_topic, topic,
};

/// So many messages in so much time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    messages: u64,
    interval_us: u64,
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (messages, interval) = text.split_once('/').unwrap_or((text, ""));
        let interval_us = match interval.trim() {
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return Err("it must be such as 10/s, 300/m, 1000/h or 5000/d"),
        };
        match messages.trim().parse() {
            Ok(messages @ 1..=1_000_000) => Ok(Self { messages, interval_us }),
            Ok(_) | Err(_) => Err("it must begin with a number from 1 to 1000000"),
        }
    }
}

/// What holds a message back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hold {
    Throttle,
    Defer,
}

impl Hold {
    fn for_time(self, wait: Duration) -> Failure {
        match self {
            Self::Throttle => wasmill::throttle(wait),
            Self::Defer => defer(wait),
        }
    }
}

#[wasmill::handler]
fn throttle(ctx: Context) -> wasmill::Result {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    pass_at(&ctx, u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX))
}

fn pass_at(ctx: &Context, now_us: u64) -> wasmill::Result {
    let rate: Rate = required(ctx, "rate")?;
    let burst = or(ctx, "burst", 1)?;
    if !(1..=1_000_000).contains(&burst) {
        return Err(misconfigured(format_args!("config burst is {burst}; it must be from 1 to 1000000")));
    }
    let per: Option<Pick> = optional(ctx, "per")?;
    let by_default = if matches!(per, None | Some(Pick::Key)) { Hold::Throttle } else { Hold::Defer };
    let hold = one_of(ctx, "hold", &[("", by_default), ("throttle", Hold::Throttle), ("defer", Hold::Defer)])?;
    let to = required_topic(ctx, "to")?;
    let excess_to = topic(ctx, "excess-to")?;

    let document = Document::new(ctx.message());
    let value = per.map(|per| document.text(&per)).transpose()?.flatten();
    let hash = digest(&value.iter().map(String::as_bytes).collect::<Vec<_>>());
    let bucket = Recent::look_up(&ctx.state(), hash, now_us)?;
    let one_us = rate.interval_us.div_ceil(rate.messages);
    // A clock that went back must not hold anything longer than an empty bucket does.
    let full_at = bucket.until().unwrap_or(now_us).min(now_us.saturating_add(one_us.saturating_mul(burst)));
    let wait_us = (full_at - now_us).saturating_sub(one_us.saturating_mul(burst - 1));
    match (wait_us, excess_to) {
        (0, _) => {
            bucket.keep(&ctx.state(), full_at.saturating_add(one_us))?;
            ctx.publish(pass_on(ctx.message(), to.topic(&document)?))?;
        }
        (_, Some(excess_to)) => {
            ctx.publish(pass_on(ctx.message(), excess_to.topic(&document)?))?;
        }
        (wait_us, None) => return Err(hold.for_time(Duration::from_micros(wait_us))),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
