//! Publishes for ever. Proves that what a delivery publishes is limited: the outcome is `publish-limit`, and none of
//! its messages is ever seen.

use wasmill::{Context, Outgoing};

#[wasmill::handler]
fn flood_publish(ctx: Context) -> wasmill::Result {
    let data = vec![b'x'; 1024];
    loop {
        ctx.publish(Outgoing::bytes("flood", data.clone()))?;
    }
}
