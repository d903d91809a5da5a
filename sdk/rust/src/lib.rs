//! Write Wasmill handlers in Rust.
//!
//! A handler is a function that is called once for each delivery. Its parameters say what it wants of the
//! delivery, and its answer says what shall become of it:
//!
//! ```
//! use wasmill::{Context, Json, Outgoing};
//!
//! #[derive(serde::Deserialize, serde::Serialize)]
//! struct Quake {
//!     magnitude: f64,
//!     place: String,
//! }
//!
//! #[wasmill::handler]
//! fn on_quake(quake: Json<Quake>, ctx: Context) -> wasmill::Result {
//!     ctx.state().increment("seen", 1)?;
//!     if quake.magnitude >= 5.0 {
//!         ctx.publish(Outgoing::json("alerts", &*quake)?.key(&quake.place))?;
//!     }
//!     Ok(())
//! }
//!
//! // Natively a handler is a plain function and `Context` is an in-memory stand-in, so that is how to test it:
//! let ctx = Context::for_test();
//! let quake = Quake { magnitude: 6.1, place: "Hualien, Taiwan".to_owned() };
//! assert_eq!(on_quake(Json(quake), ctx.clone()), Ok(()));
//! assert_eq!(ctx.published()[0].topic, "alerts");
//! assert_eq!(ctx.state().get_int("seen"), Ok(1));
//! ```
//!
//! # What an answer means
//! `Ok(())` settles the delivery: in one atomic commit it is done, everything it published is queued and
//! everything it stored is stored. A [`Failure`] voids all of that and says what to do: [`retry()`] later, [`defer()`]
//! without using up an attempt, or [`reject()`], which puts the delivery in quarantine at once. A panic is a trap: the
//! attempt is void and the consumer's policy decides about the next one.
//!
//! **`?` on any [`std::error::Error`] is a retry.** Errors of this crate that can never pass are rejections instead,
//! and their types say so: [`PublishError`], [`StateError`].
//!
//! [`OrFail`] says something else of an error in one word: `.or_reject("no such order")?`.
//!
//! # Without the attribute
//! [`export!`] makes a component of any function that is a [`Handler`], named by its path; [`export_batch!`] does so for
//! batches.
//!
//! # What a handler can see
//! Nothing but its delivery, what it may publish, its own state and its configured values: no files, no environment,
//! and no network besides the HTTP requests (feature `http`) that its operator grants. What it prints goes to the host's log
//! and into the record of the attempt; with the feature `tracing` or `log`, and `wasmill::logging::init()`, so
//! does what it logs. The host may use one instance for many deliveries and may start a new one at any time: globals are a
//! cache, never a store.
//!
//! The host meets a handler only in the WIT files of the folder `wit`; this crate keeps the bindings to itself, so
//! that a handler's crate needs no WIT files and no build script.

#![deny(missing_docs)]

// The attribute writes `::wasmill`, which must mean this crate in its own tests too.
#[cfg(test)]
extern crate self as wasmill;

mod call;
mod cloud_event;
mod context;
mod delivery;
mod extract;
mod failure;
#[doc(hidden)]
pub mod glue;
mod host;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "log", feature = "tracing"))]
pub mod logging;
mod macros;
mod or_fail;
mod outgoing;
mod percent;
mod state;
mod typed_state;
mod values;

/// ```
/// use wasmill::{Context, Json};
///
/// #[derive(serde::Deserialize)]
/// struct Quake {
///     magnitude: f64,
/// }
///
/// #[wasmill::handler]
/// fn on_quake(quake: Json<Quake>, ctx: Context) -> wasmill::Result {
///     if quake.magnitude >= 5.0 {
///         ctx.publish(wasmill::Outgoing::text("alerts", format!("magnitude {}", quake.magnitude)))?;
///     }
///     Ok(())
/// }
/// ```
/// A parameter that cannot be made from a delivery does not compile:
/// ```compile_fail,E0277
/// #[wasmill::handler]
/// fn on_quake(magnitude: f64) -> wasmill::Result {
///     Ok(())
/// }
/// ```
/// Nor does one that is async:
/// ```compile_fail
/// #[wasmill::handler]
/// async fn on_quake() -> wasmill::Result {
///     Ok(())
/// }
/// ```
pub use wasmill_macros::handler;

/// Make a function the handler of this component that takes many deliveries in one call.
///
/// It answers with one result for each delivery, in their order. What it publishes and stores belongs to the whole call: it
/// takes effect when every result is `Ok`. When some are not, those fail, what the call did is void, and the host calls
/// again with the others. A panic voids the call too; the host halves it until the delivery to blame is alone.
/// `ctx.delivery()` is the first of the call. The host gives at most 100 deliveries and 4 MiB of data in one call.
///
/// ```
/// use wasmill::{Context, Delivery, Json, Outgoing, reject};
///
/// #[wasmill::batch_handler]
/// fn total(deliveries: &[Delivery], ctx: Context) -> Vec<wasmill::Result> {
///     let mut total = 0;
///     let mut results = ctx.for_each(deliveries, |number: Json<i64>| total += *number);
///     if let Err(error) = ctx.publish(Outgoing::text("totals", total.to_string())) {
///         results.fill_with(|| Err(reject(error.to_string())));
///     }
///     results
/// }
///
/// let ctx = Context::for_test();
/// let batch = [Delivery::for_test("numbers", "40"), Delivery::for_test("numbers", "2"), Delivery::for_test("numbers", "x")];
/// let results = total(&batch, ctx.clone());
/// assert_eq!(results[..2], [Ok(()), Ok(())]);
/// assert!(results[2].is_err(), "it is no number");
/// assert_eq!(ctx.published()[0].data, b"42");
/// ```
/// One that answers something else does not compile:
/// ```compile_fail,E0308
/// #[wasmill::batch_handler]
/// fn total(deliveries: &[wasmill::Delivery], ctx: wasmill::Context) -> wasmill::Result {
///     Ok(())
/// }
/// ```
pub use wasmill_macros::batch_handler;

pub use crate::{
    call::{Answer, Handler},
    cloud_event::{CloudEvent, EventAttributes},
    context::Context,
    extract::{Bytes, FromDelivery, Json, Key, OptionalFromDelivery, Text},
    failure::{Failure, defer, reject, retry, retry_after, throttle},
    glue::bindings::wasmill::handler::{
        producer::Outgoing,
        types::{Delivery, Message},
    },
    or_fail::OrFail,
    outgoing::PublishError,
    state::{KeyPage, State, StateError},
    typed_state::{Cell, Counter, Typed},
    values::{Config, Headers},
};

/// What a handler answers: nothing, or a [`Failure`].
///
/// ```
/// fn quantity(text: &str) -> wasmill::Result<u32> {
///     Ok(text.parse()?)
/// }
/// assert_eq!(quantity("7"), Ok(7));
/// ```
pub type Result<T = (), E = Failure> = core::result::Result<T, E>;
