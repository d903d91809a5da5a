//! What came back, and what a status means for the delivery.

use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

use crate::{Failure, Result, reject, retry, retry_after};

/// Of the answer's body this much goes into the reason of a failure.
const REASON_BODY_CHARS_MAX: usize = 200;
/// Statuses below 500 that say that it is not the request's fault: it was too slow, too early, or one of too many.
const PASSING: [u16; 4] = [408, 423, 425, 429];

/// An answer, whatever its status.
///
/// ```
/// use wasmill::http::Response;
///
/// let answer = Response::new(201, r#"{"id": 7}"#).with_header("ETag", "a");
/// assert!(answer.is_success());
/// assert_eq!(answer.header("etag").as_deref(), Some("a"));
/// assert_eq!(answer.json::<std::collections::BTreeMap<String, u32>>().map(|note| note["id"]), Ok(7));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 and so on.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without headers, for unit tests.
    ///
    /// ```
    /// assert_eq!(wasmill::http::Response::new(404, "nothing here").body, b"nothing here");
    /// ```
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// With a header more, for unit tests.
    ///
    /// ```
    /// let answer = wasmill::http::Response::new(429, "").with_header("Retry-After", "5");
    /// assert_eq!(answer.headers, [("retry-after".to_owned(), b"5".to_vec())]);
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into().to_ascii_lowercase(), value.into()));
        self
    }

    /// Whether the status is one of success: 200 to 299.
    ///
    /// ```
    /// use wasmill::http::Response;
    ///
    /// assert!(Response::new(204, "").is_success());
    /// assert!(!Response::new(304, "").is_success());
    /// ```
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of the first header of this name, whatever its case.
    ///
    /// ```
    /// let answer = wasmill::http::Response::new(200, "").with_header("etag", "a");
    /// assert_eq!(answer.header("ETag").as_deref(), Some("a"));
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// The body as text; what is not UTF-8 is replaced.
    ///
    /// ```
    /// assert_eq!(wasmill::http::Response::new(200, "noted").text(), "noted");
    /// ```
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Asks for a retry when it is not JSON of this shape: the message is not to blame for what somebody else answers.
    ///
    /// ```
    /// use wasmill::http::Response;
    ///
    /// assert_eq!(Response::new(200, "[1, 2]").json::<Vec<u32>>(), Ok(vec![1, 2]));
    /// assert!(matches!(Response::new(200, "<html>").json::<Vec<u32>>(), Err(wasmill::Failure::Retry { .. })));
    /// ```
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|problem| {
            retry(format!("the answer is not the JSON that this handler expects: {problem}; {}", self.shown()))
        })
    }

    /// How long the header `retry-after` asks to wait: so many seconds, or until a time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wasmill::http::Response;
    ///
    /// let answer = Response::new(503, "").with_header("retry-after", "120");
    /// assert_eq!(answer.retry_after(), Some(Duration::from_secs(120)));
    /// let past = Response::new(503, "").with_header("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT");
    /// assert_eq!(past.retry_after(), Some(Duration::ZERO));
    /// assert_eq!(Response::new(503, "").retry_after(), None);
    /// ```
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_at(SystemTime::now())
    }

    /// The same, seen from that time, such as [`Context::now`](crate::Context::now).
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use wasmill::http::Response;
    ///
    /// let answer = Response::new(503, "").with_header("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT");
    /// assert_eq!(answer.retry_after_at(UNIX_EPOCH), Some(Duration::from_secs(60)));
    /// ```
    #[must_use]
    pub fn retry_after_at(&self, now: SystemTime) -> Option<Duration> {
        let text = self.header("retry-after")?;
        if let Ok(seconds) = text.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = httpdate::parse_http_date(text.trim()).ok()?;
        Some(at.duration_since(now).unwrap_or_default())
    }

    /// The answer when its status is one of success; a failure that fits when it is not.
    ///
    /// | status | failure |
    /// |---|---|
    /// | 408, 423, 425, 429, 500 and above | `retry`, not before what the header `Retry-After` says when there is one |
    /// | others of 400 to 499 | `reject`: the same request would fail again |
    /// | others: redirects, which are not followed | `reject` |
    ///
    /// The reason has the status and the beginning of the body.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wasmill::{http::Response, reject, retry, retry_after};
    ///
    /// assert!(Response::new(200, "").or_fail().is_ok());
    /// assert_eq!(Response::new(500, "oh").or_fail(), Err(retry("the answer has status 500: oh")));
    /// assert_eq!(Response::new(422, "no name").or_fail(), Err(reject("the answer has status 422: no name")));
    /// let busy = Response::new(429, "").with_header("retry-after", "30");
    /// assert_eq!(busy.or_fail(), Err(retry_after("the answer has status 429", Duration::from_secs(30))));
    /// ```
    ///
    /// # Errors
    /// When the status is not one of success.
    pub fn or_fail(self) -> Result<Self> {
        if self.is_success() { Ok(self) } else { Err(self.failure()) }
    }

    fn failure(&self) -> Failure {
        let reason = self.shown();
        if self.status < 500 && !PASSING.contains(&self.status) {
            return reject(reason);
        }
        match self.retry_after() {
            Some(after) => retry_after(reason, after),
            None => retry(reason),
        }
    }

    fn shown(&self) -> String {
        let text = self.text();
        let body: String = text.trim().chars().take(REASON_BODY_CHARS_MAX).collect();
        let joint = if body.is_empty() { "" } else { ": " };
        format!("the answer has status {}{joint}{body}", self.status)
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn each_status_means_what_its_class_says() {
        for (status, is_retry) in [(302, false), (400, false), (404, false), (408, true), (425, true), (502, true)] {
            let failure = Response::new(status, "").or_fail().expect_err("no success");
            assert_eq!(matches!(failure, Failure::Retry { after: None, .. }), is_retry, "{status}: {failure:?}");
        }
    }

    #[test]
    fn a_date_to_retry_after_is_seen_from_now() {
        let answer = Response::new(503, "").with_header("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT");
        assert_eq!(answer.retry_after_at(UNIX_EPOCH + Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(Response::new(503, "").with_header("retry-after", "soon").retry_after(), None);
    }

    #[test]
    fn a_long_body_is_cut_in_the_reason() {
        let failure = Response::new(400, "ä".repeat(1_000)).or_fail().expect_err("no success");
        assert_eq!(failure.to_string().chars().filter(|c| *c == 'ä').count(), REASON_BODY_CHARS_MAX);
    }
}
