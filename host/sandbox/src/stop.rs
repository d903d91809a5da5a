//! What the host ends a guest for. Each travels through the guest as the error of a host function.

/// Why a function of the host does not answer the guest but ends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// It published more than its limit.
    #[error("published more than {0}")]
    PublishLimit(String),
    /// It stored more than its limit.
    #[error("stored more than {0}")]
    StateLimit(String),
    /// When this was recorded its time was over while it waited, which leaves no backtrace.
    #[error("waited until its time was over")]
    TimedOutWaiting,
    /// Its time was over when it called.
    #[error("called the host after its time was over")]
    TimedOut,
}
