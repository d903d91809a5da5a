//! Tells the customer that an order was placed.
//!
//! The lesson: a handler has no network. What must happen outside is published, here as `email.sent`, which stands for the
//! call of a mail server; whatever consumes that topic does it. The order's message and the mail are one commit, so no
//! order is without its mail and a retry sends no second one.

use serde::{Deserialize, Serialize};
use wasmill::{Context, Json, Outgoing};

/// What is read of an order.
#[derive(Deserialize)]
struct Order {
    order_id: String,
    customer_email: String,
}

/// What is published.
#[derive(Serialize)]
struct Email<'a> {
    to: &'a str,
    subject: String,
}

#[wasmill::handler]
fn email(order: Json<Order>, ctx: Context) -> wasmill::Result {
    let Order { order_id, customer_email } = &*order;
    if !has_both_parts(customer_email) {
        wasmill::reject!("order {order_id}: customer_email is {customer_email:?}; it must be a mail address");
    }
    let email = Email { to: customer_email, subject: format!("We have your order {order_id}") };
    ctx.publish(Outgoing::json("email.sent", &email)?.key(order_id))?;
    Ok(())
}

/// No more than a look: only the mail server knows whether an address exists.
fn has_both_parts(address: &str) -> bool {
    address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
}

#[cfg(test)]
mod tests {
    use wasmill::Failure;

    use super::*;

    fn order(customer_email: &str) -> Json<Order> {
        Json(Order { order_id: "o-1".to_owned(), customer_email: customer_email.to_owned() })
    }

    #[test]
    fn the_customer_gets_one_mail() {
        let ctx = Context::for_test();
        assert_eq!(email(order("ada@example.org"), ctx.clone()), Ok(()));
        let mails = ctx.published();
        assert_eq!((mails.len(), mails[0].topic.as_str()), (1, "email.sent"));
        assert_eq!(mails[0].data, br#"{"to":"ada@example.org","subject":"We have your order o-1"}"#);
    }

    #[test]
    fn what_is_no_address_is_rejected() {
        for address in ["", "ada", "@example.org", "ada@"] {
            let ctx = Context::for_test();
            assert!(matches!(email(order(address), ctx.clone()), Err(Failure::Reject(_))), "{address}");
            assert_eq!(ctx.published(), []);
        }
    }
}
