//! A stand-in for the host, for unit tests of handlers: everything in memory, nothing durable, no commit, no limits
//! on what a delivery may use. What the host would refuse by its form is refused here too.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Bound,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    Outgoing,
    glue::bindings::wasmill::handler::{
        producer::PublishError,
        state::{KeyPage, StateError},
    },
};

const TOPIC_BYTES_MAX: usize = 255;
const STATE_KEY_BYTES_MAX: usize = 255;
const STATE_VALUE_BYTES_MAX: usize = 1024 * 1024;
const STATE_KEYS_PAGE_MAX: usize = 1_000;
/// What the clock says first, 2026-01-01T00:00:00Z, as in `wasmill test`.
const STARTS_AT: Duration = Duration::from_secs(1_767_225_600);

/// The stand-in. Clones are the same host.
#[derive(Clone, Debug)]
pub(crate) struct Host(Rc<Memory>);

#[derive(Debug)]
struct Memory {
    config: RefCell<BTreeMap<String, String>>,
    secrets: RefCell<BTreeMap<String, String>>,
    published: RefCell<Vec<Outgoing>>,
    state: RefCell<BTreeMap<String, Vec<u8>>>,
    now: Cell<SystemTime>,
    /// How many random numbers were made.
    randoms: Cell<u64>,
    #[cfg(feature = "http")]
    http: http::Server,
}

#[cfg(feature = "http")]
pub(crate) mod http {
    //! Whoever answers requests in a unit test.

    use std::{cell::RefCell, fmt};

    use crate::http::{Error, Request, Response};

    pub(crate) type Answer = Box<dyn FnMut(&Request) -> Result<Response, Error>>;

    #[derive(Default)]
    pub(super) struct Server {
        pub(super) answer: RefCell<Option<Answer>>,
        pub(super) requests: RefCell<Vec<Request>>,
    }

    impl fmt::Debug for Server {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Server").field("requests", &self.requests).finish_non_exhaustive()
        }
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        Self(Rc::new(Memory {
            config: RefCell::default(),
            secrets: RefCell::default(),
            published: RefCell::default(),
            state: RefCell::default(),
            now: Cell::new(UNIX_EPOCH + STARTS_AT),
            randoms: Cell::default(),
            #[cfg(feature = "http")]
            http: http::Server::default(),
        }))
    }

    pub(crate) fn configure(&self, name: String, value: String) {
        self.0.config.borrow_mut().insert(name, value);
    }

    pub(crate) fn keep_secret(&self, name: String, value: String) {
        self.0.secrets.borrow_mut().insert(name, value);
    }

    pub(crate) fn store(&self, key: String, value: Vec<u8>) {
        self.0.state.borrow_mut().insert(key, value);
    }

    pub(crate) fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.state.borrow().clone()
    }

    pub(crate) fn set_time(&self, now: SystemTime) {
        self.0.now.set(now);
    }

    #[cfg(feature = "http")]
    pub(crate) fn answer_http(&self, answer: http::Answer) {
        *self.0.http.answer.borrow_mut() = Some(answer);
    }

    #[cfg(feature = "http")]
    pub(crate) fn requests(&self) -> Vec<crate::http::Request> {
        self.0.http.requests.borrow().clone()
    }

    #[cfg(feature = "http")]
    pub(crate) fn send(&self, request: &crate::http::Request) -> Result<crate::http::Response, crate::http::Error> {
        self.0.http.requests.borrow_mut().push(request.clone());
        match &mut *self.0.http.answer.borrow_mut() {
            Some(answer) => answer(request),
            None => request.send(),
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.0.now.get()
    }

    /// The same bytes in each run of a test, and others in each call (SplitMix64).
    pub(crate) fn random(&self, count: usize) -> Vec<u8> {
        let next = || {
            let made = self.0.randoms.get() + 1;
            self.0.randoms.set(made);
            let mixed = made.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Some((mixed ^ (mixed >> 31)).to_le_bytes())
        };
        std::iter::from_fn(next).flatten().take(count).collect()
    }

    pub(crate) fn published(&self) -> Vec<Outgoing> {
        self.0.published.borrow().clone()
    }

    pub(crate) fn publish(&self, outgoing: &Outgoing) -> Result<String, PublishError> {
        check_topic(&outgoing.topic)?;
        let mut published = self.0.published.borrow_mut();
        published.push(outgoing.clone());
        Ok(format!("test-message/{}", published.len()))
    }

    #[allow(clippy::unnecessary_wraps, reason = "the real host can fail, and both have the same functions")]
    pub(crate) fn config(&self, name: &str) -> Result<Option<String>, String> {
        let configured = self.0.config.borrow().get(name).cloned();
        Ok(configured.or_else(|| self.0.secrets.borrow().get(name).cloned()))
    }

    #[allow(clippy::unnecessary_wraps, reason = "the real host can fail, and both have the same functions")]
    pub(crate) fn config_all(&self) -> Result<BTreeMap<String, String>, String> {
        Ok(self.0.config.borrow().clone())
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        check_key(key)?;
        Ok(self.0.state.borrow().get(key).cloned())
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), StateError> {
        check_key(key)?;
        if value.len() > STATE_VALUE_BYTES_MAX {
            return Err(StateError::TooLarge(STATE_VALUE_BYTES_MAX as u64));
        }
        self.0.state.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), StateError> {
        check_key(key)?;
        self.0.state.borrow_mut().remove(key);
        Ok(())
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, StateError> {
        check_key(key)?;
        Ok(self.0.state.borrow().contains_key(key))
    }

    pub(crate) fn increment(&self, key: &str, delta: i64) -> Result<(), StateError> {
        let before = match self.get(key)? {
            None => 0,
            Some(value) => decimal(&value).ok_or(StateError::NotAnInteger)?,
        };
        self.set(key, before.saturating_add(delta).to_string().as_bytes())
    }

    #[allow(clippy::unnecessary_wraps, reason = "the real host can fail, and both have the same functions")]
    pub(crate) fn list_keys(&self, prefix: &str, after: Option<&str>) -> Result<KeyPage, StateError> {
        let state = self.0.state.borrow();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let mut matching = state.range::<str, _>((from, Bound::Unbounded)).map(|(key, _)| key);
        let mut keys: Vec<String> = matching
            .by_ref()
            .take_while(|key| key.starts_with(prefix))
            .take(STATE_KEYS_PAGE_MAX + 1)
            .cloned()
            .collect();
        let has_more = keys.len() > STATE_KEYS_PAGE_MAX;
        keys.truncate(STATE_KEYS_PAGE_MAX);
        let next = if has_more { keys.last().cloned() } else { None };
        Ok(KeyPage { keys, next })
    }
}

fn decimal(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn check_key(key: &str) -> Result<(), StateError> {
    if key.is_empty() || key.len() > STATE_KEY_BYTES_MAX {
        return Err(StateError::InvalidKey("it must be 1 to 255 bytes long".to_owned()));
    }
    Ok(())
}

fn check_topic(topic: &str) -> Result<(), PublishError> {
    let refuse = |problem: &str| Err(PublishError::InvalidTopic(problem.to_owned()));
    if topic.len() > TOPIC_BYTES_MAX {
        return refuse("it is longer than 255 bytes");
    }
    if topic.split('.').any(str::is_empty) {
        return refuse("it has an empty word; give words with dots between, for example orders.created");
    }
    if topic.contains(|c: char| c.is_whitespace() || c.is_control() || c == '*' || c == '#') {
        return refuse("it holds white space, a control character or a wildcard");
    }
    if topic.split('.').next() == Some("$sys") {
        return refuse("topics under $sys are the host's own");
    }
    Ok(())
}
