//! Which keys of handler state were written lately, so that a delivery that read an older value is known.
//!
//! Deliveries are serialisable by optimistic concurrency control (Kung and Robinson, 1981, backward
//! validation): a delivery commits only if nothing it read was written after the revision it read at.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    input::{Revision, StateAccess, StateWrite},
    name::HandlerName,
};

/// Keys remembered at most; when there are more, the oldest are forgotten, and whoever read before that runs again.
pub const STATE_WINDOW_KEYS_MAX: usize = 1_000_000;

/// The writes of the latest revisions.
#[derive(Clone, Debug, Default)]
pub struct StateWindow {
    handlers: BTreeMap<HandlerName, HandlerWindow>,
    order: VecDeque<(Revision, HandlerName, String)>,
    /// Writes at or before it are forgotten.
    forgotten: Revision,
}

#[derive(Clone, Debug, Default)]
struct HandlerWindow {
    keys: BTreeMap<String, Stamp>,
    written_at: Revision,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    /// When it was last set or deleted.
    replaced_at: Revision,
    /// When it was last changed in any way.
    written_at: Revision,
}

impl StateWindow {
    /// Nothing was written yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { handlers: BTreeMap::new(), order: VecDeque::new(), forgotten: Revision(0) }
    }

    /// Whether something that this access depends on was written after it was read.
    #[must_use]
    pub fn conflicts(&self, handler: &HandlerName, access: &StateAccess) -> bool {
        if access.reads.is_empty() && !access.listed && !has_adds(access) {
            return false;
        }
        if access.revision < self.forgotten {
            return true;
        }
        let Some(window) = self.handlers.get(handler) else { return false };
        let stamp = |key: &str| window.keys.get(key).copied().unwrap_or_default();
        (access.listed && window.written_at > access.revision)
            || access.reads.iter().any(|key| stamp(key).written_at > access.revision)
            || access.writes.iter().any(|write| match write {
                StateWrite::Add { key, .. } => stamp(key).replaced_at > access.revision,
                StateWrite::Set { .. } | StateWrite::Delete { .. } => false,
            })
    }

    /// Remember that these keys are written in this revision.
    pub fn record(&mut self, revision: Revision, handler: &HandlerName, writes: &[StateWrite]) {
        if writes.is_empty() {
            return;
        }
        let window = self.handlers.entry(handler.clone()).or_default();
        window.written_at = revision;
        for write in writes {
            let stamp = window.keys.entry(write.key().to_owned()).or_default();
            if stamp.written_at < revision {
                self.order.push_back((revision, handler.clone(), write.key().to_owned()));
            }
            stamp.written_at = revision;
            match write {
                StateWrite::Set { .. } | StateWrite::Delete { .. } => stamp.replaced_at = revision,
                StateWrite::Add { .. } => {}
            }
        }
    }

    /// Forget what no delivery under way can have missed: all of them read at `oldest_reader` or later.
    pub fn forget(&mut self, oldest_reader: Revision) {
        while let Some((revision, handler, key)) = self.order.front() {
            if *revision > oldest_reader && self.order.len() <= STATE_WINDOW_KEYS_MAX {
                break;
            }
            self.forgotten = self.forgotten.max(*revision);
            if let Some(window) = self.handlers.get_mut(handler) {
                if window.keys.get(key).is_some_and(|stamp| stamp.written_at <= *revision) {
                    window.keys.remove(key);
                }
                if window.keys.is_empty() {
                    self.handlers.remove(handler);
                }
            }
            self.order.pop_front();
        }
    }
}

fn has_adds(access: &StateAccess) -> bool {
    access.writes.iter().any(|write| match write {
        StateWrite::Add { .. } => true,
        StateWrite::Set { .. } | StateWrite::Delete { .. } => false,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn handler() -> HandlerName {
        HandlerName::new("h").expect("a name")
    }

    fn set(key: &str) -> StateWrite {
        StateWrite::Set { key: key.to_owned(), value: Bytes::new() }
    }

    fn add(key: &str) -> StateWrite {
        StateWrite::Add { key: key.to_owned(), delta: 1 }
    }

    fn access(revision: u64, reads: &[&str], writes: &[StateWrite]) -> StateAccess {
        StateAccess {
            revision: Revision(revision),
            reads: reads.iter().map(|key| (*key).to_owned()).collect(),
            listed: false,
            writes: writes.to_vec(),
        }
    }

    #[test]
    fn reads_conflict_with_later_writes_and_adds_only_with_replacements() {
        let mut window = StateWindow::default();
        window.record(Revision(5), &handler(), &[set("replaced"), add("added")]);
        let conflicts = |access: &StateAccess| window.conflicts(&handler(), access);
        assert!(conflicts(&access(4, &["replaced"], &[])));
        assert!(conflicts(&access(4, &["added"], &[])));
        assert!(conflicts(&access(4, &[], &[add("replaced")])));
        assert!(!conflicts(&access(4, &[], &[add("added")])));
        assert!(!conflicts(&access(4, &[], &[set("replaced")])), "a blind write reads nothing");
        assert!(!conflicts(&access(5, &["replaced", "added"], &[])));
        assert!(!conflicts(&access(4, &["other"], &[])));
        assert!(conflicts(&StateAccess { listed: true, ..access(4, &[], &[]) }));
        assert!(!conflicts(&StateAccess { listed: true, ..access(5, &[], &[]) }));
        assert!(!window.conflicts(&HandlerName::new("else").expect("a name"), &access(4, &["added"], &[])));
    }

    #[test]
    fn what_is_forgotten_conflicts_with_everything_older() {
        let mut window = StateWindow::default();
        window.record(Revision(5), &handler(), &[set("a")]);
        window.record(Revision(7), &handler(), &[set("b")]);
        window.forget(Revision(6));
        assert!(window.conflicts(&handler(), &access(4, &["z"], &[])), "nobody may read at 4 any more");
        assert!(!window.conflicts(&handler(), &access(6, &["a"], &[])));
        assert!(window.conflicts(&handler(), &access(6, &["b"], &[])));
        window.forget(Revision(7));
        assert!(window.handlers.is_empty() && window.order.is_empty());
    }
}
