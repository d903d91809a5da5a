//! Allocates for ever, and touches what it gets. Proves that memory is limited: the outcome is `out-of-memory`.

use std::hint::black_box;

const STEP_BYTES: usize = 1024 * 1024;

#[wasmill::handler]
fn allocate() -> wasmill::Result {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![0xa5_u8; STEP_BYTES]);
        black_box(&kept);
    }
}
