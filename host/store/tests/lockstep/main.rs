//! Random writes on a store and on maps in memory, side by side; all readers and recovery must agree, also after the
//! store was opened again. A failure names the seed: run with `WASMILL_STORE_SEED=<seed>` to see it again.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that panics has failed")]

mod check;
#[path = "../common/mod.rs"]
mod common;
mod model;
mod random;

use std::path::Path;

use wasmill_store::{Durability, Store, StoreOptions};

use crate::{model::Model, random::Random};

/// Small chunks and a small cache, so that few messages make many of them.
fn open(folder: &Path, random: &mut Random) -> Store {
    let options = StoreOptions {
        durability: if random.below(2) == 0 { Durability::Fsync } else { Durability::Interval { flush_ms: 1 } },
        chunk_bytes: [1, 700, 64 * 1024][usize::try_from(random.below(3)).unwrap()],
        log_cache_bytes: [0, 20_000, 1 << 20][usize::try_from(random.below(3)).unwrap()],
        ..StoreOptions::default()
    };
    Store::open(folder, options).unwrap()
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), &mut random);
    let mut model = Model::default();
    for _ in 0..80 {
        let count = random.below(12);
        let writes: Vec<_> = (0..count).flat_map(|_| model.write(&mut random)).collect();
        store.commit(&writes).unwrap();
        if random.below(4) == 0 {
            model.check(&store, &mut random);
        }
        if random.below(10) == 0 {
            drop(store);
            store = open(folder.path(), &mut random);
            model.check(&store, &mut random);
        }
    }
}

#[test]
fn store_and_model_agree() {
    let seeds = match std::env::var("WASMILL_STORE_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..12).collect(),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "seed {seed}: run again with WASMILL_STORE_SEED={seed}");
    }
}
