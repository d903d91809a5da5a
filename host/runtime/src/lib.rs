//! The embeddable host: it owns the queues, decides what happens to every message, and runs each handler in its
//! sandbox.
//!
//! This crate must not know of HTTP, command lines or configuration files; the server adds those. It joins three
//! rooms: the pure rules (`wasmill-delivery`), the store (`wasmill-store`) and the sandbox (`wasmill-sandbox`).
//!
//! The way of a message: [`Host::publish`] leaves a draft in the inbox; the pump steps the engine and commits; slots
//! lease runs through the [`broker`], have the sandbox try them, and settle them the same way back.
//!
//! `examples/embed` is a whole program around it.

pub mod broker;
mod canary;
mod capabilities;
mod collect;
mod dispatch;
mod draft;
mod embedded;
mod error;
mod handler_limits;
mod handlers;
mod host;
mod import;
mod inbox;
mod jobs;
mod observer;
mod options;
mod publish;
mod pull;
mod pump;
mod quarantine;
mod redrives;
mod registry;
mod release;
mod replace;
mod request;
mod schedules;
mod secrets;
mod shuffle;
mod signatures;
pub mod simulated;
mod slot;
mod smoke;
mod why;

pub use wasmill_delivery as delivery;
pub use wasmill_sandbox::{ClientTls, CompileBounds, CompileWorker, Compiler, compile_worker};
/// Looking at components, and measuring them, without a host.
pub mod inspect {
    pub use wasmill_sandbox::{
        Anatomy, CallTimes, Interface, LoadError, MeasureError, Measured, Measurer, Module, Trial,
    };
}
/// Running quarantined deliveries again, without a host.
pub mod replay {
    pub use wasmill_sandbox::{
        Capsule, CapsuleFile, CapsuleFileError, Comparison, LoadError, Program, Replayed, Replayer, replay,
    };
}
pub use wasmill_store::{Durability, StoreOptions};

pub use self::{
    capabilities::{grants_unused, imports_not_granted},
    draft::Draft,
    error::{HostError, PublishError},
    handler_limits::{HANDLER_LIMITS_CEILING_DEFAULT, at_most},
    handlers::{HandlerLoaded, HandlerSettings, HandlerView},
    host::Host,
    import::{Import, Imported},
    jobs::{JOB_WAITS_MAX, Submitted},
    observer::{AttemptSeen, CanarySeen, Commit, NoObserver, Observer, SettleSeen},
    options::HostOptions,
    publish::{PUBLISH_BYTES_WAITING_MAX, Published, Publishing},
    pull::{
        PULL_BYTES_MAX, PULL_DELIVERIES_MAX, PULL_WAIT_MAX, PULLED_BYTES_MAX, PULLED_MAX, PULLS_WAITING_MAX, Pulled,
        PulledOutcome, PulledSettlement,
    },
    redrives::{REDRIVES_KEPT_MAX, REDRIVES_RUNNING_MAX, RedriveId, RedriveOperation, RedriveRefused, RedriveState},
    replace::{CanaryView, LoadOptions},
    request::{Answered, REPLY_TO_HEADER, REQUESTS_WAITING_MAX},
    schedules::{
        Calendar, CalendarError, SCHEDULE_HEADER, SCHEDULE_UPCOMING_MAX, SCHEDULED_AT_HEADER, ScheduleError,
        ScheduleProblem, ScheduleSettings, ScheduleView,
    },
    signatures::{
        Component, KEY_FILE_BYTES_MAX, KeyError, PrivateKey, PublicKey, Signature, SignatureProblem, SignatureRules,
        TRUSTED_KEYS_MAX,
    },
    smoke::SMOKE_TEST_MS_MAX,
    why::{
        Answer as WhyAnswer, Node as WhyNode, Place as WhyPlace, Step as WhyStep, StepAttempt as WhyAttempt,
        StepState as WhyState, WHY_MESSAGES_MAX,
    },
};
