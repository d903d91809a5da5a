//! Parses each message of a call and publishes one for it: the work that a small real handler has.

#[path = "../../../src/work.rs"]
mod work;

use wasmill::{Context, Delivery, Outgoing, Result};

#[wasmill::batch_handler]
fn forward(deliveries: &[Delivery], ctx: Context) -> Vec<Result> {
    let one = |delivery: &Delivery| -> Result {
        let receipt = work::forward(&delivery.message.data)?;
        ctx.publish(Outgoing::bytes("out", receipt))?;
        Ok(())
    };
    deliveries.iter().map(one).collect()
}
