//! Computes config `rounds` rounds (1,000,000 without it) and succeeds. Bound by CPU, so what others take from it shows.

use std::hint::black_box;

use wasmill::Context;

const ROUNDS: u64 = 1_000_000;

#[wasmill::handler]
fn compute(ctx: Context) -> wasmill::Result {
    let rounds = ctx.config_as("rounds")?.unwrap_or(ROUNDS);
    let mut sum = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..rounds {
        sum = black_box(sum.rotate_left(5) ^ round);
    }
    black_box(sum);
    Ok(())
}
