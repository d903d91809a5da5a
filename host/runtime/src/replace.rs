//! One version of a handler takes the place of another: at once, after a trial, or back again.
//!
//! The component is durable before the record that names it, and the record before anything runs it. So whatever
//! crashes in between, the record says what runs, and a component that no record names is removed at the next start.

use std::sync::Arc;

use wasmill_delivery::{
    canary::{CanaryEnd, CanaryPolicy, Counts},
    effect::OrderRefusal,
    input::Order,
    name::{Digest, HandlerName},
    outcome::cut_reason,
    record::HandlerRecord,
    versions::{CanaryRecord, VersionChange, VersionEvent},
};
use wasmill_sandbox::Program;

use crate::{
    canary::Trial,
    collect::Collect,
    draft::now,
    error::HostError,
    handlers::{HandlerLoaded, new_record},
    host::Host,
    observer::CanarySeen,
    registry::Slot,
    secrets,
    signatures::Component,
};

/// How a component is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Whether an operator approves of whatever it imports.
    pub approve: bool,
    /// The share of keys in percent that it runs for first, instead of what the handler's settings say; 0 means that
    /// it replaces the version that runs at once.
    pub share_percent: Option<u32>,
    /// Whether the sample message of the handler is left out.
    pub skip_sample: bool,
    /// Whether nobody asks for it now: it lies in a file. Then a version that was given up is not loaded again.
    pub from_file: bool,
}

/// How a trial stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryView {
    /// Which version is tried, and how.
    pub record: CanaryRecord,
    /// What was counted since the host was started.
    pub counts: Counts,
}

impl Host {
    /// Load a component as these options say.
    ///
    /// # Errors
    /// As [`Host::upgrade_handler`], and when it fails on the handler's sample message.
    pub async fn load_version(
        &self,
        name: HandlerName,
        component: Component,
        options: LoadOptions,
    ) -> Result<HandlerLoaded, HostError> {
        if let Some(share_percent) = options.share_percent {
            CanaryPolicy { share_percent, ..CanaryPolicy::default() }.check().map_err(HostError::Replacing)?;
        }
        self.load(name, component, options).await
    }

    /// Go back to the version that ran before this one, or to the one whose digest begins with `to`. A version that
    /// is tried is given up.
    ///
    /// # Errors
    /// When there is no such version, its component is gone or does not fit any more, or the store fails.
    pub async fn roll_back(&self, name: HandlerName, to: Option<&str>) -> Result<HandlerLoaded, HostError> {
        let (host, to) = (self.clone(), to.map(str::to_owned));
        let loaded = to_the_end(async move { host.go_back(name, to.as_deref()).await }).await?;
        Ok(self.with_signer(loaded))
    }

    async fn go_back(&self, name: HandlerName, to: Option<&str>) -> Result<HandlerLoaded, HostError> {
        let _one_at_a_time = self.inner.changing_handlers.lock().await;
        let mut record = self.known(&name).await?;
        let is_tried = record.versions.canary.is_some();
        let digest = match (to, record.digest) {
            (None, Some(current)) if is_tried => current,
            _ => rollback_target(&record, to)?,
        };
        if record.digest == Some(digest) && is_tried {
            return self.give_back(record, CanaryEnd::Operator).await;
        }
        if record.digest == Some(digest) && matches!(self.inner.registry.current(&name), Slot::Ready(_)) {
            return Ok(HandlerLoaded::unchanged(digest, record.imports.unwrap_or_default()));
        }
        let program = self.find_off_thread(&name, digest).await?;
        self.end_canary(&mut record, CanaryEnd::Superseded);
        let from = record.digest.filter(|from| *from != digest);
        note(&mut record, &program, VersionChange::RolledBack { from });
        self.put_and_switch(&record, Arc::clone(&program), None).await?;
        tracing::warn!(handler = %name, %digest, "handler rolled back");
        Ok(HandlerLoaded { changed: true, ..HandlerLoaded::unchanged(digest, program.imports().to_vec()) })
    }

    /// Let the version that is tried run for all from now on.
    ///
    /// # Errors
    /// When none is tried, or the store fails.
    pub async fn promote(&self, name: HandlerName) -> Result<HandlerLoaded, HostError> {
        let host = self.clone();
        let promoting = async move {
            let _one_at_a_time = host.inner.changing_handlers.lock().await;
            let record = host.known(&name).await?;
            host.take_over(record, CanaryEnd::Operator).await
        };
        Ok(self.with_signer(to_the_end(promoting).await?))
    }

