//! What goes into a run of a handler, and what comes out of it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use wasmill_delivery::{
    input::{AttemptResult, Revision},
    message::Message,
    name::{ConsumerName, Digest, HandlerName, QueueName, Sequence},
    record::{Grants, HandlerLimits},
};

use crate::{
    secrets::Secrets,
    simulation::{Clock, Simulation},
};

/// How the sandbox reads what handlers stored. It is called on the worker's thread while the guest waits, so it
/// shall answer from memory or a local disk, and not wait for anything.
pub trait StateReader: Send + Sync {
    /// The revision that is durable now. Reads that follow see it or a later one.
    fn revision(&self) -> Revision;

    /// The value of a key.
    ///
    /// # Errors
    /// With a sentence for the operator, when the store cannot be read. The attempt then ends as a host fault.
    fn get(&self, handler: &HandlerName, key: &str) -> Result<Option<Bytes>, String>;

    /// At most `limit` keys that begin with `prefix`, in ascending byte order, from the first one after `after`.
    ///
    /// # Errors
    /// With a sentence for the operator, when the store cannot be read. The attempt then ends as a host fault.
    fn list_keys(
        &self,
        handler: &HandlerName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, String>;
}

/// What is the same for all deliveries of one handler.
pub struct HandlerContext {
    /// Its name.
    pub handler: HandlerName,
    /// What stops it.
    pub limits: HandlerLimits,
    /// What it reads by `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What it may reach.
    pub grants: Arc<Grants>,
    /// What it reads by `wasi:config` too, and nobody else sees.
    pub secrets: Secrets,
    /// Data of one message that it publishes, in bytes.
    pub data_bytes_max: usize,
    /// What it stored.
    pub state: Arc<dyn StateReader>,
    /// What it meets instead of the world outside; none as a rule.
    pub simulation: Option<Arc<Simulation>>,
}

impl HandlerContext {
    /// The clock that it sees.
    pub(crate) fn clock(&self) -> Clock {
        self.simulation.as_ref().map(|simulation| simulation.clock()).unwrap_or_default()
    }
}

/// One message for one consumer, to be run now.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// The queue it comes from.
    pub queue: QueueName,
    /// The consumer it is for.
    pub consumer: ConsumerName,
    /// Its place in the queue.
    pub sequence: Sequence,
    /// Which run it is, from 1.
    pub attempt: u32,
    /// How many the consumer's policy allows.
    pub attempts_max: u32,
}

/// What came of one run.
#[derive(Debug)]
pub struct Attempt {
    /// What the handler wants done, or the evidence of its failure.
    pub result: AttemptResult,
    /// The version of the handler that ran.
    pub digest: Digest,
    /// Units of fuel it used, a fresh instance's start included.
    pub fuel_used: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// All memories of its instance together, in bytes. Memory only grows, so on a warm instance an earlier
    /// delivery may be the cause.
    pub memory_bytes_peak: u64,
    /// Whether the instance was made for this run.
    pub fresh_instance: bool,
    /// What it printed, cut at its limit.
    pub log: String,
    /// What it takes to run it again without this host, see [`crate::Capsule`]; only of failures that can come into
    /// quarantine.
    pub capsule: Option<Bytes>,
}
