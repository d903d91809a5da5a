//! The one place that is not safe: running machine code that was read from a file.
#![allow(unsafe_code)]

use std::path::Path;

use wasmtime::{Engine, component::Component};

/// Map compiled code into memory.
///
/// The caller has checked that the file is, byte for byte, what this host wrote: it lies in a folder that only the
/// host's own user can enter, and its checksum was verified just now.
///
/// # Errors
/// When it was compiled by another version of wasmtime or with other settings.
pub(crate) fn map_compiled(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize_file` runs what it is given, so the file must be the unchanged output of `serialize`. See
    // above for who makes sure of that. That the file does not change while it is mapped follows from its being
    // written under another name and renamed, and never opened for writing again.
    unsafe { Component::deserialize_file(engine, path) }
}
