//! Replies to a request with its text in upper case, by publishing to the topic in header `reply-to`. With nobody to
//! reply to, it only succeeds.

use wasmill::{Context, Outgoing, Text};

#[wasmill::handler]
fn replier(text: Text, ctx: Context) -> wasmill::Result {
    let headers = &ctx.message().headers;
    let Some((_, to)) = headers.iter().find(|(name, _)| name == "reply-to") else { return Ok(()) };
    ctx.publish(Outgoing::text(to.clone(), text.to_uppercase()).key("reply").header("shouted", "yes"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmill::Delivery;

    use super::*;

    #[test]
    fn it_replies_to_whoever_asks() {
        let mut delivery = Delivery::for_test("in", *b"hi");
        delivery.message.headers = vec![("reply-to".to_owned(), "$reply.1".to_owned())];
        let ctx = Context::for_delivery(delivery);
        assert_eq!(replier(Text("hi".to_owned()), ctx.clone()), Ok(()));
        assert_eq!((ctx.published()[0].topic.as_str(), &ctx.published()[0].data[..]), ("$reply.1", &b"HI"[..]));
        let nobody = Context::for_test();
        assert_eq!(replier(Text("hi".to_owned()), nobody.clone()), Ok(()));
        assert!(nobody.published().is_empty());
    }
}
