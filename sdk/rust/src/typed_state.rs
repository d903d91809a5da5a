//! State as values of a type rather than bytes.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Failure, Result, State, StateError};

/// One key that holds a value of one type, as JSON. [`State::cell`] makes it.
///
/// ```
/// let ctx = wasmill::Context::for_test();
/// let largest = ctx.state().cell::<f64>("largest");
/// assert_eq!(largest.get()?, None);
/// largest.set(&6.4)?;
/// largest.update(|before| before.unwrap_or_default().max(5.1))?;
/// assert_eq!(largest.get()?, Some(6.4));
/// # Ok::<(), wasmill::StateError>(())
/// ```
pub struct Cell<'a, T> {
    state: State<'a>,
    key: Cow<'a, str>,
    value: PhantomData<fn() -> T>,
}

/// Keys with one prefix that hold values of one type, as JSON. [`State::typed`] makes it.
///
/// ```
/// #[derive(serde::Deserialize, serde::Serialize)]
/// struct Account {
///     balance: i64,
/// }
///
/// let ctx = wasmill::Context::for_test();
/// let accounts = ctx.state().typed::<Account>("account/");
/// accounts.set("ada", &Account { balance: 7 })?;
/// accounts.update("ada", |account| Account { balance: account.map_or(0, |account| account.balance) + 3 })?;
/// assert_eq!(accounts.get("ada")?.map(|account| account.balance), Some(10));
/// assert_eq!(accounts.names()?, ["ada"]);
/// # Ok::<(), wasmill::StateError>(())
/// ```
pub struct Typed<'a, T> {
    state: State<'a>,
    prefix: Cow<'a, str>,
    value: PhantomData<fn() -> T>,
}

/// A key that holds a number that only grows and shrinks by increments, which never conflict. [`State::counter`] makes it.
///
/// ```
/// let ctx = wasmill::Context::for_test();
/// let seen = ctx.state().counter("seen");
/// seen.add(2)?;
/// assert_eq!(seen.get()?, 2);
/// # Ok::<(), wasmill::StateError>(())
/// ```
#[derive(Debug)]
pub struct Counter<'a> {
    state: State<'a>,
    key: Cow<'a, str>,
}

impl<'a> State<'a> {
    /// One key that holds a value of this type.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().cell("last").set(&vec!["a".to_owned(), "b".to_owned()])?;
    /// assert_eq!(ctx.state().cell::<Vec<String>>("last").get()?.map(|last| last.len()), Some(2));
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    pub fn cell<T>(&self, key: impl Into<Cow<'a, str>>) -> Cell<'a, T> {
        Cell { state: *self, key: key.into(), value: PhantomData }
    }

    /// Keys that begin with `prefix` and hold values of this type.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().typed::<f64>("largest/").set("CA", &6.4)?;
    /// assert_eq!(ctx.state().get_json::<f64>("largest/CA")?, Some(6.4));
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    pub fn typed<T>(&self, prefix: impl Into<Cow<'a, str>>) -> Typed<'a, T> {
        Typed { state: *self, prefix: prefix.into(), value: PhantomData }
    }

    /// A key that holds a number and is written by increments.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().counter(format!("seen/{}", ctx.message().topic)).add(1)?;
    /// assert_eq!(ctx.state().get_int("seen/test")?, 1);
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    pub fn counter(&self, key: impl Into<Cow<'a, str>>) -> Counter<'a> {
        Counter { state: *self, key: key.into() }
    }

    /// All keys that begin with `prefix`, however many pages they are.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("a/1", "").with_state("a/2", "").with_state("b", "");
    /// assert_eq!(ctx.state().keys("a/")?, ["a/1", "a/2"]);
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// When the host cannot read its store.
    pub fn keys(&self, prefix: &str) -> Result<Vec<String>, StateError> {
        let mut keys = Vec::new();
        let mut after = None;
        loop {
            let page = self.list_keys(prefix, after.as_deref())?;
            keys.extend(page.keys);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(keys),
            }
        }
    }
}

impl<T: Serialize + DeserializeOwned> Cell<'_, T> {
    /// The value, none when nothing was stored.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("largest", "6.4");
    /// assert_eq!(ctx.state().cell::<f64>("largest").get(), Ok(Some(6.4)));
    /// ```
    ///
    /// # Errors
    /// As [`State::get_json`].
    pub fn get(&self) -> Result<Option<T>, StateError> {
        self.state.get_json(&self.key)
    }

    /// Store a value.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().cell::<f64>("largest").set(&6.4)?;
    /// assert_eq!(ctx.stored()["largest"], b"6.4");
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`State::set_json`].
    pub fn set(&self, value: &T) -> Result<(), StateError> {
        self.state.set_json(&self.key, value)
    }

