//! What the parameters of a handler can be.

use std::ops::{Deref, DerefMut};

use serde::de::DeserializeOwned;

use crate::{Context, Delivery, Message, Result, reject};

/// What can be a parameter of a handler: it is made from the delivery.
///
/// | parameter | is | a delivery without it |
/// |---|---|---|
/// | [`Json<T>`](Json), [`Text`], [`Bytes`] | the data | is rejected; every data is `Bytes` |
/// | [`CloudEvent<T>`](crate::CloudEvent) | attributes, and the data as any of these | is rejected |
/// | [`Headers<T>`](crate::Headers) | the headers as a type of yours | is rejected |
/// | what [`header!`](crate::header) makes | one header | is rejected |
/// | [`Key`] | the key of the message | is rejected |
/// | [`Config<T>`](crate::Config) | the configured values as a type of yours | is retried |
/// | [`Message`], [`Delivery`], [`Context`] | all of it | |
/// | `Option<P>` of these | none when there is no data, no such header, no event, no key; what is there and wrong is rejected | is `None` |
/// | `Result<P>` of these | what cannot be made as a value, for the handler to decide | is `Err` |
///
/// Implement it for a type of your own to check once what many handlers need:
///
/// ```
/// use wasmill::{Context, FromDelivery, reject};
///
/// struct Tenant(String);
///
/// impl FromDelivery for Tenant {
///     fn from_delivery(ctx: &Context) -> wasmill::Result<Self> {
///         let tenant = ctx.message().header("tenant").ok_or_else(|| reject("there is no header tenant"))?;
///         Ok(Self(tenant.to_owned()))
///     }
/// }
///
/// #[wasmill::handler]
/// fn on_invoice(tenant: Tenant) -> wasmill::Result {
///     println!("an invoice of {}", tenant.0);
///     Ok(())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a handler",
    label = "not made from a delivery",
    note = "use `Json<T>`, `Text`, `Bytes`, `CloudEvent<T>`, `Headers<T>`, `Key`, `Config<T>`, `Message`, `Delivery`, `Context`, \
            an `Option` or `Result` of these, or implement `FromDelivery`"
)]
pub trait FromDelivery: Sized {
    /// Make it from the delivery that `ctx` holds.
    ///
    /// ```
    /// use wasmill::{Context, Delivery, FromDelivery, Text};
    ///
    /// let ctx = Context::for_delivery(Delivery::for_test("notes", [0xff]));
    /// assert!(Text::from_delivery(&ctx).is_err(), "it is no UTF-8");
    /// ```
    ///
    /// # Errors
    /// When it cannot be made. What never will be is a [`reject`](fn@crate::reject).
    fn from_delivery(ctx: &Context) -> Result<Self>;
}

/// What can be a parameter as an `Option`: it may be missing from a delivery, which is not the same as being wrong.
///
/// ```
/// use wasmill::{Context, Delivery, Json};
///
/// #[wasmill::handler]
/// fn on_tick(step: Option<Json<i64>>, ctx: Context) -> wasmill::Result {
///     ctx.state().increment("ticks", step.map_or(1, |step| *step))?;
///     Ok(())
/// }
///
/// let ctx = Context::for_test();
/// assert_eq!(ctx.with_delivery(Delivery::for_test("ticks", "")).call(on_tick), Ok(()));
/// assert_eq!(ctx.with_delivery(Delivery::for_test("ticks", "5")).call(on_tick), Ok(()));
/// assert!(ctx.with_delivery(Delivery::for_test("ticks", "five")).call(on_tick).is_err());
/// assert_eq!(ctx.state().get_int("ticks"), Ok(6));
/// ```
pub trait OptionalFromDelivery: Sized {
    /// Make it from the delivery that `ctx` holds; none when it is not there.
    ///
    /// ```
    /// use wasmill::{Context, Delivery, Key, OptionalFromDelivery};
    ///
    /// let ctx = Context::for_delivery(Delivery::for_test("orders", "").with_key("7"));
    /// assert_eq!(Key::optional_from_delivery(&ctx), Ok(Some(Key("7".to_owned()))));
    /// assert_eq!(Key::optional_from_delivery(&Context::for_test()), Ok(None));
    /// ```
    ///
    /// # Errors
    /// When it is there and cannot be made.
    fn optional_from_delivery(ctx: &Context) -> Result<Option<Self>>;
}

impl<T: OptionalFromDelivery> FromDelivery for Option<T> {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        T::optional_from_delivery(ctx)
    }
}

impl<T: FromDelivery> FromDelivery for Result<T> {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        Ok(T::from_delivery(ctx))
    }
}

