//! The configuration as it is written, key by key. `wasmill.reference.toml` documents every one of them.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use wasmill_delivery::{
    engine::EngineLimits,
    limits,
    name::{HandlerName, QueueName},
    record::{Grants, Retries, SecretSource},
    schedule::ScheduleName,
};
use wasmill_runtime::CompileBounds;
use wasmill_settings::{limits::RawHandlerLimits, value::ENDLESS};

use crate::callbacks::CallbackRules;

use super::{
    LogFormat,
    queue::RawQueue,
    replacing::{RawCanary, RawSample},
    schedule::RawSchedule,
    signatures::RawSignatures,
    value::{Count, DurationMs, FilePath, Listen, LogFilter, Size},
};

/// The most instances at once; each reserves address space.
const INSTANCES_CEILING: u64 = 4_096;
/// The most threads that run handlers.
const THREADS_CEILING: u64 = 1_024;
/// The most jobs; each takes some hundred bytes of memory.
const JOBS_CEILING: u64 = 10_000_000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Raw {
    pub(super) server: RawServer,
    pub(super) log: RawLog,
    pub(super) store: RawStore,
    pub(super) limits: RawLimits,
    pub(super) signatures: RawSignatures,
    pub(super) callbacks: RawCallbacks,
    pub(super) handlers: RawHandlers,
    pub(super) handler: BTreeMap<HandlerName, RawHandler>,
    pub(super) queue: BTreeMap<QueueName, RawQueue>,
    pub(super) schedule: BTreeMap<ScheduleName, RawSchedule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawServer {
    pub(super) listen: Listen,
    pub(super) body_bytes_max: Size<1, { 1 << 40 }>,
    pub(super) drain: DurationMs<0, ENDLESS>,
    pub(super) allow_remote: bool,
}

impl Default for RawServer {
    fn default() -> Self {
        Self {
            listen: Listen(std::net::SocketAddr::from(([127, 0, 0, 1], 7500))),
            body_bytes_max: Size(64 * 1024 * 1024),
            drain: DurationMs(30_000),
            allow_remote: false,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawLog {
    pub(super) level: LogFilter,
    pub(super) format: LogFormat,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { level: LogFilter("info".to_owned()), format: LogFormat::Text }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawStore {
    pub(super) folder: FilePath,
    pub(super) durability: RawDurability,
    pub(super) flush_every: DurationMs<1, ENDLESS>,
    pub(super) cache: Size<{ 1024 * 1024 }, ENDLESS>,
}

impl Default for RawStore {
    fn default() -> Self {
        Self {
            folder: FilePath(PathBuf::from("./wasmill-data")),
            durability: RawDurability::Fsync,
            flush_every: DurationMs(50),
            cache: Size(32 * 1024 * 1024),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawDurability {
    Fsync,
    Interval,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawLimits {
    pub(super) data_bytes_max: Size<1, { limits::DATA_BYTES_MAX_CEILING as u64 }>,
    pub(super) dedup_window: DurationMs<0, ENDLESS>,
    pub(super) dedup_ids_max: Count<0, ENDLESS>,
    pub(super) quarantine_max: Count<1, ENDLESS>,
    pub(super) capsules_bytes_max: Size<0, ENDLESS>,
    pub(super) pending_max: Count<1, ENDLESS>,
    pub(super) delayed_max: Count<1, ENDLESS>,
    pub(super) jobs_max: Count<1, JOBS_CEILING>,
    pub(super) job_keep: DurationMs<0, ENDLESS>,
    pub(super) job_result_bytes_max: Size<0, { limits::DATA_BYTES_MAX_CEILING as u64 }>,
    pub(super) job_results_bytes_max: Size<0, ENDLESS>,
    pub(super) unrouted: RawUnrouted,
    pub(super) instances_max: Count<1, INSTANCES_CEILING>,
    pub(super) handler_threads: Option<Count<1, THREADS_CEILING>>,
    pub(super) compile_cpu_max: DurationMs<1_000, { 24 * 60 * 60 * 1_000 }>,
    pub(super) compile_memory_max: Size<{ 64 * 1024 * 1024 }, { 1 << 40 }>,
    pub(super) handler: RawHandlerLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawCallbacks {
    pub(super) allow: AllowList,
}

/// Origins that may be called.
#[derive(Clone, Debug, Default)]
pub(super) struct AllowList(pub(super) CallbackRules);

impl<'de> Deserialize<'de> for AllowList {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        CallbackRules::parse(&list).map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawUnrouted {
    Refuse,
    Drop,
    Park(QueueName),
}

impl Default for RawLimits {
    fn default() -> Self {
        let engine = EngineLimits::default();
        Self {
            data_bytes_max: Size(limits::DATA_BYTES_MAX_DEFAULT as u64),
            dedup_window: DurationMs(engine.dedup_window_ms),
            dedup_ids_max: Count::new(engine.dedup_ids_max as u64),
            quarantine_max: Count::new(engine.quarantine_max),
            capsules_bytes_max: Size(engine.capsules_bytes_max),
            pending_max: Count::new(engine.pending_max),
            delayed_max: Count::new(engine.delayed_max),
            jobs_max: Count::new(engine.jobs_max),
            job_keep: DurationMs(engine.job_keep_ms),
            job_result_bytes_max: Size(engine.job_result_bytes_max),
            job_results_bytes_max: Size(engine.job_results_bytes_max),
            unrouted: RawUnrouted::Refuse,
            instances_max: Count::new(2_000),
            handler_threads: None,
            compile_cpu_max: DurationMs(CompileBounds::default().cpu_s_max * 1_000),
            compile_memory_max: Size(CompileBounds::default().memory_bytes_max),
            handler: RawHandlerLimits::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawHandlers {
    pub(super) folder: FilePath,
}

impl Default for RawHandlers {
    fn default() -> Self {
        Self { folder: FilePath(PathBuf::from("./handlers")) }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawHandler {
    pub(super) file: Option<FilePath>,
    pub(super) config: BTreeMap<String, String>,
    pub(super) limits: RawHandlerLimits,
    pub(super) grants: Grants,
    pub(super) secrets: BTreeMap<String, SecretSource>,
    pub(super) retries: Retries,
    pub(super) canary: RawCanary,
    pub(super) sample: Option<RawSample>,
}
