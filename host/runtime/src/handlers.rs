//! Handlers come and are replaced while the host runs.

use std::{collections::BTreeMap, sync::Arc};

use wasmill_delivery::{
    input::Order,
    name::{Digest, HandlerName},
    record::{Grants, HandlerLimits, HandlerRecord, Replacing, SecretSource},
};
use wasmill_sandbox::{Program, check_limits};

use crate::{
    capabilities,
    collect::Collect,
    draft::now,
    error::HostError,
    handler_limits::{self, at_most},
    host::Host,
    registry::Slot,
    replace::{CanaryView, LoadOptions, to_the_end, with_settings_of},
    secrets,
    signatures::{Component, PublicKey},
};

/// What an operator declares of a handler besides its component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandlerSettings {
    /// What stops it.
    pub limits: HandlerLimits,
    /// What it reads by `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What it may reach.
    pub grants: Grants,
    /// Where the secrets come from that it reads by `wasi:config`, by name. They are read when it is loaded.
    pub secrets: BTreeMap<String, SecretSource>,
    /// How another version takes the place of the one that runs.
    pub replacing: Replacing,
}

/// A handler and what runs for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerView {
    /// What is kept of it.
    pub record: HandlerRecord,
    /// What its component imports, when it is loaded.
    pub imports: Vec<String>,
    /// Who signed the component, when it came with a signature.
    pub signed_by: Option<PublicKey>,
    /// Why it cannot run, when it cannot.
    pub problem: Option<String>,
    /// How the trial of another version stands.
    pub canary: Option<CanaryView>,
}

/// A component was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerLoaded {
    /// Its version.
    pub digest: Digest,
    /// What it imports.
    pub imports: Vec<String>,
    /// Who signed it, when it came with a signature now or earlier.
    pub signed_by: Option<PublicKey>,
    /// Whether another version runs than before, or is tried.
    pub changed: bool,
    /// The share of keys in percent that it runs for first; none when it runs for all.
    pub canary_share_percent: Option<u32>,
    /// Whether it was left alone because it was given up before.
    pub given_up: bool,
}

impl HandlerLoaded {
    pub(crate) const fn unchanged(digest: Digest, imports: Vec<String>) -> Self {
        Self { digest, imports, signed_by: None, changed: false, canary_share_percent: None, given_up: false }
    }
}

impl Host {
    /// Run this component under that name from now on. Deliveries under way finish on the old one. A component that
    /// does not fit is refused, and the old one stays. Whoever calls this approves of what it imports.
    ///
    /// # Errors
    /// When the component does not fit, is not signed as the host wants it, a secret is not there, or the store fails.
    pub async fn load_handler(&self, name: HandlerName, component: Component) -> Result<HandlerLoaded, HostError> {
        self.load(name, component, LoadOptions { approve: true, ..LoadOptions::default() }).await
    }

    /// Like [`Host::load_handler`], unless the component imports what the one before it did not.
    ///
    /// # Errors
    /// When it does, with what that is; and as there.
    pub async fn upgrade_handler(&self, name: HandlerName, component: Component) -> Result<HandlerLoaded, HostError> {
        self.load(name, component, LoadOptions::default()).await
    }

    /// Compile beside the deliveries, check, and switch. Only the last step keeps others from changing handlers.
    pub(crate) async fn load(
        &self,
        name: HandlerName,
        component: Component,
        options: LoadOptions,
    ) -> Result<HandlerLoaded, HostError> {
        let _one_at_a_time = self.inner.loading_components.lock().await;
        let before = self.handler_record(&name).await?;
        let program = self.compile(&name, component.clone()).await?;
        if let Some(before) = before.filter(|before| before.digest != Some(program.digest())) {
            if !options.approve {
                self.check_upgrade(&before, &program)?;
            }
            if !options.skip_sample {
                self.smoke_test(&before, &program).await?;
            }
        }
        let host = self.clone();
        let loaded = to_the_end(async move { host.replace(name, component, program, options).await }).await?;
        Ok(self.with_signer(loaded))
    }

    pub(crate) fn with_signer(&self, loaded: HandlerLoaded) -> HandlerLoaded {
        HandlerLoaded { signed_by: self.inner.registry.signer(loaded.digest), ..loaded }
    }

    /// What a component asks for is compared with what the one before it did. When that is not known, because it was
    /// loaded by an earlier version of the host and cannot run now, everything is more.
    pub(crate) fn check_upgrade(&self, before: &HandlerRecord, program: &Program) -> Result<(), HostError> {
        if before.digest.is_none_or(|digest| digest == program.digest()) {
            return Ok(());
        }
        let imports = match (&before.imports, self.inner.registry.current(&before.name)) {
            (Some(imports), _) => imports.clone(),
            (None, Slot::Ready(version)) => version.program.imports().to_vec(),
            (None, Slot::Loading | Slot::Broken(_)) => Vec::new(),
        };
        let added = capabilities::asked_for_more(&imports, program.imports());
        if added.is_empty() {
            return Ok(());
        }
        Err(HostError::NeedsApproval { handler: before.name.clone(), added })
    }

