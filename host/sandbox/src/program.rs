//! A component that was compiled and fits: ready to be started.

use wasmill_delivery::name::Digest;
use wasmtime::{Engine, Store};

use crate::{
    host_state::HostState,
    lanes::SlowLane,
    worlds::{Linked, Started},
};

/// One version of a handler, compiled and linked. Shared by all its sessions.
pub struct Program {
    digest: Digest,
    imports: Vec<String>,
    linked: Linked,
    slow_lane: Option<SlowLane>,
}

impl Program {
    pub(crate) const fn new(digest: Digest, imports: Vec<String>, linked: Linked, slow_lane: Option<SlowLane>) -> Self {
        Self { digest, imports, linked, slow_lane }
    }

    /// The SHA-256 of the component.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The interfaces it imports, in byte order: the list of what it asks for.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Whether it takes many deliveries in one call: then [`crate::Session::run_batch`] is for it.
    #[must_use]
    pub const fn takes_batches(&self) -> bool {
        self.linked.takes_batches()
    }

    /// Where calls that compute for long go on.
    pub(crate) const fn slow_lane(&self) -> Option<&SlowLane> {
        self.slow_lane.as_ref()
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.linked.engine()
    }

    pub(crate) async fn start(&self, store: &mut Store<HostState>) -> wasmtime::Result<Started> {
        self.linked.start(store).await
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("digest", &self.digest).field("imports", &self.imports).finish_non_exhaustive()
    }
}
