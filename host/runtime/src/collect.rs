//! Components that nobody needs any more are removed: those that no handler has in its history, and that no replay of a
//! quarantined delivery would run.

use std::{collections::BTreeSet, sync::Arc};

use wasmill_delivery::{
    engine::Engine,
    name::Digest,
    record::{CapsuleKept, HandlerRecord},
};

use crate::{error::HostError, host::Host, host::Inner};

/// Components that wait to be removed while something is in quarantine, which has to be read through first.
const COMPONENTS_UNNEEDED_MAX: usize = 20;
/// Quarantined deliveries that are read at once.
const QUARANTINE_PAGE: usize = 100;

/// How much it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collect {
    /// A handler was just replaced.
    Soon,
    /// The host starts.
    Thoroughly,
}

impl Host {
    /// Whoever calls this keeps others from changing handlers, or a component that was just written could be taken for
    /// one that nobody needs.
    pub(crate) async fn collect_components(&self, how: Collect) {
        let asking = |engine: &Engine| {
            let named = engine.handlers().flat_map(HandlerRecord::digests).collect::<BTreeSet<Digest>>();
            (named, engine.has_capsules())
        };
        let Ok((named, has_capsules)) = self.inner.broker.query(asking).await else { return };
        let inner = Arc::clone(&self.inner);
        let collecting = tokio::task::spawn_blocking(move || {
            let mut unneeded: BTreeSet<Digest> = inner.components.all()?.into_iter().collect();
            unneeded.retain(|digest| !named.contains(digest));
            if has_capsules {
                if how == Collect::Soon && unneeded.len() < COMPONENTS_UNNEEDED_MAX {
                    return Ok(());
                }
                spare_evidence(&inner, &mut unneeded)?;
            }
            for digest in unneeded {
                inner.components.remove(digest)?;
                inner.registry.forget(&digest);
                tracing::debug!(%digest, "a component that nobody needs is removed");
            }
            Ok::<_, HostError>(())
        });
        if let Ok(Err(error)) = collecting.await {
            tracing::warn!(%error, "components that nobody needs cannot be removed");
        }
    }
}

/// What a capsule was made with stays as long as it does.
fn spare_evidence(inner: &Inner, unneeded: &mut BTreeSet<Digest>) -> Result<(), HostError> {
    let mut after = None;
    while !unneeded.is_empty() {
        let page = inner.reader.quarantine_page(after, QUARANTINE_PAGE)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let replayable = page.iter().filter(|record| matches!(record.capsule, CapsuleKept::Kept { .. }));
        for digest in replayable.filter_map(|record| record.attempts.last()?.digest) {
            unneeded.remove(&digest);
        }
    }
    Ok(())
}
