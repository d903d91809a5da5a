//! The file system's word that something changed.

use std::{collections::BTreeSet, path::PathBuf};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Says when to look again. What changed, it does not say: a look finds out.
pub(crate) struct Events {
    watcher: RecommendedWatcher,
    changes: mpsc::Receiver<()>,
}

impl Events {
    pub(crate) fn listen() -> notify::Result<Self> {
        let (changed, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading is no change. When a word is waiting already, one is enough.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = changed.try_send(());
            }
        })?;
        Ok(Self { watcher, changes })
    }

    /// Watch these folders, as far as they are there. Doing it again catches those that were made anew meanwhile.
    pub(crate) fn watch(&mut self, folders: &BTreeSet<PathBuf>) {
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            if let Err(error) = self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!("{} is not watched: {error}", folder.display());
            }
        }
    }

    /// Wait for a change.
    pub(crate) async fn next(&mut self) {
        if self.changes.recv().await.is_none() {
            // The watcher lives as long as this, so its end of the channel does too.
            std::future::pending::<()>().await;
        }
    }
}
