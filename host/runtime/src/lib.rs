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
mod dispatch;
mod draft;
mod embedded;
mod error;
mod handlers;
mod host;
mod inbox;
mod observer;
mod options;
mod pump;
mod quarantine;
mod registry;
mod slot;

pub use wasmill_delivery as delivery;
pub use wasmill_store::{Durability, StoreOptions};

pub use self::{
    draft::Draft,
    error::{HostError, PublishError},
    handlers::{HandlerLoaded, HandlerSettings, HandlerView},
    host::{Host, PUBLISH_BYTES_WAITING_MAX, Published},
    observer::{AttemptSeen, Commit, NoObserver, Observer, SettleSeen},
    options::HostOptions,
};