    /// How the trial of a handler's new version stands.
    #[must_use]
    pub fn canary(&self, record: &HandlerRecord) -> Option<CanaryView> {
        let record = (record.versions.canary.clone(), self.inner.registry.trials().of(&record.name));
        let (record, trial) = (record.0?, record.1);
        let counts = trial.filter(|trial| trial.record == record).map(|trial| trial.counts()).unwrap_or_default();
        Some(CanaryView { record, counts })
    }

    /// A trial has ended by itself.
    pub(crate) async fn end_trial(&self, trial: &Arc<Trial>) -> Result<(), HostError> {
        let _one_at_a_time = self.inner.changing_handlers.lock().await;
        let record = self.handler_record(&trial.handler).await?;
        // An operator may have been quicker.
        let record = record.filter(|record| record.versions.canary.as_ref() == Some(&trial.record));
        let (Some(record), Some(end)) = (record, trial.end().cloned()) else { return Ok(()) };
        if end.is_promotion() {
            self.take_over(record, end).await?;
        } else {
            self.give_back(record, end).await?;
        }
        Ok(())
    }

    /// Make a component that fits the version to run, or to be tried. Nobody else changes handlers meanwhile.
    pub(crate) async fn replace(
        &self,
        name: HandlerName,
        component: Component,
        program: Arc<Program>,
        options: LoadOptions,
    ) -> Result<HandlerLoaded, HostError> {
        let _one_at_a_time = self.inner.changing_handlers.lock().await;
        let before = self.handler_record(&name).await?;
        if let Some(before) = before.as_ref().filter(|_| !options.approve) {
            self.check_upgrade(before, &program)?;
        }
        let digest = program.digest();
        let imports = program.imports().to_vec();
        let unchanged = HandlerLoaded::unchanged(digest, imports.clone());
        let Some(mut record) = before else {
            self.keep_component(component, digest).await?;
            return self.run_at_once(new_record(name, self.default_settings()), program).await;
        };
        if record.digest == Some(digest) {
            self.keep_signature(&component, digest).await?;
            if !matches!(self.inner.registry.current(&name), Slot::Ready(_)) {
                self.keep_component(component, digest).await?;
                let candidate = self.find_candidate(&mut record).await;
                self.put_and_switch(&record, program, candidate).await?;
            }
            return Ok(unchanged);
        }
        if options.from_file && record.versions.is_given_up(digest) {
            tracing::warn!(handler = %name, %digest, "its file holds a version that was given up; `wasmill handler load` loads it anyway");
            return Ok(HandlerLoaded { given_up: true, ..unchanged });
        }
        let policy = record.replacing.canary;
        let share_percent = options.share_percent.unwrap_or(policy.share_percent);
        let is_tried = record.versions.canary.as_ref().is_some_and(|canary| canary.digest == digest);
        if is_tried && (options.from_file || share_percent > 0) {
            self.keep_signature(&component, digest).await?;
            let share = record.versions.canary.map(|canary| canary.policy.share_percent);
            return Ok(HandlerLoaded { canary_share_percent: share, ..unchanged });
        }
        self.keep_component(component, digest).await?;
        if is_tried {
            return self.take_over(record, CanaryEnd::Operator).await;
        }
        self.end_canary(&mut record, CanaryEnd::Superseded);
        let current = if share_percent > 0 { self.current_program(&record).await } else { None };
        let Some(current) = current else { return self.run_at_once(record, program).await };
        let policy = CanaryPolicy { share_percent, ..policy };
        record.versions.canary = Some(CanaryRecord { digest, imports: imports.clone(), began_at: now(), policy });
        self.put_and_switch(&record, current, Some(program)).await?;
        tracing::info!(handler = %name, %digest, share_percent, "canary begun");
        Ok(HandlerLoaded { changed: true, canary_share_percent: Some(share_percent), ..unchanged })
    }

    async fn run_at_once(&self, mut record: HandlerRecord, program: Arc<Program>) -> Result<HandlerLoaded, HostError> {
        let digest = program.digest();
        note(&mut record, &program, VersionChange::Loaded);
        self.put_and_switch(&record, Arc::clone(&program), None).await?;
        tracing::info!(handler = %record.name, %digest, "handler loaded");
        Ok(HandlerLoaded { changed: true, ..HandlerLoaded::unchanged(digest, program.imports().to_vec()) })
    }

