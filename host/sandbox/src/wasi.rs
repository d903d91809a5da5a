//! WASI 0.2 with nothing granted: clocks, random numbers, output that goes to the log, and HTTP that asks the grants.

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView};

use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView};

use crate::{
    attempt::HandlerContext,
    capsule::{MonotonicClock, RandomNumbers, Security, Tape, WallClock},
    guest_log::GuestLog,
    limits,
    outbound::{self, Hooks},
};

/// What an instance has of WASI. Made when the guest first uses it: it costs a tenth of a fresh instance, and many
/// handlers never do.
pub(crate) struct Wasi {
    context: WasiCtx,
    http: WasiHttpCtx,
    requests: Hooks,
    table: ResourceTable,
    log: GuestLog,
}

impl Wasi {
    pub(crate) fn new(handler: &HandlerContext, tape: &Tape) -> Self {
        let log = GuestLog::new(handler.limits.log_bytes_max, &handler.secrets);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::WASI_RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(outbound::REQUEST_HEADERS_BYTES_MAX);
        let requests = Hooks::new(handler, log.clone(), tape.clone());
        Self { context: context(&log, tape), http, requests, table, log }
    }

    pub(crate) const fn log(&self) -> &GuestLog {
        &self.log
    }

    pub(crate) const fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }

    pub(crate) fn http_view(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.requests, table: &mut self.table, ctx: &mut self.http }
    }

    pub(crate) const fn requests(&self) -> &Hooks {
        &self.requests
    }

    pub(crate) const fn requests_mut(&mut self) -> &mut Hooks {
        &mut self.requests
    }
}

/// The builder grants no environment, arguments, files and addresses, and its input is at its end, unless it is
/// told otherwise. What it does grant unasked, sockets that reach nobody, is taken away.
fn context(log: &GuestLog, tape: &Tape) -> WasiCtx {
    WasiCtx::builder()
        .stdout(log.clone())
        .stderr(log.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(limits::RANDOM_BYTES_MAX)
        .wall_clock(WallClock(tape.clone()))
        .monotonic_clock(MonotonicClock::new(tape.clone()))
        .secure_random(RandomNumbers(tape.clone(), Security::Secure))
        .insecure_random(RandomNumbers(tape.clone(), Security::Insecure))
        .insecure_random_seed(tape.with_seeds(|seeds| seeds.instance()))
        .build()
}
