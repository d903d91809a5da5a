//! Building the components in C into `target/languages/c`, by zig's clang, and running the unit tests of their SDK.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    shell::{output_of, project_root, run},
    zig,
};

const SDK: &str = "sdk/c/wasmill";
/// Component, and the folder that its handler is in. The template's handler is the example: it is built where it stands.
const COMPONENTS: [(&str, &str); 2] = [("conformance", "tests/conformance/c"), ("quake-alert", "sdk/c/template/src")];
/// Tests, and what they are of.
const TESTS: [(&str, &[&str]); 2] =
    [("sdk", &["sdk/c/test"]), ("template", &["sdk/c/template/test", "sdk/c/template/src"])];

/// Build what is not up to date.
pub(crate) fn build() -> Result<()> {
    for (name, folder) in COMPONENTS {
        zig::component("c", name, &[folder, SDK], |core| {
            let mut cc = zig::zig()?;
            cc.args(["cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-Wl,-z,stack-size=262144", "-Os", "-o"])
                .arg(core);
            with_sources(cc, &[folder])
        })?;
    }
    Ok(())
}

/// Unit tests of the SDK and of the template, natively.
pub(crate) fn test() -> Result<()> {
    let out = project_root().join("target/languages/c");
    fs::create_dir_all(&out)?;
    for (name, folders) in TESTS {
        let program = out.join(format!("{name}-tests"));
        // Rust links with it, so it is there.
        let mut cc = Command::new("cc");
        cc.current_dir(project_root());
        cc.args(["-g", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-o"]).arg(&program);
        output_of(with_sources(cc, folders)?).with_context(|| format!("the tests of {} do not compile", folders[0]))?;
        run(Command::new(program))?;
    }
    Ok(())
}

fn with_sources(mut cc: Command, folders: &[&str]) -> Result<Command> {
    cc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I", SDK]);
    for folder in folders.iter().chain(&[SDK, "sdk/c/wasmill/cjson"]) {
        cc.args(sources(folder)?);
    }
    cc.arg("-lm");
    Ok(cc)
}

fn sources(folder: &str) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(project_root().join(folder)).with_context(|| format!("cannot read {folder}"))?;
    let mut found = listed.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
    found.sort();
    Ok(found)
}
