//! Which component each handler runs now. Replacing one switches a pointer: deliveries under way finish on the old
//! version, the next run takes the new one.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use wasmill_delivery::{
    name::{Digest, HandlerName},
    record::{HandlerLimits, HandlerRecord},
};
use wasmill_sandbox::{Clock, HandlerContext, Program, Sandbox, Secrets, Simulation, StateReader};
use wasmill_store::Components;

use crate::{
    canary::Trials,
    error::HostError,
    handler_limits::at_most,
    release::{Canary, Release, Stay},
    signatures::{NotAdmitted, PublicKey, Signature, Signatures},
};

/// A version of a handler, ready to run.
pub(crate) struct Version {
    pub(crate) program: Arc<Program>,
    pub(crate) context: Arc<HandlerContext>,
    /// Which other versions run some deliveries, as long as this is the current one.
    pub(crate) release: Release,
}

/// What there is to run under a name.
#[derive(Clone, Default)]
pub(crate) enum Slot {
    /// The host is still looking.
    #[default]
    Loading,
    /// This.
    Ready(Arc<Version>),
    /// Nothing, and why.
    Broken(String),
}

/// All handlers by name.
pub(crate) struct Registry {
    sandbox: Sandbox,
    signatures: Signatures,
    state: Arc<dyn StateReader>,
    data_bytes_max: usize,
    handler_limits_max: HandlerLimits,
    components: Components,
    trials: Trials,
    simulation: Option<Arc<Simulation>>,
    slots: RwLock<BTreeMap<HandlerName, watch::Sender<Slot>>>,
}

impl Registry {
    pub(crate) const fn new(
        sandbox: Sandbox,
        signatures: Signatures,
        state: Arc<dyn StateReader>,
        data_bytes_max: usize,
        handler_limits_max: HandlerLimits,
        components: Components,
        trials: Trials,
    ) -> Self {
        let slots = RwLock::new(BTreeMap::new());
        Self {
            sandbox,
            signatures,
            state,
            data_bytes_max,
            handler_limits_max,
            components,
            trials,
            simulation: None,
            slots,
        }
    }

    /// Whose handlers meet this instead of the world outside.
    pub(crate) fn simulated(self, simulation: Arc<Simulation>) -> Self {
        Self { simulation: Some(simulation), ..self }
    }

    /// The clock that handlers see.
    pub(crate) fn clock(&self) -> Clock {
        self.simulation.as_ref().map(|simulation| simulation.clock()).unwrap_or_default()
    }

    /// Compile a component, or find its compiled code, if it may run here. Blocks for as long as that takes.
    pub(crate) fn compile(
        &self,
        handler: &HandlerName,
        wasm: &[u8],
        signature: Option<&Signature>,
    ) -> Result<Arc<Program>, HostError> {
        // Of the bytes themselves, whatever their file is called.
        let digest = Digest(Sha256::digest(wasm).into());
        self.signatures.admit(&digest, signature).map_err(|refused| match refused {
            NotAdmitted::Problem(problem) => {
                HostError::Signature { handler: handler.clone(), problem: Box::new(problem) }
            }
            NotAdmitted::Store(error) => error.into(),
        })?;
        self.sandbox.load(wasm).map_err(|problem| HostError::Load { handler: handler.clone(), problem })
    }

    /// Keep the signature that a component came with.
    pub(crate) fn keep_signature(&self, digest: Digest, signature: Option<&Signature>) -> Result<(), HostError> {
        Ok(self.signatures.keep(&digest, signature)?)
    }

    /// Who signed a component that was loaded.
    pub(crate) fn signer(&self, digest: Digest) -> Option<PublicKey> {
        self.signatures.signer(&digest)
    }

    /// A version whose component is kept. Blocks for as long as compiling takes, when its code is not kept too.
    pub(crate) fn find(&self, name: &HandlerName, digest: Digest) -> Result<Arc<Program>, HostError> {
        let Some(wasm) = self.components.get(digest)? else {
            return Err(HostError::ComponentMissing { handler: name.clone(), digest: digest.to_string() });
        };
        self.compile(name, &wasm, None)
    }

    /// Remove what is kept of a component besides itself.
    pub(crate) fn forget(&self, digest: &Digest) {
        self.sandbox.forget(digest);
        self.signatures.forget(digest);
    }

    pub(crate) const fn trials(&self) -> &Trials {
        &self.trials
    }

    /// Run this program under the record's name from now on, and beside it the one that the record says is tried.
    pub(crate) fn switch(
        &self,
        record: &HandlerRecord,
        program: Arc<Program>,
        candidate: Option<Arc<Program>>,
        secrets: Secrets,
    ) {
        let context = Arc::new(self.context(record, secrets));
        let canary = record.versions.canary.as_ref().zip(candidate).map(|(tried, program)| Canary {
            trial: self.trials.begin(&record.name, tried),
            candidate: Arc::new(Version { program, context: Arc::clone(&context), release: Release::default() }),
        });
        if canary.is_none() {
            self.trials.forget(&record.name);
        }
        let release = Release { canary, stay: Stay::of(record) };
        self.set(&record.name, Slot::Ready(Arc::new(Version { program, context, release })));
    }

    /// What is the same for all deliveries of a handler.
    pub(crate) fn context(&self, record: &HandlerRecord, secrets: Secrets) -> HandlerContext {
        HandlerContext {
            handler: record.name.clone(),
            // The operator may have lowered the maximum since it was declared.
            limits: at_most(record.limits, &self.handler_limits_max),
            config: record.config.clone(),
            grants: Arc::new(record.grants.clone()),
            secrets,
            data_bytes_max: self.data_bytes_max,
            state: Arc::clone(&self.state),
            simulation: self.simulation.clone(),
        }
    }

    /// There is nothing to run under that name, and why.
    pub(crate) fn set_broken(&self, name: &HandlerName, problem: String) {
        self.set(name, Slot::Broken(problem));
    }

    /// There will be something to run under that name in a moment.
    pub(crate) fn set_loading(&self, name: &HandlerName) {
        self.set(name, Slot::Loading);
    }

    /// What runs now.
    pub(crate) fn current(&self, name: &HandlerName) -> Slot {
        self.watch(name).borrow().clone()
    }

    /// What runs now, and what comes after it.
    pub(crate) fn watch(&self, name: &HandlerName) -> watch::Receiver<Slot> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(name) {
            return slot.subscribe();
        }
        drop(slots);
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.entry(name.clone()).or_default().subscribe()
    }

    /// Forget a handler.
    pub(crate) fn remove(&self, name: &HandlerName) {
        self.trials.forget(name);
        self.set_broken(name, "the handler was removed".to_owned());
        self.slots.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn set(&self, name: &HandlerName, slot: Slot) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.entry(name.clone()).or_default().send_replace(slot);
    }
}
