//! The texts of the contract, and the worlds that a core module can be for.

use std::collections::BTreeSet;

use wit_parser::{Resolve, SourceMap, UnresolvedPackageGroup, WorldId};

/// Packages in the order of their dependencies, each with its files.
const PACKAGES: [&[(&str, &str)]; 6] = [
    &[("wasi-io.wit", include_str!("../wit/wasi-io.wit"))],
    &[("wasi-clocks.wit", include_str!("../wit/wasi-clocks.wit"))],
    &[("wasi-http.wit", include_str!("../wit/wasi-http.wit"))],
    &[("wasi-config.wit", include_str!("../../../wit/deps/wasi-config/store.wit"))],
    &[
        ("types.wit", include_str!("../../../wit/types.wit")),
        ("handler.wit", include_str!("../../../wit/handler.wit")),
        ("batch-handler.wit", include_str!("../../../wit/batch-handler.wit")),
        ("producer.wit", include_str!("../../../wit/producer.wit")),
        ("state.wit", include_str!("../../../wit/state.wit")),
        ("world.wit", include_str!("../../../wit/world.wit")),
    ],
    &[("worlds.wit", include_str!("../wit/worlds.wit"))],
];

/// What a module exports that handles one delivery a call.
pub(crate) const HANDLE: &str = "wasmill:handler/handler@0.1.0#handle";
/// What a module exports that handles many.
pub(crate) const HANDLE_BATCH: &str = "wasmill:handler/batch-handler@0.1.0#handle-batch";

/// What a core module can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// One delivery a call.
    Single,
    /// Many deliveries a call.
    Batch,
    /// One delivery a call, without HTTP: what the bindings of `sdk/c` are made of.
    Contract,
    /// HTTP alone and no handler, likewise.
    OutgoingHttp,
}

impl World {
    /// As `wit/worlds.wit` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Batch => "batch",
            Self::Contract => "contract",
            Self::OutgoingHttp => "outgoing-http",
        }
    }

    pub(crate) fn exported_by(exports: &BTreeSet<String>) -> Option<Self> {
        let found = [(HANDLE, Self::Single), (HANDLE_BATCH, Self::Batch)];
        found.into_iter().find(|(export, _)| exports.contains(*export)).map(|(_, world)| world)
    }
}

/// The contract, and one of its worlds.
///
/// # Panics
/// Never: the texts are in the program, and a test reads them.
#[must_use]
pub fn resolve(world: World) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let mut last = None;
    for files in PACKAGES {
        last = Some(resolve.push_group(parse(files)).expect("the texts fit together"));
    }
    let package = last.expect("there are packages");
    let world = resolve.select_world(&[package], Some(world.name())).expect("the last package has the worlds");
    (resolve, world)
}

fn parse(files: &[(&str, &str)]) -> UnresolvedPackageGroup {
    let mut map = SourceMap::default();
    for (name, text) in files {
        map.push_str(name, *text);
    }
    map.parse().map_err(|(_, error)| error).expect("the texts are WIT")
}
