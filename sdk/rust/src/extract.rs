//! What the parameters of a handler can be.

use std::ops::{Deref, DerefMut};

use serde::de::DeserializeOwned;

use crate::{Context, Delivery, Message, Result};

/// What can be a parameter of a handler: it is made from the delivery.
///
/// Ready made are [`Json`], [`Text`], [`Bytes`], [`Message`], [`Delivery`] and [`Context`]. Implement it for a type of
/// your own to check once what many handlers need:
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
    note = "use `Json<T>`, `Text`, `Bytes`, `Message`, `Delivery` or `Context`, or implement `FromDelivery`"
)]
pub trait FromDelivery: Sized {
    /// Make it from the delivery that `ctx` holds.
    ///
    /// # Errors
    /// When it cannot be made. What never will be is a [`reject`](fn@crate::reject).
    fn from_delivery(ctx: &Context) -> Result<Self>;
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
