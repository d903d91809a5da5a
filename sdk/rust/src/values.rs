//! Names with text values, read into a type: headers and configured values.

use std::{fmt::Display, ops::Deref, str::FromStr};

use serde::{
    de::{
        self, Deserializer, IntoDeserializer, Visitor,
        value::{Error, MapDeserializer},
    },
    forward_to_deserialize_any,
};

use crate::{Context, FromDelivery, Result, reject, retry};

/// The headers of the message as a type of yours: fields by name, numbers and truth values read from text, a list or
/// set of names left out. Of a header that is there several times the first counts. A message whose headers do not fit is
/// rejected.
///
/// ```
/// use wasmill::{Context, Delivery, Headers};
///
/// #[derive(serde::Deserialize)]
/// struct Known {
///     tenant: String,
///     #[serde(rename = "retry-limit")]
///     retry_limit: Option<u32>,
/// }
///
/// #[wasmill::handler]
/// fn on_order(known: Headers<Known>) -> wasmill::Result {
///     println!("{} may try {:?} times", known.tenant, known.retry_limit);
///     Ok(())
/// }
///
/// let delivery = Delivery::for_test("orders", "").with_header("tenant", "acme").with_header("retry-limit", "some");
/// assert_eq!(
///     Context::for_delivery(delivery).call(on_order),
///     Err(wasmill::reject("header retry-limit is \"some\"; it must be a u32")),
/// );
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<T>(pub T);

/// All configured values of the handler as a type of yours: fields by name, numbers and truth values read from text. Secrets
/// are not among them: [`Context::secret`] reads one. Values that do not fit make a retry: the message is not to blame.
///
/// ```
/// use wasmill::{Config, Context};
///
/// #[derive(serde::Deserialize)]
/// #[serde(default, rename_all = "kebab-case")]
/// struct Settings {
///     magnitude_min: f64,
///     loud: bool,
/// }
///
/// impl Default for Settings {
///     fn default() -> Self {
///         Self { magnitude_min: 5.0, loud: false }
///     }
/// }
///
/// #[wasmill::handler]
/// fn on_quake(settings: Config<Settings>) -> wasmill::Result {
///     assert_eq!((settings.magnitude_min, settings.loud), (4.5, false));
///     Ok(())
/// }
///
/// assert_eq!(Context::for_test().with_config("magnitude-min", "4.5").call(on_quake), Ok(()));
/// assert_eq!(
///     Context::for_test().with_config("loud", "very").call(on_quake),
///     Err(wasmill::retry("config loud is \"very\"; it must be a bool")),
/// );
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config<T>(pub T);

/// Declare a parameter that is one header, read as any type that is [`FromStr`]. A message without it is rejected, as is one
/// whose header cannot be read; as an `Option` it may be missing.
///
/// ```
/// use wasmill::{Context, Delivery, reject};
///
/// wasmill::header!(
///     /// Who pays for it.
///     pub Tenant(String) = "tenant"
/// );
/// wasmill::header!(Retries(u8) = "retries");
///
/// #[wasmill::handler]
/// fn on_order(tenant: Tenant, retries: Option<Retries>) -> wasmill::Result {
///     println!("an order of {}, {}", tenant.0, retries.map_or(0, |retries| retries.0));
///     Ok(())
/// }
///
/// let ctx = Context::for_test();
/// assert_eq!(ctx.call(on_order), Err(reject("there is no header tenant")));
/// let order = Delivery::for_test("orders", "").with_header("tenant", "acme");
/// assert_eq!(ctx.with_delivery(order.clone()).call(on_order), Ok(()));
/// assert_eq!(
///     ctx.with_delivery(order.with_header("retries", "300")).call(on_order),
///     Err(reject("header retries is \"300\"; it must be a u8")),
/// );
/// ```
#[macro_export]
macro_rules! header {
    ($(#[$attribute:meta])* $visibility:vis $name:ident($value:ty) = $header:literal) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        $visibility struct $name($visibility $value);

        impl $crate::OptionalFromDelivery for $name {
            fn optional_from_delivery(ctx: &$crate::Context) -> $crate::Result<::core::option::Option<Self>> {
                ::core::result::Result::Ok(ctx.message().header_as::<$value>($header)?.map(Self))
            }
        }

        impl $crate::FromDelivery for $name {
            fn from_delivery(ctx: &$crate::Context) -> $crate::Result<Self> {
                let header = <Self as $crate::OptionalFromDelivery>::optional_from_delivery(ctx)?;
                header.ok_or_else(|| $crate::reject(::core::concat!("there is no header ", $header)))
            }
        }
    };
}

impl<T: de::DeserializeOwned> FromDelivery for Headers<T> {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        let headers = &ctx.message().headers;
        let is_first = |at: &usize| !headers[..*at].iter().any(|(name, _)| *name == headers[*at].0);
        let firsts = (0..headers.len()).filter(is_first).map(|at| &headers[at]);
        let pairs = firsts.map(|(name, value)| (name.as_str(), value.as_str()));
        read("header", pairs).map(Self).map_err(reject)
    }
}

