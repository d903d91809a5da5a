//! A host for tests: it lives in the tokio runtime that it is opened in, under that runtime's clock, and has no thread of
//! its own. Everything that decides is the same as in [`Host`](crate::Host): engine, store, pump, slots and sandbox.
//!
//! In a runtime of one thread whose clock is paused, everything happens in the same order each time.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use wasmill_delivery::{
    engine::{Engine, EngineLimits, Recovery},
    input::{Order, Settlement},
    name::{ConsumerName, HandlerName, QueueName},
    record::{ConsumerConfig, DeliveryOrder, Grants, HandlerLimits, HandlerRecord, QueueConfig},
    time::Timestamp,
    write::Write,
};
use wasmill_sandbox::Secrets;
pub use wasmill_sandbox::{
    Clock, LoadError, PlannedAnswer, Program, ReceivedAnswer, Sandbox, SandboxError, SandboxOptions, SentRequest,
    SimulatedFailure, SimulatedHttp, Simulation,
};
pub use wasmill_store::StoreError;
use wasmill_store::{Reader, Store, StoreOptions};

use crate::{
    canary::Trials,
    dispatch::Dispatch,
    draft::Draft,
    embedded::EmbeddedBroker,
    error::{HostError, PublishError},
    handler_limits::HANDLER_LIMITS_CEILING_DEFAULT,
    host::StoredState,
    observer::Observer,
    pump::{Pump, Shared},
    registry::Registry,
    shuffle::Shuffle,
    signatures::{SignatureRules, Signatures},
};

/// Looks at each commit, and can end the host there.
pub trait CommitWatch: Send {
    /// Deliveries that were tried are about to be settled, in this order.
    fn settling(&mut self, settlements: &[Settlement]);

    /// Before the writes are durable.
    ///
    /// # Errors
    /// To end the host before they are.
    fn before(&mut self, writes: &[Write]) -> Result<(), StoreError>;

    /// When they are durable, and before anybody is told.
    ///
    /// # Errors
    /// To end the host there.
    fn after(&mut self, writes: &[Write]) -> Result<(), StoreError>;
}

/// How a simulated host is set up.
pub struct SimulatedOptions {
    /// The folder of the store; made if it is not there.
    pub store_folder: PathBuf,
    /// How the store keeps things.
    pub store: StoreOptions,
    /// Values that this handler has stored, written before anything else.
    pub state: (HandlerName, Vec<(String, Bytes)>),
    /// What bounds the engine.
    pub limits: EngineLimits,
    /// Data of one message, in bytes.
    pub data_bytes_max: usize,
    /// What runs components. Many hosts can share one.
    pub sandbox: Sandbox,
    /// What handlers meet instead of the world outside; its clock is the host's.
    pub simulation: Arc<Simulation>,
    /// Whether what is leased together is tried in an order that is drawn, as far as this order of the consumer allows;
    /// none to leave it as it is.
    pub reorder: Option<DeliveryOrder>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Who looks at each commit.
    pub watch: Box<dyn CommitWatch>,
}

/// What a handler is run with.
#[derive(Clone, Debug, Default)]
pub struct SimulatedHandler {
    /// What stops it.
    pub limits: HandlerLimits,
    /// What it reads by `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What it may reach.
    pub grants: Grants,
    /// What it reads by `wasi:config` too, and nobody else sees.
    pub secrets: BTreeMap<String, String>,
}

/// How far a simulated host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Deliveries that are leased now.
    pub in_flight: u64,
    /// Deliveries that are not settled, leased ones among them.
    pub unsettled: u64,
    /// When something is to be done even if nothing happens.
    pub next_due: Option<Timestamp>,
}

impl Progress {
    /// Whether there is nothing left that would happen by itself.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.next_due.is_none()
    }
}

/// See the module. Dropping the tokio runtime that it was opened in ends it as a crash would.
pub struct SimulatedHost {
    broker: EmbeddedBroker,
    dispatch: Dispatch<EmbeddedBroker>,
    registry: Arc<Registry>,
    reader: Reader,
    data_bytes_max: usize,
}

