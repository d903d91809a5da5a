//! Runs a handler component on one delivery and says what came of it.
//!
//! A [`Sandbox`] makes a [`Program`] of a component; a [`Session`] runs deliveries on it, one after the other, and
//! answers with an [`Attempt`]. Whatever a guest does is a value, an [`Outcome`](wasmill_delivery::outcome::Outcome):
//! only a component that does not fit is an error. What a handler publishes and stores is not done here but handed
//! back, for the engine to commit with the delivery.
//!
//! This crate must not know of queues' insides, sled or the host's API. It is the only one that knows wasmtime.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use wasmill_sandbox::{Delivery, HandlerContext, Sandbox, SandboxOptions, Session, StagedState};
//! # async fn run(wasm: &[u8], context: HandlerContext, delivery: Delivery) -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = Sandbox::new(SandboxOptions::new("data/compiled"))?;
//! let program = sandbox.load(wasm)?;
//! let mut session = Session::new(program, Arc::new(context));
//! let attempt = session.run(&delivery, &mut StagedState::default()).await;
//! println!("{}: {} units of fuel", attempt.result.outcome().name(), attempt.fuel_used);
//! # Ok(())
//! # }
//! ```

mod anatomy;
mod attempt;
mod bindings;
mod breath;
mod capsule;
mod capsule_file;
mod compile_process;
pub mod compile_worker;
mod compiled;
mod compiler;
mod config_store;
mod deadline;
mod engine;
mod fit;
mod guest_log;
mod host_state;
mod judge;
mod lanes;
pub mod limits;
mod linker;
mod measure;
mod meter;
mod outbound;
mod outbox;
mod overlay;
mod program;
mod replay;
mod sandbox;
mod secrets;
mod session;
mod share;
mod simulation;
mod state_store;
mod state_view;
mod stop;
mod sum;
mod trusted;
mod wasi;
mod worlds;

pub use anatomy::{Anatomy, Interface, Module};
pub use attempt::{Attempt, Delivery, HandlerContext, StateReader};
pub use capsule::{CAPSULE_VERSION, Capsule, CapsuleContent, CapsuleError, WASMTIME_VERSION};
pub use capsule_file::{CapsuleFile, CapsuleFileError};
pub use compiler::{CompileBounds, CompileWorker, Compiler};
pub use fit::{Bound, LoadError};
pub use lanes::{SlowLane, slow_lane};
pub use limits::{LimitsError, check_limits};
pub use measure::{CallTimes, MeasureError, Measured, Measurer, Trial};
pub use outbound::ClientTls;
pub use overlay::StagedState;
pub use program::Program;
pub use replay::{Comparison, Replayed, Replayer, replay};
pub use sandbox::{Sandbox, SandboxError, SandboxOptions};
pub use secrets::Secrets;
pub use session::{BatchAttempt, BatchResult, Session};
pub use simulation::{Clock, PlannedAnswer, ReceivedAnswer, SentRequest, SimulatedFailure, SimulatedHttp, Simulation};
