//! Every bound of the sandbox that no operator sets, with its name.

use wasmill_delivery::{limits::DATA_BYTES_MAX_CEILING, record::HandlerLimits};

/// A component, in bytes. Python with a few libraries makes 18 to 40 MiB.
pub const COMPONENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Seconds of processor time that compiling one component may take, unless configured otherwise: five times what a
/// Python component takes.
pub const COMPILE_CPU_S_MAX_DEFAULT: u64 = 120;
/// Memory that compiling one component may take, in bytes, unless configured otherwise.
pub const COMPILE_MEMORY_BYTES_MAX_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;
/// The share of a processor that compiling is sure to get, as a divisor: it is given up after the limit of processor
/// time, taken as wall clock, times this.
pub const COMPILE_CPU_SHARE_MIN: u64 = 10;
/// The code of one component, in bytes.
pub const CODE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// What is kept of a compiler's complaint, in bytes.
pub const DETAIL_BYTES_MAX: usize = 4 * 1024;
/// The most that `memory-bytes-max` of a handler can be set to: what a 32-bit memory can address.
pub const MEMORY_BYTES_CEILING: u64 = 4 * 1024 * 1024 * 1024;
/// Instances at once, of all handlers, unless configured otherwise.
pub const INSTANCES_MAX_DEFAULT: u32 = 2_000;
/// The most that the number of instances can be set to. Each reserves address space (not memory) for
/// [`MEMORIES_PER_INSTANCE`] memories of 4 GiB, and a process has 128 TiB of it.
pub const INSTANCES_MAX_CEILING: u32 = 4_096;
/// Memories of one instance. Only components that were composed of others have more than one.
pub const MEMORIES_PER_INSTANCE: u32 = 4;
/// Tables of one instance.
pub const TABLES_PER_INSTANCE: u32 = 8;
/// Core modules that one component is made of.
pub const CORE_INSTANCES_PER_INSTANCE: u32 = 32;
/// Elements of one table. JavaScript and Python guests need about 60,000.
pub const TABLE_ELEMENTS_MAX: usize = 100_000;
/// What the engine keeps for one core module besides its memory, in bytes. JavaScript and Python guests need more
/// than wasmtime's default of 1 MiB.
pub const CORE_INSTANCE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The stack of a guest, in bytes; beyond it the outcome is `stack-overflow`.
pub const GUEST_STACK_BYTES_MAX: usize = 1024 * 1024;
/// The stack of a guest and of the host's functions that it calls, in bytes.
pub const STACK_BYTES: usize = 2 * GUEST_STACK_BYTES_MAX;
/// Units of fuel after which a guest lets the host look at the clock, below a millisecond of work.
pub const FUEL_YIELD_INTERVAL: u64 = 100_000;
/// What one call of the guest may hand to the host, in bytes: the largest message, headers and all, and more.
pub const HOST_CALL_BYTES_MAX: usize = 2 * DATA_BYTES_MAX_CEILING;
/// Random bytes that one call may ask for; making them costs no fuel.
pub const RANDOM_BYTES_MAX: u64 = 64 * 1024;
/// What of WASI one instance holds at once: streams, pollables, requests with their headers and bodies. The host keeps
/// up to 32 KiB for one of these, outside of the guest's memory.
pub const WASI_RESOURCES_MAX: usize = 1_024;
/// Handles that one instance holds at once.
pub const HANDLES_MAX: usize = 10_000;
/// Frames of a guest's backtrace, the innermost.
pub const BACKTRACE_FRAMES_MAX: usize = 32;
/// A function's name in a backtrace, in bytes; what is longer is cut.
pub const FUNCTION_NAME_BYTES_MAX: usize = 256;
/// State writes of one attempt; beyond it the outcome is `state-limit`.
pub const STATE_WRITES_MAX: usize = 65_536;
/// Keys that one attempt is remembered to have read; beyond it, it counts as having read all of them.
pub const STATE_READS_MAX: usize = 65_536;

/// The capsule of one attempt, in bytes: what its host answered, limits and configuration. What does not fit is left out,
/// and the capsule says so.
pub const CAPSULE_BYTES_MAX: usize = 256 * 1024;
/// What the host answered, of that.
pub const CAPSULE_CALLS_BYTES_MAX: usize = 192 * 1024;

/// A limit of a handler that the sandbox cannot keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// More memory than an instance can have.
    #[error(
        "memory-bytes-max is {given}; a handler can have at most {MEMORY_BYTES_CEILING} bytes (4 GiB), so set it to that or less"
    )]
    Memory {
        /// What was asked for, in bytes.
        given: u64,
    },
}

/// Whether the sandbox can keep these limits.
///
/// # Errors
/// When a limit is beyond the sandbox's own; the error names both.
pub const fn check_limits(limits: &HandlerLimits) -> Result<(), LimitsError> {
    if limits.memory_bytes_max > MEMORY_BYTES_CEILING {
        return Err(LimitsError::Memory { given: limits.memory_bytes_max });
    }
    Ok(())
}
