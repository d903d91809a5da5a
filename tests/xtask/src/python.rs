//! Building the components in Python into `target/languages/python`, and checking that SDK.
//!
//! What makes them comes from PyPI in the versions that `requirements.txt` names, into a virtual environment in `target/python`.
//! Components that are newer than all they are made of are left alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result, ensure};

use crate::shell::{output_of, project_root, run, say};

/// Component, module, and the folder that it is in.
const COMPONENTS: [(&str, &str, &str); 2] = [
    ("conformance", "conformance", "tests/conformance/python"),
    // The template's handler is the example: it is built where it stands.
    ("quake-alert", "handler", "sdk/python/template"),
];
const REQUIREMENTS: [&str; 3] =
    ["sdk/python/template/requirements.txt", "sdk/python/requirements.txt", "sdk/client/python/requirements.txt"];
/// Debian's own, for when another one that comes first in the path is too old.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];
const IS_ENOUGH: &str = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))";

/// Build what is not up to date.
pub(crate) fn build() -> Result<()> {
    let (root, out) = (project_root(), project_root().join("target/languages/python"));
    let shared = newest(&["sdk/python/wasmill", "wit", REQUIREMENTS[0]])?;
    fs::create_dir_all(&out)?;
    for (name, module, folder) in COMPONENTS {
        let component = out.join(name).with_extension("wasm");
        let changed = newest(&[folder])?.max(shared);
        if modified(&component).is_some_and(|built| built > changed) {
            continue;
        }
        install()?;
        say(&format!("building {folder} in Python"));
        let mut build = python();
        build.args(["-m", "wasmill", "build", module, "--path"]).arg(root.join(folder)).arg("--output").arg(&component);
        output_of(build).with_context(|| format!("{folder} is not built"))?;
        ensure!(component.is_file(), "componentize-py wrote no component and did not say why");
    }
    Ok(())
}

/// Types and unit tests, of the SDK and of the template.
pub(crate) fn test() -> Result<()> {
    install()?;
    let bindings = project_root().join("target/python/bindings");
    if bindings.exists() {
        fs::remove_dir_all(&bindings)?;
    }
    let mut generate = python();
    generate.args(["-m", "wasmill", "bindings"]).arg(&bindings);
    output_of(generate).context("what mypy needs is not generated")?;
    let mut types = python();
    types.args(["-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir"]).arg(bindings.with_file_name("mypy"));
    types.args(["wasmill", "tests", "template", "../../tests/conformance/python"]).env("MYPYPATH", bindings);
    run(types)?;
    for folder in ["tests", "template"] {
        let mut tests = python();
        tests.args(["-m", "unittest", "discover", "--buffer", "--start-directory", folder]);
        run(tests)?;
    }
    Ok(())
}

/// The virtual environment's Python, which finds the SDK and leaves nothing beside it.
fn python() -> Command {
    let mut python = Command::new(environment().join("bin/python"));
    let sdk = project_root().join("sdk/python");
    python.env("PYTHONPATH", &sdk).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(sdk);
    python
}

fn environment() -> PathBuf {
    project_root().join("target/python/venv")
}

/// Whole or not at all: what it was installed by is kept last.
fn install() -> Result<()> {
    let wanted = REQUIREMENTS
        .map(|list| fs::read_to_string(project_root().join(list)))
        .into_iter()
        .collect::<Result<String, _>>()?;
    let installed = environment().join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let found = find_python()?;
    say(
        "installing componentize-py, mypy and what the client needs from PyPI into target/python (about 30 MB to load)",
    );
    let mut make = Command::new(found);
    make.args(["-m", "venv", "--clear"]).arg(environment());
    output_of(make).context("no virtual environment can be made in target/python")?;
    let mut pip = python();
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    for list in REQUIREMENTS {
        pip.arg("--requirement").arg(project_root().join(list));
    }
    output_of(pip).context("pip cannot install what builds components in Python; it must reach its registry")?;
    fs::write(installed, wanted)?;
    Ok(())
}

/// A Python that is new enough and can make virtual environments, from Debian's packages when there is none.
fn find_python() -> Result<&'static str> {
    let find = || {
        PYTHONS.into_iter().find(|python| {
            let mut check = Command::new(python);
            check.args(["-c", IS_ENOUGH]);
            output_of(check).is_ok()
        })
    };
    if let Some(python) = find() {
        return Ok(python);
    }
    say("installing Python and its venv from Debian's packages");
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", "python3", "python3-venv"]] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        output_of(apt).context("there is no Python 3.11 with venv, and apt-get cannot install it; install both")?;
    }
    find().context("Python was installed, and is older than 3.11 or has no venv")
}

/// When something of these files and folders changed last.
fn newest(paths: &[&str]) -> Result<SystemTime> {
    let mut found = SystemTime::UNIX_EPOCH;
    let mut waiting: Vec<PathBuf> = paths.iter().map(|path| project_root().join(path)).collect();
    while let Some(path) = waiting.pop() {
        if !path.is_dir() {
            found = modified(&path).with_context(|| format!("cannot read {}", path.display()))?.max(found);
        } else if !path.ends_with("__pycache__") {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        }
    }
    Ok(found)
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}
