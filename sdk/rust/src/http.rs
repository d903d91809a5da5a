//! HTTP requests to where the operator lets this handler go.
//!
//! ```
//! use wasmill::{Context, http::{Request, Response}};
//!
//! #[wasmill::handler]
//! fn notify(ctx: Context) -> wasmill::Result {
//!     let request = Request::post("https://api.example.com/notes", ctx.message().data.clone())
//!         .bearer(ctx.secret("API_KEY")?)
//!         .header("idempotency-key", ctx.idempotency_key("note"));
//!     ctx.send(&request)?.or_fail()?;
//!     Ok(())
//! }
//!
//! // In a unit test a closure answers.
//! let ctx = Context::for_test().with_secret("API_KEY", "not-a-real-key");
//! let busy = ctx.with_http(|_| Ok(Response::new(503, "").with_header("retry-after", "2")));
//! let Err(wasmill::Failure::Retry { after, .. }) = notify(busy) else { panic!("503 is a retry") };
//! assert_eq!(after, Some(std::time::Duration::from_secs(2)));
//! ```
//!
//! The delivery may run again, so let the receiver tell repeats apart: send
//! [`Context::idempotency_key`](crate::Context::idempotency_key) along. While a handler waits it uses no fuel, and its limit
//! of wall clock goes on. Redirects are not followed.

use std::time::Duration;

use serde::Serialize;

use crate::percent::encoded;

pub use response::Response;

mod response;
#[cfg(target_family = "wasm")]
mod wasi;

/// A request that is not sent yet. [`Context::send`](crate::Context::send) sends it.
///
/// ```
/// use std::time::Duration;
/// use wasmill::http::Request;
///
/// let request = Request::new("PUT", "https://api.example.com/notes/7")
///     .header("if-match", "\"3\"")
///     .timeout(Duration::from_secs(5))
///     .json(&["a", "b"])?;
/// assert_eq!(request.body, br#"["a","b"]"#);
/// # Ok::<(), wasmill::http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// `https://host:port/path?query`.
    pub url: String,
    /// Names and values. The host writes `host` and what belongs to the connection.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: Vec<u8>,
    /// How long to wait for the answer to begin; without it as long as the attempt may last.
    pub timeout: Option<Duration>,
}

/// Why there is no answer. `?` on it is a retry.
///
/// ```
/// use wasmill::{Context, http::{Error, Request}};
///
/// fn ask(ctx: &Context) -> wasmill::Result {
///     match ctx.send(&Request::get("https://api.example.com/")) {
///         Err(Error::Denied) => wasmill::reject!("nobody granted https://api.example.com"),
///         answer => answer?.or_fail().map(drop),
///     }
/// }
///
/// let ctx = Context::for_test().with_http(|_| Err(Error::Denied));
/// assert_eq!(ask(&ctx), Err(wasmill::reject("nobody granted https://api.example.com")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The operator does not let this handler go there. The host's log says what to grant.
    Denied,
    /// It took longer than the request's own timeout.
    TimedOut,
    /// The request or the answer has more bytes than one attempt may send or receive.
    TooLarge,
    /// The URL, the method or a header is none.
    Invalid(&'static str),
    /// Anything else, in the host's words.
    Failed(String),
}

impl Request {
    /// A request of any method, without a body.
    ///
    /// ```
    /// assert_eq!(wasmill::http::Request::new("DELETE", "https://api.example.com/notes/7").method, "DELETE");
    /// ```
    #[must_use]
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// A request without a body.
    ///
    /// ```
    /// assert_eq!(wasmill::http::Request::get("https://api.example.com/").method, "GET");
    /// ```
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A request with a body.
    ///
    /// ```
    /// assert_eq!(wasmill::http::Request::post("https://api.example.com/", "hello").body, b"hello");
    /// ```
    #[must_use]
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", url) }
    }

    /// With a further header.
    ///
    /// ```
    /// let request = wasmill::http::Request::get("https://api.example.com/").header("accept", "text/plain");
    /// assert_eq!(request.headers, [("accept".to_owned(), "text/plain".to_owned())]);
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With the header `authorization: Bearer …`.
    ///
    /// ```
    /// let request = wasmill::http::Request::get("https://api.example.com/").bearer("not-a-real-key");
    /// assert_eq!(request.headers[0].1, "Bearer not-a-real-key");
    /// ```
    #[must_use]
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.header("authorization", format!("Bearer {}", token.as_ref()))
    }

    /// With a further parameter in the query of the URL, encoded as it must be.
    ///
    /// ```
    /// let request = wasmill::http::Request::get("https://api.example.com/?a=1").query("place", "São Paulo & more");
    /// assert_eq!(request.url, "https://api.example.com/?a=1&place=S%C3%A3o%20Paulo%20%26%20more");
    /// ```
    #[must_use]
    pub fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let joint = if self.url.contains('?') { '&' } else { '?' };
        self.url.push(joint);
        self.url.push_str(&format!("{}={}", encoded(name), encoded(value.as_ref())));
        self
    }

    /// With a value as JSON for its body, content type `application/json`.
    ///
    /// ```
    /// let request = wasmill::http::Request::post("https://api.example.com/", "").json(&[1, 2])?;
    /// assert_eq!(request.body, b"[1,2]");
    /// assert_eq!(request.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    /// # Ok::<(), wasmill::http::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the value has no JSON, such as a map whose keys are not strings.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, Error> {
        let body = serde_json::to_vec(value).map_err(|_| Error::Invalid("a body that has no JSON"))?;
        Ok(Self { body, ..self.header("content-type", "application/json") })
    }

    /// Wait no longer than this for the answer to begin.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let request = wasmill::http::Request::get("https://api.example.com/").timeout(Duration::from_secs(5));
    /// assert_eq!(request.timeout, Some(Duration::from_secs(5)));
    /// ```
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Send it, and wait for all of the answer. [`Context::send`](crate::Context::send) does the same, and can be
    /// answered in a unit test.
    ///
    /// ```no_run
    /// let answer = wasmill::http::Request::get("https://api.example.com/").send()?;
    /// # Ok::<(), wasmill::http::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no answer. `?` on it is a retry.
    #[cfg(target_family = "wasm")]
    pub fn send(&self) -> Result<Response, Error> {
        wasi::send(self)
    }

    /// Send it: natively there is nobody to send it to. [`Context::send`](crate::Context::send) can be answered by
    /// [`Context::with_http`](crate::Context::with_http).
    ///
    /// ```
    /// assert!(wasmill::http::Request::get("https://api.example.com/").send().is_err());
    /// ```
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_family = "wasm"))]
    pub fn send(&self) -> Result<Response, Error> {
        Err(Error::Failed(
            "outside of a host there is no HTTP; give the test's Context answers by with_http".to_owned(),
        ))
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied => f.write_str("the HTTP request is not allowed for this handler"),
            Self::TimedOut => f.write_str("the HTTP request took too long"),
            Self::TooLarge => f.write_str("the HTTP request or its answer is too large"),
            Self::Invalid(what) => write!(f, "the HTTP request has {what}"),
            Self::Failed(detail) => write!(f, "the HTTP request failed: {detail}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    #[test]
    fn natively_nothing_is_sent() {
        let request = Request::post("https://a.example", "x").header("a", "b").timeout(Duration::from_secs(1));
        assert_eq!((request.method.as_str(), request.headers.len()), ("POST", 1));
        assert!(request.send().expect_err("nobody is there").to_string().contains("outside of a host"));
    }
}
