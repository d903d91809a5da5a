//! Compiling components once for all tests.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use wasmill_runtime::simulated::{Program, Sandbox, SandboxOptions};

use crate::{
    cache::{self, CACHE_BYTES_MAX},
    error::HarnessError,
};

/// Instances of all handlers at once.
const INSTANCES_MAX: u32 = 64;

/// Compiles components, and keeps what it compiled. One serves all harnesses of a process.
#[derive(Clone)]
pub struct Loader {
    pub(crate) sandbox: Sandbox,
}

impl Loader {
    /// With compiled code in this folder, which is made when it is missing. Other processes may use it at the same time.
    ///
    /// # Errors
    /// When the engine cannot be set up, or the folder cannot be used.
    pub fn new(compiled_folder: impl Into<PathBuf>) -> Result<Self, HarnessError> {
        let options = SandboxOptions {
            instances_max: INSTANCES_MAX,
            compiled_folder_shared: true,
            ..SandboxOptions::new(compiled_folder)
        };
        Ok(Self { sandbox: Sandbox::new(options)? })
    }

    /// With compiled code where this user's caches are (`$XDG_CACHE_HOME/wasmill`, or else `~/.cache/wasmill`), so that a
    /// component is compiled once. At most [`CACHE_BYTES_MAX`] are kept: what was not used for longest goes first.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_user_cache() -> Result<Self, HarnessError> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        let folder = caches.unwrap_or_else(std::env::temp_dir).join("wasmill").join("compiled");
        let loader = Self::new(&folder)?;
        cache::shrink(&folder, CACHE_BYTES_MAX).map_err(|problem| HarnessError::File { path: folder, problem })?;
        Ok(loader)
    }

    /// Make a program of a component, from its bytes. It takes long for a large one that is new.
    ///
    /// # Errors
    /// When it is not a handler that this version can run.
    pub fn load(&self, wasm: &[u8]) -> Result<Arc<Program>, HarnessError> {
        Ok(self.sandbox.load(wasm)?)
    }

    /// As [`Self::load`], of a file.
    ///
    /// # Errors
    /// When it cannot be read, and as there.
    pub fn load_file(&self, path: impl AsRef<Path>) -> Result<Arc<Program>, HarnessError> {
        let path = path.as_ref();
        let wasm = std::fs::read(path).map_err(|problem| HarnessError::File { path: path.to_owned(), problem })?;
        self.load(&wasm)
    }
}
