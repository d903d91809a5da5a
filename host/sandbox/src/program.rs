//! A component that was compiled and fits: ready to be started.

use tokio::runtime::Handle;
use wasmill_delivery::name::Digest;
use wasmtime::{Engine, Store};

use crate::{
    bindings::{MessageHandler, MessageHandlerPre},
    host_state::HostState,
};

/// One version of a handler, compiled and linked. Shared by all its sessions.
pub struct Program {
    digest: Digest,
    imports: Vec<String>,
    pre: MessageHandlerPre<HostState>,
    slow_lane: Option<Handle>,
}

impl Program {
    pub(crate) const fn new(
        digest: Digest,
        imports: Vec<String>,
        pre: MessageHandlerPre<HostState>,
        slow_lane: Option<Handle>,
    ) -> Self {
        Self { digest, imports, pre, slow_lane }
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

    /// Where calls that compute for long go on.
    pub(crate) const fn slow_lane(&self) -> Option<&Handle> {
        self.slow_lane.as_ref()
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.pre.engine()
    }

    pub(crate) async fn start(&self, store: &mut Store<HostState>) -> wasmtime::Result<MessageHandler> {
        self.pre.instantiate_async(store).await
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("digest", &self.digest).field("imports", &self.imports).finish_non_exhaustive()
    }
}
