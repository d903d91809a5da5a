//! The one thread that owns the engine and the store.
//!
//! It takes what waits ([`crate::inbox`]), steps the engine once, has the writes made durable in one commit, and only then
//! lets answers and leases out. While it commits, the next commands gather: that is the group commit.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use wasmill_delivery::{
    effect::{Effect, OrderReceipt, OrderRefusal, PublishRefusal, Receipt, SettleAnswer},
    engine::Engine,
    input::{AttemptResult, Input, Lease, Order, Settlement, Ticket},
    name::{ConsumerId, QueueId, Sequence},
    outcome::Outcome,
    record::{AttemptRecord, DelayedKey, PauseReason},
    time::Timestamp,
    write::Write,
};
use wasmill_sandbox::Clock;
use wasmill_store::{Reader, Store, StoreError};

use crate::{
    embedded::find_delivery,
    inbox::{Command, Inbox, LeaseAnswer, LeasesHeld, Query, Reply},
    jobs::JobWaits,
    observer::{Commit, Observer},
    request::Replies,
    simulated::CommitWatch,
};

/// When nobody asked for anything for so long, the store goes on to sweep what was deleted, one commit after each.
const QUIET_BEFORE_SWEEPING: Duration = Duration::from_millis(20);

/// What the pump shares with the rest of the host.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) inbox: Arc<Inbox>,
    /// The revision that is durable, for readers of state.
    pub(crate) revision: AtomicU64,
    next_ticket: AtomicU64,
    /// Who waits for replies.
    pub(crate) replies: Arc<Replies>,
    /// Who waits for jobs to end.
    pub(crate) jobs: Arc<JobWaits>,
    /// Why the pump stopped, when it was not asked to.
    pub(crate) failure: OnceLock<String>,
}

impl Shared {
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.next_ticket.fetch_add(1, Ordering::Relaxed))
    }

    /// The pump has stopped: by itself, when it ended with an error.
    fn stopped(&self, ended: Result<(), StoreError>) {
        if let Err(error) = ended {
            tracing::error!(%error, "the store failed; the host stops, and nothing that was answered is lost");
            let _ = self.failure.set(error.to_string());
        }
        // Dropping what was left tells everybody who waits that there will be no answer.
        drop(self.inbox.close());
    }
}

/// Who waits for what.
#[derive(Default)]
struct Waiting {
    publishes: HashMap<Ticket, Reply<Vec<Result<Receipt, PublishRefusal>>>>,
    leases: HashMap<Ticket, Reply<LeaseAnswer>>,
    settles: HashMap<Ticket, Reply<Vec<SettleAnswer>>>,
    orders: HashMap<Ticket, Reply<Result<OrderReceipt, OrderRefusal>>>,
}

/// What one look in the inbox brought.
#[derive(Default)]
struct Batch {
    inputs: Vec<Input>,
    queries: Vec<Query>,
    stop: bool,
}

/// See the module.
pub(crate) struct Pump {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store,
    pub(crate) observer: Arc<dyn Observer>,
    reader: Reader,
    waiting: Waiting,
    /// What the engine asked for and gets in its next step.
    asked_for: Vec<Input>,
    /// Queues whose log could not be read, with the reason.
    damaged: Vec<(QueueId, String)>,
    clock: Clock,
    /// Who looks at each commit, in a test.
    watch: Option<Box<dyn CommitWatch>>,
}

impl Pump {
    pub(crate) fn new(shared: Arc<Shared>, store: Store, observer: Arc<dyn Observer>) -> Self {
        let reader = store.reader();
        Self {
            shared,
            store,
            observer,
            reader,
            waiting: Waiting::default(),
            asked_for: Vec::new(),
            damaged: Vec::new(),
            clock: Clock::default(),
            watch: None,
        }
    }

    /// Under this clock, with somebody who looks at each commit.
    pub(crate) fn simulated(self, clock: Clock, watch: Box<dyn CommitWatch>) -> Self {
        Self { clock, watch: Some(watch), ..self }
    }

