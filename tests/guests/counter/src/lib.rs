//! Increments `count`, and reads, changes and writes `sum` by the number in the data. Proves that state is
//! serialisable: whatever runs at once, retries or crashes, both are exact when all is settled.

use wasmill::{Context, Text, reject};

#[wasmill::handler]
fn counter(text: Text, ctx: Context) -> wasmill::Result {
    let number: i64 =
        text.trim().parse().map_err(|_| reject(format!("the data is {:?}; it must be a number", text.0)))?;
    let sum = ctx.state().get_int("sum")?.saturating_add(number);
    ctx.state().set("sum", sum.to_string().as_bytes())?;
    ctx.state().increment("count", 1)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_and_sums() {
        let ctx = Context::for_test();
        for number in ["5", "-2", " 10\n"] {
            assert_eq!(counter(Text(number.to_owned()), ctx.clone()), Ok(()));
        }
        assert_eq!((ctx.state().get_int("count"), ctx.state().get_int("sum")), (Ok(3), Ok(13)));
    }

    #[test]
    fn what_is_no_number_is_rejected() {
        let answer = counter(Text("five".to_owned()), Context::for_test());
        assert_eq!(answer, Err(reject("the data is \"five\"; it must be a number")));
    }
}
