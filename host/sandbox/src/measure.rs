//! Whether a component would load, and what it costs: to compile, to load again, and for each delivery.
//!
//! `cargo bench --bench call` measures the sandbox in the same way; this measures what somebody brings.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wasmill_delivery::{
    input::{AttemptResult, Revision},
    message::Message,
    name::{ConsumerName, HandlerName, NameError, QueueName, Sequence},
    record::{AttemptRecord, Grants, HandlerLimits},
};

use crate::{
    attempt::{Delivery, HandlerContext, StateReader},
    compiler::Compiler,
    fit::LoadError,
    overlay::StagedState,
    program::Program,
    sandbox::{Sandbox, SandboxError, SandboxOptions},
    secrets::Secrets,
    session::Session,
};

/// One runs at a time; the others are room for those whose end takes a moment.
const INSTANCES_MAX: u32 = 8;
/// Loads from the cache, of which the median is told.
const LOADS: usize = 9;
/// Calls of each kind go on for so long, and for so many at least, but no longer than that.
const CALLS_TIME: Duration = Duration::from_secs(1);
const CALLS_MIN: usize = 10;
const CALLS_TIME_MAX: Duration = Duration::from_secs(20);
/// Data of one published message, in bytes: the most that any host takes.
const DATA_BYTES_MAX: usize = wasmill_delivery::limits::DATA_BYTES_MAX_CEILING;
/// What the handler is called; it may see its queue's name.
const NAME: &str = "measured";

/// Loads components without a host.
pub struct Measurer {
    folder: PathBuf,
    compiler: Compiler,
}

/// What a delivery is tried with.
pub struct Trial {
    /// What is delivered.
    pub message: Message,
    /// What the handler reads by `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What stops it.
    pub limits: HandlerLimits,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// From the bytes to a program, nothing of it being known.
    pub compile: Duration,
    /// The same again, by another process as it were: the median.
    pub load_from_cache: Duration,
    /// Of the first attempt, which starts an instance: units of fuel.
    pub fuel_used: u64,
    /// Of the first attempt: all memories of its instance, in bytes.
    pub memory_bytes_peak: u64,
    /// A call that starts an instance.
    pub fresh: CallTimes,
    /// A call of an instance that was called before; none when it does not succeed, because then there is no such instance.
    pub warm: Option<CallTimes>,
    /// How it failed on the delivery, if it did.
    pub failed: Option<AttemptRecord>,
    /// What the first attempt printed.
    pub log: String,
}

/// How long calls of one kind took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTimes {
    /// The median.
    pub median: Duration,
    /// The least.
    pub least: Duration,
    /// How many were measured.
    pub calls: usize,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// There is no sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The component does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The name of the measured handler is none.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Measurer {
    /// With compiled code in this folder, compiled in this way.
    pub fn new(folder: impl Into<PathBuf>, compiler: Compiler) -> Self {
        Self { folder: folder.into(), compiler }
    }

    /// Load a component as a host does. It blocks while it compiles.
    ///
    /// # Errors
    /// When no host of this version would load it.
    pub fn load(&self, wasm: &[u8]) -> Result<Arc<Program>, MeasureError> {
        Ok(self.sandbox()?.load(wasm)?)
    }

    /// Measure a component. The folder must not hold its code yet. It takes some seconds, and blocks this thread: it
    /// runs deliveries on a runtime of its own.
    ///
    /// # Errors
    /// When no host of this version would load it.
    pub fn measure(&self, wasm: &[u8], trial: Trial) -> Result<Measured, MeasureError> {
        let (compile, program) = timed(|| self.load(wasm));
        drop(program?);
        let mut loads = Vec::with_capacity(LOADS);
        for _ in 0..LOADS {
            // Another sandbox holds no program, and finds the code that was compiled before.
            let sandbox = self.sandbox()?;
            let (took, program) = timed(|| sandbox.load(wasm));
            drop(program?);
            loads.push(took);
        }
        loads.sort_unstable();
        let program = self.load(wasm)?;
        let calls = Calls::new(program, trial)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| SandboxError::Folder { folder: self.folder.clone(), source })?;
        Ok(runtime.block_on(calls.measure(compile, loads[loads.len() / 2])))
    }

    fn sandbox(&self) -> Result<Sandbox, SandboxError> {
        Sandbox::new(SandboxOptions {
            instances_max: INSTANCES_MAX,
            compiler: self.compiler.clone(),
            ..SandboxOptions::new(&self.folder)
        })
    }
}

struct Calls {
    program: Arc<Program>,
    trial: Trial,
    delivery: Delivery,
    handler: HandlerName,
}

impl Calls {
    fn new(program: Arc<Program>, trial: Trial) -> Result<Self, NameError> {
        let delivery = Delivery {
            message: Arc::new(trial.message.clone()),
            queue: QueueName::new(NAME)?,
            consumer: ConsumerName::new(NAME)?,
            sequence: Sequence::FIRST,
            attempt: 1,
            attempts_max: 1,
        };
        Ok(Self { program, trial, delivery, handler: HandlerName::new(NAME)? })
    }

    async fn measure(&self, compile: Duration, load_from_cache: Duration) -> Measured {
        let first = self.session(1).run(&self.delivery, &mut StagedState::default()).await;
        let failed = match first.result {
            AttemptResult::Succeeded(_) | AttemptResult::SucceededWithNext => None,
            AttemptResult::Failed(record) => Some(record),
        };
        let fresh = self.times(&mut self.session(1)).await;
        let warm = match &failed {
            Some(_) => None,
            None => {
                let mut session = self.session(u32::MAX);
                // Only what comes after it is warm.
                let _ = session.run(&self.delivery, &mut StagedState::default()).await;
                Some(self.times(&mut session).await)
            }
        };
        let (fuel_used, memory_bytes_peak, log) = (first.fuel_used, first.memory_bytes_peak, first.log);
        Measured { compile, load_from_cache, fuel_used, memory_bytes_peak, fresh, warm, failed, log }
    }

    /// A session whose instances serve so many calls.
    fn session(&self, instance_calls_max: u32) -> Session {
        let context = HandlerContext {
            handler: self.handler.clone(),
            limits: HandlerLimits { instance_calls_max, ..self.trial.limits },
            config: self.trial.config.clone(),
            grants: Arc::new(Grants::default()),
            secrets: Secrets::default(),
            data_bytes_max: DATA_BYTES_MAX,
            state: Arc::new(NoState),
            simulation: None,
        };
        Session::new(Arc::clone(&self.program), Arc::new(context))
    }

    async fn times(&self, session: &mut Session) -> CallTimes {
        let started = Instant::now();
        let mut times = Vec::new();
        while (times.len() < CALLS_MIN || started.elapsed() < CALLS_TIME) && started.elapsed() < CALLS_TIME_MAX {
            let called = Instant::now();
            drop(session.run(&self.delivery, &mut StagedState::default()).await);
            times.push(called.elapsed());
        }
        times.sort_unstable();
        CallTimes { median: times[times.len() / 2], least: times[0], calls: times.len() }
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let done = work();
    (started.elapsed(), done)
}

/// Nothing was ever stored.
struct NoState;

impl StateReader for NoState {
    fn revision(&self) -> Revision {
        Revision(0)
    }

    fn get(&self, _handler: &HandlerName, _key: &str) -> Result<Option<Bytes>, String> {
        Ok(None)
    }

    fn list_keys(&self, _: &HandlerName, _: &str, _: Option<&str>, _: usize) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}
