//! So many batches of the plain path, for callgrind to count.

use anyhow::{Context as _, Result};

/// That of the host. glibc's takes longer the more it has given out, whatever asks for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let batches: u64 = std::env::args().nth(1).context("say how many batches")?.parse()?;
    let folder = tempfile::tempdir()?;
    let mut pump = cost::Pump::open(folder.path())?;
    for _ in 0..batches {
        pump.batch()?;
    }
    Ok(())
}