    /// Store what is made of the value before, which is none the first time. Two deliveries that do it at once do it one
    /// after the other: the host runs one of them again.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// let names = ctx.state().cell::<Vec<String>>("names");
    /// let add = |before: Option<Vec<String>>| before.into_iter().flatten().chain(["Ada".to_owned()]).collect();
    /// assert_eq!(names.update(add)?, ["Ada"]);
    /// assert_eq!(names.update(add)?, ["Ada", "Ada"]);
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`State::get_json`] and [`State::set_json`].
    pub fn update(&self, change: impl FnOnce(Option<T>) -> T) -> Result<T, StateError> {
        let value = change(self.get()?);
        self.set(&value)?;
        Ok(value)
    }

    /// As [`Cell::update`], with a change that can fail; then nothing is stored.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("stock", "1");
    /// let take = |before: Option<u32>| before.unwrap_or_default().checked_sub(1).ok_or_else(|| wasmill::reject("sold out"));
    /// assert_eq!(ctx.state().cell("stock").try_update(take), Ok(0));
    /// assert_eq!(ctx.state().cell("stock").try_update(take), Err(wasmill::reject("sold out")));
    /// ```
    ///
    /// # Errors
    /// That of the change, or as [`Cell::update`].
    pub fn try_update<E: Into<Failure>>(&self, change: impl FnOnce(Option<T>) -> Result<T, E>) -> Result<T> {
        let value = change(self.get()?).map_err(Into::into)?;
        self.set(&value)?;
        Ok(value)
    }

    /// Remove it.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("largest", "6.4");
    /// ctx.state().cell::<f64>("largest").delete()?;
    /// assert!(ctx.stored().is_empty());
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`State::delete`].
    pub fn delete(&self) -> Result<(), StateError> {
        self.state.delete(&self.key)
    }
}

