//! One worker's slot: it runs deliveries of one handler, one after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use wasmill_delivery::{
    input::{AttemptResult, Effects},
    outcome::Outcome,
    record::AttemptRecord,
    time::Timestamp,
};
use wasmtime::Store;

use crate::{
    attempt::{Attempt, Delivery, HandlerContext},
    bindings::{MessageHandler, wasmill::handler::types},
    deadline::within,
    guest_log,
    host_state::{Current, HostState},
    judge::{self, Circumstances, Ended},
    limits::{self, LimitsError, check_limits},
    overlay::StagedState,
    program::Program,
};

/// As good as no limit, and far from where adding it to a time would not work.
const WALL_CLOCK_MS_CEILING: u64 = 365 * 24 * 60 * 60 * 1_000;

/// Runs deliveries of one handler, and keeps an instance warm between them.
///
/// An instance serves first attempts until one of them does not succeed or it has served its number of calls. Every
/// later attempt gets a fresh one: what failed once is not tried on an instance that may be the cause.
pub struct Session {
    program: Arc<Program>,
    context: Arc<HandlerContext>,
    warm: Option<Box<Instance>>,
    refused_limits: Option<LimitsError>,
}

struct Instance {
    store: Store<HostState>,
    handler: Option<MessageHandler>,
    calls: u32,
}

impl Session {
    /// A slot for this program, run as this handler. It holds no instance before its first run.
    #[must_use]
    pub fn new(program: Arc<Program>, context: Arc<HandlerContext>) -> Self {
        let refused_limits = check_limits(&context.limits).err();
        Self { program, context, warm: None, refused_limits }
    }

    /// Run one delivery. Whatever the guest does, and whatever the host cannot do, is in the answer.
    ///
    /// What the handler stored is added to `staged` when it succeeds. A call that is dropped before it ends takes
    /// `staged` with it: its run is lost, and so is the instance.
    pub async fn run(&mut self, delivery: &Delivery, staged: &mut StagedState) -> Attempt {
        let started = Instant::now();
        if let Some(refused) = &self.refused_limits {
            return self.refuse(delivery, refused.to_string());
        }
        let wall_clock_ms = self.context.limits.wall_clock_ms_max.min(WALL_CLOCK_MS_CEILING);
        let deadline = started + Duration::from_millis(wall_clock_ms);
        let current = Current::new(delivery.clone(), deadline, std::mem::take(staged));
        let (mut instance, fresh) = self.take_instance(current);
        let ended = match within(deadline, instance.call(&self.program, delivery, &self.context)).await {
            Ok(ended) => ended,
            Err(_) => Ended::TimedOut,
        };
        let run = Run { delivery, started, fresh };
        let attempt = self.conclude(&mut instance, ended, &run, staged);
        self.keep(instance, &attempt);
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
        (Box::new(Instance::new(&self.program, &self.context, current)), true)
    }

    fn keep(&mut self, instance: Box<Instance>, attempt: &Attempt) {
        let succeeded = matches!(attempt.result, AttemptResult::Succeeded(_));
        if succeeded && instance.calls < self.context.limits.instance_calls_max {
            self.warm = Some(instance);
        }
    }

    fn conclude(&self, instance: &mut Instance, ended: Ended, run: &Run<'_>, staged: &mut StagedState) -> Attempt {
        let limits = &self.context.limits;
        let fuel_used = limits.fuel_max.saturating_sub(instance.store.get_fuel().unwrap_or_default());
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
        };
        let backtrace = judge::backtrace(&ended);
        let memory_refused = data.meter.refused();
        let outcome = judge::outcome(ended, &Circumstances { limits, memory_refused });
        attempt.result = settle(data, outcome, staged, |outcome| record(run.delivery, &attempt, outcome, backtrace));
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
        };
        attempt.result = AttemptResult::Failed(record(delivery, &attempt, Outcome::HostFault { detail }, Vec::new()));
        attempt
    }
}

/// What is known of a run before it ends.
struct Run<'a> {
    delivery: &'a Delivery,
    started: Instant,
    fresh: bool,
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
        return AttemptResult::Succeeded(Effects { published: outbox.into_messages(), state: access });
    }
    *staged = state.fail();
    AttemptResult::Failed(record(outcome))
}

fn record(delivery: &Delivery, attempt: &Attempt, outcome: Outcome, backtrace: Vec<String>) -> AttemptRecord {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    AttemptRecord {
        attempt: delivery.attempt,
        digest: Some(attempt.digest),
        started_at: Timestamp(now_ms.saturating_sub(attempt.duration_us / 1_000)),
        duration_us: attempt.duration_us,
        outcome,
        fuel_used: attempt.fuel_used,
        memory_bytes_peak: attempt.memory_bytes_peak,
        log: attempt.log.clone(),
        backtrace,
    }
}

impl Instance {
    fn new(program: &Program, context: &Arc<HandlerContext>, current: Current) -> Self {
        let mut store = Store::new(program.engine(), HostState::new(Arc::clone(context), current));
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(limits::HOST_CALL_BYTES_MAX);
        store.set_max_component_handles(limits::HANDLES_MAX);
        Self { store, handler: None, calls: 0 }
    }

    /// Call the guest, starting it first when it is fresh: its start is paid from the same fuel.
    async fn call(&mut self, program: &Program, delivery: &Delivery, context: &HandlerContext) -> Ended {
        if let Err(error) = self.refuel(context.limits.fuel_max) {
            return Ended::NotStarted(error);
        }
        if self.handler.is_none() {
            match program.start(&mut self.store).await {
                Ok(handler) => self.handler = Some(handler),
                Err(error) => return Ended::NotStarted(error),
            }
        }
        let handler = self.handler.as_ref().expect("it was just started");
        self.calls += 1;
        let headers = borrowed_headers(delivery);
        match handler.wasmill_handler_handler().call_handle(&mut self.store, borrowed(delivery, &headers)).await {
            Ok(answer) => Ended::Answered(answer),
            Err(error) => Ended::Broke(error),
        }
    }