    /// The version that is tried becomes the current one.
    async fn take_over(&self, mut record: HandlerRecord, end: CanaryEnd) -> Result<HandlerLoaded, HostError> {
        let name = record.name.clone();
        let Some(canary) = record.versions.canary.clone() else { return Err(HostError::NoCanary { handler: name }) };
        let digest = canary.digest;
        let program = self.find_off_thread(&name, digest).await?;
        let counts = self.counts_of(&record);
        record.versions.canary = None;
        note(&mut record, &program, VersionChange::Promoted { end: end.clone(), counts });
        self.put_and_switch(&record, Arc::clone(&program), None).await?;
        self.inner.options.observer.canary_ended(&CanarySeen { handler: &name, digest, end: &end, promoted: true });
        tracing::info!(handler = %name, %digest, why = end.describe(), ?counts, "canary promoted");
        Ok(HandlerLoaded { changed: true, ..HandlerLoaded::unchanged(digest, canary.imports) })
    }

    /// The version that is tried is given up; the current one runs for all again.
    async fn give_back(&self, mut record: HandlerRecord, end: CanaryEnd) -> Result<HandlerLoaded, HostError> {
        self.end_canary(&mut record, end);
        let Some(digest) = record.digest else { return Err(HostError::NoCanary { handler: record.name }) };
        let imports = record.imports.clone().unwrap_or_default();
        // First of all it is written down: nothing that may fail here must bring the trial back at the next start.
        self.order(Order::PutHandler { record: Box::new(record.clone()) }).await?;
        if let Slot::Ready(version) = self.inner.registry.current(&record.name) {
            // Nor must anything that may fail keep it running now.
            let (program, secrets) = (Arc::clone(&version.program), version.context.secrets.clone());
            self.inner.registry.switch(&record, program, None, secrets);
            self.collect_components(Collect::Soon).await;
            return Ok(HandlerLoaded { changed: true, ..HandlerLoaded::unchanged(digest, imports) });
        }
        let Some(current) = self.current_program(&record).await else {
            return Err(HostError::ComponentMissing { handler: record.name, digest: digest.to_string() });
        };
        self.put_and_switch(&record, current, None).await?;
        Ok(HandlerLoaded { changed: true, ..HandlerLoaded::unchanged(digest, imports) })
    }

    /// Note that the version that is tried is given up, if there is one.
    pub(crate) fn end_canary(&self, record: &mut HandlerRecord, end: CanaryEnd) {
        let counts = self.counts_of(record);
        let Some(CanaryRecord { digest, imports, .. }) = record.versions.canary.take() else { return };
        let handler = record.name.clone();
        self.inner.options.observer.canary_ended(&CanarySeen { handler: &handler, digest, end: &end, promoted: false });
        tracing::warn!(%handler, %digest, why = end.describe(), ?counts, "canary given up");
        record.note(VersionEvent { digest, at: now(), imports, change: VersionChange::GivenBack { end, counts } });
    }

    fn counts_of(&self, record: &HandlerRecord) -> Counts {
        self.canary(record).map(|canary| canary.counts).unwrap_or_default()
    }

    async fn put_and_switch(
        &self,
        record: &HandlerRecord,
        program: Arc<Program>,
        candidate: Option<Arc<Program>>,
    ) -> Result<(), HostError> {
        let digest = program.digest();
        let secrets = secrets::read_off_thread(record).await?;
        let before = self.inner.registry.current(&record.name);
        self.put_before_it_runs(record, &before).await?;
        self.inner.registry.switch(record, program, candidate, secrets);
        if !matches!(before, Slot::Ready(before) if before.program.digest() == digest) {
            self.inner.options.observer.handler_replaced(&record.name, digest);
        }
        self.collect_components(Collect::Soon).await;
        Ok(())
    }

    /// Declared, it resumes consumers that were paused because there was nothing to run. They wait for it instead of
    /// finding nothing once more.
    async fn put_before_it_runs(&self, record: &HandlerRecord, before: &Slot) -> Result<(), HostError> {
        let registry = &self.inner.registry;
        if matches!(before, Slot::Broken(_)) {
            registry.set_loading(&record.name);
        }
        let put = self.order(Order::PutHandler { record: Box::new(record.clone()) }).await;
        if let (Err(_), Slot::Broken(problem)) = (&put, before) {
            registry.set_broken(&record.name, problem.clone());
        }
        put.map(drop)
    }

