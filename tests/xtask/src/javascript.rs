//! Components in JavaScript and TypeScript.
//!
//! What builds them comes from npm in the versions that the templates' lockfile names, into `target/javascript`, once for all of
//! them. There the templates are made into projects as `wasmill new` makes them, so that what is built and tested is what a user
//! gets. A component that is newer than what it is made of is left alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result, ensure};

use crate::shell::{output_of, project_root, run, say};

/// A language: its name, its template, and the extension of its files.
const LANGUAGES: [(&str, &str, &str); 2] = [("javascript", "template-js", "js"), ("typescript", "template-ts", "ts")];
/// The template whose tools are those of all.
const TOOLS_OF: &str = "template-ts";
/// What the example's project is called.
const PROJECT: &str = "quake-alert";

/// Build `target/languages/{javascript,typescript}/{conformance,quake-alert}.wasm`, unless they are there.
pub(crate) fn build() -> Result<()> {
    for language in LANGUAGES {
        build_language(language)?;
    }
    Ok(())
}

/// The tests of the SDK and of the templates, in Node.
pub(crate) fn test() -> Result<()> {
    install()?;
    let folder = sdk_folder().join("test");
    let tests = files(&folder)?.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "mjs"));
    let mut sdk = Command::new("node");
    sdk.arg("--test").args(tests);
    output_of(sdk).context("the tests of sdk/javascript fail")?;
    check_types(&folder)?;
    for (name, template, _) in LANGUAGES {
        let project = make_project(name, template)?;
        output_of(npm(&project, &["test"])).with_context(|| format!("the tests of {template} fail"))?;
    }
    Ok(())
}

/// Build `target/guests/guest-javascript.wasm`, which brings no SDK along, unless it is there.
pub(crate) fn build_guest() -> Result<()> {
    const WORLD: &str = "message-handler";
    let root = project_root();
    let source = root.join("tests/javascript");
    let component = root.join("target/guests/guest-javascript.wasm");
    if is_newer(&component, &[&source, &root.join("wit")])? {
        return Ok(());
    }
    install()?;
    say("building the component in JavaScript");
    fs::create_dir_all(root.join("target/guests"))?;
    let mut componentize = Command::new(tools().join("node_modules/.bin/componentize-js"));
    componentize.arg("--wit").arg(root.join("wit")).args(["--world-name", WORLD]);
    componentize.args(["--disable", "http", "fetch-event", "--out"]).arg(&component).arg(source.join("handler.js"));
    output_of(componentize).context("the component in JavaScript is not built")?;
    ensure!(component.is_file(), "componentize-js wrote no component and did not say why");
    Ok(())
}

fn build_language((name, template, extension): (&str, &str, &str)) -> Result<()> {
    let root = project_root();
    let conformance = root.join("tests/conformance").join(name);
    let built = root.join("target/languages").join(name);
    let inputs = [conformance.clone(), sdk_folder(), root.join("wit")];
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    let components = [built.join("conformance.wasm"), built.join("quake-alert.wasm")];
    if is_newer(&components[0], &inputs)? && is_newer(&components[1], &inputs)? {
        return Ok(());
    }
    install()?;
    say(&format!("building the components in {name}"));
    fs::create_dir_all(&built)?;
    if extension == "ts" {
        check_types(&conformance)?;
    }
    let mut build = Command::new(tools().join("node_modules/.bin/wasmill-build"));
    build.arg(fs::canonicalize(conformance.join(format!("handler.{extension}")))?).arg("--http");
    build.arg("--out").arg(fs::canonicalize(&built)?.join("conformance.wasm")).current_dir(tools());
    output_of(build).with_context(|| format!("the conformance handler in {name} is not built"))?;
    let project = make_project(name, template)?;
    output_of(npm(&project, &["run", "build"])).with_context(|| format!("{template} does not build"))?;
    fs::copy(project.join("build").join(format!("{PROJECT}.wasm")), &components[1])?;
    Ok(())
}

fn check_types(folder: &Path) -> Result<()> {
    let mut check = Command::new(tools().join("node_modules/.bin/tsc"));
    check.arg("--project").arg(folder);
    run(check).with_context(|| format!("types in {} do not fit", folder.display()))
}

fn sdk_folder() -> PathBuf {
    project_root().join("sdk/javascript")
}

fn tools() -> PathBuf {
    project_root().join("target/javascript")
}

/// The project that `wasmill new` makes of a template, but for what it shares with its siblings: tools and SDK.
fn make_project(name: &str, template: &str) -> Result<PathBuf> {
    let (from, to) = (sdk_folder().join(template), tools().join(name));
    for file in files(&from)? {
        let target = to.join(file.strip_prefix(&from)?);
        fs::create_dir_all(target.parent().context("a file is in a folder")?)?;
        fs::write(target, fs::read_to_string(&file)?.replace("{{name}}", PROJECT))?;
    }
    Ok(to)
}

/// Tools and SDK, whole or not at all: what they were installed by is written last.
fn install() -> Result<()> {
    const LISTS: [&str; 2] = ["package.json", "package-lock.json"];
    let (template, tools) = (sdk_folder().join(TOOLS_OF), tools());
    copy_folder(&sdk_folder().join("wasmill"), &tools.join("wasmill"))?;
    copy_folder(&project_root().join("wit"), &tools.join("wasmill/wit"))?;
    let mut wanted = String::new();
    for list in LISTS {
        let text = fs::read_to_string(template.join(list))?.replace("{{name}}", PROJECT);
        fs::write(tools.join(list), &text)?;
        wanted += &text;
    }
    let installed = tools.join("node_modules/.installed");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    need_npm()?;
    say("installing componentize-js, esbuild and TypeScript from npm into target/javascript (about 220 MB)");
    output_of(npm(&tools, &["ci", "--no-audit", "--no-fund", "--loglevel", "error"]))
        .context("npm cannot install what builds components in JavaScript; it must reach its registry")?;
    fs::write(installed, wanted)?;
    Ok(())
}

fn npm(folder: &Path, arguments: &[&str]) -> Command {
    let mut npm = Command::new("npm");
    npm.args(arguments).current_dir(folder);
    npm
}

/// Node and its package manager, from Debian's packages when they are missing and can be had from there.
fn need_npm() -> Result<()> {
    let version = || output_of(npm(&project_root(), &["--version"]));
    if version().is_ok() {
        return Ok(());
    }
    say("installing Node and npm from Debian's packages");
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", "nodejs", "npm"]] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        output_of(apt).context("there is no npm, and apt-get cannot install it; install Node 18 or later with npm")?;
    }
    version().context("npm was installed and does not run").map(|_| ())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for file in files(from)? {
        let target = to.join(file.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("a file is in a folder")?)?;
        fs::copy(&file, target)?;
    }
    Ok(())
}

/// Whether it is newer than every file of these folders.
fn is_newer(built: &Path, folders: &[&Path]) -> Result<bool> {
    let Some(built) = modified(built) else { return Ok(false) };
    for folder in folders {
        if files(folder)?.iter().any(|file| modified(file) >= Some(built)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// All files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}
