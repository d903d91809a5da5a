//! Wasmill as a system of the comparison, by any way in.

use std::{ops::Range, path::Path, sync::Arc};

use anyhow::Result;
use async_trait::async_trait;
use tokio::task::JoinSet;

use super::{
    Audit, Handlers, OneByOne, Place, System,
    wasmill::{Handling, Host},
};
use crate::{case::Case, tally::Tally};

/// A way to publish to a host. Each call has connections of its own.
#[async_trait]
pub(super) trait Door: Send + Sync + 'static {
    /// As [`System::produce`].
    async fn produce(host: &Host, case: &Case, share: Range<u64>) -> Result<()>;

    /// As [`System::one_by_one`].
    async fn one_by_one(host: &Host, case: &Case) -> Result<Box<dyn OneByOne>>;
}

pub(super) struct Wasmill<D> {
    host: Host,
    door: std::marker::PhantomData<D>,
}

pub(super) async fn start<D: Door>(place: &Place, folder: &Path, handlers: &Handlers) -> Result<Wasmill<D>> {
    Ok(Wasmill { host: Host::start(place, folder, handlers, "").await?, door: std::marker::PhantomData })
}

#[async_trait]
impl<D: Door> System for Wasmill<D> {
    fn servers(&self) -> Vec<u32> {
        self.host.servers()
    }

    async fn prepare(&self, case: &Case, _messages: u64) -> Result<()> {
        self.host.prepare(case, Handling::Components).await
    }

    async fn consume(&self, case: &Case, _tally: &Arc<Tally>) -> Result<JoinSet<Result<()>>> {
        self.host.resume(case).await?;
        Ok(JoinSet::new())
    }

    async fn produce(&self, case: &Case, share: Range<u64>) -> Result<()> {
        D::produce(&self.host, case, share).await
    }

    async fn one_by_one(&self, case: &Case) -> Result<Box<dyn OneByOne>> {
        D::one_by_one(&self.host, case).await
    }

    fn settles_after_confirm(&self) -> bool {
        true
    }

    async fn wait_handled(&self, case: &Case, _tally: &Tally, messages: u64) -> Result<()> {
        self.host.wait_settled(case, messages, true).await
    }

    async fn wait_done(&self, case: &Case, _tally: &Tally, messages: u64) -> Result<()> {
        self.host.wait_settled(case, messages, false).await
    }

    async fn audit(&self, case: &Case, _tally: &Tally, messages: u64) -> Result<Audit> {
        self.host.audit(case, messages).await
    }

    async fn stop(&self) -> Result<()> {
        self.host.stop()
    }
}
