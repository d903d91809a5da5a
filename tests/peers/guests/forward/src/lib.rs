//! Parses a message and publishes one for it: the work that a small real handler has.

#[path = "../../../src/work.rs"]
mod work;

use wasmill::{Bytes, Context, Outgoing};

#[wasmill::handler]
fn forward(data: Bytes, ctx: Context) -> wasmill::Result {
    let receipt = work::forward(&data.0)?;
    ctx.publish(Outgoing::bytes("out", receipt))?;
    Ok(())
}
