//! Ends its process as if all were well. Proves that only an answer is an answer: the outcome is `exited`, and what it
//! published before is void.

use wasmill::{Context, Outgoing};

#[wasmill::handler]
fn exit(ctx: Context) -> wasmill::Result {
    ctx.publish(Outgoing::text("never", "nobody reads this"))?;
    std::process::exit(0);
}
