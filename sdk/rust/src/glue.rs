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

/// Run a handler for one delivery and put its answer in the words of the contract.
///
/// # Errors
/// Whatever `handle` fails with.
#[inline]
pub fn run(delivery: Delivery, handle: fn(&Context) -> crate::Result) -> Result<(), Failure> {
    handle(&Context::new(delivery)).map_err(Failure::from)
}
