//! Where components are compiled, and what that may take.
//!
//! The compiler cannot be interrupted, and what it costs depends on the component: within the host's own process it
//! has no limit but the component's size. So the `wasmill` binary has a process of its own do it
//! ([`crate::compile_worker`]), which the system stops at a limit of processor time and of memory, and which gets what
//! delivery leaves over of the processors. A component that brings the compiler down takes that process with it only.

use std::{
    ffi::OsString,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wasmtime::{Engine, component::Component};

use crate::{fit::LoadError, limits};

/// Where components are compiled.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// Here, on the thread that loads. For hosts that are embedded in another program and trust their components not
    /// to be made for taking long: nothing bounds time and memory.
    #[default]
    InProcess,
    /// In a process of its own.
    Worker(CompileWorker),
}

/// The process that compiles one component.
#[derive(Clone, Debug)]
pub struct CompileWorker {
    /// A program that calls [`crate::compile_worker::run`] when it gets these arguments.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What it may use.
    pub bounds: CompileBounds,
}

/// What compiling one component may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileBounds {
    /// Seconds of processor time, all threads together.
    pub cpu_s_max: u64,
    /// Bytes of memory.
    pub memory_bytes_max: u64,
}

impl Default for CompileBounds {
    fn default() -> Self {
        Self {
            cpu_s_max: limits::COMPILE_CPU_S_MAX_DEFAULT,
            memory_bytes_max: limits::COMPILE_MEMORY_BYTES_MAX_DEFAULT,
        }
    }
}

/// Compile checked bytes in this process.
pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> Result<Component, LoadError> {
    guarded(wasm, || Component::from_binary(engine, wasm))
}

/// Compile checked bytes to what [`crate::trusted`] maps.
pub(crate) fn compile_to_bytes(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
    guarded(wasm, || engine.precompile_component(wasm))
}

fn guarded<T>(wasm: &[u8], compile: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, LoadError> {
    // A mistake in the compiler that some component brings out must not be the end of the host. The compiler works on
    // copies, and only adds to the engine what is complete.
    let compiled = catch_unwind(AssertUnwindSafe(compile));
    let detail = match compiled {
        Ok(Ok(compiled)) => return Ok(compiled),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "the compiler panicked; this is a mistake in it, please report it with the component".to_owned(),
    };
    Err(malformed(wasm).unwrap_or(LoadError::Compile { detail }))
}

/// Whether a component that does not compile is at fault itself. All features are taken for granted: one that the
/// engine does not have is a matter of compiling.
fn malformed(wasm: &[u8]) -> Option<LoadError> {
    let validated = catch_unwind(|| Validator::new_with_features(WasmFeatures::all()).validate_all(wasm));
    let detail = match validated {
        Ok(Ok(_)) if is_cut_short(wasm) => "it ends in the middle of a part of it".to_owned(),
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it cannot even be read".to_owned(),
    };
    Some(LoadError::Malformed { detail })
}

/// Whether a module or component in it ends behind its end. The validator is content when it ends between two
/// sections of it.
fn is_cut_short(wasm: &[u8]) -> bool {
    Parser::new(0).parse_all(wasm).flatten().any(|payload| {
        matches!(
            payload,
            Payload::ModuleSection { unchecked_range: part, .. } | Payload::ComponentSection { unchecked_range: part, .. }
                if part.end > wasm.len()
        )
    })
}
