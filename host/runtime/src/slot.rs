//! One worker slot of a consumer: lease a run, try each delivery of it, settle the run, and again.
//!
//! The next run is leased while this one is tried, and a run is settled while the next one is tried, so that
//! neither the sandbox waits for the disk nor the disk for the sandbox.

mod batch;
mod halving;

use std::{
    collections::{BTreeSet, VecDeque},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tracing::Instrument as _;
use wasmill_delivery::{
    effect::SettleAnswer,
    input::{AttemptResult, PublishEntry},
    message::Message,
    name::{ConsumerId, ConsumerName, HandlerName, KeyHash, QueueName, Sequence},
    outcome::Outcome,
    record::{AttemptRecord, ConsumerConfig, DeliveryOrder, PauseReason},
    time::Timestamp,
};
use wasmill_sandbox::{Delivery, Session, StagedState};
use wasmill_store::StoreError;

use crate::{
    broker::{Broker, Leased, Settled},
    error::HostError,
    observer::{AttemptSeen, Observer, SettleSeen},
    registry::{Registry, Slot as HandlerSlot, Version},
    release::{Sessions, TrialNotes},
};

use batch::BATCH_DELIVERIES_MAX;

/// A run is made so long that trying it takes about this: long enough to share a commit, short enough that other
/// slots are not left idle.
const RUN_TARGET: Duration = Duration::from_millis(5);
/// The longest run, however quick the handler is.
const RUN_DELIVERIES_MAX: u32 = 512;
/// The first run, before it is known how quick the handler is.
const RUN_DELIVERIES_FIRST: u32 = 16;
/// Runs that are being settled while further ones are tried.
const SETTLING_MAX: usize = 4;
/// A slot without work for so long lets its instance go.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// The consumer that a slot works for.
pub(crate) struct Worked {
    pub(crate) id: ConsumerId,
    pub(crate) queue: QueueName,
    pub(crate) name: ConsumerName,
    pub(crate) handler: HandlerName,
    pub(crate) config: ConsumerConfig,
}

type LeaseFuture<B> = Pin<Box<dyn Future<Output = Result<Option<<B as Broker>::Run>, HostError>> + Send>>;
/// Runs that were asked for, and are tried in this order.
type Leases<B> = VecDeque<LeaseFuture<B>>;
type SettleFuture = Pin<Box<dyn Future<Output = Result<Vec<SettleAnswer>, HostError>> + Send>>;

/// See the module.
pub(crate) struct Slot<B: Broker> {
    broker: Arc<B>,
    registry: Arc<Registry>,
    observer: Arc<dyn Observer>,
    worked: Arc<Worked>,
    queue: QueueName,
    consumer: ConsumerName,
    stop: watch::Receiver<bool>,
    sessions: Sessions,
    run_deliveries_max: u32,
    settling: VecDeque<Settling>,
}

/// A run that was handed to the broker.
struct Settling {
    /// Each delivery's place in the queue.
    sequences: Vec<Sequence>,
    outcomes: Vec<&'static str>,
    trial: Option<TrialNotes>,
    answers: SettleFuture,
}

/// What trying a run brought.
struct Tried<T> {
    settled: Vec<Settled<T>>,
    trial: Option<TrialNotes>,
    wrote_state: bool,
}

impl<B: Broker> Slot<B> {
    pub(crate) fn new(
        broker: Arc<B>,
        registry: Arc<Registry>,
        observer: Arc<dyn Observer>,
        worked: Arc<Worked>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            broker,
            registry,
            observer,
            queue: worked.queue.unshared(),
            consumer: worked.name.unshared(),
            worked,
            stop,
            sessions: Sessions::default(),
            run_deliveries_max: RUN_DELIVERIES_FIRST,
            settling: VecDeque::new(),
        }
    }

    /// Work until told to stop or the consumer is gone. What is under way then is finished and settled.
    pub(crate) async fn work(mut self) {
        if let Err(error) = self.turn().await {
            let (consumer, queue) = (&self.worked.name, &self.worked.queue);
            if !matches!(error, HostError::Stopped { .. }) {
                tracing::error!(%consumer, %queue, %error, "a worker stops");
            }
        }
    }

    async fn turn(&mut self) -> Result<(), HostError> {
        let mut leases = VecDeque::new();
        while let Some(run) = self.next_run(&mut leases).await? {
            let Some(version) = self.version().await? else {
                leases.clear();
                continue;
            };
            while leases.len() < self.leases_ahead(run.size_hint().0) {
                leases.push_back(self.lease());
            }
            let tried = self.try_run(&version, run, &mut leases).await;
            // What was asked for when the handler was quicker.
            leases.truncate(self.leases_ahead(RUN_DELIVERIES_MAX as usize));
            self.settle(tried).await?;
        }
        drop(leases);
        self.settled_all().await
    }

    /// How many runs to ask for while one of so many deliveries is tried. A quick handler gets its next one meanwhile; behind a
    /// slow one that would wait, though another slot may be idle. Whoever asks comes late for the commit that begins now and gets
    /// its run after the one that follows, so where there are longest runs to be had, two are on their way.
    const fn leases_ahead(&self, deliveries: usize) -> usize {
        match self.run_deliveries_max {
            ..RUN_DELIVERIES_FIRST => 0,
            RUN_DELIVERIES_MAX.. if deliveries >= RUN_DELIVERIES_MAX as usize => 2,
            RUN_DELIVERIES_FIRST.. => 1,
        }
    }

    fn lease(&self) -> LeaseFuture<B> {
        Box::pin(self.broker.lease(self.worked.id, self.run_deliveries_max))
    }

    /// The next run; none when the slot is to stop. Letting a lease wait go gives back what it would have got.
    async fn next_run(&mut self, leases: &mut Leases<B>) -> Result<Option<B::Run>, HostError> {
        loop {
            if leases.is_empty() {
                leases.push_back(self.lease());
            }
            if *self.stop.borrow_and_update() {
                return Ok(None);
            }
            tokio::select! {
                biased;
                changed = self.stop.changed() => if changed.is_err() { return Ok(None) },
                answers = first_answers(&mut self.settling) => self.seen_first(answers?),
                run = leases[0].as_mut() => {
                    leases.pop_front();
                    match run {
                        Err(HostError::Store(error)) => {
                            // What comes behind the damage must not run before it is mended.
                            leases.clear();
                            self.pause_for_damage(&error).await?;
                        }
                        run => return run,
                    }
                }
                () = tokio::time::sleep(IDLE_MAX), if !self.sessions.is_empty() => {
                    self.settled_all().await?;
                    self.sessions.clear();
                }
            }
        }
    }

    /// A run that cannot be read pauses the consumer: a message is damaged, and running others first would hide it.
    /// Whoever mended it resumes the consumer.
    async fn pause_for_damage(&mut self, error: &StoreError) -> Result<(), HostError> {
        let (consumer, queue) = (&self.worked.name, &self.worked.queue);
        tracing::error!(%consumer, %queue, %error, "paused: a message cannot be read");
        self.broker.pause(self.worked.id, PauseReason::Store { detail: error.to_string() }).await
    }

    /// The version to run. When there is none the consumer is paused, for its messages are not at fault.
    async fn version(&mut self) -> Result<Option<Arc<Version>>, HostError> {
        let mut slot = self.registry.watch(&self.worked.handler);
        let found = slot.wait_for(|slot| !matches!(slot, HandlerSlot::Loading)).await.map(|slot| slot.clone());
        let problem = match found {
            Ok(HandlerSlot::Ready(version)) => return Ok(Some(version)),
            Ok(HandlerSlot::Broken(problem)) => problem,
            Ok(HandlerSlot::Loading) | Err(_) => "the handler was removed".to_owned(),
        };
        let (consumer, queue, handler) = (&self.worked.name, &self.worked.queue, &self.worked.handler);
        tracing::warn!(%consumer, %queue, %handler, problem, "paused: the handler cannot run");
        self.broker.pause(self.worked.id, PauseReason::Handler { detail: problem }).await?;
        Ok(None)
    }

    /// `ahead` are the leases of the next runs, which are let go when this one turns out to be slow.
    async fn try_run(&mut self, version: &Arc<Version>, run: B::Run, ahead: &mut Leases<B>) -> Tried<B::Token> {
        let mut staged = StagedState::default();
        let settled = Vec::with_capacity(run.size_hint().0);
        let mut tried = Tried { settled, trial: TrialNotes::of(version), wrote_state: false };
        let started = Instant::now();
        let mut run = Some(run);
        if version.some_take_batches() {
            if let Some(run) = run {
                let parts = self.try_parts(version, run, &mut staged, &mut tried);
                unless_slow(pin!(parts), (&mut None::<B::Run>, &mut *ahead)).await;
            }
            // A full call at least, and as many as share a commit when they are quick.
            self.adapt(started.elapsed(), tried.settled.len());
            self.run_deliveries_max = self.run_deliveries_max.max(BATCH_DELIVERIES_MAX);
            return tried;
        }
        let mut session = self.sessions.take(version);
        let mut held = Held::new(self.worked.config.order);
        while let Some(leased) = run.as_mut().and_then(Iterator::next) {
            if held.must_wait(&leased.message) {
                self.broker.give_back(self.worked.id, vec![leased.token]);
                continue;
            }
            let other = version.other_for(&self.registry, &leased.message, &leased.earlier).await;
            let waiting = (&mut run, &mut *ahead);
            let settled = match &other {
                None => unless_slow(pin!(self.try_one(&mut session, &mut staged, leased)), waiting).await,
                Some(other) => {
                    let mut session = self.sessions.take(other);
                    let settled = unless_slow(pin!(self.try_one(&mut session, &mut staged, leased)), waiting).await;
                    self.sessions.put(Arc::clone(other), session, version);
                    settled
                }
            };
            if let Some(trial) = &mut tried.trial {
                let chosen = other.as_ref().unwrap_or(version);
                trial.sides.push(version.note_attempt(chosen, &settled.result, &settled.earlier));
            }
            tried.wrote_state |= wrote_state(&settled.result);
            held.note(&settled);
            tried.settled.push(settled);
            if started.elapsed() > RUN_TARGET * 2 || *self.stop.borrow() {
                break;
            }
        }
        self.sessions.put(Arc::clone(version), session, version);
        // Whatever was not tried goes back with the rest of the run.
        drop(run);
        self.adapt(started.elapsed(), tried.settled.len());
        tried
    }

    async fn try_one(
        &mut self,
        session: &mut Session,
        staged: &mut StagedState,
        leased: Leased<B::Token>,
    ) -> Settled<B::Token> {
        if let Some(now) = self.too_late_for(&leased.message) {
            return expired(leased, now);
        }
        let delivery = self.delivery(&leased);
        // Nobody asks for it as a rule: then no field is looked at.
        let span = tracing::debug_span!(
            "process",
            otel.name = %format_args!("process {}", self.worked.queue),
            otel.kind = "CONSUMER",
            messaging.system = "wasmill",
            messaging.operation.name = "process",
            messaging.operation.type = "process",
            messaging.destination.name = %self.worked.queue,
            messaging.consumer.group.name = %self.worked.name,
            messaging.message.id = %delivery.message.id,
            messaging.message.body.size = delivery.message.data.len(),
            wasmill.handler.name = %self.worked.handler,
            wasmill.delivery.attempt = delivery.attempt,
        );
        let attempt = pin!(session.run(&delivery, staged)).instrument(span).await;
        self.observer.attempted(&AttemptSeen {
            queue: &self.worked.queue,
            consumer: &self.worked.name,
            handler: &self.worked.handler,
            outcome: attempt.result.outcome(),
            duration_us: attempt.duration_us,
            fuel_used: attempt.fuel_used,
            memory_bytes_peak: attempt.memory_bytes_peak,
            message: &delivery.message,
            attempt: delivery.attempt,
            log: &attempt.log,
            place_in_call: 0,
            sequence: delivery.sequence,
            published: published(&attempt.result),
        });
        Settled { capsule: attempt.capsule, ..settled(leased, attempt.result) }
    }

    /// The time now, when the message has expired.
    fn too_late_for(&self, message: &Message) -> Option<Timestamp> {
        message.expires_at?;
        Some(self.registry.clock().now()).filter(|now| message.is_expired(*now))
    }

    fn delivery(&self, leased: &Leased<B::Token>) -> Delivery {
        Delivery {
            message: Arc::clone(&leased.message),
            queue: self.queue.clone(),
            consumer: self.consumer.clone(),
            sequence: leased.sequence.original(),
            attempt: leased.attempt,
            attempts_max: self.worked.config.attempts_max,
        }
    }

    /// Choose the length of the next runs by what this one took.
    fn adapt(&mut self, took: Duration, deliveries: usize) {
        let each_ns = took.as_nanos() / deliveries.max(1) as u128;
        let fit = RUN_TARGET.as_nanos() / each_ns.max(1);
        let fit = u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, RUN_DELIVERIES_MAX);
        // Twice as long at most, so that one quick run does not make a long queue for one slot.
        self.run_deliveries_max = fit.min(self.run_deliveries_max.saturating_mul(2));
    }

    async fn settle(&mut self, tried: Tried<B::Token>) -> Result<(), HostError> {
        let sequences = tried.settled.iter().map(|settled| settled.sequence).collect();
        let outcomes = tried.settled.iter().map(|settled| settled.result.outcome().name()).collect();
        let answers = Box::pin(self.broker.settle(self.worked.id, tried.settled));
        self.settling.push_back(Settling { sequences, outcomes, trial: tried.trial, answers });
        if tried.wrote_state {
            // The next run must see what this one stored.
            return self.settled_all().await;
        }
        while self.settling.len() > SETTLING_MAX {
            self.settled_first().await?;
        }
        Ok(())
    }

    async fn settled_all(&mut self) -> Result<(), HostError> {
        while !self.settling.is_empty() {
            self.settled_first().await?;
        }
        Ok(())
    }

    async fn settled_first(&mut self) -> Result<(), HostError> {
        let answers = first_answers(&mut self.settling).await?;
        self.seen_first(answers);
        Ok(())
    }

    fn seen_first(&mut self, answers: Vec<SettleAnswer>) {
        let Some(Settling { sequences, outcomes, trial, .. }) = self.settling.pop_front() else { return };
        if let Some(trial) = trial {
            trial.settled(&outcomes, &answers);
        }
        for ((outcome, sequence), answer) in outcomes.into_iter().zip(sequences).zip(answers) {
            self.observer.settled(&SettleSeen {
                queue: &self.worked.queue,
                consumer: &self.worked.name,
                sequence,
                handler: Some(&self.worked.handler),
                outcome,
                answer: &answer,
            });
        }
    }
}

