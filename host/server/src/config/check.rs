//! From what was written to what is used: paths resolved, defaults of defaults filled in.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use wasmill_delivery::{
    engine::{EngineLimits, Unrouted},
    record::{HandlerLimits, Replacing, SecretSource},
};
use wasmill_runtime::{
    CompileBounds, Durability, HANDLER_LIMITS_CEILING_DEFAULT, HandlerSettings, StoreOptions, at_most,
};

use super::{
    Config, HandlerDeclaration, LimitsConfig, LogConfig, ServerConfig, StoreConfig,
    queue::check_queue,
    raw::{Raw, RawDurability, RawHandler, RawLimits, RawStore, RawUnrouted},
    value::{Count, FilePath},
};

/// `base` is the folder that relative paths are relative to.
pub(super) fn check(raw: Raw, base: &Path) -> Config {
    let Raw { server, log, store, limits, signatures, callbacks, handlers, handler, queue, schedule } = raw;
    let limits = check_limits(limits);
    let most = limits.handler;
    Config {
        server: ServerConfig {
            listen: server.listen.0,
            body_bytes_max: to_usize(server.body_bytes_max.0),
            drain: Duration::from_millis(server.drain.0),
            allow_remote: server.allow_remote,
        },
        log: LogConfig { level: log.level.0, format: log.format },
        store: check_store(store, base),
        limits,
        signatures: signatures.0,
        callbacks: callbacks.allow.0,
        handlers_folder: resolve(handlers.folder, base),
        handlers: handler.into_iter().map(|(name, raw)| (name, check_handler(raw, base, &most))).collect(),
        schedules: schedule.into_iter().map(|(name, raw)| (name, raw.settings())).collect(),
        queues: queue.into_iter().map(|(name, raw)| (name, check_queue(raw))).collect(),
    }
}

fn resolve(path: FilePath, base: &Path) -> PathBuf {
    if base.as_os_str().is_empty() {
        return path.0;
    }
    base.join(path.0.strip_prefix(".").unwrap_or(&path.0))
}

fn check_store(raw: RawStore, base: &Path) -> StoreConfig {
    let durability = match raw.durability {
        RawDurability::Fsync => Durability::Fsync,
        RawDurability::Interval => Durability::Interval { flush_ms: raw.flush_every.0 },
    };
    StoreConfig {
        folder: resolve(raw.folder, base),
        options: StoreOptions { durability, cache_bytes: raw.cache.0, ..StoreOptions::default() },
    }
}

fn check_limits(raw: RawLimits) -> LimitsConfig {
    LimitsConfig {
        data_bytes_max: to_usize(raw.data_bytes_max.0),
        engine: EngineLimits {
            dedup_window_ms: raw.dedup_window.0,
            dedup_ids_max: raw.dedup_ids_max.get(),
            quarantine_max: raw.quarantine_max.get(),
            capsules_bytes_max: raw.capsules_bytes_max.0,
            pending_max: raw.pending_max.get(),
            delayed_max: raw.delayed_max.get(),
            jobs_max: raw.jobs_max.get(),
            job_keep_ms: raw.job_keep.0,
            job_result_bytes_max: raw.job_result_bytes_max.0,
            job_results_bytes_max: raw.job_results_bytes_max.0,
            order_window_max: EngineLimits::default().order_window_max,
            unrouted: match raw.unrouted {
                RawUnrouted::Refuse => Unrouted::Refuse,
                RawUnrouted::Drop => Unrouted::Drop,
                RawUnrouted::Park(queue) => Unrouted::Park(queue),
            },
        },
        instances_max: raw.instances_max.get(),
        handler_threads: raw.handler_threads.map(Count::get),
        compile: CompileBounds { cpu_s_max: raw.compile_cpu_max.0 / 1_000, memory_bytes_max: raw.compile_memory_max.0 },
        handler: raw.handler.over(HANDLER_LIMITS_CEILING_DEFAULT),
    }
}

fn check_handler(raw: RawHandler, base: &Path, most: &HandlerLimits) -> HandlerDeclaration {
    let (sample, sample_file) = raw.sample.map(|raw| (raw.sample, raw.file)).unzip();
    HandlerDeclaration {
        sample_file: sample_file.flatten().map(|file| resolve(file, base)),
        file: raw.file.map(|file| resolve(file, base)),
        settings: HandlerSettings {
            limits: raw.limits.over(at_most(HandlerLimits::default(), most)),
            config: raw.config,
            grants: raw.grants,
            secrets: raw.secrets.into_iter().map(|(name, source)| (name, secret(source, base))).collect(),
            replacing: Replacing { sample, retries: raw.retries, canary: raw.canary.policy() },
        },
    }
}

/// Relative to the configuration, as every path of it.
fn secret(source: SecretSource, base: &Path) -> SecretSource {
    match source {
        SecretSource::Env(variable) => SecretSource::Env(variable),
        SecretSource::File(file) => {
            let file = resolve(FilePath(PathBuf::from(&*file)), base);
            SecretSource::File(file.to_string_lossy().into())
        }
    }
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
