//! Handlers come and are replaced while the host runs.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use wasmill_delivery::{
    input::Order,
    name::{Digest, HandlerName},
    record::{HandlerLimits, HandlerRecord},
};
use wasmill_sandbox::{Program, check_limits};

use crate::{
    draft::now,
    error::HostError,
    handler_limits::{self, at_most},
    host::Host,
    registry::Slot,
};

/// What an operator declares of a handler besides its component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandlerSettings {
    /// What stops it.
    pub limits: HandlerLimits,
    /// What it reads by `wasi:config`.
    pub config: BTreeMap<String, String>,
}

/// A handler and what runs for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerView {
    /// What is kept of it.
    pub record: HandlerRecord,
    /// What its component imports, when it is loaded.
    pub imports: Vec<String>,
    /// Why it cannot run, when it cannot.
    pub problem: Option<String>,
}

/// A component was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerLoaded {
    /// Its version.
    pub digest: Digest,
    /// What it imports.
    pub imports: Vec<String>,
    /// Whether it is another version than before.
    pub changed: bool,
}

impl Host {
    /// Run this component under that name from now on. Deliveries under way finish on the old one. A component that
    /// does not fit is refused, and the old one stays.
    ///
    /// # Errors
    /// When the component does not fit, or the store fails.
    pub async fn load_handler(&self, name: HandlerName, wasm: Bytes) -> Result<HandlerLoaded, HostError> {
        let _one_at_a_time = self.inner.changing_handlers.lock().await;
        let before = self.handler_record(&name).await?;
        let program = self.compile(&name, wasm).await?;
        let digest = program.digest();
        let changed = before.as_ref().is_none_or(|record| record.digest != Some(digest));
        if changed || !matches!(self.inner.registry.current(&name), Slot::Ready(_)) {
            let settings = before.map_or_else(|| self.default_settings(), settings_of);
            let record = new_record(name, Some(digest), settings);
            self.order(Order::PutHandler { record: record.clone() }).await?;
            self.inner.registry.switch(&record, Arc::clone(&program));
            self.inner.options.observer.handler_replaced(&record.name, digest);
            tracing::info!(handler = %record.name, %digest, "handler loaded");
        }
        Ok(HandlerLoaded { digest, imports: program.imports().to_vec(), changed })
    }

    /// Declare a handler's limits and configuration. It need not be loaded yet.
    ///
    /// # Errors
    /// When a limit is beyond what the sandbox can enforce or the operator allows, or the store fails.
    pub async fn put_handler(&self, name: HandlerName, settings: HandlerSettings) -> Result<(), HostError> {
        check_limits(&settings.limits)?;
        handler_limits::check(&settings.limits, &self.inner.options.handler_limits_max)?;
        let _one_at_a_time = self.inner.changing_handlers.lock().await;
        let before = self.handler_record(&name).await?;
        if before.as_ref().is_some_and(|record| settings_of(record.clone()) == settings) {
            return Ok(());
        }
        let digest = before.and_then(|record| record.digest);
        let record = new_record(name, digest, settings);
        self.order(Order::PutHandler { record: record.clone() }).await?;
        match self.inner.registry.current(&record.name) {
            Slot::Ready(version) => self.inner.registry.switch(&record, Arc::clone(&version.program)),
            Slot::Loading if record.digest.is_none() => {
                self.inner.registry.set_broken(&record.name, not_loaded(&record.name));
            }
            // Whoever loads it takes the record as it is then.
            Slot::Loading | Slot::Broken(_) => {}
        }
        Ok(())
    }

    /// What a handler has that was given no settings: the defaults, as far as the host allows them.
    #[must_use]
    pub fn default_settings(&self) -> HandlerSettings {
        let limits = at_most(HandlerLimits::default(), &self.inner.options.handler_limits_max);
        HandlerSettings { limits, ..HandlerSettings::default() }
    }

    /// Remove a handler that no consumer runs. Its state stays.
    ///
    /// # Errors
    /// When there is no such handler, or a consumer runs it.
    pub async fn delete_handler(&self, name: HandlerName) -> Result<(), HostError> {
        let _one_at_a_time = self.inner.changing_handlers.lock().await;
        self.order(Order::DeleteHandler { name: name.clone() }).await?;
        self.inner.registry.remove(&name);
        Ok(())
    }