impl SimulatedHost {
    /// Open the store, recover what it holds, and start the pump. Consumers are worked for from
    /// [`Self::start`] on. It blocks while it reads.
    ///
    /// # Errors
    /// When the store cannot be opened or is damaged.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(options: SimulatedOptions) -> Result<Self, HostError> {
        let SimulatedOptions {
            store_folder,
            store,
            state: (handler, state),
            limits,
            data_bytes_max,
            sandbox,
            simulation,
            reorder,
            observer,
            watch,
        } = options;
        let mut store = Store::open(&store_folder, store)?;
        if !state.is_empty() {
            let put = |(key, value)| Write::PutState { handler: handler.clone(), key, value };
            store.commit(&state.into_iter().map(put).collect::<Vec<Write>>())?;
        }
        let mut recovery = Recovery::new(limits);
        store.recover(&mut |recovered| recovery.take(recovered))?;
        let engine = recovery.finish();
        let (reader, components) = (store.reader(), store.components());
        let shared = Arc::new(Shared::default());
        let state = Arc::new(StoredState { shared: Arc::clone(&shared), reader: reader.clone() });
        let clock = simulation.clock();
        let (ends, _) = tokio::sync::mpsc::unbounded_channel();
        let signatures = Signatures::new(SignatureRules::default(), components.clone());
        let most = HANDLER_LIMITS_CEILING_DEFAULT;
        let registry = Registry::new(sandbox, signatures, state, data_bytes_max, most, components, Trials::new(ends));
        let shuffle = reorder.map(|order| Shuffle { simulation: Arc::clone(&simulation), order });
        let registry = Arc::new(registry.simulated(simulation));
        let broker = EmbeddedBroker::new(Arc::clone(&shared), reader.clone()).shuffling(shuffle);
        let threads = tokio::runtime::Handle::current();
        let dispatch =
            Dispatch::new(Arc::new(broker.clone()), Arc::clone(&registry), Arc::clone(&observer), threads.clone());
        let pump = Pump::new(Arc::clone(&shared), store, observer).simulated(clock, watch);
        threads.spawn(pump.run_as_task(engine));
        Ok(Self { broker, dispatch, registry, reader, data_bytes_max })
    }

    /// Run this program under that name.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn run_handler(
        &self,
        name: &HandlerName,
        program: Arc<Program>,
        handler: SimulatedHandler,
    ) -> Result<(), HostError> {
        let SimulatedHandler { limits, config, grants, secrets } = handler;
        let record = HandlerRecord {
            name: name.clone(),
            digest: Some(program.digest()),
            loaded_at: self.registry.clock().now(),
            config,
            limits,
            grants,
            secrets: Default::default(),
            imports: None,
            versions: Box::default(),
            replacing: Box::default(),
        };
        self.broker.order(Order::PutHandler { record: Box::new(record.clone()) }).await?;
        self.registry.switch(&record, program, None, Secrets::new(secrets));
        Ok(())
    }

    /// Declare a queue, or change it.
    ///
    /// # Errors
    /// When a number is out of its range or the host has stopped.
    pub async fn put_queue(&self, name: QueueName, config: QueueConfig) -> Result<(), HostError> {
        self.broker.order(Order::PutQueue { name, config }).await.map(drop)
    }

    /// Declare a consumer, or change it.
    ///
    /// # Errors
    /// When its queue or handler does not exist, a number is out of its range, or the host has stopped.
    pub async fn put_consumer(
        &self,
        queue: QueueName,
        name: ConsumerName,
        config: ConsumerConfig,
    ) -> Result<(), HostError> {
        self.broker.order(Order::PutConsumer { queue, name, config, from: None }).await.map(drop)
    }

    /// Work for all consumers.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn start(&self) -> Result<(), HostError> {
        self.dispatch.reconcile(self.broker.query(|engine| engine.consumers().collect()).await?);
        Ok(())
    }

    /// Publish messages in one commit. Each is taken or refused for itself; the answers are in the order of the drafts.
    ///
    /// # Errors
    /// When the host stops before it can answer.
    pub async fn publish(&self, drafts: Vec<Draft>) -> Result<Vec<Result<(), PublishError>>, HostError> {
        let now = self.registry.clock().now();
        let entries: Vec<_> =
            drafts.into_iter().map(|draft| draft.into_entry_behind(None, now, self.data_bytes_max)).collect();
        let good = entries.iter().filter_map(|entry| entry.as_ref().ok().cloned()).collect();
        let mut answers = self.broker.publish(good).await?.into_iter();
        let stopped = || PublishError::Host(HostError::Stopped { reason: None });
        let each = entries.into_iter().map(|entry| {
            entry?;
            answers.next().ok_or_else(stopped)??;
            Ok(())
        });
        Ok(each.collect())
    }

    /// How far it is.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn progress(&self) -> Result<Progress, HostError> {
        let look = |engine: &Engine| Progress {
            in_flight: engine.consumers().map(|consumer| consumer.in_flight).sum(),
            unsettled: engine.consumers().map(|consumer| consumer.lag + consumer.pending).sum(),
            next_due: engine.next_due(),
        };
        self.broker.query(look).await
    }

    /// Everything that a handler stored, by key.
    ///
    /// # Errors
    /// When the store is damaged there.
    pub fn state(&self, handler: &HandlerName) -> Result<Vec<(String, Bytes)>, HostError> {
        let mut state = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let keys = self.reader.state_keys(handler, "", after.as_deref(), 1_000)?;
            let Some(last) = keys.last() else { return Ok(state) };
            after = Some(last.clone());
            for key in keys {
                if let Some(value) = self.reader.state(handler, &key)? {
                    state.push((key, value));
                }
            }
        }
    }
}
