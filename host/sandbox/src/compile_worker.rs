//! The process that compiles one component: the component comes in on standard input, compiled code goes out on
//! standard output, and what is wrong is said on standard error. Its limits are the system's, set before it reads
//! anything; the host that started it maps the code.

use std::{
    fs,
    io::{self, Read, Write},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};

use crate::{
    compiler::{CompileBounds, compile_to_bytes},
    engine,
    fit::LoadError,
    limits::{CODE_BYTES_MAX, COMPONENT_BYTES_MAX},
};

/// The component is damaged; standard error says how.
pub(crate) const MALFORMED: u8 = 3;
/// The component cannot be compiled; standard error says why.
pub(crate) const REFUSED: u8 = 4;
/// How much delivery goes before compiling: it gets about nine times as much of a processor that both want.
const NICE: i32 = 10;

/// Be the process that compiles: read a component, write its code.
///
/// Call this before anything else is started: its limits are those of the whole process.
#[must_use]
pub fn run(bounds: CompileBounds) -> ExitCode {
    match compile_one(bounds) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(refusal)) => {
            let is_malformed = matches!(refusal, LoadError::Malformed { .. });
            let code = if is_malformed { MALFORMED } else { REFUSED };
            let (LoadError::Malformed { detail } | LoadError::Compile { detail }) = refusal else {
                return ExitCode::FAILURE;
            };
            say(&detail);
            ExitCode::from(code)
        }
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn say(detail: &str) {
    let _ = io::stderr().write_all(detail.as_bytes());
}

fn compile_one(bounds: CompileBounds) -> io::Result<Result<(), LoadError>> {
    // When the host dies, nobody waits for this any more.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    nice(NICE)?;
    let engine = engine::for_compiling().map_err(io::Error::other)?;
    confine(bounds)?;
    let mut wasm = Vec::new();
    io::stdin().lock().take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut wasm)?;
    match compile_to_bytes(&engine, &wasm) {
        Ok(code) => io::stdout().lock().write_all(&code).map(Ok),
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn confine(bounds: CompileBounds) -> io::Result<()> {
    let set = |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    set(Resource::As, address_space_bytes()?.saturating_add(bounds.memory_bytes_max))?;
    set(Resource::Fsize, CODE_BYTES_MAX)?;
    set(Resource::Core, 0)?;
    // At the first number the process is told, at the second it is killed; both end it.
    let cpu = Rlimit { current: Some(bounds.cpu_s_max), maximum: Some(bounds.cpu_s_max + 1) };
    Ok(setrlimit(Resource::Cpu, cpu)?)
}

/// What the process has before it begins.
fn address_space_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib: u64| kib * 1024).ok_or_else(|| io::Error::other("/proc/self/status has no VmSize"))
}
