//! HTTP requests to where the operator lets this handler go.
//!
//! ```no_run
//! use wasmill::{Context, http};
//!
//! fn notify(ctx: &Context) -> wasmill::Result {
//!     let key = ctx.config("API_KEY").unwrap_or_default();
//!     let request = http::Request::post("https://api.example.com/notes", ctx.message().data.clone());
//!     let response = request.header("authorization", format!("Bearer {key}")).send()?;
//!     if response.status == 429 {
//!         return Err(wasmill::defer(std::time::Duration::from_secs(30)));
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The delivery may run again, so let the receiver tell repeats apart: send the message's id along. While a handler waits
//! it uses no fuel, and its limit of wall clock goes on. Redirects are not followed. Natively there is nobody to send to:
//! every request fails.

use std::time::Duration;

#[cfg(target_family = "wasm")]
mod wasi;

/// A request that is not sent yet.
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

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 and so on.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// All of it.
    pub body: Vec<u8>,
}

/// Why there is no answer.
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
    /// A request without a body.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: "GET".to_owned(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// A request with a body.
    #[must_use]
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST".to_owned(), body: body.into(), ..Self::get(url) }
    }

    /// With a further header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Wait no longer than this for the answer to begin.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Send it, and wait for all of the answer.
    ///
    /// # Errors
    /// When there is no answer. `?` on it is a retry.
    #[cfg(target_family = "wasm")]
    pub fn send(&self) -> Result<Response, Error> {
        wasi::send(self)
    }

    /// Send it: natively there is nobody to send it to.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_family = "wasm"))]
    pub fn send(&self) -> Result<Response, Error> {
        Err(Error::Failed("outside of a host there is no HTTP".to_owned()))
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