    /// As [`Self::run`], as a task instead of a thread.
    pub(crate) async fn run_as_task(mut self, mut engine: Engine) {
        let shared = Arc::clone(&self.shared);
        let ended = loop {
            let due = match self.asked_for.is_empty() {
                true => engine.next_due(),
                false => Some(self.clock.now()),
            };
            let commands = tokio::select! {
                biased;
                commands = shared.inbox.taken() => commands,
                () = sleep_until(self.clock, due) => Vec::new(),
            };
            match self.round(engine, commands) {
                Ok((next, false)) => engine = next,
                Ok((_, true)) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        shared.stopped(ended);
    }

    /// Run until told to stop or until a commit fails.
    pub(crate) fn run(mut self, engine: Engine) {
        let ended = self.turn(engine);
        self.shared.stopped(ended);
    }

    fn turn(&mut self, mut engine: Engine) -> Result<(), StoreError> {
        loop {
            let wait = match self.asked_for.is_empty() {
                true => engine.next_due().map(|due| Duration::from_millis(due.ms_since(self.clock.now()))),
                false => Some(Duration::ZERO),
            };
            let commands = self.take(wait)?;
            let (next, stop) = self.round(engine, commands)?;
            if stop {
                return Ok(());
            }
            engine = next;
        }
    }

    /// Take what is asked for, once there is something or the time is over. While nothing is, the store sweeps what was deleted.
    fn take(&mut self, wait: Option<Duration>) -> Result<Vec<Command>, StoreError> {
        let started = Instant::now();
        loop {
            let rest = wait.map(|wait| wait.saturating_sub(started.elapsed()));
            if !self.store.is_sweeping() || rest.is_some_and(|rest| rest <= QUIET_BEFORE_SWEEPING) {
                return Ok(self.shared.inbox.take(rest));
            }
            let commands = self.shared.inbox.take(Some(QUIET_BEFORE_SWEEPING));
            if !commands.is_empty() {
                return Ok(commands);
            }
            self.store.commit(&[])?;
        }
    }

    /// One step with what was taken. Answers whether it was the last.
    fn round(&mut self, mut engine: Engine, commands: Vec<Command>) -> Result<(Engine, bool), StoreError> {
        let mut batch = self.sort(commands);
        batch.inputs.append(&mut self.asked_for);
        for (queue, detail) in self.damaged.drain(..) {
            let reason = PauseReason::Store { detail };
            let pauses = engine.consumers().filter(|view| view.record.queue == queue).map(|view| {
                let order = Order::Pause { consumer: view.record.id, reason: reason.clone() };
                Input::Order { ticket: self.shared.ticket(), order }
            });
            batch.inputs.splice(0..0, pauses);
        }
        engine = self.step(engine, batch.inputs)?;
        for query in batch.queries {
            query(&engine);
        }
        Ok((engine, batch.stop))
    }

    fn step(&mut self, engine: Engine, inputs: Vec<Input>) -> Result<Engine, StoreError> {
        let mut commit = None;
        let (store, watch) = (&mut self.store, &mut self.watch);
        if let Some(watch) = watch {
            for input in &inputs {
                if let Input::Settle { settlements, .. } = input {
                    watch.settling(settlements);
                }
            }
        }
        let (engine, effects) = engine.tick(self.clock.now(), inputs, |writes| {
            let started = Instant::now();
            watch.as_mut().map_or(Ok(()), |watch| watch.before(writes))?;
            store.commit(writes)?;
            watch.as_mut().map_or(Ok(()), |watch| watch.after(writes))?;
            commit = Some((started.elapsed(), appended(writes)));
            Ok(())
        })?;
        self.shared.revision.store(engine.revision().0, Ordering::Release);
        for effect in effects {
            self.release(effect);
        }
        if let Some((duration, appended)) = commit {
            self.report(&engine, duration, &appended);
        }
        Ok(engine)
    }

    fn sort(&mut self, commands: Vec<Command>) -> Batch {
        let mut batch = Batch { inputs: Vec::with_capacity(commands.len()), ..Batch::default() };
        for command in commands {
            match command {
                Command::Publish { entries, reply } => {
                    let ticket = self.shared.ticket();
                    self.waiting.publishes.insert(ticket, reply);
                    batch.inputs.push(Input::Publish { ticket, entries });
                }
                Command::Lease { ticket, consumer, deliveries_max, reply } => {
                    self.waiting.leases.insert(ticket, reply);
                    batch.inputs.push(Input::Lease { ticket, consumer, deliveries_max });
                }
                Command::CancelLease { ticket, consumer } => {
                    self.waiting.leases.remove(&ticket);
                    batch.inputs.push(Input::CancelLease { ticket, consumer });
                }
                Command::Settle { consumer, settlements, reply } => {
                    let ticket = self.shared.ticket();
                    self.waiting.settles.insert(ticket, reply);
                    batch.inputs.push(Input::Settle { ticket, consumer, settlements });
                }
                Command::Return { consumer, leases } => batch.inputs.push(Input::Return { consumer, leases }),
                Command::Order { order, reply } => {
                    let ticket = self.shared.ticket();
                    self.waiting.orders.insert(ticket, reply);
                    batch.inputs.push(Input::Order { ticket, order });
                }
                Command::Query(query) => batch.queries.push(query),
                Command::Stop => batch.stop = true,
            }
        }
        batch
    }

    /// Carry out one effect. Somebody who does not wait any more is not an error.
    fn release(&mut self, effect: Effect) {
        match effect {
            Effect::Published { ticket, answers } => answer(&mut self.waiting.publishes, ticket, answers),
            Effect::Leased { ticket, consumer, queue, leases } => {
                // Dropped anywhere on the way, the leases go back by themselves.
                let held = LeasesHeld { inbox: Arc::clone(&self.shared.inbox), consumer, queue, leases };
                answer(&mut self.waiting.leases, ticket, Some(held));
            }
            Effect::LeaseEnded { ticket } => answer(&mut self.waiting.leases, ticket, None),
            Effect::Settled { ticket, answers } => answer(&mut self.waiting.settles, ticket, answers),
            Effect::Ordered { ticket, answer: result } => answer(&mut self.waiting.orders, ticket, result),
            Effect::Paused { consumer, reason } => {
                tracing::warn!(consumer = consumer.0, ?reason, "a consumer is paused");
            }
            Effect::Resumed { consumer, reason } => {
                tracing::info!(consumer = consumer.0, ?reason, "a consumer goes on");
            }
            Effect::Read { queue, from, limit } => self.read_log(queue, from, limit),
            Effect::ReadDelayed { keys } => self.read_delayed(&keys),
            Effect::Crashed { consumer, queue, leases } => self.settle_crashed(consumer, queue, &leases),
            Effect::JobEnded { id, state } => {
                self.observer.job_ended(state);
                self.shared.jobs.ended(&id);
            }
            Effect::Reply { message } => self.shared.replies.give(message),
        }
    }

    /// Messages that a consumer with an order looks at. When they cannot be read, the consumers of the queue are paused.
    fn read_log(&mut self, queue: QueueId, from: Sequence, limit: usize) {
        let messages = match self.reader.log_page(queue, from, limit) {
            Ok(messages) => messages,
            Err(error) => {
                tracing::error!(queue = queue.0, %error, "messages of a log cannot be read");
                self.damaged.push((queue, error.to_string()));
                Vec::new()
            }
        };
        self.asked_for.push(Input::Messages { queue, from, messages });
    }

    /// Messages whose time has come. Those that cannot be read are asked for again later.
    fn read_delayed(&mut self, keys: &[DelayedKey]) {
        let read = |key: &DelayedKey| match self.reader.delayed(*key) {
            Ok(entry) => entry.map(|entry| (*key, entry)),
            Err(error) => {
                tracing::error!(%error, "a delayed message cannot be read");
                None
            }
        };
        let entries = keys.iter().filter_map(read).collect();
        self.asked_for.push(Input::Delayed { entries });
    }

    /// Deliveries that ran alone when the host stopped: that is an attempt, and it failed.
    fn settle_crashed(&mut self, consumer: ConsumerId, queue: QueueId, leases: &[Lease]) {
        for lease in leases {
            let sequence = lease.sequence.0;
            let (message, earlier) = match find_delivery(&self.reader, consumer, queue, lease) {
                Ok(Some(found)) => found,
                Ok(None) => {
                    self.asked_for.push(Input::Return { consumer, leases: vec![*lease] });
                    continue;
                }
                Err(error) => {
                    tracing::error!(consumer = consumer.0, sequence, %error, "a delivery cannot be read");
                    self.asked_for.push(Input::Return { consumer, leases: vec![*lease] });
                    continue;
                }
            };
            tracing::warn!(consumer = consumer.0, sequence, message = %message.id, "the host stopped while this ran alone");
            let record = AttemptRecord::without_sandbox(lease.attempt, self.clock.now(), Outcome::HostCrash);
            let result = AttemptResult::Failed(record);
            let settlement = Settlement { lease: *lease, message, earlier, result, capsule: None };
            let ticket = self.shared.ticket();
            self.asked_for.push(Input::Settle { ticket, consumer, settlements: vec![settlement] });
        }
    }

    fn report(&self, engine: &Engine, duration: Duration, appended: &[(QueueId, u64)]) {
        self.observer.committed(&Commit { duration });
        for (queue, messages) in appended {
            if let Some(name) = engine.queue_name(*queue) {
                self.observer.published(name, *messages);
            }
        }
    }
}

/// Until something is due; for ever, when nothing is.
async fn sleep_until(clock: Clock, due: Option<Timestamp>) {
    match due {
        Some(due) => tokio::time::sleep_until(clock.instant_of(due)).await,
        None => std::future::pending().await,
    }
}

fn answer<T>(waiting: &mut HashMap<Ticket, Reply<T>>, ticket: Ticket, value: T) {
    if let Some(reply) = waiting.remove(&ticket) {
        let _ = reply.send(value);
    }
}

fn appended(writes: &[Write]) -> Vec<(QueueId, u64)> {
    let mut appended = Vec::new();
    for write in writes {
        if let Write::Append { queue, messages, .. } = write {
            appended.push((*queue, messages.len() as u64));
        }
    }
    appended
}
