//! Delivers each message to a URL, signed in the manner of Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! The receiver may see a message more than once, for an answer can get lost; `webhook-id` is the same each time.

mod answer;
mod request;
mod signature;

use std::time::UNIX_EPOCH;

use wasmill::Context;

use crate::{answer::Judge, request::request};

#[wasmill::handler]
fn webhook(ctx: Context) -> wasmill::Result {
    let judge = Judge::read(&ctx)?;
    let now = ctx.now();
    let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    judge.outcome(ctx.send(&request(&ctx, now_s)?), now)
}