    fn refuel(&mut self, fuel: u64) -> wasmtime::Result<()> {
        self.store.set_fuel(fuel)?;
        self.store.fuel_async_yield_interval(Some(limits::FUEL_YIELD_INTERVAL))
    }
}

fn borrowed_headers(delivery: &Delivery) -> Vec<(&str, &str)> {
    delivery.message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn borrowed<'a>(delivery: &'a Delivery, headers: &'a [(&'a str, &'a str)]) -> types::Delivery<'a> {
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
#[cfg(test)]
mod measure {
    use super::*;
    use std::collections::BTreeMap;
    struct Nil;
    impl crate::StateReader for Nil {
        fn revision(&self) -> wasmill_delivery::input::Revision { Default::default() }
        fn get(&self, _: &wasmill_delivery::name::HandlerName, _: &str) -> Result<Option<bytes::Bytes>, String> { Ok(None) }
        fn list_keys(&self, _: &wasmill_delivery::name::HandlerName, _: &str, _: Option<&str>, _: usize) -> Result<Vec<String>, String> { Ok(vec![]) }
    }
    fn min(what: &str, mut f: impl FnMut()) {
        let mut best = f64::MAX; let mut all = vec![];
        for _ in 0..2000 {
            let t = Instant::now();
            for _ in 0..100 { f(); }
            let x = t.elapsed().as_nanos() as f64 / 100.0; all.push(x);
            if x < best { best = x; }
        }
        all.sort_by(f64::total_cmp);
        println!("{what}: min {best:.0} ns, 10% {:.0}, median {:.0}", all[all.len()/10], all[all.len()/2]);
    }
    #[test]
    fn measure() {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = crate::Sandbox::new(crate::SandboxOptions::new(folder.path())).unwrap();
        let program = sandbox.load(&std::fs::read("/work/main/target/guests/guest-noop.wasm").unwrap()).unwrap();
        println!("{:?}", program.imports());
        let mut limits = wasmill_delivery::record::HandlerLimits::default();
        limits.instance_calls_max = u32::MAX;
        let context = |limits| Arc::new(HandlerContext { handler: "h".parse().unwrap(), limits, config: BTreeMap::new(), data_bytes_max: 1000, state: Arc::new(Nil) });
        let delivery = Delivery { message: Arc::new(wasmill_delivery::message::Message { id: "message-1".to_owned().try_into().unwrap(), topic: "orders.created".to_owned().try_into().unwrap(), key: Some("customer-7".to_owned().try_into().unwrap()), content_type: Some("text/plain".into()), headers: vec![("trace".into(), "abc".into()), ("lang".into(), "de".into())], data: vec![b'x'; 256].into(), published_at: Timestamp(1), lineage: Default::default() }), queue: "orders".parse().unwrap(), consumer: "totals".parse().unwrap(), sequence: wasmill_delivery::name::Sequence(1), attempt: 1, attempts_max: 5 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        min("block_on empty", || { runtime.block_on(async { std::hint::black_box(1) }); });
        min("Instant::now", || { std::hint::black_box(Instant::now()); });
        min("delivery clone", || { std::hint::black_box(delivery.clone()); });
        let mut session = Session::new(program.clone(), context(limits));
        runtime.block_on(async {
            let mut staged = StagedState::default();
            session.run(&delivery, &mut staged).await;
        });
        min("run warm via block_on", || { let a = runtime.block_on(session.run(&delivery, &mut StagedState::default())); assert!(matches!(a.result, AttemptResult::Succeeded(_))); });
        // inside one block_on
        let mut all = vec![];
        runtime.block_on(async { let mut staged = StagedState::default(); for _ in 0..2000 { let t = Instant::now(); for _ in 0..100 { session.run(&delivery, &mut staged).await; } all.push(t.elapsed().as_nanos() as f64 / 100.0);} });
        all.sort_by(f64::total_cmp); println!("run warm: min {:.0}, 10% {:.0} median {:.0}", all[0], all[200], all[1000]);
        let mut instance = session.warm.take().unwrap();
        let mut all = vec![];
        runtime.block_on(async { for _ in 0..2000 { let t = Instant::now(); for _ in 0..100 { 
            let headers = borrowed_headers(&delivery);
            instance.handler.as_ref().unwrap().wasmill_handler_handler().call_handle(&mut instance.store, borrowed(&delivery, &headers)).await.unwrap().unwrap();
            instance.store.set_fuel(1_000_000).unwrap();
            instance.store.fuel_async_yield_interval(Some(100_000)).unwrap();
             } all.push(t.elapsed().as_nanos() as f64 / 100.0);} });
        all.sort_by(f64::total_cmp); println!("raw call: min {:.0}, 10% {:.0} median {:.0}", all[0], all[200], all[1000]);
        let mut l2 = limits; l2.instance_calls_max = 1;
        let mut session = Session::new(program, context(l2));
        let mut all = vec![];
        runtime.block_on(async { let mut staged = StagedState::default(); for _ in 0..2000 { let t = Instant::now(); for _ in 0..10 { session.run(&delivery, &mut staged).await; } all.push(t.elapsed().as_nanos() as f64 / 10.0);} });
        all.sort_by(f64::total_cmp); println!("run fresh: min {:.0}, 10% {:.0} median {:.0}", all[0], all[200], all[1000]);
    }
}
