//! Counts orders and revenue by currency.
//!
//! The lesson: counting with `increment` never conflicts, however many deliveries run at once, and a retry counts
//! nothing twice, because a failed attempt's increments are void.

use serde::Deserialize;
use wasmill::{Context, Json};

/// What is read of an order.
#[derive(Deserialize)]
struct Order {
    currency: String,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    quantity: i64,
    price_cents: i64,
}

#[wasmill::handler]
fn analytics(order: Json<Order>, ctx: Context) -> wasmill::Result {
    if !is_currency(&order.currency) {
        wasmill::reject!("currency is {:?}; it must be three capital letters, such as EUR", order.currency);
    }
    ctx.state().increment("orders", 1)?;
    ctx.state().increment(&format!("revenue-cents:{}", order.currency), revenue_cents(&order.items))?;
    Ok(())
}

fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase())
}

/// What the items come to. Items that nobody would pay for add nothing: `inventory` is the one that rejects them.
fn revenue_cents(items: &[Item]) -> i64 {
    let cents = |item: &Item| item.quantity.max(0).saturating_mul(item.price_cents.max(0));
    items.iter().map(cents).fold(0, i64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(currency: &str, items: &[(i64, i64)]) -> Json<Order> {
        let items = items.iter().map(|&(quantity, price_cents)| Item { quantity, price_cents }).collect();
        Json(Order { currency: currency.to_owned(), items })
    }

    #[test]
    fn orders_and_revenue_are_counted_by_currency() {
        let ctx = Context::for_test();
        for order in [order("EUR", &[(2, 1_000), (1, 50)]), order("USD", &[(1, 999)]), order("EUR", &[(1, 1)])] {
            assert_eq!(analytics(order, ctx.clone()), Ok(()));
        }
        assert_eq!(ctx.state().get_int("orders"), Ok(3));
        assert_eq!(ctx.state().get_int("revenue-cents:EUR"), Ok(2_051));
        assert_eq!(ctx.state().get_int("revenue-cents:USD"), Ok(999));
    }

    #[test]
    fn revenue_never_falls_and_never_overflows() {
        let items = |items: &[(i64, i64)]| order("EUR", items).0.items;
        for (given, cents) in [(&[(-3, 100)][..], 0), (&[(1, -5), (1, 5)], 5), (&[(i64::MAX, 2), (1, 1)], i64::MAX)] {
            assert_eq!(revenue_cents(&items(given)), cents, "{given:?}");
        }
    }

    #[test]
    fn what_is_no_currency_is_rejected() {
        let ctx = Context::for_test();
        assert!(analytics(order("euro", &[]), ctx.clone()).is_err());
        assert_eq!(ctx.state().exists("orders"), Ok(false));
    }
}