/// Wait for an attempt. One that takes long, as one that waits for something outside, lets go of what its slot has leased
/// besides, so that other slots can try it meanwhile.
///
/// It takes the attempt pinned, because an attempt is kilobytes and would be copied twice on its way in here.
async fn unless_slow<T, R: Iterator, L>(
    mut attempt: Pin<&mut impl Future<Output = T>>,
    (run, ahead): (&mut Option<R>, &mut VecDeque<L>),
) -> T {
    // Most attempts never wait, and pay for no timer.
    if let Poll::Ready(tried) = poll_fn(|context| Poll::Ready(attempt.as_mut().poll(context))).await {
        return tried;
    }
    let has_more = run.as_ref().is_some_and(|run| run.size_hint().0 > 0) || !ahead.is_empty();
    if has_more {
        if let Ok(tried) = tokio::time::timeout(RUN_TARGET * 2, attempt.as_mut()).await {
            return tried;
        }
        *run = None;
        ahead.clear();
    }
    attempt.await
}

/// What a run holds back: after a failure, nothing that is ordered behind it may be tried.
struct Held {
    order: DeliveryOrder,
    failed: BTreeSet<KeyHash>,
}

impl Held {
    const fn new(order: DeliveryOrder) -> Self {
        Self { order, failed: BTreeSet::new() }
    }

