//! Starting the process that compiles, and telling from its end what became of the component.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    compile_worker::{MALFORMED, REFUSED},
    compiler::CompileWorker,
    fit::{Bound, LoadError},
    limits::{CODE_BYTES_MAX, COMPILE_CPU_SHARE_MIN, DETAIL_BYTES_MAX},
};

/// How often the process is asked whether it has ended, at first and at most.
const POLL_FIRST: Duration = Duration::from_millis(1);
const POLL_MAX: Duration = Duration::from_millis(20);

/// Have a component compiled to this file, which must not be there yet. Blocks for as long as that takes.
pub(crate) fn compile_to(worker: &CompileWorker, wasm: &[u8], code: &Path) -> Result<(), LoadError> {
    let fault = |error: io::Error| LoadError::NoCompiler {
        detail: format!("{} cannot be run: {error}", worker.program.display()),
    };
    let mut complaint = scratch(code, "complaint").map_err(fault)?;
    let child = start(worker, wasm, code, &complaint).map_err(fault)?;
    let wall_clock_max = Duration::from_secs(worker.bounds.cpu_s_max.saturating_mul(COMPILE_CPU_SHARE_MIN));
    let Some(status) = wait(child, wall_clock_max).map_err(fault)? else {
        return Err(LoadError::CompileBound(Bound::WallClock { seconds: wall_clock_max.as_secs() }));
    };
    let said = read_complaint(&mut complaint).map_err(fault)?;
    judge(worker, status, said)
}

fn start(worker: &CompileWorker, wasm: &[u8], code: &Path, complaint: &File) -> io::Result<Child> {
    let mut component = scratch(code, "component")?;
    component.write_all(wasm)?;
    component.seek(SeekFrom::Start(0))?;
    Command::new(&worker.program)
        .args(&worker.arguments)
        .env_clear()
        .stdin(component)
        .stdout(File::create_new(code)?)
        .stderr(Stdio::from(complaint.try_clone()?))
        .spawn()
}

/// A file beside the code that has no name any more: it goes when it is closed.
fn scratch(code: &Path, kind: &str) -> io::Result<File> {
    let path = code.with_extension(format!("{kind}.unfinished"));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Wait for its end; none when it took too long and was killed.
fn wait(mut child: Child, wall_clock_max: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + wall_clock_max;
    let mut pause = POLL_FIRST;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(POLL_MAX);
    }
}

fn read_complaint(complaint: &mut File) -> io::Result<String> {
    complaint.seek(SeekFrom::Start(0))?;
    let mut said = Vec::new();
    complaint.take(DETAIL_BYTES_MAX as u64).read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

fn judge(worker: &CompileWorker, status: ExitStatus, said: String) -> Result<(), LoadError> {
    let bounds = worker.bounds;
    if status.success() {
        return Ok(());
    }
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(MALFORMED) => return Err(LoadError::Malformed { detail: said }),
        Some(REFUSED) => return Err(LoadError::Compile { detail: said }),
        Some(_) | None => {}
    }
    let signal = status.signal().and_then(Signal::from_named_raw);
    // Out of memory is an abort with these words, or a panic with others about the same.
    let out_of_memory = ["memory allocation of", "Cannot allocate memory", "Resource temporarily unavailable"];
    Err(match signal {
        Some(Signal::XCPU | Signal::KILL) => LoadError::CompileBound(Bound::Cpu { seconds: bounds.cpu_s_max }),
        Some(Signal::XFSZ) => LoadError::CompileBound(Bound::Code { bytes: CODE_BYTES_MAX }),
        _ if out_of_memory.iter().any(|words| said.contains(words)) => {
            LoadError::CompileBound(Bound::Memory { bytes: bounds.memory_bytes_max })
        }
        Some(_) => LoadError::Compile { detail: format!("the compiler crashed ({status}) {said}") },
        None => LoadError::NoCompiler { detail: format!("the process that compiles ended with {status}: {said}") },
    })
}
