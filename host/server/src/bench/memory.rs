//! Memory of this process, as Linux tells it: publishers, host and handlers together.

use anyhow::{Context as _, Result};

/// Begin to measure the peak anew, where the kernel can; otherwise it is that of the whole process so far.
pub(super) fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most that was resident (`VmHWM`), in MiB.
pub(super) fn peak_mib() -> Result<f64> {
    status_mib("VmHWM:")
}

/// What is resident now (`VmRSS`), in MiB.
pub(super) fn resident_mib() -> Result<f64> {
    status_mib("VmRSS:")
}

/// Bytes in MiB.
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

fn status_mib(name: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("memory can be measured on Linux only")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(name)).context("the kernel does not tell our memory")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("the kernel tells our memory in other words")?;
    Ok(mib(kib * 1024))
}