/// The data as JSON. A message that is no JSON, or not of this shape, is rejected, with line and column.
///
/// ```
/// use wasmill::{Context, Delivery, Failure, FromDelivery, Json};
///
/// let ctx = Context::for_delivery(Delivery::for_test("numbers", r#"{"n": "one"}"#));
/// let Err(Failure::Reject(reason)) = Json::<std::collections::BTreeMap<String, u32>>::from_delivery(&ctx) else {
///     panic!("a string is not a number");
/// };
/// assert!(reason.ends_with("invalid type: string \"one\", expected u32 at line 1 column 11"), "{reason}");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// The data as text. A message that is not UTF-8 is rejected.
///
/// ```
/// use wasmill::{Context, Delivery, FromDelivery, Text};
///
/// let ctx = Context::for_delivery(Delivery::for_test("notes", "hello"));
/// assert_eq!(Text::from_delivery(&ctx), Ok(Text("hello".to_owned())));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub String);

/// The data as it is. It is a copy; `ctx.message().data` is not.
///
/// ```
/// use wasmill::{Bytes, Context, Delivery, FromDelivery};
///
/// let ctx = Context::for_delivery(Delivery::for_test("images", [0x89, b'P']));
/// assert_eq!(Bytes::from_delivery(&ctx), Ok(Bytes(vec![0x89, b'P'])));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// The key of the message. One that has none is rejected.
///
/// ```
/// use wasmill::{Context, Delivery, FromDelivery, Key};
///
/// let ctx = Context::for_delivery(Delivery::for_test("orders", "").with_key("customer-7"));
/// assert_eq!(Key::from_delivery(&ctx).as_deref(), Ok("customer-7"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(pub String);

fn unless_empty<T: FromDelivery>(ctx: &Context) -> Result<Option<T>> {
    if ctx.message().data.is_empty() { Ok(None) } else { T::from_delivery(ctx).map(Some) }
}

impl<T: DeserializeOwned> OptionalFromDelivery for Json<T> {
    fn optional_from_delivery(ctx: &Context) -> Result<Option<Self>> {
        unless_empty(ctx)
    }
}

impl OptionalFromDelivery for Text {
    fn optional_from_delivery(ctx: &Context) -> Result<Option<Self>> {
        unless_empty(ctx)
    }
}

impl OptionalFromDelivery for Bytes {
    fn optional_from_delivery(ctx: &Context) -> Result<Option<Self>> {
        unless_empty(ctx)
    }
}

impl OptionalFromDelivery for Key {
    fn optional_from_delivery(ctx: &Context) -> Result<Option<Self>> {
        Ok(ctx.message().key.clone().map(Self))
    }
}

impl FromDelivery for Key {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        Self::optional_from_delivery(ctx)?.ok_or_else(|| reject("the message has no key"))
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<T: DeserializeOwned> FromDelivery for Json<T> {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        ctx.message().json().map(Self)
    }
}

impl FromDelivery for Text {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        ctx.message().text().map(|text| Self(text.to_owned()))
    }
}

impl FromDelivery for Bytes {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        Ok(Self(ctx.message().data.clone()))
    }
}

impl FromDelivery for Message {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        Ok(ctx.message().clone())
    }
}

impl FromDelivery for Delivery {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        Ok(ctx.delivery().clone())
    }
}

impl FromDelivery for Context {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        Ok(ctx.clone())
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, Outgoing};

    #[crate::handler]
    fn all_kinds(number: Json<u32>, text: Text, bytes: Bytes, message: Message, ctx: Context) -> Result {
        assert_eq!((*number, &*text, &*bytes, &message), (7, "7", b"7".as_slice(), ctx.message()));
        ctx.publish(Outgoing::text("seen", text.0))?;
        Ok(())
    }

    #[test]
    fn every_extractor_sees_the_same_delivery() {
        let ctx = Context::for_delivery(Delivery::for_test("numbers", "7"));
        let made = (
            FromDelivery::from_delivery(&ctx).expect("a number"),
            FromDelivery::from_delivery(&ctx).expect("text"),
            FromDelivery::from_delivery(&ctx).expect("bytes"),
            FromDelivery::from_delivery(&ctx).expect("a message"),
        );
        assert_eq!(all_kinds(made.0, made.1, made.2, made.3, ctx.clone()), Ok(()));
        assert_eq!(ctx.published().len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_rejected_with_the_place() {
        let broken = Context::for_delivery(Delivery::for_test("numbers", "{\n  \"a\": }"));
        let Err(Failure::Reject(reason)) = Json::<std::collections::BTreeMap<String, u32>>::from_delivery(&broken)
        else {
            panic!("broken JSON must be rejected");
        };
        assert!(reason.contains("line 2 column 8"), "{reason}");
        let binary = Context::for_delivery(Delivery::for_test("notes", [b'a', 0xff]));
        let Err(Failure::Reject(reason)) = Text::from_delivery(&binary) else {
            panic!("what is not UTF-8 must be rejected");
        };
        assert!(reason.contains("index 1"), "{reason}");
    }
}