impl<T: de::DeserializeOwned> FromDelivery for Config<T> {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        let values = ctx.config_all();
        let pairs = values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        read("config", pairs).map(Self).map_err(retry)
    }
}

impl<T> Deref for Headers<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Deref for Config<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What is said of a value that cannot be read, everywhere in the same words.
pub(crate) fn unreadable(what: &str, name: &str, text: &str, wanted: &str) -> String {
    format!("{what} {name} is {text:?}; it must be a {wanted}")
}

fn read<'a, T: de::Deserialize<'a>>(
    what: &'static str,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<T, String> {
    let values = pairs.map(|(name, text)| (name, TextValue { what, name, text }));
    T::deserialize(MapDeserializer::new(values)).map_err(|problem: Error| {
        let problem = problem.to_string();
        // What serde itself finds, such as a missing field, does not say of what.
        if problem.starts_with(what) { problem } else { format!("{what}: {problem}") }
    })
}

/// A text that becomes whatever is asked of it.
#[derive(Clone, Copy)]
struct TextValue<'a> {
    what: &'static str,
    name: &'a str,
    text: &'a str,
}

impl<'a> TextValue<'a> {
    fn parse<T: FromStr>(self, wanted: &str) -> Result<T, Error> {
        self.text.trim().parse().map_err(|_| self.wrong(wanted))
    }

    fn wrong(self, wanted: impl Display) -> Error {
        de::Error::custom(unreadable(self.what, self.name, self.text, &wanted.to_string()))
    }
}

impl<'a> IntoDeserializer<'a, Error> for TextValue<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty),* $(,)?) => {
        $(fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.parse::<$type>(stringify!($type))?)
        })*
    };
}

impl<'a> Deserializer<'a> for TextValue<'a> {
    type Error = Error;

    parsed! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
        deserialize_char visit_char char,
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.text)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if !variants.contains(&self.text) {
            return Err(self.wrong(format!("one of {}", variants.join(", "))));
        }
        visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(self.text))
    }

    forward_to_deserialize_any! {
        <V: Visitor<'a>>
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Delivery;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Colour {
        Red,
        DarkBlue,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Newtype(u16);

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct All {
        text: String,
        number: i64,
        float: f64,
        flag: bool,
        letter: char,
        colour: Colour,
        newtype: Newtype,
        there: Option<u8>,
        missing: Option<u8>,
    }

    const GOOD: [(&str, &str); 9] = [
        ("text", "ä"),
        ("number", "-3"),
        ("float", " 2.5"),
        ("flag", "true"),
        ("letter", "x"),
        ("colour", "dark-blue"),
        ("newtype", "9"),
        ("there", "1"),
        ("other", "is nobody's"),
    ];

    #[test]
    fn text_becomes_what_is_asked_of_it() {
        let read: All = read("header", GOOD.into_iter()).expect("it fits");
        let text = "ä".to_owned();
        let (colour, newtype) = (Colour::DarkBlue, Newtype(9));
        let wanted = All {
            text,
            number: -3,
            float: 2.5,
            flag: true,
            letter: 'x',
            colour,
            newtype,
            there: Some(1),
            missing: None,
        };
        assert_eq!(read, wanted);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (name, text, wanted) in [
            ("number", "x", "header number is \"x\"; it must be a i64"),
            ("colour", "green", "header colour is \"green\"; it must be a one of red, dark-blue"),
            ("newtype", "-1", "header newtype is \"-1\"; it must be a u16"),
            ("there", "", "header there is \"\"; it must be a u8"),
        ] {
            let pairs = GOOD.into_iter().map(|(known, value)| (known, if known == name { text } else { value }));
            let error = read::<All>("header", pairs).expect_err(name);
            assert_eq!(error, wanted);
        }
        let error = read::<All>("header", GOOD.into_iter().skip(1)).expect_err("no text");
        assert_eq!(error, "header: missing field `text`");
    }

    #[test]
    fn of_a_header_that_is_there_twice_the_first_counts() {
        let delivery = Delivery::for_test("t", "").with_header("a", "1").with_header("a", "2");
        let headers =
            Headers::<std::collections::BTreeMap<String, u8>>::from_delivery(&Context::for_delivery(delivery));
        assert_eq!(headers.map(|headers| headers.0["a"]), Ok(1));
    }
}
