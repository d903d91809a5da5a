//! From how a call ended to the outcome of the attempt.

use wasmill_delivery::{
    limits::{HANDLER_DELAY_MS_MAX, REASON_BYTES_MAX},
    outcome::{Outcome, cut_reason},
    record::HandlerLimits,
};
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::{bindings::wasmill::handler::types::Failure, limits, secrets::Secrets, stop::Stop};

/// How a call ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The guest answered.
    Answered(Result<(), Failure>),
    /// There was no instance to call.
    NotStarted(Error),
    /// The guest was ended.
    Broke(Error),
    /// Its time was over.
    TimedOut,
}

/// What else there is to know about a call that ended.
pub(crate) struct Circumstances<'a> {
    pub(crate) limits: &'a HandlerLimits,
    /// Whether the guest asked for more memory than its limit.
    pub(crate) memory_refused: bool,
    /// What no reason may show.
    pub(crate) secrets: &'a Secrets,
}

/// What the sandbox saw.
pub(crate) fn outcome(ended: Ended, circumstances: &Circumstances<'_>) -> Outcome {
    match ended {
        Ended::Answered(Ok(())) => Outcome::Success,
        Ended::Answered(Err(failure)) => answered(failure, circumstances.secrets),
        Ended::TimedOut => timed_out(circumstances),
        Ended::Broke(error) => broke(&error, circumstances).unwrap_or_else(|| Outcome::Trapped {
            trap: cut_reason(circumstances.secrets.hide(plain(&error), REASON_BYTES_MAX)),
        }),
        Ended::NotStarted(error) => broke(&error, circumstances)
            .unwrap_or_else(|| Outcome::HostFault { detail: format!("an instance cannot be made: {error:#}") }),
    }
}

pub(crate) fn answered(failure: Failure, secrets: &Secrets) -> Outcome {
    match failure {
        Failure::Retry(request) => Outcome::Retry {
            reason: cut_reason(secrets.hide(request.reason, REASON_BYTES_MAX)),
            after_ms: request.after.map(|ms| ms.min(HANDLER_DELAY_MS_MAX)),
        },
        Failure::Defer(after_ms) => Outcome::Defer { after_ms: after_ms.min(HANDLER_DELAY_MS_MAX) },
        Failure::Throttle(after_ms) => Outcome::Throttle { after_ms: after_ms.min(HANDLER_DELAY_MS_MAX) },
        Failure::Reject(reason) => Outcome::Reject { reason: cut_reason(secrets.hide(reason, REASON_BYTES_MAX)) },
    }
}

/// What an error says for itself; none when it says nothing that has a name of its own.
fn broke(error: &Error, circumstances: &Circumstances<'_>) -> Option<Outcome> {
    let limits = circumstances.limits;
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return Some(stopped(stop, circumstances));
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        let advice = "raise the number of instances or lower the consumers' concurrency";
        return Some(Outcome::HostFault { detail: format!("all instances are in use ({full}); {advice}") });
    }
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::OutOfFuel) {
        return Some(Outcome::OutOfFuel { fuel_max: limits.fuel_max });
    }
    if trap == Some(Trap::StackOverflow) {
        return Some(Outcome::StackOverflow);
    }
    if circumstances.memory_refused {
        return Some(Outcome::OutOfMemory { memory_bytes_max: limits.memory_bytes_max });
    }
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return Some(Outcome::Exited { success: *status == 0 });
    }
    let text = trap?.to_string();
    let text = text.strip_prefix("wasm trap: ").unwrap_or(&text);
    Some(Outcome::Trapped { trap: text.to_owned() })
}

fn stopped(stop: &Stop, circumstances: &Circumstances<'_>) -> Outcome {
    match stop {
        Stop::PublishLimit(limit) => Outcome::PublishLimit { limit: limit.clone() },
        Stop::StateLimit(limit) => Outcome::StateLimit { limit: limit.clone() },
        Stop::TimedOut | Stop::TimedOutWaiting => timed_out(circumstances),
    }
}

const fn timed_out(circumstances: &Circumstances<'_>) -> Outcome {
    Outcome::TimedOut { wall_clock_ms_max: circumstances.limits.wall_clock_ms_max }
}

/// An error without the backtrace that is wrapped around it, which is kept by itself.
fn plain(error: &Error) -> String {
    error.root_cause().to_string()
}

/// The guest's functions, innermost first; none when it was not running.
pub(crate) fn backtrace(ended: &Ended) -> Vec<String> {
    let error = match ended {
        Ended::Broke(error) | Ended::NotStarted(error) => error,
        Ended::Answered(_) | Ended::TimedOut => return Vec::new(),
    };
    if matches!(error.downcast_ref(), Some(Stop::TimedOutWaiting)) {
        return Vec::new();
    }
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    frames.iter().take(limits::BACKTRACE_FRAMES_MAX).map(function_name).collect()
}

fn function_name(frame: &wasmtime::FrameInfo) -> String {
    let mut name = match frame.func_name() {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {} (it has no name)", frame.func_index()),
    };
    name.truncate(name.floor_char_boundary(limits::FUNCTION_NAME_BYTES_MAX));
    name
}
