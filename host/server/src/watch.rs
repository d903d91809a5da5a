//! Components come from files: the handlers folder, and the files that the configuration names. Both are watched, so
//! that replacing a file replaces the handler.
//!
//! What the file system tells only says "look again". A look compares every file with what was seen of it, and loads
//! one that is new or changed once two looks in a row find it the same: a file that is being written is not touched.
//! One that is caught half written all the same does not fit, is refused, and is loaded when it changes again.

pub(crate) mod events;
mod sources;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use wasmill_delivery::{
    name::{ConsumerName, HandlerName, QueueName},
    record::{Binding, ConsumerConfig, QueueConfig},
    topic::TopicPattern,
};
use wasmill_runtime::{Component, Host, LoadOptions};

pub(crate) use self::sources::Sources;
use self::{events::Events, sources::Print};
use crate::signature_file;

/// A file is loaded when it stayed the same for so long.
const SETTLE: Duration = Duration::from_millis(100);

/// Loads handlers from their files.
pub(crate) struct Loader {
    host: Host,
    sources: Sources,
    /// What each file was like when it was last loaded or refused.
    done: BTreeMap<PathBuf, Print>,
    /// What each changed file was like at the last look.
    changing: BTreeMap<PathBuf, Print>,
}

impl Loader {
    pub(crate) const fn new(host: Host, sources: Sources) -> Self {
        Self { host, sources, done: BTreeMap::new(), changing: BTreeMap::new() }
    }

    /// Load every file that there is, at once. Answers those that were refused.
    ///
    /// # Errors
    /// When the handlers folder cannot be read, or the host fails.
    pub(crate) async fn load_all(&mut self) -> Result<BTreeMap<HandlerName, anyhow::Error>> {
        let mut refused = BTreeMap::new();
        for (name, path) in self.sources.find()? {
            if let Some(print) = Print::of(&path) {
                self.done.insert(path.clone(), print);
            }
            if let Err(error) = self.load(&name, &path).await {
                tracing::error!(handler = %name, "refused: {error:#}");
                refused.insert(name, error);
            }
        }
        Ok(refused)
    }

    /// Load what changed and is settled. Answers whether something is not settled yet.
    async fn look(&mut self) -> Result<bool> {
        let mut unsettled = false;
        for (name, path) in self.sources.find()? {
            let Some(print) = Print::of(&path) else { continue };
            if self.done.get(&path) == Some(&print) {
                continue;
            }
            if self.changing.insert(path.clone(), print.clone()).as_ref() != Some(&print) {
                unsettled = true;
                continue;
            }
            self.changing.remove(&path);
            self.done.insert(path.clone(), print);
            if let Err(error) = self.load(&name, &path).await {
                tracing::error!(handler = %name, "refused, and what was there stays: {error:#}");
            }
        }
        Ok(unsettled)
    }

    async fn load(&self, name: &HandlerName, path: &PathBuf) -> Result<()> {
        let wasm = tokio::fs::read(path).await.with_context(|| format!("cannot read {}", path.display()))?;
        // Whoever writes the file approves of what it imports.
        let options = LoadOptions { approve: true, from_file: true, ..LoadOptions::default() };
        let component = Component::from(wasm).signed(signature_file::find(path)?);
        let loading = self.host.load_version(name.clone(), component, options);
        loading.await.with_context(|| format!("cannot load {}", path.display()))?;
        if self.sources.makes_queues() {
            self.make_queue(name).await?;
        }
        Ok(())
    }

    /// Give a handler a queue and a consumer of its name, unless there are such.
    async fn make_queue(&self, handler: &HandlerName) -> Result<()> {
        let queue = QueueName::new(handler.as_str())?;
        let consumer = ConsumerName::new(handler.as_str())?;
        if !self.host.queues().await?.iter().any(|view| view.record.name == queue) {
            let patterns = [TopicPattern::new(handler.as_str())?, TopicPattern::new(format!("{handler}.#"))?];
            let bindings = patterns.map(Binding::from).to_vec();
            self.host.put_queue(queue.clone(), QueueConfig { bindings, ..QueueConfig::default() }).await?;
        }
        let consumers = self.host.consumers().await?;
        if !consumers.iter().any(|view| view.queue == queue && view.record.name == consumer) {
            self.host.put_consumer(queue, consumer, ConsumerConfig::new(handler.clone())).await?;
        }
        Ok(())
    }
}

/// Load what changes, for as long as the host runs.
pub(crate) async fn watch(mut loader: Loader) {
    let mut events = match Events::listen() {
        Ok(events) => events,
        Err(error) => return tracing::warn!("files of handlers are not watched: {error}"),
    };
    loop {
        // First watch, then look: what comes into being between the two is seen by one of them.
        events.watch(&loader.sources.folders());
        look_until_settled(&mut loader).await;
        events.next().await;
    }
}

async fn look_until_settled(loader: &mut Loader) {
    loop {
        tokio::time::sleep(SETTLE).await;
        match loader.look().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::error!("cannot look for changed handlers: {error:#}"),
        }
    }
}
