//! Durable keys and values of a handler.

use std::{any::type_name, fmt};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Failure, glue::bindings::wasmill::handler::state as wit, host::Host, reject, retry};

pub use wit::KeyPage;

/// Durable keys and values of this handler, shared by all its deliveries and kept when it is replaced.
///
/// What a delivery stores appears when it commits, all of it or none; it sees what it stored itself at once. When
/// something it read was changed by another delivery meanwhile, the host runs it again on the new values, so a plain
/// read, change and write is right. [`State::increment`] reads nothing and so never conflicts: count with it.
///
/// ```
/// let ctx = wasmill::Context::for_test();
/// let state = ctx.state();
/// state.set_json("largest", &6.4)?;
/// state.increment("count", 1)?;
/// assert_eq!(state.get_json::<f64>("largest")?, Some(6.4));
/// assert_eq!(state.get_int("count")?, 1);
/// assert_eq!(state.list_keys("", None)?.keys, ["count", "largest"]);
/// # Ok::<(), wasmill::StateError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    host: &'a Host,
}

impl<'a> State<'a> {
    pub(crate) const fn new(host: &'a Host) -> Self {
        Self { host }
    }

    /// The value of a key, none when there is no such key.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("a", "1");
    /// assert_eq!(ctx.state().get("a"), Ok(Some(b"1".to_vec())));
    /// assert_eq!(ctx.state().get("b"), Ok(None));
    /// ```
    ///
    /// # Errors
    /// When the key is not 1 to 255 bytes long, or the host cannot read its store.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.host.get(key).map_err(|error| StateError::from_contract(key, error))
    }

    /// Store a value.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().set("a", b"1")?;
    /// assert_eq!(ctx.state().get("a")?.as_deref(), Some(&b"1"[..]));
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// When the key is not 1 to 255 bytes long, or the value is larger than 1 MiB.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), StateError> {
        self.host.set(key, value).map_err(|error| StateError::from_contract(key, error))
    }

    /// Remove a key. Removing one that does not exist does nothing.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("a", "1");
    /// ctx.state().delete("a")?;
    /// assert_eq!(ctx.state().exists("a")?, false);
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// When the key is not 1 to 255 bytes long.
    pub fn delete(&self, key: &str) -> Result<(), StateError> {
        self.host.delete(key).map_err(|error| StateError::from_contract(key, error))
    }

    /// Whether there is such a key.
    ///
    /// ```
    /// assert_eq!(wasmill::Context::for_test().with_state("a", "").state().exists("a"), Ok(true));
    /// ```
    ///
    /// # Errors
    /// When the key is not 1 to 255 bytes long, or the host cannot read its store.
    pub fn exists(&self, key: &str) -> Result<bool, StateError> {
        self.host.exists(key).map_err(|error| StateError::from_contract(key, error))
    }

    /// Add `delta` to a decimal integer; a missing key counts as 0, and sums stop at the ends of [`i64`]. It answers
    /// nothing on purpose: an increment that reads nothing never conflicts with other increments.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().increment("seen", 2)?;
    /// ctx.state().increment("seen", -1)?;
    /// assert_eq!(ctx.state().get_int("seen")?, 1);
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// When the key is not 1 to 255 bytes long, its value is not a decimal integer, or the host cannot read its store.
    pub fn increment(&self, key: &str, delta: i64) -> Result<(), StateError> {
        self.host.increment(key, delta).map_err(|error| StateError::from_contract(key, error))
    }

    /// Keys that begin with `prefix`, in ascending byte order from the first one after `after`; at most 1,000. Give
    /// `next` of the answer as `after` to go on.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("a/1", "").with_state("a/2", "").with_state("b", "");
    /// let page = ctx.state().list_keys("a/", None)?;
    /// assert_eq!((page.keys, page.next), (vec!["a/1".to_owned(), "a/2".to_owned()], None));
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// When the host cannot read its store.
    pub fn list_keys(&self, prefix: &str, after: Option<&str>) -> Result<KeyPage, StateError> {
        self.host.list_keys(prefix, after).map_err(|error| StateError::from_contract(prefix, error))
    }

    /// The value of a key that [`State::increment`] writes; 0 when there is no such key.
    ///
    /// ```
    /// assert_eq!(wasmill::Context::for_test().with_state("seen", "3").state().get_int("seen"), Ok(3));
    /// ```
    ///
    /// # Errors
    /// As [`State::get`], and when the value is not a decimal integer.
    pub fn get_int(&self, key: &str) -> Result<i64, StateError> {
        let Some(value) = self.get(key)? else { return Ok(0) };
        let integer = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        integer.ok_or_else(|| StateError::NotAnInteger { key: key.to_owned() })
    }

    /// The value of a key that [`State::set_json`] stored, none when there is no such key.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("largest", "6.4");
    /// assert_eq!(ctx.state().get_json::<f64>("largest"), Ok(Some(6.4)));
    /// assert!(ctx.state().get_json::<String>("largest").is_err());
    /// ```
    ///
    /// # Errors
    /// As [`State::get`], and when the value is not JSON of this shape.
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StateError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        serde_json::from_slice(&value).map(Some).map_err(|problem| StateError::not_json::<T>(key, &problem))
    }

    /// Store a value as JSON.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().set_json("largest", &6.4)?;
    /// assert_eq!(ctx.state().get("largest")?.as_deref(), Some(&b"6.4"[..]));
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`State::set`], and when the value has no JSON.
    pub fn set_json<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), StateError> {
        let value = serde_json::to_vec(value).map_err(|problem| StateError::not_json::<T>(key, &problem))?;
        self.set(key, &value)
    }
}

