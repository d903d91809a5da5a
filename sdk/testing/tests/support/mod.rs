//! What the tests share.

use std::{path::Path, sync::Arc};

use wasmill_testing::{CaseReport, Cases, Loader, Program, RunOptions};

/// With code that earlier tests compiled.
pub(crate) fn loader() -> Loader {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/testing/compiled");
    Loader::new(folder).expect("a sandbox")
}

/// A guest by the name of its package.
pub(crate) fn program(loader: &Loader, guest: &str) -> Arc<Program> {
    loader.load_file(host_process::guest(guest).expect("cargo xtask guests builds it")).expect("a handler")
}

/// Run the only case of this text.
#[allow(dead_code, reason = "not every test runs cases")]
pub(crate) fn run(guest: &str, case: &str) -> CaseReport {
    let loader = loader();
    let program = program(&loader, guest);
    let text = format!("[[case]]\nname = \"it\"\n{case}");
    let cases = Cases::parse(&text, Path::new("it.test.toml")).unwrap_or_else(|error| panic!("{error}"));
    cases.cases[0].run(&loader, Some(&program), RunOptions::default()).unwrap_or_else(|error| panic!("{case}: {error}"))
}
