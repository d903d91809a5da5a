//! Adds up the numbers of a call and publishes one summary to `summaries`: how many, their sum, and how many calls of this
//! instance. Words in place of a number fail: `pill` panics, `retry` (at the first attempt), `defer` and `reject` ask for that, and
//! `short` makes the answer a result too short. `compute` keeps the processor busy for a tenth of a millisecond, more or less.

use std::{hint::black_box, time::Duration};

use wasmill::{Context, Delivery, Outgoing, Result, defer, reject, retry};

#[wasmill::batch_handler]
fn batch(deliveries: &[Delivery], ctx: Context) -> Vec<Result> {
    let mut sum = 0;
    let mut results: Vec<Result> = deliveries.iter().map(|delivery| add(delivery, &mut sum)).collect();
    let summary = format!("{} {sum}", deliveries.len());
    let done = ctx.state().increment("count", deliveries.len() as i64).map_err(|error| reject(error.to_string()));
    let published = ctx.publish(Outgoing::text("summaries", summary)).map_err(|error| reject(error.to_string()));
    if let Err(failure) = done.and(published.map(drop)) {
        results.fill_with(|| Err(failure.clone()));
    }
    if deliveries.iter().any(|delivery| delivery.message.data == b"short") {
        results.pop();
    }
    results
}

fn add(delivery: &Delivery, sum: &mut i64) -> Result {
    let text = String::from_utf8_lossy(&delivery.message.data).into_owned();
    match text.as_str() {
        "pill" => panic!("a pill, {}", delivery.message.id),
        "retry" if delivery.attempt == 1 => Err(retry("not the first time")),
        "retry" | "short" => Ok(()),
        "defer" => Err(defer(Duration::from_millis(3_600_000))),
        "reject" => Err(reject("as asked")),
        "compute" => {
            let mut sum = 0x9e37_79b9_7f4a_7c15_u64;
            for round in 0..100_000 {
                sum = black_box(sum.rotate_left(5) ^ round);
            }
            black_box(sum);
            Ok(())
        }
        number => {
            *sum += number.parse::<i64>()?;
            Ok(())
        }
    }
}
