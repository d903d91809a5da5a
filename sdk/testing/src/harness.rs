//! A handler on a host of its own, under a clock that only the test moves.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::runtime::Runtime;
use wasmill_delivery::{
    engine::EngineLimits,
    limits::DATA_BYTES_MAX_DEFAULT,
    name::{ConsumerName, MessageId, QueueName},
    record::{Binding, ConsumerConfig, QuarantineRecord, QueueConfig},
    time::Timestamp,
    topic::TopicPattern,
};
use wasmill_runtime::{
    Draft, Durability, HostError, StoreOptions,
    simulated::{Clock, Program, Progress, SentRequest, SimulatedHandler, SimulatedHost, SimulatedOptions, Simulation},
};

use crate::{
    capsule::Capsule,
    ends::Ends,
    error::HarnessError,
    folder,
    http::Plan,
    loader::Loader,
    notes::{Attempt, NoteTaker, Published, handler_name},
    quiet::Quiet,
    settings::Settings,
};

/// A test whose deliveries are not all settled after so long, by its own clock, has ended without an end: 30 days.
pub const IDLE_WITHIN_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Attempts of a test with up to a hundred messages, and a hundred for each of more; with more it has no end.
pub const ATTEMPTS_MAX: u64 = 10_000;

/// See the crate.
pub struct Harness {
    loader: Loader,
    program: Arc<Program>,
    settings: Settings,
    notes: NoteTaker,
    /// Messages that it named.
    named: u64,
    /// How often the host was started.
    starts: u64,
    /// Dropped in this order: the tasks first, then what they worked on.
    running: Option<Running>,
    folder: tempfile::TempDir,
}

struct Running {
    host: SimulatedHost,
    runtime: Runtime,
    clock: Clock,
    quiet: Quiet,
}

/// How far a test is to come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// To this time, and what is due then is still to happen.
    Reached,
    /// Through this time: what is due then has happened.
    Passed,
    /// To where nothing is left that would happen by itself, if that comes before this time has passed.
    Idle,
}

/// How far a test came.
enum Turn {
    /// Time may go on.
    GoesOn,
    /// Its time is over, and all has happened that was due by then.
    Over,
    /// Nothing is left that would happen by itself.
    Idle,
}

impl Harness {
    /// A host with this handler, waiting for messages.
    ///
    /// # Errors
    /// When a setting is out of its range, or there is no room for a temporary folder.
    ///
    /// # Panics
    /// When it is called within an asynchronous task: it waits by itself.
    pub fn new(loader: &Loader, program: Arc<Program>, settings: Settings) -> Result<Self, HarnessError> {
        let folder = folder::make()?;
        let notes = NoteTaker::default();
        notes.notes().crash_at = settings.crash_at;
        let starts_at = settings.starts_at;
        notes.notes().last_event = starts_at;
        notes.notes().attempts_max = ATTEMPTS_MAX;
        let mut harness =
            Self { loader: loader.clone(), program, settings, notes, named: 0, starts: 0, running: None, folder };
        harness.start(starts_at)?;
        Ok(harness)
    }

    /// Answer requests of the handler so, after what was planned before.
    pub fn plan_http(&self, plan: Plan) {
        self.notes.http.add(plan);
    }

    /// Publish a message now. It gets an id when it has none: `message-1` and so on.
    ///
    /// # Errors
    /// When it breaks a rule, or the host stops.
    pub fn publish(&mut self, draft: Draft) -> Result<(), HarnessError> {
        self.publish_all(vec![draft])
    }

    /// Publish messages now, in one commit.
    ///
    /// # Errors
    /// When one of them breaks a rule, or the host stops.
    pub fn publish_all(&mut self, mut drafts: Vec<Draft>) -> Result<(), HarnessError> {
        for draft in &mut drafts {
            self.named += 1;
            draft.id.get_or_insert_with(|| format!("message-{}", self.named));
        }
        self.notes.notes().attempts_max = ATTEMPTS_MAX.max(self.named.saturating_mul(100));
        loop {
            let Running { host, runtime, .. } = self.running();
            let answers = match runtime.block_on(host.publish(drafts.clone())) {
                // As a publisher does that got no answer: again, with the same ids.
                Err(error) => {
                    self.start_again(error)?;
                    continue;
                }
                Ok(answers) => answers,
            };
            for (draft, answer) in drafts.into_iter().zip(answers) {
                let message = draft.id.unwrap_or_default();
                if let Ok(id) = MessageId::new(message.clone()) {
                    self.notes.notes().given.insert(id);
                }
                answer.map_err(|problem| HarnessError::Publish { message, problem })?;
            }
            return Ok(());
        }
    }

