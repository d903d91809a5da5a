//! Computes for ever. Proves that work is limited: the outcome is `out-of-fuel`.

use std::hint::black_box;

#[wasmill::handler]
fn spin() -> wasmill::Result {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}