    /// All handlers.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn handlers(&self) -> Result<Vec<HandlerView>, HostError> {
        let records = self.inner.broker.query(|engine| engine.handlers().cloned().collect::<Vec<_>>()).await?;
        Ok(records.into_iter().map(|record| self.view(record)).collect())
    }

    fn view(&self, record: HandlerRecord) -> HandlerView {
        let (imports, problem) = match self.inner.registry.current(&record.name) {
            Slot::Ready(version) => (version.program.imports().to_vec(), None),
            Slot::Loading => (Vec::new(), Some("it is being loaded".to_owned())),
            Slot::Broken(problem) => (Vec::new(), Some(problem)),
        };
        HandlerView { record, imports, problem }
    }

    async fn handler_record(&self, name: &HandlerName) -> Result<Option<HandlerRecord>, HostError> {
        let name = name.clone();
        self.inner.broker.query(move |engine| engine.handler(&name).cloned()).await
    }

    /// Compile away from the threads that deliver, and keep the component.
    async fn compile(&self, name: &HandlerName, wasm: Bytes) -> Result<Arc<Program>, HostError> {
        let inner = Arc::clone(&self.inner);
        let handler = name.clone();
        let compiling = tokio::task::spawn_blocking(move || {
            let program = inner.registry.compile(&wasm).map_err(|problem| HostError::Load { handler, problem })?;
            inner.components.put(&wasm, program.digest())?;
            Ok(program)
        });
        compiling.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })?
    }

    /// Find the components of the handlers that the store knows. One that cannot run pauses its consumers when they
    /// have something to do; it does not keep the host from starting.
    pub(crate) async fn load_recovered_handlers(&self) -> Result<(), HostError> {
        let records = self.inner.broker.query(|engine| engine.handlers().cloned().collect::<Vec<_>>()).await?;
        let host = self.clone();
        tokio::spawn(async move {
            for record in records {
                let name = record.name.clone();
                if let Err(error) = host.load_recovered(record).await {
                    tracing::error!(handler = %name, %error, "a handler of the store cannot run");
                    host.inner.registry.set_broken(&name, error.to_string());
                }
            }
        });
        Ok(())
    }

    async fn load_recovered(&self, recovered: HandlerRecord) -> Result<(), HostError> {
        let Some(digest) = recovered.digest else {
            self.inner.registry.set_broken(&recovered.name, not_loaded(&recovered.name));
            return Ok(());
        };
        let name = recovered.name.clone();
        let host = self.clone();
        let finding = tokio::task::spawn_blocking(move || host.find_program(&recovered, digest));
        let program = finding.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })??;
        // Meanwhile an operator may have declared other settings or loaded another component.
        let _one_at_a_time = self.inner.changing_handlers.lock().await;
        let now = self.handler_record(&name).await?;
        if let Some(record) = now.filter(|record| record.digest == Some(digest)) {
            self.inner.registry.switch(&record, program);
            // Declared again, it resumes consumers that had been paused because it could not run.
            self.order(Order::PutHandler { record }).await?;
        }
        Ok(())
    }

    fn find_program(&self, record: &HandlerRecord, digest: Digest) -> Result<Arc<Program>, HostError> {
        let handler = || record.name.clone();
        let Some(wasm) = self.inner.components.get(digest)? else {
            return Err(HostError::ComponentMissing { handler: handler(), digest: digest.to_string() });
        };
        self.inner.registry.compile(&wasm).map_err(|problem| HostError::Load { handler: handler(), problem })
    }
}

fn new_record(name: HandlerName, digest: Option<Digest>, settings: HandlerSettings) -> HandlerRecord {
    HandlerRecord { name, digest, loaded_at: now(), config: settings.config, limits: settings.limits }
}

fn settings_of(record: HandlerRecord) -> HandlerSettings {
    HandlerSettings { limits: record.limits, config: record.config }
}

fn not_loaded(name: &HandlerName) -> String {
    format!("no component is loaded; give it one with `wasmill handler load {name} FILE`")
}
