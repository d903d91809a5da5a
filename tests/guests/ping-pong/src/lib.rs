//! Publishes what it gets to the topic that it came from. Proves that messages which cause themselves come to an end:
//! after 32 hops the delivery is in quarantine as `loop`.

use wasmill::{Context, Outgoing};

#[wasmill::handler]
fn ping_pong(ctx: Context) -> wasmill::Result {
    let message = ctx.message();
    ctx.publish(Outgoing::bytes(&message.topic, message.data.clone()))?;
    Ok(())
}
