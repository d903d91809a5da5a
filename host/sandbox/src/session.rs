//! One worker's slot: it runs deliveries of one handler, one after the other.

mod batch;

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::Instant;
use wasmill_delivery::{
    input::{AttemptResult, Effects},
    outcome::Outcome,
    record::AttemptRecord,
    time::Timestamp,
    trace_context::{CAUSATION_ID, CORRELATION_ID},
};
use wasmtime::Store;

use crate::{
    attempt::{Attempt, Delivery, HandlerContext},
    bindings::wasmill::handler::types,
    capsule::{self, Tape},
    deadline::{Elapsed, within},
    guest_log,
    host_state::{Current, HostState},
    judge::{self, Circumstances, Ended},
    lanes,
    limits::{self, LimitsError, check_limits},
    overlay::StagedState,
    program::Program,
    worlds::Started,
};

pub use batch::{BatchAttempt, BatchResult};

/// As good as no limit, and far from where adding it to a time would not work.
const WALL_CLOCK_MS_CEILING: u64 = 365 * 24 * 60 * 60 * 1_000;

/// An instance with more memory takes milliseconds to be cleaned, so that is not done on the threads for quick calls.
const MEMORY_BYTES_DROPPED_HERE_MAX: u64 = 4 * 1024 * 1024;

/// Runs deliveries of one handler, and keeps an instance warm between them.
///
/// An instance serves first attempts until one of them does not succeed or it has served its number of calls. Every
/// later attempt gets a fresh one: what failed once is not tried on an instance that may be the cause.
pub struct Session {
    program: Arc<Program>,
    context: Arc<HandlerContext>,
    warm: Option<Box<Instance>>,
    refused_limits: Option<LimitsError>,
    replay: Option<Replay>,
}

/// What a session has that replays.
struct Replay {
    tape: Tape,
    patience: Duration,
}

struct Instance {
    store: Store<HostState>,
    program: Arc<Program>,
    handler: Option<Started>,
    calls: u32,
}

impl Session {
    /// A slot for this program, run as this handler. It holds no instance before its first run.
    #[must_use]
    pub fn new(program: Arc<Program>, context: Arc<HandlerContext>) -> Self {
        let refused_limits = check_limits(&context.limits).err();
        Self { program, context, warm: None, refused_limits, replay: None }
    }

    /// A slot that plays a tape back, once, in this time.
    pub(crate) fn replaying(
        program: Arc<Program>,
        context: Arc<HandlerContext>,
        tape: Tape,
        patience: Duration,
    ) -> Self {
        Self { replay: Some(Replay { tape, patience }), ..Self::new(program, context) }
    }

    /// Run one delivery. Whatever the guest does, and whatever the host cannot do, is in the answer.
    ///
    /// It needs a tokio runtime with its timers on. A guest that computes for long yields every
    /// [`limits::FUEL_YIELD_INTERVAL`] units of fuel, so it does not starve the runtime's other tasks.
    ///
    /// What the handler stored is added to `staged` when it succeeds. A call that is dropped before it ends takes
    /// `staged` with it: its run is lost, and so is the instance.
    pub async fn run(&mut self, delivery: &Delivery, staged: &mut StagedState) -> Attempt {
        let started = Instant::now();
        if let Some(refused) = &self.refused_limits {
            return self.refuse(delivery, refused.to_string());
        }
        let wall_clock_ms = self.context.limits.wall_clock_ms_max.min(WALL_CLOCK_MS_CEILING);
        let longest = Duration::from_millis(WALL_CLOCK_MS_CEILING);
        let patience = self.replay.as_ref().map(|replay| replay.patience.min(longest));
        let deadline = started + patience.unwrap_or(Duration::from_millis(wall_clock_ms));
        let current = Current::new(delivery.clone(), deadline, std::mem::take(staged));
        let (instance, fresh) = self.take_instance(current);
        // Made where it goes: a call is kilobytes.
        let (mut instance, ended) = match self.program.slow_lane() {
            Some(slow) => lanes::run(Box::pin(instance.call_within(deadline, delivery.clone())), 1, slow).await,
            None => Box::pin(instance.call_within(deadline, delivery.clone())).await,
        };
        let run = Run { delivery, started, fresh, fuel_given: self.context.limits.fuel_max };
        let attempt = self.conclude(&mut instance, ended, &run, staged);
        self.keep(instance, &attempt).await;
        attempt
    }

