//! Whether bytes are a handler that this host can run, and if not, in which way.

use wasmtime::{
    Engine,
    component::{Component, InstancePre, Linker, types::ComponentItem},
};

use crate::{
    bindings::wasmill::handler::types::{Delivery, Failure},
    host_state::HostState,
    limits::COMPONENT_BYTES_MAX,
    linker,
    worlds::{self, Linked, World},
};

/// The function of our own world.
const HANDLE: &str = "handle";
/// Names that an error lists; a component may have a million.
const NAMES_LISTED_MAX: usize = 20;
/// What an error shows of one name, in bytes.
const NAME_BYTES_MAX: usize = 200;
const MAGIC: &[u8] = b"\0asm";
/// Version 1 in the layer of core modules, from the component model's binary format.
const CORE_MODULE: &[u8] = &[1, 0, 0, 0];
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// Why a component cannot be run as a handler.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is larger than any handler.
    #[error(
        "the component has {bytes} bytes; at most {COMPONENT_BYTES_MAX} are taken, so strip its debug information or split it"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is no WebAssembly.
    #[error("this is not WebAssembly: {problem}")]
    NotWebAssembly {
        /// What it is instead, as far as its beginning tells.
        problem: String,
    },
    /// It is WebAssembly, but not a component.
    #[error(
        "this is a core module, not a component; build it for wasm32-wasip2, or make a component of it with \
         `wasm-tools component new module.wasm -o component.wasm` (add `--adapt` with the WASI adapter for a module of wasm32-wasip1)"
    )]
    CoreModule,
    /// It is damaged or cut short.
    #[error("the component is damaged, cut short, or newer than this host: {detail}")]
    Malformed {
        /// Where and how.
        detail: String,
    },
    /// It is sound, but cannot be compiled within the limits.
    #[error("the component cannot be compiled: {detail}")]
    Compile {
        /// Why.
        detail: String,
    },
    /// Compiling it takes more than it may.
    #[error(
        "compiling the component took more than {0}; make it smaller or split it, or raise the limit in the host's configuration"
    )]
    CompileBound(Bound),
    /// The process that compiles does not do its work; the component may be fine.
    #[error("components cannot be compiled: {detail}")]
    NoCompiler {
        /// Why.
        detail: String,
    },
    /// It does not export what a handler exports.
    #[error(
        "the component exports none of {}, so it is not a handler; it exports {}. Make it target the world \
         wasmill:handler/message-handler",
        accepted(),
        listed(.exports)
    )]
    MissingExport {
        /// What it exports.
        exports: Vec<String>,
    },
    /// It exports a handler of another shape.
    #[error("the component exports a handler, but not with the types of this host's contract: {detail}")]
    WrongExport {
        /// What differs.
        detail: String,
    },
    /// It asks for what there is not.
    #[error("the component imports what this host does not have: {}. See what it may import in wit/world.wit", listed(.imports))]
    UnknownImports {
        /// Interfaces with the functions it wants of them.
        imports: Vec<String>,
    },
    /// It asks for something in another shape.
    #[error("the component imports something in another shape than this host has it: {detail}")]
    WrongImport {
        /// What differs.
        detail: String,
    },
}

/// What compiling a component may take at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bound {
    /// Processor time.
    #[error("{seconds} s of processor time (compile-cpu-max)")]
    Cpu {
        /// The limit, in seconds.
        seconds: u64,
    },
    /// Time, because something else had the processors.
    #[error("{seconds} s (compile-cpu-max, and what the host's other work left over)")]
    WallClock {
        /// The limit, in seconds.
        seconds: u64,
    },
    /// Memory.
    #[error("{bytes} bytes of memory (compile-memory-max)")]
    Memory {
        /// The limit, in bytes.
        bytes: u64,
    },
    /// The code that comes out.
    #[error("{bytes} bytes of code")]
    Code {
        /// The limit, in bytes.
        bytes: u64,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let more = names.len().saturating_sub(NAMES_LISTED_MAX);
    let listed: Vec<&str> = names.iter().take(NAMES_LISTED_MAX).map(|name| cut(name)).collect();
    let listed = listed.join(", ");
    if more == 0 { listed } else { format!("{listed} and {more} more") }
}

fn accepted() -> String {
    let exports: Vec<&str> = worlds::EXPORTS.iter().map(|(export, _)| *export).collect();
    exports.join(", ")
}

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

