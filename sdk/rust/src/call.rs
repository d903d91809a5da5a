//! Functions as handlers: their parameters made from a delivery, their answers made a result.

use crate::{Context, Delivery, Failure, FromDelivery, Result};

/// What a handler may answer: nothing, or a result whose error is a [`Failure`] or becomes one by `?`.
///
/// ```
/// use wasmill::{Answer, Context};
///
/// #[wasmill::handler]
/// fn count(ctx: Context) -> Result<(), std::num::ParseIntError> {
///     let step: i64 = ctx.config("step").unwrap_or_default().parse()?;
///     println!("a step of {step}");
///     Ok(())
/// }
///
/// assert!(count(Context::for_test()).into_result().is_err());
/// assert_eq!(().into_result(), Ok(()));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no answer of a handler",
    label = "not an answer",
    note = "return `wasmill::Result`, or a `Result<(), E>` with any error"
)]
pub trait Answer {
    /// What becomes of the delivery.
    ///
    /// ```
    /// use wasmill::Answer;
    ///
    /// assert_eq!(Err::<(), _>("no answer").into_result(), Err(wasmill::retry("no answer")));
    /// ```
    ///
    /// # Errors
    /// The failure that the handler answered.
    fn into_result(self) -> Result;
}

impl Answer for () {
    fn into_result(self) -> Result {
        Ok(())
    }
}

impl<E: Into<Failure>> Answer for Result<(), E> {
    fn into_result(self) -> Result {
        self.map_err(Into::into)
    }
}

/// A function that can be called with a delivery: up to eight parameters that are [`FromDelivery`], and an [`Answer`].
///
/// Nothing but functions and closures need implement it. [`export!`](crate::export) makes a component of one,
/// [`Context::call`] runs one in a test, [`Context::for_each`] for every delivery of a batch.
///
/// ```
/// use wasmill::{Context, Delivery, Handler, Text};
///
/// fn shout(text: Text) -> wasmill::Result {
///     println!("{}", text.to_uppercase());
///     Ok(())
/// }
///
/// let ctx = Context::for_delivery(Delivery::for_test("notes", "hello"));
/// assert_eq!((shout as fn(Text) -> wasmill::Result).handle(&ctx), Ok(()));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler",
    note = "a handler is a function of at most eight parameters that are `FromDelivery`, and answers `wasmill::Result`"
)]
pub trait Handler<Parameters> {
    /// Make the parameters from the delivery of `ctx`, and call.
    ///
    /// ```
    /// use wasmill::{Context, Handler, Json};
    ///
    /// let mut double = |number: Json<u32>| println!("{}", *number * 2);
    /// assert!(double.handle(&Context::for_test()).is_err(), "empty data is no number");
    /// ```
    ///
    /// # Errors
    /// The failure of the first parameter that cannot be made, or the one that the function answers.
    fn handle(&mut self, ctx: &Context) -> Result;
}

macro_rules! functions_are_handlers {
    ($($parameter:ident)*) => {
        impl<Function, Answered, $($parameter),*> Handler<($($parameter,)*)> for Function
        where
            Function: FnMut($($parameter),*) -> Answered,
            Answered: Answer,
            $($parameter: FromDelivery,)*
        {
            #[allow(unused_variables, reason = "a function without parameters has no use for it")]
            fn handle(&mut self, ctx: &Context) -> Result {
                self($($parameter::from_delivery(ctx)?),*).into_result()
            }
        }
    };
}

functions_are_handlers!();
functions_are_handlers!(A);
functions_are_handlers!(A B);
functions_are_handlers!(A B C);
functions_are_handlers!(A B C D);
functions_are_handlers!(A B C D E);
functions_are_handlers!(A B C D E F);
functions_are_handlers!(A B C D E F G);
functions_are_handlers!(A B C D E F G H);

impl Context {
    /// Call a handler for each delivery of a batch, and gather the results in their order.
    ///
    /// What it publishes and stores belongs to the call as a whole, as always in a batch.
    ///
    /// ```
    /// use wasmill::{Context, Delivery, Json, reject};
    ///
    /// #[wasmill::batch_handler]
    /// fn total(deliveries: &[Delivery], ctx: Context) -> Vec<wasmill::Result> {
    ///     let mut total = 0;
    ///     let results = ctx.for_each(deliveries, |number: Json<i64>| total += *number);
    ///     println!("{total}");
    ///     results
    /// }
    ///
    /// let batch = [Delivery::for_test("numbers", "40"), Delivery::for_test("numbers", "x")];
    /// let results = total(&batch, Context::for_test());
    /// assert_eq!(results[0], Ok(()));
    /// assert!(results[1].is_err(), "it is not JSON");
    /// ```
    pub fn for_each<Parameters>(&self, deliveries: &[Delivery], mut handler: impl Handler<Parameters>) -> Vec<Result> {
        deliveries.iter().map(|delivery| handler.handle(&self.of(delivery.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Json, Text, reject};

    #[test]
    fn the_first_parameter_that_cannot_be_made_is_the_answer() {
        let ctx = Context::for_delivery(Delivery::for_test("numbers", "seven"));
        let both = |_: Json<u32>, _: Text| -> Result { Err(reject("it was called")) };
        let Err(Failure::Reject(reason)) = ctx.call(both) else { panic!("seven is no number") };
        assert!(reason.contains("line 1 column 1"), "{reason}");
        let ctx = ctx.with_delivery(Delivery::for_test("numbers", "7"));
        assert_eq!(ctx.call(both), Err(reject("it was called")));
    }

    #[test]
    fn other_errors_are_answers_too() {
        let ctx = Context::for_test();
        assert_eq!(ctx.call(|| Err::<(), _>(anyhow::anyhow!("any"))), Err(crate::retry("any")));
        assert_eq!(ctx.call(|| ()), Ok(()));
    }
}
