//! Where the built things are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The folder of the whole project.
#[must_use]
pub fn project_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The `wasmill` binary that was built with the program that asks: it lies beside it, or beside its folder.
///
/// # Errors
/// When it is not built.
pub fn wasmill_binary() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    let beside = this.ancestors().skip(1).take(2).map(|folder| folder.join("wasmill")).find(|path| path.is_file());
    beside.context("the wasmill binary is not built; run `cargo build --package wasmill-server` first")
}

/// A component of the project, by the name of its package.
///
/// # Errors
/// When it is not built.
pub fn guest(name: &str) -> Result<PathBuf> {
    let path = project_root().join("target/guests").join(format!("{name}.wasm"));
    ensure!(path.is_file(), "component {name} is not built; run `cargo xtask guests` first");
    Ok(path)
}

/// A version of `guest-release`: `mark` is 4 bytes, of which the first two say how it behaves.
///
/// # Errors
/// When it is not built, or its mark is not where it should be.
pub fn release(mark: &str) -> Result<Vec<u8>> {
    const BUILT: &[u8] = b"wasmill-release=ok00";
    ensure!(mark.len() == 4, "a mark has 4 bytes: {mark:?}");
    let mut wasm = std::fs::read(guest("guest-release")?)?;
    let places: Vec<usize> = (0..wasm.len() - BUILT.len()).filter(|at| wasm[*at..].starts_with(BUILT)).collect();
    ensure!(places.len() == 1, "guest-release holds its mark {} times", places.len());
    let end = places[0] + BUILT.len();
    wasm[end - mark.len()..end].copy_from_slice(mark.as_bytes());
    Ok(wasm)
}