/// What can be told before anything is compiled.
pub(crate) fn check_bytes(wasm: &[u8]) -> Result<(), LoadError> {
    if wasm.len() > COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge { bytes: wasm.len() });
    }
    let Some(version) = wasm.strip_prefix(MAGIC) else {
        return Err(LoadError::NotWebAssembly { problem: describe_beginning(wasm) });
    };
    if version.starts_with(CORE_MODULE) {
        return Err(LoadError::CoreModule);
    }
    if !version.starts_with(COMPONENT) {
        let detail = "its header names no version of the component format that is known here".to_owned();
        return Err(LoadError::Malformed { detail });
    }
    Ok(())
}

fn describe_beginning(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "it is empty".to_owned();
    }
    let text = bytes.trim_ascii_start();
    if text.starts_with(b"(") {
        return "it looks like the text format; give the binary one, `wasm-tools parse` makes it".to_owned();
    }
    format!("it begins with {:02x?} and not with 00 61 73 6d", &bytes[..bytes.len().min(MAGIC.len())])
}

/// Link a compiled component; all that can be checked before it is started is checked here.
pub(crate) fn link(linker: &Linker<HostState>, component: &Component) -> Result<Linked, LoadError> {
    let Some((export, world)) = worlds::world_of(component) else {
        return Err(LoadError::MissingExport { exports: exports(component) });
    };
    let unknown = unknown_imports(component);
    if !unknown.is_empty() {
        return Err(LoadError::UnknownImports { imports: unknown });
    }
    let pre =
        linker.instantiate_pre(component).map_err(|error| LoadError::WrongImport { detail: format!("{error:#}") })?;
    if world == World::Wasmill {
        check_handle(component, export, &pre)?;
    }
    Linked::new(world, component, pre)
}

fn exports(component: &Component) -> Vec<String> {
    let ty = component.component_type();
    ty.exports(component.engine()).map(|(name, _)| name.to_owned()).collect()
}

fn check_handle(component: &Component, export: &str, pre: &InstancePre<HostState>) -> Result<(), LoadError> {
    let wrong = |problem: &str| LoadError::WrongExport { detail: format!("{HANDLE} {problem}") };
    let handler = component.get_export_index(None, export).ok_or_else(|| wrong("has no interface around it"))?;
    let (item, _) = component.get_export(Some(&handler), HANDLE).ok_or_else(|| wrong("is missing"))?;
    let ComponentItem::ComponentFunc(function) = item else {
        return Err(wrong("is not a function"));
    };
    function
        .typecheck::<(Delivery<'_>,), (Result<(), Failure>,)>(&pre.instance_type())
        .map_err(|error| wrong(&format!("has other types: {error:#}")))
}

/// The interfaces that a component imports, without those that only name types.
pub(crate) fn imports(component: &Component) -> Vec<String> {
    let mut names: Vec<String> = wanted(component).into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

fn unknown_imports(component: &Component) -> Vec<String> {
    let unknown = wanted(component).into_iter().filter(|(name, _)| !linker::offers(name));
    unknown
        .map(|(name, functions)| if functions.is_empty() { name } else { format!("{name} ({})", functions.join(", ")) })
        .collect()
}

fn wanted(component: &Component) -> Vec<(String, Vec<String>)> {
    let engine = component.engine();
    let ty = component.component_type();
    let imports = ty.imports(engine).map(|(name, import)| (name.to_owned(), things_of(engine, &import.ty)));
    imports.filter_map(|(name, things)| things.map(|things| (name, things))).collect()
}

/// What must be there for an import, by name: none when nothing must, because it only names types.
fn things_of(engine: &Engine, import: &ComponentItem) -> Option<Vec<String>> {
    match import {
        ComponentItem::ComponentInstance(instance) => {
            let needed = instance.exports(engine).filter(|(_, export)| !matches!(export.ty, ComponentItem::Type(_)));
            let names: Vec<String> = needed.map(|(name, _)| name.to_owned()).collect();
            (!names.is_empty()).then_some(names)
        }
        ComponentItem::Type(_) => None,
        ComponentItem::ComponentFunc(_)
        | ComponentItem::CoreFunc(_)
        | ComponentItem::Module(_)
        | ComponentItem::Component(_)
        | ComponentItem::Resource(_) => Some(Vec::new()),
    }
}
