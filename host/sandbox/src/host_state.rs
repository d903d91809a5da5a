//! What the host keeps for one instance.

use std::sync::Arc;

use tokio::time::Instant;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::{
    attempt::{Delivery, HandlerContext},
    bindings::wasmill::handler::types,
    breath::Breath,
    capsule::{Calls, Tape},
    meter::MemoryMeter,
    outbox::Outbox,
    overlay::StagedState,
    state_view::{Below, StateView},
    wasi::Wasi,
    worlds::Held,
};

/// The data of a wasmtime store. The functions of the host see nothing but this.
pub(crate) struct HostState {
    pub(crate) context: Arc<HandlerContext>,
    pub(crate) meter: MemoryMeter,
    pub(crate) current: Current,
    /// What it holds as a handler of `wasi:messaging`.
    pub(crate) held: Held,
    wasi: Option<Box<Wasi>>,
    /// Made when the first answer is taken down.
    tape: Option<Tape>,
}

/// What belongs to the attempt that runs now. The next one on the same instance sees nothing of it.
pub(crate) struct Current {
    pub(crate) delivery: Delivery,
    pub(crate) deadline: Instant,
    pub(crate) outbox: Outbox,
    pub(crate) state: StateView,
    pub(crate) breath: Breath,
    /// Which deliveries are run besides, when there are any.
    pub(crate) batch: Option<[u8; 32]>,
}

impl Current {
    pub(crate) fn new(delivery: Delivery, deadline: Instant, staged: StagedState) -> Self {
        Self {
            delivery,
            deadline,
            outbox: Outbox::default(),
            state: StateView::over(staged),
            breath: Breath::default(),
            batch: None,
        }
    }
}

impl HostState {
    /// With a tape that is played back, or none for one that records.
    pub(crate) fn new(context: Arc<HandlerContext>, current: Current, tape: Option<Tape>) -> Self {
        let meter = MemoryMeter::new(context.limits.memory_bytes_max);
        Self { context, meter, current, held: Held::default(), wasi: None, tape }
    }

    /// Turn to the next delivery.
    pub(crate) fn begin_attempt(&mut self, current: Current) {
        self.meter.begin_attempt();
        if let Some(wasi) = &mut self.wasi {
            wasi.requests_mut().begin_attempt();
        }
        if let Some(tape) = &self.tape {
            tape.begin_attempt();
        }
        self.current = current;
    }

    /// What the guest printed in this attempt, without its secrets.
    pub(crate) fn take_log(&self) -> String {
        self.wasi.as_ref().map_or_else(String::new, |wasi| wasi.log().take(&self.context.secrets))
    }

    /// Whether no HTTP request of the guest is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.wasi.as_ref().is_none_or(|wasi| wasi.requests().is_idle())
    }

    /// What the host answered in this attempt.
    pub(crate) fn take_calls(&self) -> Calls {
        self.tape.as_ref().map_or_else(Calls::default, |tape| tape.take(self.wasi.is_some()))
    }

    pub(crate) fn tape(&mut self) -> &Tape {
        let Self { tape, context, .. } = self;
        tape.get_or_insert_with(|| Tape::recording(context.simulation.clone()))
    }

    /// Add to what the guest printed.
    pub(crate) fn print(&mut self, text: &str) {
        self.wasi().log().write(text.as_bytes());
    }

    fn wasi(&mut self) -> &mut Wasi {
        let context = &self.context;
        let tape = self.tape.get_or_insert_with(|| Tape::recording(context.simulation.clone()));
        self.wasi.get_or_insert_with(|| Box::new(Wasi::new(&self.context, tape)))
    }

    pub(crate) fn state(&mut self) -> (&mut StateView, Below<'_>) {
        let context = &self.context;
        let tape = self.tape.get_or_insert_with(|| Tape::recording(context.simulation.clone()));
        (&mut self.current.state, Below { context: &self.context, deadline: self.current.deadline, tape })
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi().view()
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.wasi().http_view()
    }
}

impl types::Host for HostState {}
