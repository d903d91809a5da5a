//! The engine. This is the only place with a `wasmtime::Config`; the reasons for it are in ARCHITECTURE.md.

use std::num::NonZeroUsize;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::limits;

/// With the pagemap scan only pages that were touched are reset, so this is a bound on work, not work.
const MEMORY_BYTES_RESIDENT: usize = 1024 * 1024;
/// Without it everything below this is reset. It must cover the memory that guests start with, because resetting
/// the rest takes `madvise`, whose page-table lock makes two threads slower than one.
const MEMORY_BYTES_RESIDENT_WITHOUT_SCAN: usize = 2 * 1024 * 1024;
const TABLE_BYTES_RESIDENT: usize = 64 * 1024;

/// Make the engine, with a pool for so many instances. `scan`: whether the kernel may be asked which pages were
/// touched; only where it can be.
pub(crate) fn new(instances_max: u32, scan: bool) -> wasmtime::Result<Engine> {
    let scan = scan && PoolingAllocationConfig::is_pagemap_scan_available();
    with(InstanceAllocationStrategy::Pooling(pool(instances_max, scan)))
}

/// An engine that runs nothing and reserves nothing: its code is the same.
pub(crate) fn for_compiling() -> wasmtime::Result<Engine> {
    with(InstanceAllocationStrategy::OnDemand)
}

fn with(strategy: InstanceAllocationStrategy) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .allocation_strategy(strategy)
        .memory_reservation(limits::MEMORY_BYTES_CEILING)
        .memory_init_cow(true)
        .consume_fuel(true)
        .concurrency_support(false)
        .async_stack_zeroing(false)
        .max_wasm_stack(limits::GUEST_STACK_BYTES_MAX)
        .async_stack_size(limits::STACK_BYTES)
        .wasm_backtrace_max_frames(NonZeroUsize::new(limits::BACKTRACE_FRAMES_MAX))
        // Debug information is the guest's, and parsing it in the host at every trap is not.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    Engine::new(&config)
}

fn pool(instances_max: u32, scan: bool) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances_max)
        .total_stacks(instances_max)
        .total_core_instances(instances_max.saturating_mul(limits::CORE_INSTANCES_PER_INSTANCE))
        .total_memories(instances_max.saturating_mul(limits::MEMORIES_PER_INSTANCE))
        .total_tables(instances_max.saturating_mul(limits::TABLES_PER_INSTANCE))
        .max_core_instances_per_component(limits::CORE_INSTANCES_PER_INSTANCE)
        .max_memories_per_component(limits::MEMORIES_PER_INSTANCE)
        .max_memories_per_module(limits::MEMORIES_PER_INSTANCE)
        .max_tables_per_component(limits::TABLES_PER_INSTANCE)
        .max_tables_per_module(limits::TABLES_PER_INSTANCE)
        .max_memory_size(usize::try_from(limits::MEMORY_BYTES_CEILING).unwrap_or(usize::MAX))
        .max_core_instance_size(limits::CORE_INSTANCE_BYTES_MAX)
        .max_component_instance_size(limits::CORE_INSTANCE_BYTES_MAX)
        .table_elements(limits::TABLE_ELEMENTS_MAX)
        // Slots that once held a module are cheap to fill with it again; 150 handlers on the default of 100 such
        // slots took two and a half times as long.
        .max_unused_warm_slots(instances_max)
        .linear_memory_keep_resident(memory_bytes_resident(scan))
        .table_keep_resident(TABLE_BYTES_RESIDENT)
        .pagemap_scan(if scan { Enabled::Yes } else { Enabled::No });
    pool
}

const fn memory_bytes_resident(scan: bool) -> usize {
    if scan { MEMORY_BYTES_RESIDENT } else { MEMORY_BYTES_RESIDENT_WITHOUT_SCAN }
}