    fn take_instance(&mut self, current: Current) -> (Box<Instance>, bool) {
        let warm = self.warm.take();
        if current.delivery.attempt <= 1
            && let Some(mut instance) = warm
        {
            instance.store.data_mut().begin_attempt(current);
            return (instance, false);
        }
        let tape = self.replay.as_ref().map(|replay| replay.tape.clone());
        (Box::new(Instance::new(&self.program, &self.context, current, tape)), true)
    }

    async fn keep(&mut self, instance: Box<Instance>, attempt: &Attempt) {
        let succeeded = matches!(attempt.result, AttemptResult::Succeeded(_));
        // A request that is still open belongs to this delivery and ends with it.
        if succeeded && instance.store.data().is_idle() && instance.calls < self.context.limits.instance_calls_max {
            self.warm = Some(instance);
        } else if let Some(slow) = self.program.slow_lane()
            && attempt.memory_bytes_peak > MEMORY_BYTES_DROPPED_HERE_MAX
        {
            lanes::drop_there(instance, slow).await;
        }
    }

    fn conclude(&self, instance: &mut Instance, ended: Ended, run: &Run<'_>, staged: &mut StagedState) -> Attempt {
        let limits = &self.context.limits;
        let fuel_used = run.fuel_given.saturating_sub(instance.store.get_fuel().unwrap_or_default());
        let data = instance.store.data_mut();
        let log = data.take_log();
        if !log.is_empty() {
            guest_log::pass_on(self.context.handler.as_str(), run.delivery, &log);
        }
        let mut attempt = Attempt {
            result: AttemptResult::Succeeded(Effects::default()),
            digest: self.program.digest(),
            fuel_used,
            duration_us: u64::try_from(run.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            memory_bytes_peak: data.meter.bytes(),
            fresh_instance: run.fresh,
            log,
            capsule: None,
        };
        let backtrace = judge::backtrace(&ended);
        let memory_refused = data.meter.refused();
        let secrets = &self.context.secrets;
        let outcome = judge::outcome(ended, &Circumstances { limits, memory_refused, secrets });
        attempt.result = settle(data, outcome, staged, |outcome| {
            record(run.delivery, &attempt, self.context.clock().now(), outcome, backtrace)
        });
        let calls = data.take_calls();
        if let AttemptResult::Failed(record) = &attempt.result
            && self.replay.is_none()
        {
            let ran = (run.delivery, attempt.digest, run.fresh);
            attempt.capsule = capsule::seal(&self.context, ran, &record.outcome, calls);
        }
        attempt
    }

    fn refuse(&self, delivery: &Delivery, detail: String) -> Attempt {
        let mut attempt = Attempt {
            result: AttemptResult::Succeeded(Effects::default()),
            digest: self.program.digest(),
            fuel_used: 0,
            duration_us: 0,
            memory_bytes_peak: 0,
            fresh_instance: false,
            log: String::new(),
            capsule: None,
        };
        let now = self.context.clock().now();
        attempt.result =
            AttemptResult::Failed(record(delivery, &attempt, now, Outcome::HostFault { detail }, Vec::new()));
        attempt
    }
}

/// What is known of a run before it ends.
struct Run<'a> {
    delivery: &'a Delivery,
    started: Instant,
    fresh: bool,
    /// The fuel it began with, in units.
    fuel_given: u64,
}

/// Give the run's state back, with what this attempt wrote when it succeeded.
fn settle(
    data: &mut HostState,
    outcome: Outcome,
    staged: &mut StagedState,
    record: impl FnOnce(Outcome) -> AttemptRecord,
) -> AttemptResult {
    let mut state = std::mem::take(&mut data.current.state);
    let outbox = std::mem::take(&mut data.current.outbox);
    // The handler may have taken the error for an answer, so whatever it did is not to be trusted.
    let outcome = match state.unavailable() {
        Some(detail) => Outcome::HostFault { detail: format!("the handler's state cannot be read: {detail}") },
        None => outcome,
    };
    if outcome == Outcome::Success {
        let (merged, access) = state.succeed();
        *staged = merged;
        return AttemptResult::Succeeded(Effects { published: outbox.into_entries(), state: access });
    }
    *staged = state.fail();
    AttemptResult::Failed(record(outcome))
}

