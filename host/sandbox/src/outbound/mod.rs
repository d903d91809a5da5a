//! HTTP requests of handlers: `wasi:http/outgoing-handler`.
//!
//! A request is checked twice. Before anything is done, its scheme, host and port must be granted. Then its host is looked
//! up, once, and the connection goes to exactly one of the addresses that were checked: a name that answers differently the
//! next time is of no use. What is not allowed is an error that the guest sees, and a line in its log that says why.
//!
//! Each request has a connection of its own, which ends with it, with the attempt, or with the instance. There is no
//! cache, no cookie, no proxy and no redirect: what an answer means is the guest's business.

mod body;
mod connect;
mod hooks;
mod replay;
mod send;
mod simulated;
mod tls;
mod usage;

pub(crate) use hooks::Hooks;
pub use tls::ClientTls;

/// A connection that is not there by then is given up, in milliseconds. The attempt's deadline may come first.
pub(crate) const CONNECT_MS_MAX: u64 = 10_000;
/// Names that are looked up at once, of all handlers: each occupies a thread.
pub(crate) const LOOKUPS_MAX: usize = 16;
/// Addresses of one name that are tried.
pub(crate) const ADDRESSES_TRIED_MAX: usize = 8;
/// The head of an answer, and what is read of its body at once, in bytes. One read may bring twice as much.
pub(crate) const ANSWER_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// All headers of one request, in bytes as they are kept in memory.
pub(crate) const REQUEST_HEADERS_BYTES_MAX: usize = 32 * 1024;
/// What a guest writes of a body at once, in bytes.
pub(crate) const BODY_WRITE_BYTES_MAX: usize = 16 * 1024;
