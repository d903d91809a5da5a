//! The memory of one instance: how much it has, and whether it was refused more.

use wasmtime::ResourceLimiter;

use crate::limits;

/// Counts all memories of an instance together. A component that was composed of others has several, and the limit
/// is the handler's, not a memory's.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    bytes: u64,
    bytes_max: u64,
    refused: bool,
    last_growth_bytes: u64,
}

impl MemoryMeter {
    pub(crate) const fn new(bytes_max: u64) -> Self {
        Self { bytes: 0, bytes_max, refused: false, last_growth_bytes: 0 }
    }

    /// Forget that more was refused; that belongs to one attempt.
    pub(crate) const fn begin_attempt(&mut self) {
        self.refused = false;
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether this attempt was refused more memory.
    pub(crate) const fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let growth_bytes = desired.saturating_sub(current) as u64;
        let grown_bytes = self.bytes.saturating_add(growth_bytes);
        if grown_bytes > self.bytes_max {
            self.refused = true;
            self.last_growth_bytes = 0;
            return Ok(false);
        }
        self.bytes = grown_bytes;
        self.last_growth_bytes = growth_bytes;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        // Called when a growth that was allowed here did not happen: the memory's own maximum, or no memory left.
        self.bytes -= self.last_growth_bytes;
        self.last_growth_bytes = 0;
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= limits::TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        limits::CORE_INSTANCES_PER_INSTANCE as usize
    }

    fn tables(&self) -> usize {
        limits::TABLES_PER_INSTANCE as usize
    }

    fn memories(&self) -> usize {
        limits::MEMORIES_PER_INSTANCE as usize
    }
}
