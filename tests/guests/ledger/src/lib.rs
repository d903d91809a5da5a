//! Does everything once that could be done twice: increments `count`, reads and writes `sum`, and publishes the number
//! to `ledger.out`. Some numbers fail on their first attempt. Proves exactly-once effects through crashes: afterwards
//! `count`, `sum` and what was published must agree to the last number.

use std::time::Duration;

use wasmill::{Context, Outgoing, Text, reject, retry_after};

/// Each so many-th number asks for a retry on its first attempt.
const RETRY_EVERY: i64 = 7;
/// Each so many-th number panics on its first attempt, after it wrote and published.
const PANIC_EVERY: i64 = 41;

#[wasmill::handler]
fn ledger(text: Text, ctx: Context) -> wasmill::Result {
    let number: i64 = text.trim().parse().map_err(|_| reject(format!("the data is {:?}, no number", text.0)))?;
    let first = ctx.delivery().attempt == 1;
    let sum = ctx.state().get_int("sum")?.saturating_add(number);
    ctx.state().set("sum", sum.to_string().as_bytes())?;
    ctx.state().increment("count", 1)?;
    ctx.publish(Outgoing::text("ledger.out", number.to_string()))?;
    assert!(!(first && number % PANIC_EVERY == 0), "number {number} panics on its first attempt");
    if first && number % RETRY_EVERY == 0 {
        return Err(retry_after("this number fails on its first attempt", Duration::from_millis(20)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_writes_a_number_once() {
        let ctx = Context::for_test();
        assert_eq!(ledger(Text("5".to_owned()), ctx.clone()), Ok(()));
        assert_eq!((ctx.state().get_int("count"), ctx.state().get_int("sum")), (Ok(1), Ok(5)));
        assert_eq!(ctx.published()[0].data, b"5");
        assert!(ledger(Text("7".to_owned()), Context::for_test()).is_err());
    }
}
