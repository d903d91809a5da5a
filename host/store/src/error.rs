//! What can go wrong with a store, in words that say where it is and what to do.

use std::{io, path::PathBuf};

/// A store that cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}; {help}", path.display())]
    Io {
        /// What was tried, for example `create the folder`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do.
        help: &'static str,
    },
    /// Another process has it open.
    #[error("the store {} is in use by {holder}; stop that process or give another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who has it: `process 4711`, or `another process` when the lock file does not say.
        holder: String,
    },
    /// A later version of the program wrote it.
    #[error(
        "the store {} has format {found} and this program knows formats up to {known}; run a newer wasmill, or give \
         another folder (nothing was changed)",
        path.display()
    )]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The latest format this program knows.
        known: u32,
    },
    /// A host of format 3 was killed, and only that version can finish what it had begun.
    #[error(
        "the store {} was left by a host of format 3 that was killed; start that version once, stop it with SIGTERM, and then \
         start this one (nothing was changed)",
        path.display()
    )]
    UnfinishedFormat {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds something, but no store that this program can tell the format of.
    #[error("{} is not a store: {problem}; give an empty or a new folder, or restore this one from a backup", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A later version of the program wrote this value.
    #[error("{key} has version {found} and this program knows versions up to {known}; run a newer wasmill")]
    NewerValue {
        /// Which value, in words.
        key: String,
        /// Its version.
        found: u8,
        /// The latest version this program knows.
        known: u8,
    },
    /// A value is not what was written.
    #[error("{key} is damaged: {problem}; {help}")]
    Damaged {
        /// Which value, in words: `log of queue 3, chunk at 1200`.
        key: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// The database under the store failed.
    #[error("the database {} failed to {action}: {problem}; {help}", path.display())]
    Database {
        /// Its folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What it said.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// An earlier commit failed. What is on disk after a failed fsync is not known until the store is opened again
    /// (Rebello and others, "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
    #[error("the store takes no more writes because one failed: {first}; mend that and start again")]
    Poisoned {
        /// What that commit said.
        first: String,
    },
}

const RESTORE: &str = "restore the store from a backup, and look for disk errors in the system's log";

impl StoreError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let help = help_for(source.kind());
        Self::Io { action, path: path.into(), source, help }
    }

    pub(crate) fn damaged(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Damaged { key: key.into(), problem: problem.into(), help: RESTORE }
    }

    pub(crate) fn database(action: &'static str, path: impl Into<PathBuf>, source: &sled::Error) -> Self {
        let (problem, help) = match source {
            sled::Error::Io(source) => (source.to_string(), help_for(source.kind())),
            sled::Error::Corruption { .. } => ("its file is damaged".to_owned(), RESTORE),
            sled::Error::CollectionNotFound(_) | sled::Error::Unsupported(_) | sled::Error::ReportableBug(_) => {
                (source.to_string(), "please report it with this message")
            }
        };
        Self::Database { path: path.into(), action, problem, help }
    }
}

fn help_for(kind: io::ErrorKind) -> &'static str {
    if kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded {
        return "the disk or the quota is full: free some space and start again";
    }
    if kind == io::ErrorKind::FileTooLarge {
        return "the file may not grow further: raise the limit of file sizes (ulimit -f)";
    }
    if kind == io::ErrorKind::PermissionDenied || kind == io::ErrorKind::ReadOnlyFilesystem {
        return "let this user read and write it, or give another folder";
    }
    if kind == io::ErrorKind::NotADirectory || kind == io::ErrorKind::AlreadyExists {
        return "a file is in the way: give a folder";
    }
    "look at the disk and the system's log, then start again"
}
