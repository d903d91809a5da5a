//! Takes what was ordered out of stock.
//!
//! The lesson: stock is state, and it is read and changed in the same delivery. Two orders of the last piece may run at
//! once; the host sees that one read what the other changed and runs it again, so a piece is promised once. What the
//! stock does not cover is published as `inventory.backordered`, the rest as `inventory.reserved`.
//!
//! A poison order is rejected here, with the reason. `payment` shows what happens to one that nobody foresaw.

use serde::{Deserialize, Serialize};
use wasmill::{Context, Json, Outgoing, State};

/// Pieces of an article that was never ordered before, unless `stock-initial` is configured.
const STOCK_INITIAL: i64 = 100;

/// What is read of an order.
#[derive(Deserialize)]
struct Order {
    order_id: String,
    items: Vec<Item>,
}

/// Pieces of one article: read from the order, and published.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
struct Item {
    sku: String,
    quantity: i64,
}

/// What is published.
#[derive(Serialize)]
struct Lines<'a> {
    order_id: &'a str,
    items: Vec<Item>,
}

#[wasmill::handler]
fn inventory(order: Json<Order>, ctx: Context) -> wasmill::Result {
    check(&order).map_err(wasmill::reject)?;
    let stock_initial = ctx.config_as("stock-initial")?.unwrap_or(STOCK_INITIAL);
    let (mut reserved, mut backordered) = (Vec::new(), Vec::new());
    for item in &order.items {
        let left = take(&ctx.state(), item, stock_initial)?;
        let short = short_of(item.quantity, left);
        reserved.push(Item { quantity: item.quantity - short, ..item.clone() });
        backordered.push(Item { quantity: short, ..item.clone() });
    }
    publish(&ctx, "inventory.reserved", &order.order_id, reserved)?;
    publish(&ctx, "inventory.backordered", &order.order_id, backordered)
}

fn check(order: &Order) -> Result<(), String> {
    let Order { order_id, items } = order;
    if items.is_empty() {
        return Err(format!("order {order_id} has no items"));
    }
    for Item { sku, quantity } in items {
        if sku.is_empty() {
            return Err(format!("order {order_id} has an item without a sku"));
        }
        if *quantity < 1 {
            return Err(format!("order {order_id}: the quantity of {sku} is {quantity}; it must be 1 or more"));
        }
    }
    Ok(())
}

/// Take an item out of stock and say how much is left; below 0 is what is owed.
fn take(state: &State<'_>, item: &Item, stock_initial: i64) -> wasmill::Result<i64> {
    let key = format!("stock:{}", item.sku);
    let before = if state.exists(&key)? { state.get_int(&key)? } else { stock_initial };
    let left = before.saturating_sub(item.quantity);
    state.set(&key, left.to_string().as_bytes())?;
    Ok(left)
}

/// How many of `quantity` the stock did not cover when `left` is what remained of it.
fn short_of(quantity: i64, left: i64) -> i64 {
    left.saturating_neg().clamp(0, quantity)
}

fn publish(ctx: &Context, topic: &str, order_id: &str, items: Vec<Item>) -> wasmill::Result {
    let items: Vec<Item> = items.into_iter().filter(|item| item.quantity > 0).collect();
    if !items.is_empty() {
        ctx.publish(Outgoing::json(topic, &Lines { order_id, items })?.key(order_id))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmill::Failure;

    use super::*;

    fn order(items: &[(&str, i64)]) -> Json<Order> {
        let items = items.iter().map(|(sku, quantity)| Item { sku: (*sku).to_owned(), quantity: *quantity });
        Json(Order { order_id: "o-1".to_owned(), items: items.collect() })
    }

    fn published(ctx: &Context) -> Vec<(String, String)> {
        let text = |data| String::from_utf8(data).expect("JSON is text");
        ctx.published().into_iter().map(|outgoing| (outgoing.topic, text(outgoing.data))).collect()
    }

    #[test]
    fn what_is_short_is_what_the_stock_does_not_cover() {
        for (quantity, left, short) in [(3, 97, 0), (3, 0, 0), (3, -1, 1), (3, -3, 3), (3, -50, 3)] {
            assert_eq!(short_of(quantity, left), short, "{quantity} ordered, {left} left");
        }
    }

    #[test]
    fn stock_is_reserved_and_the_rest_is_owed() {
        let ctx = Context::for_test().with_config("stock-initial", "5");
        assert_eq!(inventory(order(&[("mug", 4), ("cap", 1)]), ctx.clone()), Ok(()));
        assert_eq!(inventory(order(&[("mug", 4)]), ctx.clone()), Ok(()));
        let line = |items: &str| format!(r#"{{"order_id":"o-1","items":[{items}]}}"#);
        assert_eq!(
            published(&ctx),
            [
                ("inventory.reserved", line(r#"{"sku":"mug","quantity":4},{"sku":"cap","quantity":1}"#)),
                ("inventory.reserved", line(r#"{"sku":"mug","quantity":1}"#)),
                ("inventory.backordered", line(r#"{"sku":"mug","quantity":3}"#)),
            ]
            .map(|(topic, data)| (topic.to_owned(), data))
        );
        assert_eq!((ctx.state().get_int("stock:mug"), ctx.state().get_int("stock:cap")), (Ok(-3), Ok(4)));
    }

    #[test]
    fn a_poison_order_is_rejected_and_takes_nothing() {
        for (items, reason) in [
            (&[("mug", 2), ("cap", -1)][..], "order o-1: the quantity of cap is -1; it must be 1 or more"),
            (&[("", 1)], "order o-1 has an item without a sku"),
            (&[], "order o-1 has no items"),
        ] {
            let ctx = Context::for_test();
            assert_eq!(inventory(order(items), ctx.clone()), Err(Failure::Reject(reason.to_owned())));
            assert_eq!(ctx.state().exists("stock:mug"), Ok(false));
        }
    }
}
