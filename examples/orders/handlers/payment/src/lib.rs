//! Charges an order and says so.
//!
//! The lesson: what becomes of a handler that fails. The card network (simulated; which attempts of which order time out
//! is fixed by a hash) does not always answer: the handler asks for a retry, and the consumer's backoff paces it. And
//! its author did not think of orders that come to nothing or less: one of those panics at every attempt, which traps,
//! and is in quarantine after the last, with the text of the panic in its log. Nothing else is held up.

use serde::{Deserialize, Serialize};
use wasmill::{Context, Json, Outgoing};

/// The share of attempts that time out, unless `timeout-percent` is configured.
const TIMEOUT_PERCENT: u64 = 10;

/// What is read of an order.
#[derive(Deserialize)]
struct Order {
    order_id: String,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    quantity: i64,
    price_cents: i64,
}

/// What is published.
#[derive(Serialize)]
struct Captured<'a> {
    order_id: &'a str,
    amount_cents: i64,
}

#[wasmill::handler]
fn payment(order: Json<Order>, ctx: Context) -> wasmill::Result {
    let Order { order_id, items } = &*order;
    let amount_cents = amount_cents(order_id, items);
    let timeout_percent = ctx.config_as("timeout-percent")?.unwrap_or(TIMEOUT_PERCENT);
    if percentile(order_id, ctx.delivery().attempt) < timeout_percent {
        wasmill::retry!("card network timeout");
    }
    ctx.publish(Outgoing::json("payment.captured", &Captured { order_id, amount_cents })?.key(order_id))?;
    Ok(())
}

/// What the items come to.
///
/// # Panics
/// When that is not an amount that can be charged. A careful author would reject such an order instead; see
/// `inventory`.
fn amount_cents(order_id: &str, items: &[Item]) -> i64 {
    let cents = |item: &Item| item.quantity.checked_mul(item.price_cents).expect("the price of an item fits 64 bits");
    let amount = items.iter().map(cents).fold(0, i64::saturating_add);
    assert!(amount > 0, "order {order_id} comes to {amount} cents, and nothing less than 1 can be charged");
    amount
}

/// A number from 0 to 99 that is always the same for the same attempt of the same order (FNV-1a).
fn percentile(order_id: &str, attempt: u32) -> u64 {
    let bytes = order_id.bytes().chain(attempt.to_le_bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash % 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(order_id: &str, items: &[(i64, i64)]) -> Json<Order> {
        let items = items.iter().map(|&(quantity, price_cents)| Item { quantity, price_cents }).collect();
        Json(Order { order_id: order_id.to_owned(), items })
    }

    #[test]
    fn the_sum_of_the_items_is_captured() {
        let ctx = Context::for_test().with_config("timeout-percent", "0");
        assert_eq!(payment(order("o-1", &[(2, 1_000), (1, 50)]), ctx.clone()), Ok(()));
        let captured = ctx.published();
        assert_eq!((captured.len(), captured[0].topic.as_str()), (1, "payment.captured"));
        assert_eq!(captured[0].data, br#"{"order_id":"o-1","amount_cents":2050}"#);
    }

    #[test]
    fn some_attempts_time_out_and_every_order_is_paid_within_five() {
        let mut timeouts = 0;
        for number in 0..1_000 {
            let order_id = format!("o-{number}");
            let paid = (1..=5).find(|attempt| {
                let ctx = Context::for_test().with_attempt(*attempt);
                let answer = payment(order(&order_id, &[(1, 100)]), ctx.clone());
                assert_eq!(answer.is_ok(), ctx.published().len() == 1, "{order_id}");
                answer.is_ok()
            });
            timeouts += paid.expect("paid within five attempts") - 1;
        }
        assert!((60..=180).contains(&timeouts), "{timeouts} of about 1,100 attempts timed out");
    }

    #[test]
    #[should_panic(expected = "order o-7 comes to -300 cents")]
    fn a_negative_quantity_panics() {
        let _ = payment(order("o-7", &[(-3, 100)]), Context::for_test());
    }

    #[test]
    #[should_panic(expected = "order o-8 comes to 0 cents")]
    fn a_total_of_nothing_panics() {
        let _ = payment(order("o-8", &[(1, 0)]), Context::for_test());
    }
}
