//! To say in one word what an error means for the delivery.

use std::{fmt::Display, time::Duration};

use crate::{Failure, Result, defer, reject, retry, retry_after};

/// Turns an error, or a value that is not there, into the failure that it means.
///
/// `?` alone makes a retry of every error. These say something else, and say it better: the reason given stands in front of
/// the error's own words.
///
/// ```
/// use std::{collections::BTreeMap, time::Duration};
/// use wasmill::OrFail;
///
/// fn price(prices: &BTreeMap<&str, &str>, article: &str) -> wasmill::Result<u32> {
///     let text = prices.get(article).or_reject(format!("no article {article}"))?;
///     text.parse().or_retry("the price list is broken")
/// }
///
/// let prices = BTreeMap::from([("pen", "3"), ("ink", "soon")]);
/// assert_eq!(price(&prices, "pen"), Ok(3));
/// assert_eq!(price(&prices, "cat"), Err(wasmill::reject("no article cat")));
/// assert_eq!(
///     price(&prices, "ink"),
///     Err(wasmill::retry("the price list is broken: invalid digit found in string")),
/// );
/// ```
pub trait OrFail<T>: Sized {
    /// The value, or the failure that this makes of the error's own words.
    ///
    /// ```
    /// use wasmill::{OrFail, retry};
    ///
    /// let answer = None::<u8>.or_fail_with(|words| retry(words.unwrap_or_else(|| "nobody is there".to_owned())));
    /// assert_eq!(answer, Err(retry("nobody is there")));
    /// ```
    ///
    /// # Errors
    /// When there is no value.
    fn or_fail_with(self, failure: impl FnOnce(Option<String>) -> Failure) -> Result<T>;

    /// It can never succeed: quarantine the delivery at once.
    ///
    /// ```
    /// use wasmill::OrFail;
    ///
    /// assert_eq!("x".parse::<u8>().or_reject("count").map_err(|failure| failure.to_string()),
    ///     Err("count: invalid digit found in string".to_owned()));
    /// ```
    ///
    /// # Errors
    /// When there is no value.
    fn or_reject(self, reason: impl Display) -> Result<T> {
        self.or_fail_with(|words| reject(joined(&reason, words)))
    }

    /// Something passing: try again later. Uses up an attempt.
    ///
    /// ```
    /// use wasmill::{OrFail, retry};
    ///
    /// assert_eq!(None::<u8>.or_retry("no free slot"), Err(retry("no free slot")));
    /// ```
    ///
    /// # Errors
    /// When there is no value.
    fn or_retry(self, reason: impl Display) -> Result<T> {
        self.or_fail_with(|words| retry(joined(&reason, words)))
    }

    /// Something passing: try again, but not before `after` has passed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wasmill::{OrFail, retry_after};
    ///
    /// let wait = Duration::from_secs(9);
    /// assert_eq!(None::<u8>.or_retry_after("no free slot", wait), Err(retry_after("no free slot", wait)));
    /// ```
    ///
    /// # Errors
    /// When there is no value.
    fn or_retry_after(self, reason: impl Display, after: Duration) -> Result<T> {
        self.or_fail_with(|words| retry_after(joined(&reason, words), after))
    }

    /// Not now: try again after so long, without using up an attempt.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wasmill::{OrFail, defer};
    ///
    /// assert_eq!(None::<u8>.or_defer(Duration::from_secs(9)), Err(defer(Duration::from_secs(9))));
    /// ```
    ///
    /// # Errors
    /// When there is no value.
    fn or_defer(self, after: Duration) -> Result<T> {
        self.or_fail_with(|_| defer(after))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_fail_with(self, failure: impl FnOnce(Option<String>) -> Failure) -> Result<T> {
        self.ok_or_else(|| failure(None))
    }
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_fail_with(self, failure: impl FnOnce(Option<String>) -> Failure) -> Result<T> {
        // `#` asks anyhow for its causes too; other errors give the same words.
        self.map_err(|error| failure(Some(format!("{error:#}"))))
    }
}

fn joined(reason: &impl Display, words: Option<String>) -> String {
    match words {
        Some(words) => format!("{reason}: {words}"),
        None => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_and_the_reason_stands_in_front_of_the_error() {
        assert_eq!(Some(1).or_reject("none"), Ok(1));
        assert_eq!(Ok::<_, String>(1).or_retry("none"), Ok(1));
        assert_eq!(
            Err::<u8, _>(reject("the cause")).or_retry("seen from here"),
            Err(retry("seen from here: the cause"))
        );
        let anyhow = Err::<u8, _>(anyhow::anyhow!("cause").context("fault"));
        assert_eq!(anyhow.or_reject("no"), Err(reject("no: fault: cause")));
    }
}