    /// Let time pass, and all happen that happens meanwhile, what is due at its end too.
    ///
    /// # Errors
    /// When the host stops, or there is no end of attempts.
    pub fn advance(&mut self, time: Duration) -> Result<(), HarnessError> {
        let until = self.now().plus_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.run_to(until, Goal::Passed).map(drop)
    }

    /// As [`Self::advance`], but what the test does then comes before what is due then.
    pub(crate) fn advance_before(&mut self, time: Duration) -> Result<(), HarnessError> {
        let until = self.now().plus_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.run_to(until, Goal::Reached).map(drop)
    }

    /// Let time pass until nothing is left that would happen by itself. Answers whether that came within this time.
    ///
    /// # Errors
    /// When the host stops, or there is no end of attempts.
    pub fn run_until_idle_within(&mut self, time: Duration) -> Result<bool, HarnessError> {
        let until = self.now().plus_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.run_to(until, Goal::Idle)
    }

    /// Let time pass until nothing is left that would happen by itself.
    ///
    /// # Errors
    /// When that does not come within [`IDLE_WITHIN_MAX`], or the host stops.
    pub fn run_until_idle(&mut self) -> Result<(), HarnessError> {
        if self.run_until_idle_within(IDLE_WITHIN_MAX)? {
            return Ok(());
        }
        let days = IDLE_WITHIN_MAX.as_secs() / 86_400;
        Err(HarnessError::Endless {
            what: format!("after {days} days of the test's clock there is still something to do"),
        })
    }

    fn run_to(&mut self, until: Timestamp, goal: Goal) -> Result<bool, HarnessError> {
        loop {
            let Running { host, runtime, clock, quiet } = self.running();
            // What is due at once again and again leaves no time to look at it from outside.
            let turn = runtime.block_on(async {
                tokio::select! {
                    biased;
                    turn = turn(host, quiet, *clock, until, goal) => Some(turn),
                    () = self.notes.too_many() => None,
                }
            });
            match turn {
                Some(Err(error)) => self.start_again(error)?,
                Some(Ok(Turn::Idle)) => return Ok(true),
                Some(Ok(Turn::Over)) => return Ok(false),
                Some(Ok(Turn::GoesOn)) => {}
                None => {
                    let what = format!("there were more than {} attempts", self.notes.notes().attempts_max);
                    return Err(HarnessError::Endless { what });
                }
            }
        }
    }

