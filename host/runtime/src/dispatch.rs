//! Which consumers are worked for, by how many slots.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use wasmill_delivery::{
    engine::ConsumerView,
    name::{ConsumerId, HandlerName},
    record::ConsumerConfig,
};

use crate::{
    broker::Broker,
    observer::Observer,
    registry::Registry,
    slot::{Slot, Worked},
};

/// The slots of all consumers.
pub(crate) struct Dispatch<B> {
    broker: Arc<B>,
    registry: Arc<Registry>,
    observer: Arc<dyn Observer>,
    /// Where handlers run: not on the threads that answer requests.
    threads: Handle,
    crews: Mutex<BTreeMap<ConsumerId, Crew>>,
}

/// The slots of one consumer.
struct Crew {
    config: ConsumerConfig,
    stop: watch::Sender<bool>,
    slots: Vec<JoinHandle<()>>,
}

impl<B: Broker> Dispatch<B> {
    pub(crate) const fn new(
        broker: Arc<B>,
        registry: Arc<Registry>,
        observer: Arc<dyn Observer>,
        threads: Handle,
    ) -> Self {
        Self { broker, registry, observer, threads, crews: Mutex::new(BTreeMap::new()) }
    }

    /// Where handlers run.
    pub(crate) const fn threads(&self) -> &Handle {
        &self.threads
    }

    /// Work for these consumers, as they are declared, and for no others.
    pub(crate) fn reconcile(&self, consumers: Vec<ConsumerView>) {
        let mut crews = self.crews.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *crews);
        for view in consumers {
            let Some(handler) = view.record.config.handler.clone() else { continue };
            let id = view.record.id;
            let kept = before.remove(&id).filter(|crew| crew.config == view.record.config);
            crews.insert(id, kept.unwrap_or_else(|| self.crew(view, handler)));
        }
        // Dropping a crew's sender stops its slots; what they have under way they still settle.
        drop(before);
    }

    fn crew(&self, view: ConsumerView, handler: HandlerName) -> Crew {
        let config = view.record.config.clone();
        let worked = Arc::new(Worked {
            id: view.record.id,
            queue: view.queue,
            name: view.record.name,
            handler,
            config: view.record.config,
        });
        let (stop, stopped) = watch::channel(false);
        let slots = (0..config.concurrency).map(|_| {
            let slot = Slot::new(
                Arc::clone(&self.broker),
                Arc::clone(&self.registry),
                Arc::clone(&self.observer),
                Arc::clone(&worked),
                stopped.clone(),
            );
            self.threads.spawn(slot.work())
        });
        Crew { config, slots: slots.collect(), stop }
    }

    /// Take nothing new, and wait until what is under way is settled.
    pub(crate) async fn drain(&self) {
        let crews = std::mem::take(&mut *self.crews.lock().unwrap_or_else(PoisonError::into_inner));
        for crew in crews.values() {
            let _ = crew.stop.send(true);
        }
        for slot in crews.into_values().flat_map(|crew| crew.slots) {
            if let Err(error) = slot.await {
                tracing::error!(%error, "a worker panicked");
            }
        }
    }
}