/// State could not be read or written.
///
/// It is no [`std::error::Error`], so that `?` on it does what fits: [`StateError::Unavailable`] is a
/// [`retry`](fn@crate::retry), everything else can never succeed and is a [`reject`](fn@crate::reject).
///
/// ```
/// use wasmill::{Context, Failure, StateError};
///
/// let ctx = Context::for_test().with_state("largest", "\"much\"");
/// let Err(error) = ctx.state().get_json::<f64>("largest") else { panic!("text is no number") };
/// assert!(error.to_string().starts_with("the value of state key largest is not JSON of a f64: "));
/// assert!(matches!(Failure::from(error), Failure::Reject(_)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// Keys are 1 to 255 bytes.
    InvalidKey {
        /// The key given.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The value is too large.
    TooLarge {
        /// Its key.
        key: String,
        /// The most that the host takes.
        value_bytes_max: u64,
    },
    /// The value of the key is not a decimal integer.
    NotAnInteger {
        /// The key.
        key: String,
    },
    /// The value is not JSON of the shape asked for, or has no JSON.
    NotJson {
        /// Its key.
        key: String,
        /// The type asked for, as Rust names it.
        wanted: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The host could not read its store. The attempt will be run again and is not counted.
    Unavailable {
        /// The host's words.
        problem: String,
    },
}

impl StateError {
    fn from_contract(key: &str, error: wit::StateError) -> Self {
        let key = key.to_owned();
        match error {
            wit::StateError::InvalidKey(problem) => Self::InvalidKey { key, problem },
            wit::StateError::TooLarge(value_bytes_max) => Self::TooLarge { key, value_bytes_max },
            wit::StateError::NotAnInteger => Self::NotAnInteger { key },
            wit::StateError::Unavailable(problem) => Self::Unavailable { problem },
        }
    }

    fn not_json<T: ?Sized>(key: &str, problem: &serde_json::Error) -> Self {
        Self::NotJson { key: key.to_owned(), wanted: type_name::<T>(), problem: problem.to_string() }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidKey { key, problem } => write!(f, "state key {key:?} is not one: {problem}"),
            Self::TooLarge { key, value_bytes_max } => {
                write!(f, "the value of state key {key} is larger than {value_bytes_max} bytes")
            }
            Self::NotAnInteger { key } => write!(f, "the value of state key {key} is not a decimal integer"),
            Self::NotJson { key, wanted, problem } => {
                write!(f, "the value of state key {key} is not JSON of a {wanted}: {problem}")
            }
            Self::Unavailable { problem } => write!(f, "state is not available: {problem}"),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Unavailable { .. } => retry(error.to_string()),
            StateError::InvalidKey { .. }
            | StateError::TooLarge { .. }
            | StateError::NotAnInteger { .. }
            | StateError::NotJson { .. } => reject(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Context;

    #[test]
    fn counters_start_at_zero_and_stop_at_the_ends() {
        let ctx = Context::for_test();
        let state = ctx.state();
        assert_eq!(state.get_int("n"), Ok(0));
        for (delta, sum) in [(5, 5), (-7, -2), (i64::MAX, i64::MAX - 2), (i64::MAX, i64::MAX)] {
            state.increment("n", delta).expect("an integer");
            assert_eq!(state.get_int("n"), Ok(sum), "after {delta}");
        }
    }

    #[test]
    fn what_is_no_integer_is_left_alone() {
        let ctx = Context::for_test();
        ctx.state().set("n", b"seven").expect("a valid key");
        let error = StateError::NotAnInteger { key: "n".to_owned() };
        assert_eq!(ctx.state().increment("n", 1), Err(error.clone()));
        assert_eq!(ctx.state().get_int("n"), Err(error));
        assert_eq!(ctx.state().get("n"), Ok(Some(b"seven".to_vec())));
    }

    #[test]
    fn keys_come_in_order_and_in_pages() {
        let ctx = Context::for_test();
        for n in 0..1_500 {
            ctx.state().set(&format!("k:{n:04}"), b"").expect("a valid key");
        }
        ctx.state().set("other", b"").expect("a valid key");
        let first = ctx.state().list_keys("k:", None).expect("a page");
        assert_eq!((first.keys.len(), first.next.as_deref()), (1_000, Some("k:0999")));
        let last = ctx.state().list_keys("k:", first.next.as_deref()).expect("a page");
        assert_eq!((last.keys.len(), last.next), (500, None));
        assert_eq!(last.keys[0], "k:1000");
    }

    #[test]
    fn question_mark_retries_what_passes_and_rejects_the_rest() {
        let unavailable = StateError::Unavailable { problem: "disk".to_owned() };
        assert!(matches!(Failure::from(unavailable), Failure::Retry { .. }));
        let ctx = Context::for_test();
        let error = ctx.state().set("", b"x").expect_err("an empty key");
        assert!(matches!(Failure::from(error), Failure::Reject(reason) if reason.contains("1 to 255 bytes")));
        ctx.state().set("largest", b"{").expect("a valid key");
        let error = ctx.state().get_json::<f64>("largest").expect_err("not JSON");
        assert!(matches!(Failure::from(error), Failure::Reject(reason) if reason.contains("largest")));
    }

    #[test]
    fn a_deleted_key_is_gone() {
        let ctx = Context::for_test();
        ctx.state().set("a", b"1").expect("a valid key");
        assert_eq!(ctx.state().exists("a"), Ok(true));
        assert_eq!(ctx.state().delete("a"), Ok(()));
        assert_eq!(ctx.state().delete("a"), Ok(()));
        assert_eq!((ctx.state().exists("a"), ctx.state().get("a")), (Ok(false), Ok(None)));
    }
}
