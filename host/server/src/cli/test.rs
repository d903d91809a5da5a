//! `wasmill test`: cases as data, run in this process. `sdk/testing/README.md` says how they are written.

mod find;
mod report;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use wasmill_testing::{Case, Cases, Loader, Program, RunOptions};

use self::report::{Ended, Reporter};

/// Run the test cases of handlers, on the engine, store and sandbox of a host, under a clock of their own
///
/// Cases are written in TOML; without FILE, all *.test.toml below this folder are run.
#[derive(Debug, clap::Args)]
pub(super) struct TestArguments {
    /// Files of cases, or folders with such files
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Test this component, whatever the files say
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Write what was seen into snapshots
    #[arg(long)]
    update: bool,
    /// Run each case with this seed, and no other
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Print what came of the cases as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &TestArguments) -> Result<ExitCode> {
    let files = find::files(&arguments.files)?;
    let files = files.iter().map(|path| Ok(Cases::read(path)?)).collect::<Result<Vec<Cases>>>()?;
    let is_wanted = |case: &&Case| arguments.case.as_ref().is_none_or(|words| case.name.contains(words.as_str()));
    if !files.iter().any(|file| file.cases.iter().any(|case| is_wanted(&case))) {
        match &arguments.case {
            Some(words) => bail!("no case has {words:?} in its name; without --case all are run"),
            None => bail!("there is no [[case]] in {}", names(&files)),
        }
    }
    let loader = Loader::with_user_cache()?;
    let mut programs = Programs { loader: loader.clone(), loaded: BTreeMap::new() };
    let options = RunOptions { seed: arguments.seed, update: arguments.update };
    let mut reporter = Reporter::new(arguments.json);
    for file in &files {
        let cases: Vec<&Case> = file.cases.iter().filter(is_wanted).collect();
        if cases.is_empty() {
            continue;
        }
        reporter.file(&file.path)?;
        for case in cases {
            let component = component_of(case, file, arguments)?;
            let program = component.as_deref().map(|component| programs.get(component)).transpose()?;
            let started = Instant::now();
            let ended = match case.run(&loader, program.as_ref(), options) {
                Ok(report) => Ended::Report(report),
                Err(error) => Ended::Error(error.to_string()),
            };
            reporter.case(case, component.as_deref(), &ended, started.elapsed())?;
        }
    }
    reporter.end()
}

fn names(files: &[Cases]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    names.join(", ")
}

/// The component of a case: by the command line, by the case, by the project.
fn component_of(case: &Case, file: &Cases, arguments: &TestArguments) -> Result<Option<PathBuf>> {
    if let Some(component) = arguments.component.as_ref().or(case.component.as_ref()) {
        return Ok(Some(component.clone()));
    }
    if case.is_capsule() {
        return Ok(None);
    }
    let folder = file.path.parent().unwrap_or(Path::new(""));
    for folder in [folder, Path::new("")] {
        if let Some(component) = find::project_component(folder)? {
            return Ok(Some(component));
        }
    }
    bail!(
        "{}: case {:?} is about no component; write component = \"…\" at the top of the file, or give --component FILE",
        file.path.display(),
        case.name
    )
}

/// Components that are loaded, by path.
struct Programs {
    loader: Loader,
    loaded: BTreeMap<PathBuf, Arc<Program>>,
}

impl Programs {
    fn get(&mut self, path: &Path) -> Result<Arc<Program>> {
        if let Some(program) = self.loaded.get(path) {
            return Ok(Arc::clone(program));
        }
        let program = self.loader.load_file(path).with_context(|| format!("component {}", path.display()))?;
        self.loaded.insert(path.to_owned(), Arc::clone(&program));
        Ok(program)
    }
}