    /// Declare a handler's limits, configuration and grants. It need not be loaded yet.
    ///
    /// # Errors
    /// When a limit is beyond what the sandbox can enforce or the operator allows, a secret is not there, or the store
    /// fails.
    pub async fn put_handler(&self, name: HandlerName, settings: HandlerSettings) -> Result<(), HostError> {
        check_limits(&settings.limits)?;
        handler_limits::check(&settings.limits, &self.inner.options.handler_limits_max)?;
        settings.grants.check().map_err(HostError::Grants)?;
        settings.replacing.check().map_err(HostError::Replacing)?;
        let _one_at_a_time = self.inner.changing_handlers.lock().await;
        let before = self.handler_record(&name).await?;
        let same = before.as_ref().is_some_and(|record| settings_of(record.clone()) == settings);
        let mut record = new_record(name, settings);
        if let Some(before) = &before {
            record = with_settings_of(before, record);
        }
        // Also when nothing else changed: a secret that is gone is told now and not by a handler that fails.
        let secrets = secrets::read_off_thread(&record).await?;
        if same && record.secrets.is_empty() {
            return Ok(());
        }
        if !same {
            self.order(Order::PutHandler { record: Box::new(record.clone()) }).await?;
        }
        match self.inner.registry.current(&record.name) {
            Slot::Ready(version) => {
                let candidate = version.release.canary.as_ref().map(|canary| Arc::clone(&canary.candidate.program));
                self.inner.registry.switch(&record, Arc::clone(&version.program), candidate, secrets);
            }
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
        self.collect_components(Collect::Soon).await;
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
        let canary = self.canary(&record);
        let signed_by = record.digest.and_then(|digest| self.inner.registry.signer(digest));
        HandlerView { record, imports, signed_by, problem, canary }
    }

    pub(crate) async fn handler_record(&self, name: &HandlerName) -> Result<Option<HandlerRecord>, HostError> {
        let name = name.clone();
        self.inner.broker.query(move |engine| engine.handler(&name).cloned()).await
    }

    /// Compile away from the threads that deliver.
    async fn compile(&self, name: &HandlerName, component: Component) -> Result<Arc<Program>, HostError> {
        let inner = Arc::clone(&self.inner);
        let handler = name.clone();
        let compiling = tokio::task::spawn_blocking(move || {
            inner.registry.compile(&handler, &component.wasm, component.signature.as_ref())
        });
        compiling.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })?
    }

    /// Find the components of the handlers that the store knows. One that cannot run pauses its consumers when they
    /// have something to do; it does not keep the host from starting.
    pub(crate) async fn load_recovered_handlers(&self) -> Result<(), HostError> {
        let records = self.inner.broker.query(|engine| engine.handlers().cloned().collect::<Vec<_>>()).await?;
        let host = self.clone();
        tokio::spawn(async move {
            let one_at_a_time = host.inner.changing_handlers.lock().await;
            host.collect_components(Collect::Thoroughly).await;
            drop(one_at_a_time);
            for record in records {
                let name = record.name.clone();
                if let Err(error) = host.load_recovered(record).await {
                    tracing::error!(handler = %name, %error, "a handler of the store cannot run");
                    host.give_up_recovered(&name, error.to_string()).await;
                }
            }
        });
        Ok(())
    }

    /// Unless somebody has loaded another component meanwhile.
    async fn give_up_recovered(&self, name: &HandlerName, problem: String) {
        let _one_at_a_time = self.inner.changing_handlers.lock().await;
        if matches!(self.inner.registry.current(name), Slot::Loading) {
            self.inner.registry.set_broken(name, problem);
        }
    }

    async fn load_recovered(&self, recovered: HandlerRecord) -> Result<(), HostError> {
        let Some(digest) = recovered.digest else {
            self.give_up_recovered(&recovered.name, not_loaded(&recovered.name)).await;
            return Ok(());
        };
        let name = recovered.name;
        let program = self.find_off_thread(&name, digest).await?;
        // Meanwhile an operator may have declared other settings or loaded another component.
        let _one_at_a_time = self.inner.changing_handlers.lock().await;
        let now = self.handler_record(&name).await?;
        if let Some(mut record) = now.filter(|record| record.digest == Some(digest)) {
            let secrets = secrets::read_off_thread(&record).await?;
            record.imports = Some(program.imports().to_vec());
            let candidate = self.find_candidate(&mut record).await;
            self.inner.registry.switch(&record, program, candidate, secrets);
            // Declared again, it resumes consumers that had been paused because it could not run.
            self.order(Order::PutHandler { record: Box::new(record) }).await?;
        }
        Ok(())
    }
}

/// One that is not loaded yet.
pub(crate) fn new_record(name: HandlerName, settings: HandlerSettings) -> HandlerRecord {
    let HandlerSettings { limits, config, grants, secrets, replacing } = settings;
    HandlerRecord {
        name,
        digest: None,
        loaded_at: now(),
        config,
        limits,
        grants,
        secrets,
        imports: None,
        versions: Box::default(),
        replacing: Box::new(replacing),
    }
}

fn settings_of(record: HandlerRecord) -> HandlerSettings {
    let HandlerRecord { limits, config, grants, secrets, replacing, .. } = record;
    HandlerSettings { limits, config, grants, secrets, replacing: *replacing }
}

fn not_loaded(name: &HandlerName) -> String {
    format!("no component is loaded; give it one with `wasmill handler load {name} FILE`")
}
