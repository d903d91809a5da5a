//! `wasmill inspect`: what a component is, whether a host would load it, and what it would cost.

mod cost;
mod report;

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use tempfile::TempDir;
use wasmill_runtime::{
    CompileBounds,
    inspect::{Anatomy, LoadError, MeasureError, Measurer},
};
use wasmill_testing::CACHE_BYTES_MAX;

use self::{cost::Cost, report::Report};
use super::{
    compile_worker::compiler,
    compiled_code,
    output::{say, say_json},
};
use crate::project::Project;

/// Show what a component is, whether this version of the host would load it, and what it asks for
#[derive(Debug, clap::Args)]
pub(super) struct InspectArguments {
    /// The component; without it, the one that project.toml of the current folder names
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Measure what it costs to compile, to load again, and for each delivery; takes some seconds
    #[arg(long)]
    measure: bool,
    /// The data that it is measured with; without it, the first of the project's samples, or an earthquake
    #[arg(long, value_name = "FILE", requires = "measure")]
    sample: Option<PathBuf>,
    /// What it reads by wasi:config while it is measured
    #[arg(long, value_name = "KEY=VALUE", requires = "measure", value_parser = pair)]
    config: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').ok_or_else(|| anyhow!("it has no =; write KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Succeeds when the component would be loaded and, with `--measure`, handles the delivery.
pub(super) async fn run(arguments: InspectArguments) -> Result<ExitCode> {
    // Nothing here waits for anything but the processor and the disk.
    tokio::task::spawn_blocking(move || inspect(&arguments)).await.context("inspecting ended early")?
}

fn inspect(arguments: &InspectArguments) -> Result<ExitCode> {
    let project = match &arguments.file {
        Some(_) => None,
        None => Some(Project::read(Path::new("")).context("name a component, or go to a project's folder")?),
    };
    let file = match (&arguments.file, &project) {
        (Some(file), _) => file.clone(),
        (None, Some(project)) => project.component.clone(),
        (None, None) => return Err(anyhow!("name a component")),
    };
    let wasm = fs::read(&file).with_context(|| match &project {
        Some(project) => format!("cannot read {}; build it first: {}", file.display(), project.build),
        None => format!("cannot read {}", file.display()),
    })?;
    let mut refusal = None;
    let mut cost = None;
    if arguments.measure {
        match Cost::of(&wasm, arguments, project.as_ref()) {
            Ok(measured) => cost = Some(measured),
            Err(error) => refusal = Some(refusal_in(error)?),
        }
    } else if let Err(error) = load(&wasm) {
        refusal = Some(refusal_in(error)?);
    }
    let report = Report { file: &file, bytes: wasm.len() as u64, anatomy: Anatomy::of(&wasm), refusal, cost };
    if arguments.json {
        say_json(&report.json())?;
    } else {
        say(report.text())?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wrong with the component; what is wrong with this machine is an error.
fn refusal_in(error: anyhow::Error) -> Result<LoadError> {
    match error.downcast::<MeasureError>()? {
        MeasureError::Load(refusal) => Ok(refusal),
        other @ (MeasureError::Sandbox(_) | MeasureError::Name(_)) => Err(other.into()),
    }
}

fn load(wasm: &[u8]) -> Result<()> {
    let compiled = Compiled::open()?;
    Measurer::new(compiled.path(), compiler(CompileBounds::default())).load(wasm)?;
    Ok(())
}

/// Where compiled code is: kept for the next time when nobody else is there, as much as `wasmill test` keeps.
enum Compiled {
    Kept { path: PathBuf, _lock: File },
    Temporary(TempDir),
}

impl Compiled {
    fn open() -> Result<Self> {
        if let Some(kept) = cache_folder().and_then(|path| Self::kept(&path).ok().flatten()) {
            return Ok(kept);
        }
        Ok(Self::Temporary(tempfile::tempdir().context("there is no place for compiled code")?))
    }

    fn kept(folder: &Path) -> std::io::Result<Option<Self>> {
        fs::create_dir_all(folder)?;
        let lock = File::options().create(true).append(true).open(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {
                let path = folder.join("compiled");
                compiled_code::shrink(&path, CACHE_BYTES_MAX)?;
                Ok(Some(Self::Kept { path, _lock: lock }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept { path, .. } => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// As the XDG base directory specification says.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from).and_then(absolute);
    let cache = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")))?;
    Some(cache.join("wasmill").join("inspect"))
}

/// With the unit that fits, to three digits.
fn time(duration: Duration) -> String {
    let us = duration.as_secs_f64() * 1e6;
    let (value, unit) = match us {
        us if us < 1e3 => (us, "µs"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (us, expected) in
            [(1.234, "1.23 µs"), (12.34, "12.3 µs"), (123.4, "123 µs"), (4_560.0, "4.56 ms"), (7.8e7, "78.0 s")]
        {
            assert_eq!(time(Duration::from_secs_f64(us / 1e6)), expected);
        }
    }
}
