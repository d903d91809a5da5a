//! The host: everything put together, and its doors.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, mpsc::UnboundedReceiver},
};
use wasmill_delivery::{
    effect::OrderReceipt,
    engine::{ConsumerView, Engine, QueueView, Recovery},
    input::{Order, Revision},
    limits::DEDUP_WINDOW_MS_DEFAULT,
    message::Message,
    name::{ConsumerId, ConsumerName, HandlerName, QueueId, QueueName, Sequence},
    record::{ConsumerConfig, Overflow, PauseReason, QueueConfig, Start},
    time::Timestamp,
};
use wasmill_sandbox::{Sandbox, SandboxOptions, StateReader, slow_lane};
use wasmill_store::{Components, Reader, Store};

use crate::{
    canary::{self, Trial, Trials},
    dispatch::Dispatch,
    draft::now,
    embedded::EmbeddedBroker,
    error::HostError,
    inbox::Command,
    options::HostOptions,
    publish::PUBLISH_BYTES_WAITING_MAX,
    pull::Pulls,
    pump::{Pump, Shared},
    redrives::Redrives,
    registry::Registry,
    request::Replies,
    schedules::{self, Schedules},
    signatures::Signatures,
};

/// A running host. Cheap to clone; all clones are the same host.
///
/// Call [`Host::close`] to stop it: a host that is only dropped stops as if it had crashed, which loses nothing but
/// runs again what was under way.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) broker: EmbeddedBroker,
    pub(crate) dispatch: Dispatch<EmbeddedBroker>,
    /// What programs outside have leased.
    pub(crate) pulls: Arc<Pulls>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) reader: Reader,
    pub(crate) components: Components,
    pub(crate) options: HostOptions,
    /// Components that are loaded are compiled and tried one at a time, which may take long; only those that a start
    /// finds in the store are compiled beside that, one after the other. It is taken before `changing_handlers`.
    pub(crate) loading_components: tokio::sync::Mutex<()>,
    /// Handlers are changed one at a time.
    pub(crate) changing_handlers: tokio::sync::Mutex<()>,
    /// Until somebody listens.
    ended_trials: Mutex<Option<UnboundedReceiver<Arc<Trial>>>>,
    pub(crate) schedules: Arc<Schedules>,
    /// Quarantined deliveries are imported by one at a time.
    pub(crate) importing: Arc<tokio::sync::Mutex<()>>,
    /// Redrives in the background.
    pub(crate) redrives: Redrives,
    shared: Arc<Shared>,
    pub(crate) publish_budget: Arc<Semaphore>,
    pub(crate) queue_names: RwLock<BTreeMap<QueueId, QueueName>>,
    /// Whether a queue was ever declared whose publishers wait for room; without one nobody keeps what it publishes.
    pub(crate) some_queue_waits: AtomicBool,
    pump: Mutex<Option<JoinHandle<()>>>,
    handler_threads: Mutex<Option<Runtime>>,
    /// Calls that compute for long go on here.
    slow_lane: Mutex<Option<Runtime>>,
}

