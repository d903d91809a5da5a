//! Callbacks: what is called when a job has ended.
//!
//! The engine puts a message into the queue `wasmill-callbacks` in the commit in which the job ends. Here it is pulled
//! like any other message of a consumer without a handler, so attempts, waits and quarantine are those of the consumer
//! `deliver` on that queue, which operators can see and change. A receiver that answers 2xx has it; whatever else it
//! answers is tried again, and as the host may stop between an answer and its settlement, a receiver may get one twice:
//! with the same `Idempotency-Key`.

mod client;
mod deliver;
mod rules;

pub(crate) use self::deliver::{declare, deliver};
pub use self::rules::{CallbackRefused, CallbackRules};
