//! The pure rules of delivery: what happens to every message, as a function of inputs and time.
//!
//! This crate must not know of files, sockets, clocks, randomness, threads, sled or wasmtime. It takes what
//! happened as [`input::Input`], says what must be durable as [`write::Write`], and what must be done outside as
//! [`effect::Effect`]. [`engine::Engine::tick`] lets no effect out before its writes are durable, and consumes
//! the engine, so that a failed commit leaves none behind that could be misused.

pub mod canary;
pub mod consumer_config;
pub mod cursor;
pub mod dedup;
pub mod effect;
pub mod engine;
mod fnv;
pub mod grants;
pub mod input;
pub mod job;
pub mod limits;
pub mod message;
pub mod name;
pub mod outcome;
pub mod policy;
pub mod priority;
pub mod queue_config;
pub mod record;
pub mod routing;
pub mod schedule;
pub mod state_window;
pub mod time;
pub mod topic;
pub mod trace_context;
pub mod versions;
pub mod write;
