//! `wasmill componentize`, which needs no host.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::output::say;

/// Make a handler's component of a core module, as clang, zig and other compilers for WASI write it
///
/// The module must export `wasmill:handler/handler@0.1.0#handle`, as bindings made from the WIT files do, and import WASI's
/// first version (wasi_snapshot_preview1), if any.
#[derive(Debug, clap::Args)]
pub(super) struct ComponentizeArguments {
    /// The core module
    module: PathBuf,
    /// Where the component is written
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(arguments: &ComponentizeArguments) -> Result<()> {
    let ComponentizeArguments { module, output } = arguments;
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = wasmill_componentize::componentize(&bytes).with_context(|| module.display().to_string())?;
    ensure!(module != output, "the component would be written over {}; choose another name", module.display());
    // A host that watches the file takes it whole or not at all.
    let partial = output.with_extension("partial");
    let written = fs::write(&partial, &component).and_then(|()| fs::rename(&partial, output));
    written.with_context(|| format!("cannot write {}", output.display()))?;
    say(format!("{}: {} bytes", output.display(), component.len()))
}
