//! How a host is set up.

use std::{path::PathBuf, sync::Arc};

use wasmill_delivery::{engine::EngineLimits, limits, record::HandlerLimits};
use wasmill_sandbox::Compiler;
use wasmill_store::StoreOptions;

use crate::{
    handler_limits::HANDLER_LIMITS_CEILING_DEFAULT,
    observer::{NoObserver, Observer},
    signatures::SignatureRules,
};

/// How a host is set up. Start from [`HostOptions::new`] and change what you need.
#[derive(Clone)]
pub struct HostOptions {
    /// The folder of the store; made if it is not there. Only one host at a time can have it.
    pub store_folder: PathBuf,
    /// How the store keeps things.
    pub store: StoreOptions,
    /// What bounds the engine.
    pub limits: EngineLimits,
    /// Data of one message, in bytes; at most [`limits::DATA_BYTES_MAX_CEILING`].
    pub data_bytes_max: usize,
    /// Threads that run handlers; by default one for each core.
    pub handler_threads: usize,
    /// Instances of all handlers that live at once.
    pub instances_max: u32,
    /// What handlers may set their limits to at most.
    pub handler_limits_max: HandlerLimits,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// Whose components may run.
    pub signatures: SignatureRules,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
}

impl HostOptions {
    /// The defaults, with the store in this folder.
    pub fn new(store_folder: impl Into<PathBuf>) -> Self {
        Self {
            store_folder: store_folder.into(),
            store: StoreOptions::default(),
            limits: EngineLimits::default(),
            data_bytes_max: limits::DATA_BYTES_MAX_DEFAULT,
            handler_threads: std::thread::available_parallelism().map_or(1, usize::from),
            instances_max: wasmill_sandbox::limits::INSTANCES_MAX_DEFAULT,
            handler_limits_max: HANDLER_LIMITS_CEILING_DEFAULT,
            compiler: Compiler::default(),
            signatures: SignatureRules::default(),
            observer: Arc::new(NoObserver),
        }
    }
}