impl Host {
    /// Open the store, recover what it holds, and start work.
    ///
    /// # Errors
    /// When the store cannot be opened or is damaged, or this machine cannot run the sandbox.
    pub async fn open(options: HostOptions) -> Result<Self, HostError> {
        let started = now();
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(options));
        let (host, consumers) =
            opening.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })??;
        host.load_recovered_handlers().await?;
        host.inner.pulls.reconcile(&consumers);
        host.inner.dispatch.reconcile(consumers);
        host.inner.start_schedules(&host.inner, started);
        host.inner.keep_trials(&host.inner);
        Ok(host)
    }

    fn open_blocking(options: HostOptions) -> Result<(Self, Vec<ConsumerView>), HostError> {
        let store = Store::open(&options.store_folder, options.store)?;
        let mut recovery = Recovery::new(options.limits.clone());
        store.recover(&mut |recovered| recovery.take(recovered))?;
        let engine = recovery.finish();
        let consumers = engine.consumers().collect();
        let host = Self { inner: Arc::new(Inner::start(options, store, engine)?) };
        Ok((host, consumers))
    }

    /// Declare a queue, or change it. Answers whether it is new.
    ///
    /// # Errors
    /// When a number is out of its range or the host has stopped.
    pub async fn put_queue(&self, name: QueueName, config: QueueConfig) -> Result<bool, HostError> {
        if matches!(config.overflow, Overflow::Wait { .. }) {
            self.inner.some_queue_waits.store(true, Ordering::Relaxed);
        }
        let receipt = self.order(Order::PutQueue { name: name.clone(), config }).await?;
        match receipt {
            OrderReceipt::Queue { id, created } => {
                self.inner.queue_names.write().unwrap_or_else(PoisonError::into_inner).insert(id, name);
                Ok(created)
            }
            OrderReceipt::Done
            | OrderReceipt::Consumer { .. }
            | OrderReceipt::Schedule { .. }
            | OrderReceipt::Fired { .. }
            | OrderReceipt::Imported { .. }
            | OrderReceipt::Job { .. }
            | OrderReceipt::Purged { .. } => Ok(false),
        }
    }

    /// Remove a queue with its messages and consumers. What they quarantined stays.
    ///
    /// # Errors
    /// When there is no such queue or the host has stopped.
    pub async fn delete_queue(&self, name: QueueName) -> Result<(), HostError> {
        self.order(Order::DeleteQueue { name }).await?;
        self.reconcile().await
    }

    /// Declare a consumer, or change it. Answers whether it is new.
    ///
    /// # Errors
    /// When its queue or handler does not exist, a number is out of its range, or the host has stopped.
    pub async fn put_consumer(
        &self,
        queue: QueueName,
        name: ConsumerName,
        config: ConsumerConfig,
    ) -> Result<bool, HostError> {
        let from = match config.start {
            Start::Time(at) => self.first_since(&queue, at).await?,
            Start::Beginning | Start::End | Start::Sequence(_) => None,
        };
        let receipt = self.order(Order::PutConsumer { queue, name, config, from }).await?;
        self.reconcile().await?;
        Ok(matches!(receipt, OrderReceipt::Consumer { created: true, .. }))
    }

    /// The place of the first message of a queue that was accepted at that time or later.
    async fn first_since(&self, queue: &QueueName, at: Timestamp) -> Result<Option<Sequence>, HostError> {
        let name = queue.clone();
        let look = move |engine: &Engine| engine.queue_id(&name).and_then(|id| engine.queue(id));
        let Some(view) = self.inner.broker.query(look).await? else { return Ok(None) };
        Ok(Some(self.inner.reader.first_since(view.record.id, view.first, view.next, at)?))
    }

    /// Remove a consumer and what it has waiting. What it quarantined stays.
    ///
    /// # Errors
    /// When there is no such consumer or the host has stopped.
    pub async fn delete_consumer(&self, queue: QueueName, name: ConsumerName) -> Result<(), HostError> {
        self.order(Order::DeleteConsumer { queue, name }).await?;
        self.reconcile().await
    }

    /// Let a consumer take nothing until it is resumed. What it has under way it finishes.
    ///
    /// # Errors
    /// When it is gone or the host has stopped.
    pub async fn pause(&self, consumer: ConsumerId) -> Result<(), HostError> {
        self.order(Order::Pause { consumer, reason: PauseReason::Operator }).await.map(|_| ())
    }

    /// Let a consumer take deliveries again.
    ///
    /// # Errors
    /// When it is gone or the host has stopped.
    pub async fn resume(&self, consumer: ConsumerId) -> Result<(), HostError> {
        self.order(Order::Resume { consumer }).await.map(|_| ())
    }

    /// All queues.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn queues(&self) -> Result<Vec<QueueView>, HostError> {
        self.inner.broker.query(|engine| engine.queues().collect()).await
    }

    /// All consumers.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn consumers(&self) -> Result<Vec<ConsumerView>, HostError> {
        self.inner.broker.query(|engine| engine.consumers().collect()).await
    }

    /// Messages of a queue's log from a place on, at most `limit`. Settled ones may be among them: the log is trimmed
    /// in chunks.
    ///
    /// # Errors
    /// When the store is damaged there.
    pub fn messages(
        &self,
        queue: QueueId,
        from: Sequence,
        limit: usize,
    ) -> Result<Vec<(Sequence, Arc<Message>)>, HostError> {
        Ok(self.inner.reader.log_page(queue, from, limit)?)
    }

    /// A value of a handler's state.
    ///
    /// # Errors
    /// When the store is damaged there.
    pub fn state(&self, handler: &HandlerName, key: &str) -> Result<Option<Bytes>, HostError> {
        Ok(self.inner.reader.state(handler, key)?)
    }

    /// Keys of a handler's state that begin with `prefix`, after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store is damaged there.
    pub fn state_keys(
        &self,
        handler: &HandlerName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, HostError> {
        Ok(self.inner.reader.state_keys(handler, prefix, after, limit)?)
    }

    /// The size of the store on disk, in bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn store_bytes(&self) -> Result<u64, HostError> {
        Ok(self.inner.reader.size_on_disk_bytes()?)
    }

    /// The most that the data of one message may be, in bytes.
    #[must_use]
    pub fn data_bytes_max(&self) -> usize {
        self.inner.options.data_bytes_max
    }

    /// How long a published id is remembered. When the host remembers none, the default, for whoever keeps something
    /// for as long.
    #[must_use]
    pub fn dedup_window(&self) -> Duration {
        match self.inner.options.limits.dedup_window_ms {
            0 => Duration::from_millis(DEDUP_WINDOW_MS_DEFAULT),
            window_ms => Duration::from_millis(window_ms),
        }
    }

    /// Why the host stopped by itself, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.inner.shared.failure.get().cloned()
    }

    /// Stop: take nothing new, settle what is under way, make everything durable. What is still running after
    /// `patience` is left; it runs again at the next start. Answers whether everything was settled.
    pub async fn close(&self, patience: Duration) -> bool {
        self.inner.schedules.stop();
        let drained = tokio::time::timeout(patience, self.inner.dispatch.drain()).await.is_ok();
        // A host that has failed has nothing to say about what ran.
        let _ = self.order(Order::Rest).await;
        self.inner.shared.inbox.put(Command::Stop);
        let pump = self.inner.pump.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pump) = pump {
            let _ = tokio::task::spawn_blocking(|| pump.join()).await;
        }
        self.inner.stop_threads();
        drained
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn replies(&self) -> &Arc<Replies> {
        &self.inner.shared.replies
    }

    pub(crate) async fn order(&self, order: Order) -> Result<OrderReceipt, HostError> {
        self.inner.broker.order(order).await
    }

    async fn reconcile(&self) -> Result<(), HostError> {
        let consumers = self.consumers().await?;
        self.inner.pulls.reconcile(&consumers);
        self.inner.dispatch.reconcile(consumers);
        Ok(())
    }
}

