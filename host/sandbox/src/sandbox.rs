//! The engine, its linker and the programs that are loaded.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use sha2::{Digest as _, Sha256};
use wasmill_delivery::name::Digest;
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{
    compile_process,
    compiled::{CompiledFolder, remove_if_there},
    compiler::{self, Compiler},
    engine,
    fit::{self, LoadError},
    host_state::HostState,
    lanes::SlowLane,
    limits::{INSTANCES_MAX_CEILING, INSTANCES_MAX_DEFAULT},
    linker,
    program::Program,
};

/// How a sandbox is set up.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// Where compiled code is kept. It is made when it is missing, and closed to other users.
    pub compiled_folder: PathBuf,
    /// Whether other processes keep compiled code there too, of other versions of this crate even. Then nothing that may be
    /// another's is removed, a file's time of modification is when it was used last, and whoever shares it makes room.
    pub compiled_folder_shared: bool,
    /// Instances of all handlers at once, warm ones included: at least the sum of all consumers' concurrency. From
    /// 1 to [`INSTANCES_MAX_CEILING`].
    pub instances_max: u32,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// Whether memory is cleaned between instances with the help of the kernel, where it can give it (Linux 6.7). The
    /// other way is as safe and slower.
    pub pagemap_scan: bool,
    /// The threads on which calls that compute for long go on, see [`crate::slow_lane`]; without them they stay where
    /// they are.
    pub slow_lane: Option<SlowLane>,
}

impl SandboxOptions {
    /// The defaults, with compiled code in this folder.
    #[must_use]
    pub fn new(compiled_folder: impl Into<PathBuf>) -> Self {
        Self {
            compiled_folder: compiled_folder.into(),
            compiled_folder_shared: false,
            instances_max: INSTANCES_MAX_DEFAULT,
            compiler: Compiler::InProcess,
            pagemap_scan: true,
            slow_lane: None,
        }
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The number of instances is out of range.
    #[error("the number of instances is {given}; it must be from 1 to {INSTANCES_MAX_CEILING}")]
    Instances {
        /// What was asked for.
        given: u32,
    },
    /// The engine could not be set up.
    #[error(
        "the WebAssembly engine cannot be set up for {instances_max} instances: {detail}. With less address space, try fewer"
    )]
    Engine {
        /// What was asked for.
        instances_max: u32,
        /// What wasmtime says.
        detail: String,
    },
    /// The folder for compiled code cannot be used.
    #[error("the folder for compiled code {} cannot be used: {source}", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Makes programs of components. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

struct Shared {
    engine: Engine,
    linker: Linker<HostState>,
    compiled: CompiledFolder,
    compiler: Compiler,
    slow_lane: Option<SlowLane>,
    /// Programs that somebody holds.
    loaded: Mutex<HashMap<Digest, Weak<Program>>>,
}

impl Sandbox {
    /// Set up the engine, its pool of instances and the folder for compiled code.
    ///
    /// # Errors
    /// When an option is out of range, the machine does not give the address space, or the folder cannot be used.
    pub fn new(options: SandboxOptions) -> Result<Self, SandboxError> {
        let SandboxOptions {
            compiled_folder,
            compiled_folder_shared,
            instances_max,
            compiler,
            pagemap_scan,
            slow_lane,
        } = options;
        if !(1..=INSTANCES_MAX_CEILING).contains(&instances_max) {
            return Err(SandboxError::Instances { given: instances_max });
        }
        let engine_error = |error| SandboxError::Engine { instances_max, detail: format!("{error:#}") };
        let engine = engine::new(instances_max, pagemap_scan).map_err(engine_error)?;
        let linker = linker::new(&engine).map_err(engine_error)?;
        let compiled = CompiledFolder::open(compiled_folder.clone(), compiled_folder_shared, &engine)
            .map_err(|source| SandboxError::Folder { folder: compiled_folder, source })?;
        Ok(Self(Arc::new(Shared { engine, linker, compiled, compiler, slow_lane, loaded: Mutex::default() })))
    }

    /// Make a program of a component. The same component gives the same program as long as somebody holds it.
    ///
    /// It blocks: from a millisecond for one that was compiled before to many seconds.
    ///
    /// # Errors
    /// When it is not a handler that this host can run; the error says in which way, for the one who made it.
    pub fn load(&self, wasm: &[u8]) -> Result<Arc<Program>, LoadError> {
        fit::check_bytes(wasm)?;
        let digest = Digest(Sha256::digest(wasm).into());
        if let Some(program) = self.held(&digest) {
            return Ok(program);
        }
        let program = Arc::new(self.make(wasm, digest)?);
        self.hold(&program);
        Ok(program)
    }

    /// Remove the compiled code of a component that will not be loaded again. What runs goes on.
    pub fn forget(&self, digest: &Digest) {
        self.0.compiled.remove(digest);
    }

    fn make(&self, wasm: &[u8], digest: Digest) -> Result<Program, LoadError> {
        let shared = &*self.0;
        let component = match shared.compiled.find(&shared.engine, &digest) {
            Some(component) => component,
            None => self.compile(wasm, &digest)?,
        };
        match fit::link(&shared.linker, &component) {
            Ok(linked) => Ok(Program::new(digest, fit::imports(&component), linked, shared.slow_lane.clone())),
            Err(refusal) => {
                // It is never asked for again.
                shared.compiled.remove(&digest);
                Err(refusal)
            }
        }
    }

    fn compile(&self, wasm: &[u8], digest: &Digest) -> Result<Component, LoadError> {
        let Shared { engine, compiled, compiler, .. } = &*self.0;
        match compiler {
            Compiler::InProcess => {
                let component = compiler::compile(engine, wasm)?;
                compiled.keep(digest, &component);
                Ok(component)
            }
            Compiler::Worker(worker) => {
                let code = compiled.unfinished();
                let done = compile_process::compile_to(worker, wasm, &code);
                done.inspect_err(|_| remove_if_there(&code))?;
                compiled.adopt(engine, digest, &code).map_err(|detail| LoadError::Compile { detail })
            }
        }
    }

    fn held(&self, digest: &Digest) -> Option<Arc<Program>> {
        self.loaded().get(digest)?.upgrade()
    }

    fn hold(&self, program: &Arc<Program>) {
        let mut loaded = self.loaded();
        loaded.retain(|_, program| program.strong_count() > 0);
        loaded.insert(program.digest(), Arc::downgrade(program));
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Program>>> {
        self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
