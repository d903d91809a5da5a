//! Asks for a retry at every attempt up to config `fail-attempts`, then succeeds. Proves that attempts are counted
//! from 1 without gaps, also across a restart of the host, and that what failed attempts published is void.

use wasmill::{Context, Outgoing};

#[wasmill::handler]
fn flaky(ctx: Context) -> wasmill::Result {
    let attempt = ctx.delivery().attempt;
    ctx.publish(Outgoing::text("flaky.done", format!("attempt {attempt}")))?;
    let fail_attempts: u32 = ctx.config_as("fail-attempts")?.unwrap_or(1);
    if attempt <= fail_attempts {
        wasmill::retry!("attempt {attempt} of the {fail_attempts} that fail");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_succeeds_once_its_failures_are_used_up() {
        let ctx = Context::for_test().with_config("fail-attempts", "2");
        for (attempt, succeeds) in [(1, false), (2, false), (3, true)] {
            assert_eq!(flaky(ctx.with_attempt(attempt)).is_ok(), succeeds, "attempt {attempt}");
        }
    }
}
