//! Makes a handler's component of a core module that a compiler for WASI wrote: `wasmill componentize`.
//!
//! A compiler for C or Zig knows core modules only. What it lacks is here: the contract of `wit/`, which says how the module's
//! imports and exports are meant, and the adapter that turns the imports of WASI's first version, which are those of
//! wasi-libc, into those of components. So nobody needs a tool besides a compiler and `wasmill`.
//!
//! It knows nothing of the host.

mod contract;

use std::collections::BTreeSet;

use wasi_preview1_component_adapter_provider as adapter;
use wasmparser_core::{Encoding, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding};

use contract::HANDLE;
pub use contract::{World, resolve};

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is a component, such as Rust's target `wasm32-wasip2` makes.
    #[error("this is a component already: use it as it is")]
    Component,
    /// The file is cut off, or something else.
    #[error("this is not a WebAssembly module: {0}")]
    NoModule(String),
    /// It exports neither of the functions that handlers have.
    #[error(
        "the module exports no handler: it must export `{HANDLE}`{}. It exports {}",
        hint(.0), listed(.0)
    )]
    NoHandler(BTreeSet<String>),
    /// An import or export is not as the contract says.
    #[error("the module does not fit the contract with handlers: {0}")]
    Unfit(String),
}

fn hint(exports: &BTreeSet<String>) -> &'static str {
    if exports.contains("_start") {
        ", and be linked as a library without `main` (clang and zig: -mexec-model=reactor)"
    } else {
        ""
    }
}

fn listed(exports: &BTreeSet<String>) -> String {
    if exports.is_empty() { "nothing".to_owned() } else { exports.iter().cloned().collect::<Vec<_>>().join(", ") }
}

/// Make a component of a core module.
///
/// Which world it is for is known from what it exports, unless the compiler wrote that into the module (a custom section
/// `component-type`). It imports what the module imports, and what the adapter needs for that.
///
/// # Errors
/// When the module exports no handler, or does not fit the contract.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, Error> {
    let seen = look(module)?;
    let mut module = module.to_vec();
    if !seen.is_typed {
        let world = World::exported_by(&seen.exports).ok_or(Error::NoHandler(seen.exports))?;
        let (resolve, world) = resolve(world);
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(unfit)?;
    }
    encode(&module, seen.is_go).map_err(unfit)
}

/// `wakes_late`: its `cabi_realloc` cannot be called before it is initialised, so the adapter must do without.
fn encode(
    module: &[u8],
    wakes_late: bool,
) -> Result<Vec<u8>, impl std::fmt::Debug + Into<Box<dyn std::error::Error + Send + Sync>>> {
    let name = adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
    let mut encoder = ComponentEncoder::default();
    encoder
        .validate(true)
        .realloc_via_memory_grow(wakes_late)
        .module(module)
        .and_then(|encoder| encoder.adapter(name, adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER))
        .and_then(ComponentEncoder::encode)
}

fn unfit(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error: Box<dyn std::error::Error + Send + Sync> = error.into();
    let causes = std::iter::successors(Some(&*error as &dyn std::error::Error), |error| error.source());
    Error::Unfit(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

struct Seen {
    exports: BTreeSet<String>,
    is_typed: bool,
    is_go: bool,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of all that a module has, little matters here")]
fn look(module: &[u8]) -> Result<Seen, Error> {
    let mut seen = Seen { exports: BTreeSet::new(), is_typed: false, is_go: false };
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(no_module)? {
            Payload::Version { encoding: Encoding::Component, .. } => return Err(Error::Component),
            Payload::ExportSection(section) => {
                for export in section {
                    seen.exports.insert(export.map_err(no_module)?.name.to_owned());
                }
            }
            Payload::CustomSection(section) => {
                seen.is_typed |= section.name().starts_with("component-type");
                seen.is_go |= section.name() == "go:buildid";
            }
            _ => {}
        }
    }
    Ok(seen)
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn no_module(error: wasmparser_core::BinaryReaderError) -> Error {
    Error::NoModule(error.to_string())
}