    /// What the test's clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let Running { runtime, clock, .. } = self.running();
        // Outside of its runtime a paused clock goes on.
        let _entered = runtime.enter();
        clock.now()
    }

    /// From the start to when the last attempt ended, or the last delivery was given up.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(self.notes.notes().last_event.ms_since(self.settings.starts_at))
    }

    /// All attempts, in the order they ended, and among them the deliveries that expired.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        self.notes.notes().attempts.clone()
    }

    /// What the handler published, in order; delayed messages too, from when they were published.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        self.notes.notes().published.clone()
    }

    /// Deliveries that were given up, with the evidence.
    #[must_use]
    pub fn quarantined(&self) -> Vec<QuarantineRecord> {
        self.notes.notes().quarantined.clone()
    }

    /// The n-th of them as a capsule, which can be run again; none when there is none.
    #[must_use]
    pub fn capsule(&self, number: usize) -> Option<Capsule> {
        let notes = self.notes.notes();
        let (record, capsule) = (notes.quarantined.get(number)?, notes.capsules.get(number)?);
        Some(Capsule::of(record.clone(), capsule.clone()?))
    }

    /// Requests that the handler was allowed to send, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<SentRequest> {
        self.notes.http.requests()
    }

    /// Messages that it published.
    pub(crate) fn given(&self) -> Vec<MessageId> {
        self.notes.notes().given.iter().cloned().collect()
    }

    /// How deliveries ended.
    pub(crate) fn ends(&self) -> Ends {
        self.notes.notes().ends.clone()
    }

    /// What the handler has stored, by key.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn state(&self) -> Result<BTreeMap<String, Bytes>, HarnessError> {
        Ok(self.running().host.state(&handler_name())?.into_iter().collect())
    }

    /// How far the host is.
    ///
    /// # Errors
    /// When it has stopped.
    pub fn progress(&self) -> Result<Progress, HarnessError> {
        let Running { host, runtime, .. } = self.running();
        Ok(runtime.block_on(host.progress())?)
    }

    /// Commits since the handler was set up, each a place for a crash.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.notes.notes().commits
    }

    /// Whether the host was killed where the settings say.
    #[must_use]
    pub const fn was_killed(&self) -> bool {
        self.starts > 1
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a host that ends is started again at once")
    }

    /// After a crash that the test wanted; any other end is an error.
    fn start_again(&mut self, error: HostError) -> Result<(), HarnessError> {
        if !self.notes.notes().crashed {
            return Err(error.into());
        }
        let now = self.now();
        self.start(now)
    }

    fn start(&mut self, at: Timestamp) -> Result<(), HarnessError> {
        if let Some(Running { host, runtime, .. }) = self.running.take() {
            // With the runtime all tasks end where they are, and with the last of them the store is let go.
            drop(host);
            drop(runtime);
            self.notes.http.give_back();
        }
        let quiet = Quiet::default();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.on_thread_park({
            let quiet = quiet.clone();
            move || quiet.reached()
        });
        let runtime = runtime.enable_time().start_paused(true).build().map_err(HarnessError::Runtime)?;
        let entered = runtime.enter();
        let clock = Clock::following_tokio(at);
        self.notes.begin(clock);
        let seed = self.settings.seed.wrapping_add(self.starts.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.starts += 1;
        let host = SimulatedHost::open(SimulatedOptions {
            store_folder: self.folder.path().to_owned(),
            store: store_options(),
            state: (handler_name(), std::mem::take(&mut self.settings.state)),
            limits: EngineLimits { dedup_window_ms: self.settings.dedup_window_ms, ..EngineLimits::default() },
            data_bytes_max: DATA_BYTES_MAX_DEFAULT,
            sandbox: self.loader.sandbox.clone(),
            simulation: Arc::new(Simulation::new(clock, seed, Box::new(self.notes.http.clone()))),
            reorder: self.settings.reorder.then_some(self.settings.consumer.order),
            observer: Arc::new(self.notes.clone()),
            watch: self.notes.watch(),
        })?;
        drop(entered);
        runtime.block_on(self.set_up(&host))?;
        self.notes.notes().is_set_up = true;
        self.running = Some(Running { host, runtime, clock, quiet });
        Ok(())
    }

    async fn set_up(&self, host: &SimulatedHost) -> Result<(), HarnessError> {
        let Settings { config, secrets, limits, grants, consumer, bindings, elsewhere, .. } = &self.settings;
        let handler = SimulatedHandler {
            limits: *limits,
            config: config.clone(),
            grants: grants.clone(),
            secrets: secrets.clone(),
        };
        host.run_handler(&handler_name(), Arc::clone(&self.program), handler).await?;
        let takes = |topics: &[TopicPattern]| {
            let binding = |topic: &TopicPattern| Binding { topic: topic.clone(), headers: None };
            QueueConfig { bindings: topics.iter().map(binding).collect(), ..QueueConfig::default() }
        };
        let (queue, other) = (queue_name("in"), queue_name("elsewhere"));
        host.put_queue(queue.clone(), takes(bindings)).await?;
        host.put_queue(other, takes(elsewhere)).await?;
        let consumer = ConsumerConfig { handler: Some(handler_name()), ..consumer.clone() };
        let name = ConsumerName::new("handler").expect("it follows the rules");
        host.put_consumer(queue, name, consumer).await?;
        Ok(host.start().await?)
    }
}

/// Let all happen that happens at this time, and go on to the next time at which something does.
async fn turn(
    host: &SimulatedHost,
    quiet: &Quiet,
    clock: Clock,
    until: Timestamp,
    goal: Goal,
) -> Result<Turn, HostError> {
    if goal == Goal::Reached && clock.now() >= until {
        return Ok(Turn::Over);
    }
    quiet.wait().await;
    let progress = host.progress().await?;
    let now = clock.now();
    if goal == Goal::Idle && progress.is_idle() {
        return Ok(Turn::Idle);
    }
    if now >= until {
        return Ok(Turn::Over);
    }
    let next = match progress.next_due {
        _ if progress.is_idle() => until,
        Some(due) => due.max(now.plus_ms(1)).min(until),
        // Handlers wait for something: an answer, or a time of their own.
        None => now.plus_ms(100).min(until),
    };
    tokio::time::sleep_until(clock.instant_of(next)).await;
    Ok(Turn::GoesOn)
}

fn queue_name(name: &str) -> QueueName {
    QueueName::new(name).expect("it follows the rules")
}

/// What a test kills is this process's, and not the machine: nothing has to reach the disk.
fn store_options() -> StoreOptions {
    StoreOptions { durability: Durability::Interval { flush_ms: 60_000 }, ..StoreOptions::default() }
}