impl Inner {
    fn start(options: HostOptions, store: Store, engine: Engine) -> Result<Self, HostError> {
        let reader = store.reader();
        let components = store.components();
        let shared = Arc::new(Shared::default());
        let mut sandbox_options = SandboxOptions::new(options.store_folder.join("compiled"));
        sandbox_options.instances_max = options.instances_max;
        sandbox_options.compiler = options.compiler.clone();
        let (slow_lane, lane) = slow_lane(options.handler_threads).map_err(HostError::Thread)?;
        sandbox_options.slow_lane = Some(lane);
        let sandbox = Sandbox::new(sandbox_options)?;
        let state = Arc::new(StoredState { shared: Arc::clone(&shared), reader: reader.clone() });
        let (ends, ended) = tokio::sync::mpsc::unbounded_channel();
        let registry = Arc::new(Registry::new(
            sandbox,
            Signatures::new(options.signatures.clone(), components.clone()),
            state,
            options.data_bytes_max,
            options.handler_limits_max,
            components.clone(),
            Trials::new(ends),
        ));
        let broker = EmbeddedBroker::new(Arc::clone(&shared), reader.clone());
        let handler_threads = start_handler_threads(options.handler_threads)?;
        let waits = |queue: QueueView| matches!(queue.record.config.overflow, Overflow::Wait { .. });
        let some_queue_waits = AtomicBool::new(engine.queues().any(waits));
        let queue_names = engine.queues().map(|queue| (queue.record.id, queue.record.name)).collect();
        let dispatch = Dispatch::new(
            Arc::new(broker.clone()),
            Arc::clone(&registry),
            Arc::clone(&options.observer),
            handler_threads.handle().clone(),
        );
        let pulls = Arc::new(Pulls::new(broker.clone(), Arc::clone(&options.observer)));
        handler_threads.spawn(Arc::clone(&pulls).end_late_leases());
        let pump = Pump::new(Arc::clone(&shared), store, Arc::clone(&options.observer));
        let pump = std::thread::Builder::new()
            .name("wasmill-pump".to_owned())
            .spawn(move || pump.run(engine))
            .map_err(HostError::Thread)?;
        Ok(Self {
            broker,
            dispatch,
            pulls,
            registry,
            reader,
            components,
            options,
            loading_components: tokio::sync::Mutex::new(()),
            changing_handlers: tokio::sync::Mutex::new(()),
            ended_trials: Mutex::new(Some(ended)),
            schedules: Arc::default(),
            importing: Arc::default(),
            redrives: Redrives::default(),
            shared,
            publish_budget: Arc::new(Semaphore::new(PUBLISH_BYTES_WAITING_MAX as usize)),
            queue_names: RwLock::new(queue_names),
            some_queue_waits,
            pump: Mutex::new(Some(pump)),
            handler_threads: Mutex::new(Some(handler_threads)),
            slow_lane: Mutex::new(Some(slow_lane)),
        })
    }

