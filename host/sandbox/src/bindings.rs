//! What `bindgen!` makes of the contract in `wit/`.
//!
//! Types are borrowed, so that a delivery is written into the guest's memory straight from the shared message.
#![allow(missing_docs, unreachable_pub, unsafe_code, unused_qualifications, clippy::all, clippy::unwrap_used)]

wasmtime::component::bindgen!({
    world: "message-handler",
    path: "../../wit",
    ownership: Borrowing { duplicate_if_necessary: false },
    imports: {
        // These do much for little fuel: after a while of it they let others run.
        "wasmill:handler/state": async | trappable,
        "wasmill:handler/producer": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
