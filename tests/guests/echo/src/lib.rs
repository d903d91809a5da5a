//! Publishes what it gets, to the topic in config `to`. The plain good handler of the tests: what comes out must be
//! what went in.

use wasmill::{Context, Outgoing, retry};

#[wasmill::handler]
fn echo(ctx: Context) -> wasmill::Result {
    let to = ctx.config("to").ok_or_else(|| retry("config to is missing; set it to the topic to publish to"))?;
    let message = ctx.message().clone();
    ctx.publish(Outgoing {
        topic: to,
        key: message.key,
        content_type: message.content_type,
        headers: message.headers,
        data: message.data,
        delay: None,
        expires_after: None,
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmill::Delivery;

    use super::*;

    #[test]
    fn all_of_the_message_comes_back() {
        let mut delivery = Delivery::for_test("in", [0, 255]);
        delivery.message.key = Some("k".to_owned());
        delivery.message.content_type = Some("image/png".to_owned());
        delivery.message.headers = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        let ctx = Context::for_delivery(delivery).with_config("to", "out");
        assert_eq!(echo(ctx.clone()), Ok(()));
        let mut expected = Outgoing::bytes("out", [0, 255]).key("k").header("a", "1").header("a", "2");
        expected.content_type = Some("image/png".to_owned());
        assert_eq!(ctx.published(), [expected]);
    }

    #[test]
    fn without_a_topic_it_asks_for_a_retry() {
        assert!(matches!(echo(Context::for_test()), Err(wasmill::Failure::Retry { .. })));
    }
}
