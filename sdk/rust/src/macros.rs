//! Macros that end a handler at once. Each has a function beside it that only makes the failure.

/// Return from the handler with a [`retry`](fn@crate::retry), its reason written as for [`format!`].
///
/// ```
/// fn charge(status: u16) -> wasmill::Result {
///     if status >= 500 {
///         wasmill::retry!("the card network answered {status}");
///     }
///     Ok(())
/// }
/// assert_eq!(charge(503), Err(wasmill::retry("the card network answered 503")));
/// assert_eq!(charge(200), Ok(()));
/// ```
#[macro_export]
macro_rules! retry {
    ($($reason:tt)+) => {
        return ::core::result::Result::Err($crate::retry(::std::format!($($reason)+)))
    };
}

/// Return from the handler with a [`retry_after`](fn@crate::retry_after): how long to wait, then the reason.
///
/// ```
/// use std::time::Duration;
///
/// fn send(mailbox: &str) -> wasmill::Result {
///     wasmill::retry_after!(Duration::from_secs(30), "the mailbox of {mailbox} is busy")
/// }
/// assert_eq!(send("Ada"), Err(wasmill::retry_after("the mailbox of Ada is busy", Duration::from_secs(30))));
/// ```
#[macro_export]
macro_rules! retry_after {
    ($after:expr, $($reason:tt)+) => {
        return ::core::result::Result::Err($crate::retry_after(::std::format!($($reason)+), $after))
    };
}

/// Return from the handler with a [`defer`](fn@crate::defer).
///
/// ```
/// use std::time::Duration;
///
/// fn at_night(hour: u8) -> wasmill::Result {
///     if hour > 5 {
///         wasmill::defer!(Duration::from_secs(3_600));
///     }
///     Ok(())
/// }
/// assert_eq!(at_night(12), Err(wasmill::defer(Duration::from_secs(3_600))));
/// assert_eq!(at_night(3), Ok(()));
/// ```
#[macro_export]
macro_rules! defer {
    ($after:expr) => {
        return ::core::result::Result::Err($crate::defer($after))
    };
}

/// Return from the handler with a [`throttle`](fn@crate::throttle).
///
/// ```
/// use std::time::Duration;
///
/// fn call(tokens: u32) -> wasmill::Result {
///     if tokens == 0 {
///         wasmill::throttle!(Duration::from_secs(60));
///     }
///     Ok(())
/// }
/// assert_eq!(call(0), Err(wasmill::throttle(Duration::from_secs(60))));
/// assert_eq!(call(1), Ok(()));
/// ```
#[macro_export]
macro_rules! throttle {
    ($duration:expr) => {
        return ::core::result::Result::Err($crate::throttle($duration))
    };
}

/// Return from the handler with a [`reject`](fn@crate::reject), its reason written as for [`format!`].
///
/// ```
/// fn check(quantity: i64) -> wasmill::Result {
///     if quantity < 1 {
///         wasmill::reject!("quantity is {quantity}; it must be 1 or more");
///     }
///     Ok(())
/// }
/// assert_eq!(check(-2), Err(wasmill::reject("quantity is -2; it must be 1 or more")));
/// ```
#[macro_export]
macro_rules! reject {
    ($($reason:tt)+) => {
        return ::core::result::Result::Err($crate::reject(::std::format!($($reason)+)))
    };
}

/// Reject the delivery unless this holds, with a reason written as for [`format!`].
///
/// ```
/// fn check(quantity: i64) -> wasmill::Result {
///     wasmill::ensure!(quantity >= 1, "quantity is {quantity}; it must be 1 or more");
///     Ok(())
/// }
/// assert_eq!(check(0), Err(wasmill::reject("quantity is 0; it must be 1 or more")));
/// assert_eq!(check(1), Ok(()));
/// ```
#[macro_export]
macro_rules! ensure {
    ($holds:expr, $($reason:tt)+) => {
        if !$holds {
            $crate::reject!($($reason)+);
        }
    };
}

/// Make a function the handler of this component, without the attribute [`handler`](crate::handler).
///
/// The function is named by its path: it can lie in another module or crate, or belong to a type. It takes up to eight
/// parameters, and is all that a [`Handler`](crate::Handler) is. A component has exactly one handler.
///
/// ```
/// mod shop {
///     use wasmill::{Context, Json};
///
///     #[derive(serde::Deserialize)]
///     pub struct Order {
///         pub id: String,
///     }
///
///     pub fn on_order(order: Json<Order>, ctx: Context) -> wasmill::Result {
///         ctx.state().increment(&order.id, 1)?;
///         Ok(())
///     }
/// }
///
/// wasmill::export!(shop::on_order);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($function:path) => {
        const _: () = {
            fn handle(delivery: $crate::Delivery) -> $crate::Result {
                $crate::glue::handle($function, delivery)
            }
            #[cfg(not(target_family = "wasm"))]
            const _: fn($crate::Delivery) -> $crate::Result = handle;
            #[cfg(target_family = "wasm")]
            struct Component;
            #[cfg(target_family = "wasm")]
            impl $crate::glue::Guest for Component {
                fn handle(delivery: $crate::Delivery) -> ::core::result::Result<(), $crate::glue::Failure> {
                    handle(delivery).map_err(::core::convert::Into::into)
                }
            }
            #[cfg(target_family = "wasm")]
    $crate::glue::bindings::export!(Component with_types_in $crate::glue::bindings);
        };
    };
}

/// Make a function the handler of batches of this component, without the attribute
/// [`batch_handler`](crate::batch_handler).
///
/// ```
/// use wasmill::{Context, Delivery, Json};
///
/// fn total(deliveries: &[Delivery], ctx: Context) -> Vec<wasmill::Result> {
///     ctx.for_each(deliveries, |number: Json<i64>, ctx: Context| -> wasmill::Result {
///         ctx.state().increment("total", *number)?;
///         Ok(())
///     })
/// }
///
/// wasmill::export_batch!(total);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_batch {
    ($function:path) => {
        const _: () = {
            fn handle(deliveries: ::std::vec::Vec<$crate::Delivery>) -> ::std::vec::Vec<$crate::Result> {
                $crate::glue::handle_batch($function, &deliveries)
            }
            #[cfg(not(target_family = "wasm"))]
            const _: fn(::std::vec::Vec<$crate::Delivery>) -> ::std::vec::Vec<$crate::Result> = handle;
            #[cfg(target_family = "wasm")]
            struct Component;
            #[cfg(target_family = "wasm")]
            impl $crate::glue::BatchGuest for Component {
                fn handle_batch(
                    deliveries: ::std::vec::Vec<$crate::Delivery>,
                ) -> ::std::vec::Vec<::core::result::Result<(), $crate::glue::Failure>> {
                    handle(deliveries).into_iter().map(|result| result.map_err(::core::convert::Into::into)).collect()
                }
            }
            #[cfg(target_family = "wasm")]
    $crate::glue::batch_bindings::export!(Component with_types_in $crate::glue::batch_bindings);
        };
    };
}