fn record(
    delivery: &Delivery,
    attempt: &Attempt,
    now: Timestamp,
    outcome: Outcome,
    backtrace: Vec<String>,
) -> AttemptRecord {
    AttemptRecord {
        attempt: delivery.attempt,
        digest: Some(attempt.digest),
        started_at: Timestamp(now.0.saturating_sub(attempt.duration_us / 1_000)),
        duration_us: attempt.duration_us,
        outcome,
        fuel_used: attempt.fuel_used,
        memory_bytes_peak: attempt.memory_bytes_peak,
        log: attempt.log.clone(),
        backtrace,
        fresh: attempt.fresh_instance,
    }
}

impl Instance {
    fn new(program: &Arc<Program>, context: &Arc<HandlerContext>, current: Current, tape: Option<Tape>) -> Self {
        let mut store = Store::new(program.engine(), HostState::new(Arc::clone(context), current, tape));
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(limits::HOST_CALL_BYTES_MAX);
        store.set_max_component_handles(limits::HANDLES_MAX);
        Self { store, program: Arc::clone(program), handler: None, calls: 0 }
    }

    /// Call the guest, and end it at the deadline.
    async fn call_within(mut self: Box<Self>, deadline: Instant, delivery: Delivery) -> (Box<Self>, Ended) {
        let ended = {
            let call = pin!(self.call(&delivery));
            within(deadline, call).await.unwrap_or_else(|Elapsed| Ended::TimedOut)
        };
        (self, ended)
    }

    /// Call the guest, starting it first when it is fresh: its start is paid from the same fuel.
    async fn call(&mut self, delivery: &Delivery) -> Ended {
        let fuel_max = self.store.data().context.limits.fuel_max;
        if let Err(error) = self.refuel(fuel_max) {
            return Ended::NotStarted(error);
        }
        if self.handler.is_none() {
            match self.program.start(&mut self.store).await {
                Ok(handler) => self.handler = Some(handler),
                Err(error) => return Ended::NotStarted(error),
            }
        }
        let handler = self.handler.as_ref().expect("it was just started");
        self.calls += 1;
        match handler.handle(&mut self.store, delivery).await {
            Ok(answer) => Ended::Answered(answer),
            Err(error) => Ended::Broke(error),
        }
    }

    fn refuel(&mut self, fuel: u64) -> wasmtime::Result<()> {
        self.store.set_fuel(fuel)?;
        self.store.fuel_async_yield_interval(Some(limits::FUEL_YIELD_INTERVAL))
    }
}

pub(crate) fn borrowed_headers(delivery: &Delivery) -> Vec<(&str, &str)> {
    let message = &delivery.message;
    let given = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // Where it comes from is not stored as headers too.
    let lineage = [(CORRELATION_ID, &message.lineage.correlation), (CAUSATION_ID, &message.lineage.cause)];
    let lineage = lineage.into_iter().filter_map(|(name, id)| Some((name, id.as_ref()?.as_str())));
    given.chain(lineage).collect()
}

/// Whether a header says where a message comes from, which the host does and no handler.
pub(crate) fn is_lineage(header: &str) -> bool {
    [CORRELATION_ID, CAUSATION_ID].iter().any(|name| header.eq_ignore_ascii_case(name))
}

pub(crate) fn borrowed<'a>(delivery: &'a Delivery, headers: &'a [(&'a str, &'a str)]) -> types::Delivery<'a> {
    let message = &delivery.message;
    types::Delivery {
        message: types::Message {
            id: message.id.as_str(),
            topic: message.topic.as_str(),
            key: message.key.as_ref().map(|key| key.as_str()),
            content_type: message.content_type.as_deref(),
            headers,
            data: &message.data,
            published_at: message.published_at.0,
        },
        queue: delivery.queue.as_str(),
        sequence: delivery.sequence.0,
        attempt: delivery.attempt,
        max_attempts: delivery.attempts_max,
    }
}
