//! Calls itself for ever. Proves that a guest cannot overflow the host's stack: the outcome is `stack-overflow`.

use std::hint::black_box;

#[wasmill::handler]
fn recurse() -> wasmill::Result {
    black_box(deeper(0));
    Ok(())
}

/// The operation after the call keeps the compiler from making a loop of it.
fn deeper(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return depth;
    }
    deeper(depth + 1) ^ depth
}
