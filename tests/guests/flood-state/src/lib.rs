//! Stores under ever new keys. Proves that what a delivery stores is limited: the outcome is `state-limit`, and none
//! of its keys is ever seen.

use wasmill::Context;

#[wasmill::handler]
fn flood_state(ctx: Context) -> wasmill::Result {
    let value = vec![b'x'; 16 * 1024];
    let mut number = 0_u64;
    loop {
        ctx.state().set(&format!("flood:{number:020}"), &value)?;
        number += 1;
    }
}
