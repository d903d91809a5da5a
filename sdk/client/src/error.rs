//! What can go wrong.

use wasmill_wire::Refusal;

/// Why something was not done, or is not known to be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host cannot be reached, or takes no streams.
    #[error("cannot open a stream to {url}: {reason}")]
    Connect {
        /// Where it was tried.
        url: String,
        /// Why.
        reason: String,
    },
    /// The host refused it; nothing of it was done.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The message is larger than the host's frames. Nothing was sent.
    #[error("the message takes {bytes} bytes in a frame; this host reads at most {bytes_max}")]
    TooLarge {
        /// About so large it is.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The connection is closed. Whether it was done is not known.
    #[error("the connection is closed: {reason}")]
    Disconnected {
        /// Why.
        reason: String,
    },
}
