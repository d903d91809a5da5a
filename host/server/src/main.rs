//! The program `wasmill`: see [`wasmill_server::cli`].

use std::process::ExitCode;

/// Messages are allocated on one thread and freed on another; glibc's allocator pays for that in page faults on every
/// commit. Huge pages are off (`no_thp`): the log's buffers of 16 MiB come and go, and each would be zeroed 2 MiB at a time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wasmill_server::cli::run()
}
