//! Publishes the headers that it sees, as JSON, to the topic in config `to`. Proves what a handler is told of where its
//! message comes from, which what it publishes does not repeat.

use wasmill::{Context, Outgoing, retry};

#[wasmill::handler]
fn witness(ctx: Context) -> wasmill::Result {
    let to = ctx.config("to").ok_or_else(|| retry("config to is missing; set it to the topic to publish to"))?;
    ctx.publish(Outgoing::json(to, &ctx.message().headers)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmill::Delivery;

    use super::*;

    #[test]
    fn it_tells_its_headers_in_their_order() {
        let mut delivery = Delivery::for_test("in", *b"x");
        delivery.message.headers = vec![("b".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        let ctx = Context::for_delivery(delivery).with_config("to", "out");
        assert_eq!(witness(ctx.clone()), Ok(()));
        assert_eq!(&ctx.published()[0].data[..], br#"[["b","1"],["a","2"]]"#);
        assert!(witness(Context::for_test()).is_err(), "without a topic it asks for a retry");
    }
}
