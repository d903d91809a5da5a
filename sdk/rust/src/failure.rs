//! Why a delivery did not succeed, and what shall become of it.

use std::{error::Error, fmt, time::Duration};

use crate::glue::{Failure as WitFailure, bindings::wasmill::handler::types::RetryRequest};

/// Why a delivery did not succeed. Whatever it published or stored in this attempt is void.
///
/// Any error becomes a [`Failure::Retry`], so that `?` works and an unforeseen fault is tried again rather than lost: each
/// [`std::error::Error`], `Box<dyn Error>`, `anyhow::Error`, and text. For that reason `Failure` itself is not a
/// `std::error::Error`. To say something else of an error there is [`OrFail`](crate::OrFail).
///
/// ```
/// use wasmill::Failure;
///
/// fn parse(text: &str) -> wasmill::Result<u32> {
///     Ok(text.parse()?)
/// }
/// assert_eq!(parse("x"), Err(Failure::Retry { reason: "invalid digit found in string".to_owned(), after: None }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something passing: try again later. Uses up an attempt.
    Retry {
        /// Kept with the attempt and shown to operators; the host cuts it at 4 KiB.
        reason: String,
        /// Wait at least so long, at most 7 days; without it the consumer's backoff decides.
        after: Option<Duration>,
    },
    /// Not now: try again after so long, at most 7 days. Uses up no attempt.
    Defer(Duration),
    /// It can never succeed: put it in quarantine at once, with this reason.
    Reject(String),
    /// Not now, and nothing else of this message's key either, for so long, at most 7 days. Without a key, or when the
    /// consumer keeps no order by key, the consumer takes nothing at all for so long. Uses up no attempt.
    Throttle(Duration),
}

/// Try again later, when the consumer's backoff says so.
///
/// ```
/// fn charge() -> wasmill::Result {
///     Err(wasmill::retry("the card network does not answer"))
/// }
/// assert!(matches!(charge(), Err(wasmill::Failure::Retry { after: None, .. })));
/// ```
#[must_use]
pub fn retry(reason: impl Into<String>) -> Failure {
    Failure::Retry { reason: reason.into(), after: None }
}

/// Try again, but not before `after` has passed.
///
/// ```
/// use std::time::Duration;
///
/// let failure = wasmill::retry_after("429 from the mail service", Duration::from_secs(30));
/// assert!(matches!(failure, wasmill::Failure::Retry { after: Some(wait), .. } if wait.as_secs() == 30));
/// ```
#[must_use]
pub fn retry_after(reason: impl Into<String>, after: Duration) -> Failure {
    Failure::Retry { reason: reason.into(), after: Some(after) }
}

/// Not now: try again after so long, without using up an attempt.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(wasmill::defer(Duration::from_secs(1)), wasmill::Failure::Defer(Duration::from_secs(1)));
/// ```
#[must_use]
pub const fn defer(after: Duration) -> Failure {
    Failure::Defer(after)
}

/// It can never succeed: quarantine it at once.
///
/// ```
/// assert_eq!(wasmill::reject("no order id"), wasmill::Failure::Reject("no order id".to_owned()));
/// ```
#[must_use]
pub fn reject(reason: impl Into<String>) -> Failure {
    Failure::Reject(reason.into())
}

/// Not now, and nothing else of this message's key either, for so long; see [`Failure::Throttle`].
///
/// ```
/// use std::time::Duration;
///
/// let busy = wasmill::throttle(Duration::from_secs(60));
/// assert_eq!(busy, wasmill::Failure::Throttle(Duration::from_secs(60)));
/// ```
#[must_use]
pub const fn throttle(duration: Duration) -> Failure {
    Failure::Throttle(duration)
}

/// What any error can be turned into, `anyhow::Error` and text too, which are no `std::error::Error`.
type BoxedError = Box<dyn Error>;

impl<E: Into<BoxedError>> From<E> for Failure {
    /// A retry, with the error and what caused it as the reason.
    fn from(error: E) -> Self {
        let error: BoxedError = error.into();
        retry(Chain(error.as_ref()).to_string())
    }
}

impl fmt::Display for Failure {
    /// The reason; a wait has none and says itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry { reason, .. } | Self::Reject(reason) => f.write_str(reason),
            Self::Defer(after) => write!(f, "deferred for {after:?}"),
            Self::Throttle(duration) => write!(f, "throttled for {duration:?}"),
        }
    }
}

impl From<Failure> for WitFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry { reason, after } => Self::Retry(RetryRequest { reason, after: after.map(whole_ms) }),
            Failure::Defer(after) => Self::Defer(whole_ms(after)),
            Failure::Reject(reason) => Self::Reject(reason),
            Failure::Throttle(duration) => Self::Throttle(whole_ms(duration)),
        }
    }
}

/// Milliseconds, rounded up: a wait that was asked for is never cut short.
pub(crate) fn whole_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// An error and its causes on one line.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the stock is unreadable")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_is_a_retry_that_names_its_causes() {
        let outer = Outer("seven".parse::<i32>().expect_err("not a number"));
        let expected = "the stock is unreadable: invalid digit found in string";
        assert_eq!(Failure::from(outer), retry(expected));
    }

    #[test]
    fn errors_that_are_boxed_anyhow_or_text_are_retries_too() {
        fn boxed() -> crate::Result {
            Err(Box::<dyn Error>::from("boxed"))?;
            Ok(())
        }
        fn anyhow() -> crate::Result {
            Err(anyhow::anyhow!("the cause").context("what failed"))?;
            Ok(())
        }
        fn text() -> crate::Result {
            Err("text")?;
            Ok(())
        }
        assert_eq!(boxed(), Err(retry("boxed")));
        assert_eq!(anyhow(), Err(retry("what failed: the cause")));
        assert_eq!(text(), Err(retry("text")));
    }

    #[test]
    fn waits_are_whole_milliseconds_rounded_up_and_never_overflow() {
        for (wait, ms) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(5), 5),
            (Duration::from_micros(5_001), 6),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!(whole_ms(wait), ms, "{wait:?}");
        }
    }

    #[test]
    fn the_contract_gets_what_the_handler_said() {
        let retry = WitFailure::from(retry_after("busy", Duration::from_secs(2)));
        assert_eq!(retry, WitFailure::Retry(RetryRequest { reason: "busy".to_owned(), after: Some(2_000) }));
        assert_eq!(WitFailure::from(defer(Duration::from_secs(1))), WitFailure::Defer(1_000));
        assert_eq!(WitFailure::from(reject("no")), WitFailure::Reject("no".to_owned()));
    }
}
