//! `wasmill compile-worker`: the process in which `wasmill serve` has one component compiled. Nobody else runs it.

use std::{ffi::OsString, process::ExitCode};

use wasmill_runtime::{CompileBounds, CompileWorker, Compiler, compile_worker};

/// This very program, also when its file was replaced or removed since it started.
const THIS_PROGRAM: &str = "/proc/self/exe";
const NAME: &str = "compile-worker";

/// Compile one component from standard input to standard output, within limits
#[derive(Debug, clap::Args)]
pub(super) struct CompileWorkerArguments {
    /// Processor time of all threads together, in seconds
    #[arg(long)]
    cpu_s_max: u64,
    /// Memory, in bytes
    #[arg(long)]
    memory_bytes_max: u64,
}

impl CompileWorkerArguments {
    pub(super) fn run(&self) -> ExitCode {
        compile_worker::run(CompileBounds { cpu_s_max: self.cpu_s_max, memory_bytes_max: self.memory_bytes_max })
    }
}

/// Compile with this program.
pub(crate) fn compiler(bounds: CompileBounds) -> Compiler {
    let CompileBounds { cpu_s_max, memory_bytes_max } = bounds;
    let arguments =
        [NAME.to_owned(), format!("--cpu-s-max={cpu_s_max}"), format!("--memory-bytes-max={memory_bytes_max}")];
    let arguments = arguments.map(OsString::from).to_vec();
    Compiler::Worker(CompileWorker { program: THIS_PROGRAM.into(), arguments, bounds })
}