    /// The program of the version that is tried. When it cannot run, the trial is over.
    pub(crate) async fn find_candidate(&self, record: &mut HandlerRecord) -> Option<Arc<Program>> {
        let digest = record.versions.canary.as_ref()?.digest;
        match self.find_off_thread(&record.name, digest).await {
            Ok(program) => Some(program),
            Err(error) => {
                self.end_canary(record, CanaryEnd::Unfit { detail: cut_reason(error.to_string()) });
                None
            }
        }
    }

    /// What runs now, also when the host has just been started and is still looking for it.
    async fn current_program(&self, record: &HandlerRecord) -> Option<Arc<Program>> {
        match self.inner.registry.current(&record.name) {
            Slot::Ready(version) => Some(Arc::clone(&version.program)),
            Slot::Loading | Slot::Broken(_) => self.find_off_thread(&record.name, record.digest?).await.ok(),
        }
    }

    pub(crate) async fn find_off_thread(&self, name: &HandlerName, digest: Digest) -> Result<Arc<Program>, HostError> {
        let registry = Arc::clone(&self.inner.registry);
        let handler = name.clone();
        let finding = tokio::task::spawn_blocking(move || registry.find(&handler, digest));
        finding.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })?
    }

    async fn keep_component(&self, component: Component, digest: Digest) -> Result<(), HostError> {
        let inner = Arc::clone(&self.inner);
        let Component { wasm, signature } = component;
        let keeping = tokio::task::spawn_blocking(move || {
            // Writing it takes a sync of the disk, which the deliveries have to share.
            if inner.components.get(digest)?.is_none_or(|kept| kept != wasm) {
                inner.components.put(&wasm, digest)?;
            }
            inner.registry.keep_signature(digest, signature.as_ref())
        });
        keeping.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })?
    }

    /// The component itself is kept already.
    async fn keep_signature(&self, component: &Component, digest: Digest) -> Result<(), HostError> {
        let Some(signature) = component.signature else { return Ok(()) };
        let inner = Arc::clone(&self.inner);
        let keeping = tokio::task::spawn_blocking(move || inner.registry.keep_signature(digest, Some(&signature)));
        keeping.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })?
    }

    async fn known(&self, name: &HandlerName) -> Result<HandlerRecord, HostError> {
        let record = self.handler_record(name).await?;
        record.ok_or_else(|| OrderRefusal::UnknownHandler { handler: name.clone() }.into())
    }
}

/// Do it also when nobody waits for it any more, as when a client hangs up: else the record could say one version and
/// another could run.
pub(crate) async fn to_the_end<T: Send + 'static>(
    doing: impl Future<Output = Result<T, HostError>> + Send + 'static,
) -> Result<T, HostError> {
    tokio::spawn(doing).await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })?
}

fn note(record: &mut HandlerRecord, program: &Program, change: VersionChange) {
    let (digest, imports) = (program.digest(), program.imports().to_vec());
    record.note(VersionEvent { digest, at: now(), imports, change });
}

fn rollback_target(record: &HandlerRecord, to: Option<&str>) -> Result<Digest, HostError> {
    let handler = || record.name.clone();
    let Some(to) = to else {
        let before = record.versions.before(record.digest).map(|event| event.digest);
        return before.ok_or_else(|| HostError::NoEarlierVersion { handler: handler() });
    };
    match record.versions.that_begin(to)[..] {
        [digest] if !to.is_empty() => Ok(digest),
        [] => Err(HostError::UnknownVersion { handler: handler(), given: to.chars().take(80).collect() }),
        _ => Err(HostError::AmbiguousVersion { handler: handler(), given: to.chars().take(80).collect() }),
    }
}

/// What is left of a record when only its settings count.
pub(crate) fn with_settings_of(record: &HandlerRecord, mut new: HandlerRecord) -> HandlerRecord {
    new.digest = record.digest;
    new.imports.clone_from(&record.imports);
    new.versions = record.versions.clone();
    if record.digest.is_some() {
        new.loaded_at = record.loaded_at;
    }
    new
}
