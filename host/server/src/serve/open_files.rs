//! How many files and connections the host may have open.
//!
//! Systems give a process 1,024 unless it asks, for the sake of programs that use `select`. A thousand handlers that wait
//! for an answer are a thousand connections, and the store and the API want some too.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Ask for as many as the system allows. What it refuses stays as it was.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!("the limit of open files stays at {current:?}: {error}");
    }
}