    fn ordered_by(&self, message: &Message) -> Option<KeyHash> {
        self.order.group(message.key_hash())
    }

    fn must_wait(&self, message: &Message) -> bool {
        !self.failed.is_empty() && self.ordered_by(message).is_some_and(|hash| self.failed.contains(&hash))
    }

    fn note<T>(&mut self, settled: &Settled<T>) {
        if matches!(settled.result, AttemptResult::Failed(_)) {
            self.failed.extend(self.ordered_by(&settled.message));
        }
    }
}

fn expired<T>(leased: Leased<T>, now: Timestamp) -> Settled<T> {
    let record = AttemptRecord::without_sandbox(leased.attempt, now, Outcome::Expired);
    settled(leased, AttemptResult::Failed(record))
}

fn settled<T>(leased: Leased<T>, result: AttemptResult) -> Settled<T> {
    let Leased { token, message, sequence, earlier, .. } = leased;
    Settled { token, message, sequence: sequence.original(), earlier, result, capsule: None }
}

/// What an attempt published, as far as it may come into being.
fn published(result: &AttemptResult) -> &[PublishEntry] {
    match result {
        AttemptResult::Succeeded(effects) => &effects.published,
        AttemptResult::SucceededWithNext | AttemptResult::Failed(_) => &[],
    }
}

/// The answers to the run that was handed in first; never, when there is none.
async fn first_answers(settling: &mut VecDeque<Settling>) -> Result<Vec<SettleAnswer>, HostError> {
    match settling.front_mut() {
        Some(first) => first.answers.as_mut().await,
        None => std::future::pending().await,
    }
}

fn wrote_state(result: &AttemptResult) -> bool {
    match result {
        AttemptResult::Succeeded(effects) => !effects.state.writes.is_empty(),
        AttemptResult::SucceededWithNext => false,
        AttemptResult::Failed(record) => {
            debug_assert!(record.outcome != Outcome::Success, "a failure that is a success");
            false
        }
    }
}
