//! One handler in many versions. The last 4 bytes of its mark say which: tests write others over them in the built
//! component, which gives it another digest. It publishes what it gets to the topic in config `to` and counts it, and says
//! in header `release` which version did. Proves that a handler can be replaced while it works.
//!
//! The first two of those bytes say how it behaves: `ok`; `tr` traps on the word `bad`; `re` asks for a retry of it,
//! each time; `fl` asks for one at the first attempt of anything; `lo` never ends; `no` publishes where no queue listens.

use std::hint::black_box;

use wasmill::{Context, Message, Outgoing, retry};

static MARK: [u8; 20] = *b"wasmill-release=ok00";

#[wasmill::handler]
fn release(message: Message, ctx: Context) -> wasmill::Result {
    let mark = mark();
    let (mode, name) = (&mark[16..18], String::from_utf8_lossy(&mark[16..]).into_owned());
    let bad = message.data == b"bad";
    let to = ctx.config("to").ok_or_else(|| retry("config to is missing; set it to the topic to publish to"))?;
    let to = if mode == b"no" { "nobody.listens".to_owned() } else { to };
    ctx.state().increment("count", 1)?;
    let outgoing = Outgoing::bytes(to, message.data.clone()).header("release", name).header("of", message.id.clone());
    ctx.publish(match &message.key {
        Some(key) => outgoing.key(key.clone()),
        None => outgoing,
    })?;
    match mode {
        b"tr" if bad => panic!("this version traps on bad data"),
        b"re" if bad => Err(retry("this version fails on bad data")),
        b"fl" if ctx.delivery().attempt == 1 => Err(retry("this version fails at first")),
        b"lo" => loop {
            black_box(());
        },
        _ => Ok(()),
    }
}

/// What is in memory; without the box the compiler would take its bytes apart.
fn mark() -> [u8; 20] {
    *black_box(&MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_which_version_it_is() {
        let ctx = Context::for_test().with_config("to", "out");
        assert_eq!(release(ctx.message().clone(), ctx.clone()), Ok(()));
        assert!(ctx.published()[0].headers.contains(&("release".to_owned(), "ok00".to_owned())));
        assert_eq!(ctx.state().get_int("count"), Ok(1));
    }
}
