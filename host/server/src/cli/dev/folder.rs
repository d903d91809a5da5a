//! `.wasmill-dev`: the store of `wasmill dev`, beside the project. Git does not see it.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::cli::compiled_code;

/// Its name.
pub(super) const DEV_FOLDER: &str = ".wasmill-dev";
/// What of the store outlives a start that begins anew: compiling takes many seconds for some languages.
const KEPT: &str = "compiled";
/// What of it is kept from one start to the next, in bytes: the last builds, which take 40 MB each in JavaScript. 512 MiB.
const KEPT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// It, as long as this process has it.
pub(super) struct DevFolder {
    _lock: File,
}

impl DevFolder {
    /// Where the host keeps things.
    pub(super) fn store() -> PathBuf {
        Path::new(DEV_FOLDER).join("store")
    }

    /// Take it, and empty the store unless what is in it shall be kept.
    ///
    /// # Errors
    /// When another process has it, or the system refuses something.
    pub(super) fn open(keep: bool) -> Result<Self> {
        fs::create_dir_all(DEV_FOLDER).with_context(|| format!("cannot make {DEV_FOLDER}"))?;
        fs::write(Path::new(DEV_FOLDER).join(".gitignore"), "*\n")
            .with_context(|| format!("cannot write into {DEV_FOLDER}"))?;
        let lock = File::options().create(true).append(true).open(Path::new(DEV_FOLDER).join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another `wasmill dev` runs in this folder; end it first"),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {DEV_FOLDER}")),
        }
        if !keep {
            empty(&Self::store()).with_context(|| format!("cannot empty {}", Self::store().display()))?;
        }
        let compiled = Self::store().join(KEPT);
        compiled_code::shrink(&compiled, KEPT_BYTES_MAX)
            .with_context(|| format!("cannot make room in {}", compiled.display()))?;
        Ok(Self { _lock: lock })
    }
}

fn empty(store: &Path) -> std::io::Result<()> {
    if !store.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if entry.file_name() == KEPT {
            continue;
        }
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }?;
    }
    Ok(())
}
