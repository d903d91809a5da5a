//! What the code that [`handler`](crate::handler) writes calls. Not for handlers: it may change at any time.

use crate::{Context, Delivery};

/// The bindings to the world `message-handler`, generated once for all handlers.
///
/// Of the imports named here a component gets only those that its handler calls, because the linker drops the rest:
/// a component's imports are the list of what it asks for.
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "message-handler",
        generate_all,
        pub_export_macro: true,
        additional_derives: [PartialEq, Eq],
    });
}

pub use bindings::{exports::wasmill::handler::handler::Guest, wasmill::handler::types::Failure};

/// What the parameters of a handler are made from.
#[must_use]
pub fn context(delivery: Delivery) -> Context {
    Context::new(delivery)
}
