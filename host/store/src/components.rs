//! Handlers' components, in files named by their digest.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use wasmill_delivery::name::Digest;

use crate::{error::StoreError, folder::write_whole};

/// The components of a store. Clones share the same folder.
#[derive(Clone, Debug)]
pub struct Components {
    folder: Arc<Path>,
    /// Held while one is written, because two writers of one digest would share a temporary file.
    writing: Arc<Mutex<()>>,
}

impl Components {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.into(), writing: Arc::default() }
    }

    /// Keep a component; it is durable when this returns. `digest` is the SHA-256 of `bytes`, which is the
    /// caller's to compute.
    ///
    /// # Errors
    /// When the file cannot be written; then there is no file under this digest that was not there before.
    pub fn put(&self, bytes: &[u8], digest: Digest) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        write_whole(&self.path(digest), bytes)
    }

    /// A component; none when it is not kept here.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        read(self.path(digest))
    }

    /// Keep what somebody signed a component with; it is durable when this returns.
    ///
    /// # Errors
    /// When the file cannot be written; then what was there before is there.
    pub fn put_signature(&self, digest: Digest, text: &[u8]) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        write_whole(&self.signature_path(digest), text)
    }

    /// What somebody signed a component with; none when it is not kept here.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn signature(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        read(self.signature_path(digest))
    }

    fn signature_path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{digest}.wasm.sig"))
    }

    /// All components that are kept here, in no order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(&self) -> Result<Vec<Digest>, StoreError> {
        let list = || -> io::Result<Vec<Digest>> {
            let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name()));
            let names = names.collect::<io::Result<Vec<_>>>()?;
            let digest = |name: &OsString| name.to_str()?.strip_suffix(".wasm")?.parse().ok();
            Ok(names.iter().filter_map(digest).collect())
        };
        list().map_err(|error| StoreError::io("list", &*self.folder, error))
    }

    /// Remove a component with its signature. It is no mistake when they are not there.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self, digest: Digest) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // The component last: by its file both are found again after a crash.
        remove(self.signature_path(digest))?;
        remove(self.path(digest))
    }

    /// Where a component is, or would be.
    #[must_use]
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }
}

fn remove(path: PathBuf) -> Result<(), StoreError> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read(path: PathBuf) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path, error)),
    }
}
