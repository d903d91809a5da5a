//! Sleeps for as many milliseconds as config `ms` says (60,000 without it), which costs no fuel. Proves that wall
//! clock is limited too: past its limit the outcome is `timed-out`; below it, `success`.

use std::{thread, time::Duration};

use wasmill::Context;

const SLEEP_MS: u64 = 60_000;

#[wasmill::handler]
fn sleeper(ctx: Context) -> wasmill::Result {
    let ms = ctx.config_as("ms")?.unwrap_or(SLEEP_MS);
    thread::sleep(Duration::from_millis(ms));
    Ok(())
}