impl<'a, T: Serialize + DeserializeOwned> Typed<'a, T> {
    /// The place of one name.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().typed::<f64>("largest/").at("CA").set(&6.4)?;
    /// assert!(ctx.stored().contains_key("largest/CA"));
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    pub fn at(&self, name: &str) -> Cell<'a, T> {
        self.state.cell(format!("{}{name}", self.prefix))
    }

    /// The value of one name, none when nothing was stored.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("largest/CA", "6.4");
    /// assert_eq!(ctx.state().typed::<f64>("largest/").get("CA"), Ok(Some(6.4)));
    /// ```
    ///
    /// # Errors
    /// As [`State::get_json`].
    pub fn get(&self, name: &str) -> Result<Option<T>, StateError> {
        self.at(name).get()
    }

    /// Store the value of one name.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().typed::<f64>("largest/").set("CA", &6.4)?;
    /// assert_eq!(ctx.stored()["largest/CA"], b"6.4");
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`State::set_json`].
    pub fn set(&self, name: &str, value: &T) -> Result<(), StateError> {
        self.at(name).set(value)
    }

    /// Store what is made of the value before; see [`Cell::update`].
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// let largest = ctx.state().typed::<f64>("largest/");
    /// largest.update("CA", |before| before.unwrap_or_default().max(6.4))?;
    /// assert_eq!(largest.update("CA", |before| before.unwrap_or_default().max(5.0))?, 6.4);
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Cell::update`].
    pub fn update(&self, name: &str, change: impl FnOnce(Option<T>) -> T) -> Result<T, StateError> {
        self.at(name).update(change)
    }

    /// Remove one name.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("largest/CA", "6.4");
    /// ctx.state().typed::<f64>("largest/").delete("CA")?;
    /// assert!(ctx.stored().is_empty());
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`State::delete`].
    pub fn delete(&self, name: &str) -> Result<(), StateError> {
        self.at(name).delete()
    }

    /// All names, in ascending byte order.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("largest/NV", "1").with_state("largest/CA", "2");
    /// assert_eq!(ctx.state().typed::<f64>("largest/").names()?, ["CA", "NV"]);
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// When the host cannot read its store.
    pub fn names(&self) -> Result<Vec<String>, StateError> {
        let keys = self.state.keys(&self.prefix)?;
        Ok(keys.into_iter().map(|key| key[self.prefix.len()..].to_owned()).collect())
    }

    /// All names with their values, in ascending byte order of the names. Each is read, so a delivery that does this conflicts
    /// with every other one that changes one of them.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("largest/NV", "1").with_state("largest/CA", "2");
    /// let entries = ctx.state().typed::<f64>("largest/").entries()?;
    /// assert_eq!(entries, [("CA".to_owned(), 2.0), ("NV".to_owned(), 1.0)]);
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`State::get_json`].
    pub fn entries(&self) -> Result<Vec<(String, T)>, StateError> {
        let mut entries = Vec::new();
        for name in self.names()? {
            if let Some(value) = self.get(&name)? {
                entries.push((name, value));
            }
        }
        Ok(entries)
    }
}

impl Counter<'_> {
    /// Add so much, or take it away when it is negative. Reads nothing, and so never conflicts.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().counter("seen").add(1)?;
    /// assert_eq!(ctx.stored()["seen"], b"1");
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`State::increment`].
    pub fn add(&self, delta: i64) -> Result<(), StateError> {
        self.state.increment(&self.key, delta)
    }

    /// How much it is now, 0 at first. Reading conflicts with increments of other deliveries.
    ///
    /// ```
    /// assert_eq!(wasmill::Context::for_test().state().counter("seen").get(), Ok(0));
    /// ```
    ///
    /// # Errors
    /// As [`State::get_int`].
    pub fn get(&self) -> Result<i64, StateError> {
        self.state.get_int(&self.key)
    }
}

impl<T> fmt::Debug for Cell<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Typed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Context, StateError};

    #[test]
    fn names_go_on_after_the_first_page_and_stop_at_the_end_of_the_prefix() {
        let ctx = Context::for_test();
        let typed = ctx.state().typed::<u32>("n/");
        for n in 0..1_200 {
            typed.set(&format!("{n:04}"), &n).expect("a valid key");
        }
        ctx.state().set("o", b"0").expect("a valid key");
        let entries = typed.entries().expect("all are numbers");
        assert_eq!(
            (entries.len(), entries.last().map(|(name, n)| (name.as_str(), *n))),
            (1_200, Some(("1199", 1_199)))
        );
    }

    #[test]
    fn an_error_says_key_and_type() {
        let ctx = Context::for_test().with_state("n/a", "true");
        let error = ctx.state().typed::<u32>("n/").update("a", |_| 1).expect_err("no number");
        assert!(matches!(&error, StateError::NotJson { key, wanted, .. } if key == "n/a" && *wanted == "u32"));
        assert!(
            error.to_string().starts_with("the value of state key n/a is not JSON of a u32: invalid type: boolean")
        );
        assert_eq!(ctx.stored()["n/a"], b"true");
    }
}
