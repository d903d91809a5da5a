//! Tests of handlers like production: a real component runs on the engine, the store and the sandbox that a host has,
//! under a clock that only the test moves. An hour of retries takes a millisecond, and every run is the same.
//!
//! [`Harness`] is for tests that are written in Rust; [`Cases`] are tests as data, which `wasmill test` runs. The store is
//! in a temporary folder; a crash is one of this process's own, at a commit that the test chooses.
//!
//! ```
//! use std::time::Duration;
//!
//! use wasmill_testing::{Draft, Harness, Loader, Settings, delivery::policy::Backoff};
//!
//! # let component = "../../target/guests/guest-flaky.wasm"; // What `cargo build` made; this one fails once.
//! let loader = Loader::with_user_cache()?;
//! let mut settings = Settings::default();
//! settings.config.insert("fail-attempts".to_owned(), "1".to_owned());
//! settings.consumer.backoff = Backoff::Fixed { fixed_ms: 60_000, jitter: false };
//! let mut test = Harness::new(&loader, loader.load_file(component)?, settings)?;
//!
//! test.publish(Draft::new("in", "some data"))?;
//! test.advance(Duration::from_secs(59))?;
//! test.assert_outcomes(&["retry"]);
//! assert!(test.published().is_empty(), "what a failed attempt published does not exist");
//!
//! test.run_until_idle()?;
//! test.assert_outcomes(&["retry", "success"]);
//! assert_eq!(test.published()[0].message.data, "attempt 2");
//! assert!(test.state()?.is_empty() && test.quarantined().is_empty());
//! assert_eq!(test.elapsed(), Duration::from_secs(60));
//! test.assert_fuel_at_most(1_000_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This crate must not know of command lines, or of anything that outlives a test.

mod assert;
mod cache;
mod capsule;
mod case;
mod check;
mod data;
mod ends;
mod error;
mod folder;
mod forms;
mod harness;
mod http;
mod loader;
mod matching;
mod notes;
mod quiet;
mod run;
mod settings;
mod snapshot;

pub use cache::CACHE_BYTES_MAX;
pub use capsule::{Capsule, CapsuleRun};
pub use case::{Case, Cases, CasesError};
pub use check::Mismatch;
pub use error::HarnessError;
pub use harness::{ATTEMPTS_MAX, Harness, IDLE_WITHIN_MAX};
pub use http::Plan;
pub use loader::Loader;
pub use notes::{Attempt, CrashAt, Published};
pub use run::{CaseReport, RunOptions};
pub use settings::{STARTS_AT_DEFAULT, Settings};
pub use wasmill_delivery as delivery;
pub use wasmill_runtime::{
    Draft,
    simulated::{PlannedAnswer, Program, ReceivedAnswer, SentRequest, SimulatedFailure},
};
