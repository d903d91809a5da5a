//! WASI 0.2 with nothing granted: clocks, random numbers, and output that goes to the log.

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView};

use crate::{guest_log::GuestLog, limits};

/// What an instance has of WASI. Made when the guest first uses it: it costs a tenth of a fresh instance, and many
/// handlers never do.
pub(crate) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    log: GuestLog,
}

impl Wasi {
    pub(crate) fn new(log_bytes_max: u32) -> Self {
        let log = GuestLog::new(log_bytes_max);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::HANDLES_MAX);
        Self { context: context(&log), table, log }
    }

    pub(crate) const fn log(&self) -> &GuestLog {
        &self.log
    }

    pub(crate) const fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }
}

/// The builder grants no environment, arguments, files and addresses, and its input is at its end, unless it is
/// told otherwise. What it does grant unasked, sockets that reach nobody, is taken away.
fn context(log: &GuestLog) -> WasiCtx {
    WasiCtx::builder()
        .stdout(log.clone())
        .stderr(log.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(limits::RANDOM_BYTES_MAX)
        .build()
}
