//! The signature of `FILE.wasm` is in `FILE.wasm.sig`.

use std::{
    ffi::OsString,
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use wasmill_runtime::{KEY_FILE_BYTES_MAX, Signature};

/// Where the signature of a component is looked for.
pub(crate) fn signature_path(component: &Path) -> PathBuf {
    let mut name = OsString::from(component);
    name.push(".sig");
    name.into()
}

/// The signature that lies beside a component; none when there is no such file.
///
/// # Errors
/// When it cannot be read or is no signature.
pub(crate) fn find(component: &Path) -> Result<Option<Signature>> {
    let path = signature_path(component);
    match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => read_opened(opened, &path).map(Some),
    }
}

/// The signature in this file.
///
/// # Errors
/// When there is no such file, or it is no signature.
pub(crate) fn read(path: &Path) -> Result<Signature> {
    read_opened(File::open(path), path)
}

/// Write a file whole or not at all: a host may watch the folder.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

fn read_opened(opened: std::io::Result<File>, path: &Path) -> Result<Signature> {
    let mut bytes = Vec::new();
    let read = opened.and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    String::from_utf8_lossy(&bytes).parse().with_context(|| path.display().to_string())
}