    /// On the threads of handlers, which live as long as the host does.
    fn start_schedules(&self, host: &Arc<Self>, started: Timestamp) {
        let threads = self.handler_threads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(threads) = threads.as_ref() {
            threads.spawn(schedules::run(Arc::downgrade(host), Arc::clone(&self.schedules), started));
        }
    }

    fn keep_trials(&self, host: &Arc<Self>) {
        let ended = self.ended_trials.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            self.dispatch.threads().spawn(canary::keep(Arc::downgrade(host), ended));
        }
    }

    fn stop_threads(&self) {
        for threads in [&self.handler_threads, &self.slow_lane] {
            let threads = threads.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(threads) = threads {
                threads.shutdown_background();
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.schedules.stop();
        self.shared.inbox.put(Command::Stop);
        self.stop_threads();
    }
}

fn start_handler_threads(count: usize) -> Result<Runtime, HostError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(count.max(1))
        .thread_name("wasmill-handler")
        .enable_all()
        .build()
        .map_err(HostError::Thread)
}

/// Handler state as it is durable.
pub(crate) struct StoredState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reader: Reader,
}

impl StateReader for StoredState {
    fn revision(&self) -> Revision {
        Revision(self.shared.revision.load(Ordering::Acquire))
    }

    fn get(&self, handler: &HandlerName, key: &str) -> Result<Option<Bytes>, String> {
        self.reader.state(handler, key).map_err(|error| error.to_string())
    }

    fn list_keys(
        &self,
        handler: &HandlerName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, String> {
        self.reader.state_keys(handler, prefix, after, limit).map_err(|error| error.to_string())
    }
}
