//! Zig from PyPI, which compiles C too, and the components in Zig into `target/languages/zig`.
//!
//! Components that are newer than all they are made of are left alone. What `wasmill componentize` does is done by the same
//! crate.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result};

use crate::shell::{output_of, project_root, run, say};

/// The one that templates install, and the only one that the SDK for Zig is written for.
const VERSION: &str = "0.17.1";
/// What the SDK for Zig is built on, from the project's root.
const SDKS: [&str; 2] = ["sdk/c/wasmill", "sdk/zig/wasmill"];
/// What every component is made with: the contract, what turns modules into components, and these commands, which say which
/// compiler and how.
const TOOLS: [&str; 3] = ["wit", "sdk/componentize", "tests/xtask/src"];
/// Component, and what its handler is in. The template's handler is the example: it is built where it stands.
const COMPONENTS: [(&str, &str); 2] =
    [("conformance", "tests/conformance/zig/handler.zig"), ("quake-alert", "sdk/zig/template/src/handler.zig")];

/// Build what is not up to date.
pub(crate) fn build() -> Result<()> {
    for (name, handler) in COMPONENTS {
        component("zig", name, &[&[handler][..], &SDKS].concat(), |core| {
            let mut zig = zig()?;
            zig.args(["build-exe", "-target", "wasm32-wasi", "-O", "ReleaseSmall", "-fno-entry"]);
            zig.args(["-mexec-model=reactor", "--stack", "262144", &format!("-femit-bin={}", core.display())]);
            Ok(with_modules(zig, handler))
        })?;
    }
    Ok(())
}

/// Unit tests of the SDK and of the template, natively.
pub(crate) fn test() -> Result<()> {
    for tests in ["sdk/zig/test/sdk_test.zig", COMPONENTS[1].1] {
        let mut zig = zig()?;
        zig.arg("test");
        run(with_modules(zig, tests))?;
    }
    Ok(())
}

fn with_modules(mut zig: Command, handler: &str) -> Command {
    zig.args(["-lc", "-Isdk/c/wasmill", "-cflags", "-std=gnu11", "--"]);
    zig.args(["wasmill", "wasmill_host", "wasmill_http", "wasmill_testing"].map(|c| format!("sdk/c/wasmill/{c}.c")));
    zig.args(["--dep", "wasmill", &format!("-Mroot={handler}"), "-Mwasmill=sdk/zig/wasmill/wasmill.zig"]);
    zig
}

/// `target/languages/LANGUAGE/NAME.wasm` of a core module, unless it is newer than all that it is made of and with.
pub(crate) fn component(
    language: &str,
    name: &str,
    made_of: &[&str],
    compile: impl FnOnce(&Path) -> Result<Command>,
) -> Result<()> {
    let out = project_root().join("target/languages").join(language);
    let component = out.join(name).with_extension("wasm");
    let changed = newest(made_of)?.max(newest(&TOOLS)?);
    if modified(&component).is_some_and(|built| built > changed) {
        return Ok(());
    }
    fs::create_dir_all(&out)?;
    // Not ending in `.wasm`, which would be one more handler of that folder.
    let (core, partial) = (out.join(format!("{name}.core")), out.join(format!("{name}.partial")));
    let command = compile(&core)?;
    say(&format!("building {}", made_of[0]));
    output_of(command).with_context(|| format!("{} is not built", made_of[0]))?;
    let module = fs::read(&core).with_context(|| format!("the compiler wrote no {}", core.display()))?;
    let made = wasmill_componentize::componentize(&module).with_context(|| core.display().to_string())?;
    // Whole or not at all: half a component would be newer than all that it is made of.
    fs::write(&partial, made)?;
    fs::rename(partial, component)?;
    Ok(())
}

/// The compiler, in the project's folder.
pub(crate) fn zig() -> Result<Command> {
    install()?;
    let mut zig = Command::new(environment().join("bin/python"));
    zig.args(["-m", "ziglang"]).current_dir(project_root());
    zig.env("ZIG_LOCAL_CACHE_DIR", project_root().join("target/zig/cache"));
    Ok(zig)
}

fn environment() -> PathBuf {
    project_root().join("target/zig/venv")
}

/// Whole or not at all: what it was installed by is kept last.
fn install() -> Result<()> {
    let wanted = format!("ziglang=={VERSION}");
    let installed = environment().join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    say("installing zig from PyPI into target/zig (90 MB to load)");
    fs::create_dir_all(environment())?;
    make_environment()?;
    let mut pip = Command::new(environment().join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &wanted]);
    output_of(pip).context("pip cannot install zig; it must reach its registry")?;
    fs::write(installed, wanted)?;
    Ok(())
}

/// By Python's venv, from Debian's packages when it is missing.
fn make_environment() -> Result<()> {
    let make = || {
        let mut python = Command::new("python3");
        python.args(["-m", "venv", "--clear"]).arg(environment());
        output_of(python)
    };
    if make().is_ok() {
        return Ok(());
    }
    say("installing Python and its venv from Debian's packages");
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", "python3", "python3-venv"]] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        output_of(apt).context("there is no Python with venv, and apt-get cannot install it; install both")?;
    }
    make().context("no virtual environment can be made in target/zig").map(|_| ())
}

/// When something of these files and folders changed last.
fn newest(paths: &[&str]) -> Result<SystemTime> {
    let mut found = SystemTime::UNIX_EPOCH;
    let mut waiting: Vec<PathBuf> = paths.iter().map(|path| project_root().join(path)).collect();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        } else {
            found = modified(&path).with_context(|| format!("cannot read {}", path.display()))?.max(found);
        }
    }
    Ok(found)
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}
