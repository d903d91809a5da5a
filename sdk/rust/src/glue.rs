//! What the code that [`handler`](crate::handler) writes calls. Not for handlers: it may change at any time.

use crate::{Context, Delivery, Handler, Result};

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

/// The bindings to the world `batch-message-handler`; what both worlds have is the same.
pub mod batch_bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "batch-message-handler",
        pub_export_macro: true,
        with: {
            "wasmill:handler/types@0.1.0": crate::glue::bindings::wasmill::handler::types,
            "wasmill:handler/producer@0.1.0": crate::glue::bindings::wasmill::handler::producer,
            "wasmill:handler/state@0.1.0": crate::glue::bindings::wasmill::handler::state,
            "wasi:config/store@0.2.0-draft": crate::glue::bindings::wasi::config::store,
        },
    });
}

pub use batch_bindings::exports::wasmill::handler::batch_handler::Guest as BatchGuest;
pub use bindings::{exports::wasmill::handler::handler::Guest, wasmill::handler::types::Failure};

/// Call a function with its parameters made from this delivery.
///
/// # Errors
/// What it answers.
pub fn handle<Parameters>(mut function: impl Handler<Parameters>, delivery: Delivery) -> Result {
    function.handle(&context(delivery))
}

/// Call a function with a batch. The host gives no empty one.
pub fn handle_batch(
    function: impl FnOnce(&[Delivery], Context) -> Vec<Result>,
    deliveries: &[Delivery],
) -> Vec<Result> {
    match deliveries.first() {
        Some(first) => function(deliveries, context(first.clone())),
        None => Vec::new(),
    }
}

/// What the parameters of a handler are made from.
#[must_use]
pub fn context(delivery: Delivery) -> Context {
    Context::new(delivery)
}
