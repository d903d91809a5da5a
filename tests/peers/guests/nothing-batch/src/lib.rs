//! Does nothing and succeeds, many messages in a call: what is measured with it is the queue.

use wasmill::{Context, Delivery, Result};

#[wasmill::batch_handler]
fn nothing(deliveries: &[Delivery], _ctx: Context) -> Vec<Result> {
    deliveries.iter().map(|_| Ok(())).collect()
}
