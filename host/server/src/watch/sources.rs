//! Which files are components of which handlers.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result};
use wasmill_delivery::name::HandlerName;

use crate::{config::Config, signature_file::signature_path};

/// Where components are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    folder: PathBuf,
    /// Files that the configuration names; they win over the folder.
    files: BTreeMap<HandlerName, PathBuf>,
    makes_queues: bool,
}

impl Sources {
    /// As the configuration says.
    pub(crate) fn of(config: &Config) -> Self {
        let files = config.handlers.iter().filter_map(|(name, handler)| Some((name.clone(), handler.file.clone()?)));
        Self { folder: config.handlers_folder.clone(), files: files.collect(), makes_queues: config.makes_queues() }
    }

    /// Whether handlers get queues of their own.
    pub(super) const fn makes_queues(&self) -> bool {
        self.makes_queues
    }

    /// All components that there should be, by handler.
    pub(super) fn find(&self) -> Result<BTreeMap<HandlerName, PathBuf>> {
        let mut found = self
            .find_in_folder()
            .with_context(|| format!("cannot read the handlers folder {}", self.folder.display()))?;
        found.extend(self.files.clone());
        Ok(found)
    }

    fn find_in_folder(&self) -> std::io::Result<BTreeMap<HandlerName, PathBuf>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
        };
        let mut found = BTreeMap::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new("wasm")) {
                match handler_name(&path) {
                    Ok(name) => drop(found.insert(name, path)),
                    Err(problem) => tracing::warn!("{} is no handler: {problem}", path.display()),
                }
            }
        }
        Ok(found)
    }

    /// Folders in which something may change. The parent of the handlers folder is among them, so that it is noticed
    /// when that comes into being.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        let parents = self.files.values().map(|file| parent(file));
        parents.chain([self.folder.clone(), parent(&self.folder)]).collect()
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

fn handler_name(path: &Path) -> Result<HandlerName> {
    let stem = path.file_stem().and_then(OsStr::to_str).context("its name is not Unicode")?;
    Ok(HandlerName::new(stem)?)
}

/// What tells one state of a component and its signature from another without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Print {
    component: (SystemTime, u64),
    /// A signature may come later than what it is of.
    signature: Option<(SystemTime, u64)>,
}

impl Print {
    /// None when there is no such file now.
    pub(super) fn of(path: &Path) -> Option<Self> {
        Some(Self { component: print(path)?, signature: print(&signature_path(path)) })
    }
}

fn print(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
