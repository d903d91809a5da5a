//! Ways to read a message and a delivery. Their fields come from the contract.

use std::{
    any::type_name,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::de::DeserializeOwned;

use crate::{Delivery, Message, Result, reject, values::unreadable};

impl Message {
    /// The value of the first header of this name, whatever its case.
    ///
    /// ```
    /// let mut message = wasmill::Delivery::for_test("orders", "").message;
    /// message.headers.push(("trace".to_owned(), "7".to_owned()));
    /// assert_eq!(message.header("Trace"), Some("7"));
    /// assert_eq!(message.header("other"), None);
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The values of all headers of this name, whatever its case, in their order.
    ///
    /// ```
    /// let delivery = wasmill::Delivery::for_test("orders", "").with_header("tag", "new").with_header("tag", "large");
    /// assert_eq!(delivery.message.header_all("Tag").collect::<Vec<_>>(), ["new", "large"]);
    /// ```
    pub fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A header as a number or anything else that is read from text; none when there is no such header.
    ///
    /// # Errors
    /// Rejects the delivery when the header cannot be read so.
    ///
    /// ```
    /// let message = wasmill::Delivery::for_test("orders", "").with_header("amount", "7").message;
    /// assert_eq!(message.header_as::<u32>("amount"), Ok(Some(7)));
    /// assert_eq!(message.header_as::<u32>("other"), Ok(None));
    /// assert_eq!(message.header_as::<bool>("amount"),
    ///     Err(wasmill::reject("header amount is \"7\"; it must be a bool")));
    /// ```
    pub fn header_as<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.header(name) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| reject(unreadable("header", name, text, type_name::<T>())))
    }

    /// When the host accepted it.
    ///
    /// ```
    /// let message = wasmill::Delivery::for_test("orders", "").message;
    /// assert_eq!(message.published_at(), std::time::UNIX_EPOCH);
    /// ```
    #[must_use]
    pub fn published_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.published_at)
    }

    /// The data as JSON.
    ///
    /// # Errors
    /// Rejects the delivery when the data is not JSON, or not of this shape; the reason names line and column.
    ///
    /// ```
    /// let message = wasmill::Delivery::for_test("numbers", "[1, 2]").message;
    /// assert_eq!(message.json::<Vec<u32>>(), Ok(vec![1, 2]));
    /// assert!(message.json::<String>().is_err());
    /// ```
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.data)
            .map_err(|problem| reject(format!("the data is not the JSON that this handler expects: {problem}")))
    }

    /// The data as text.
    ///
    /// # Errors
    /// Rejects the delivery when the data is not UTF-8; the reason names the offset.
    ///
    /// ```
    /// assert_eq!(wasmill::Delivery::for_test("notes", "hello").message.text(), Ok("hello"));
    /// assert!(wasmill::Delivery::for_test("notes", [0xff]).message.text().is_err());
    /// ```
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.data).map_err(|problem| reject(format!("the data is not text in UTF-8: {problem}")))
    }
}

impl Delivery {
    /// Whether a further [`retry`](fn@crate::retry) would quarantine this delivery.
    ///
    /// ```
    /// let mut delivery = wasmill::Delivery::for_test("orders", "");
    /// assert!(!delivery.is_last_attempt());
    /// delivery.attempt = delivery.max_attempts;
    /// assert!(delivery.is_last_attempt());
    /// ```
    #[must_use]
    pub const fn is_last_attempt(&self) -> bool {
        self.attempt >= self.max_attempts
    }
}

/// For unit tests; not there in a component.
#[cfg(not(target_family = "wasm"))]
impl Delivery {
    /// A delivery for unit tests: the first attempt of five, message `test-message`, queue `test-queue`. Its fields
    /// are open; change what the test is about.
    ///
    /// ```
    /// let mut delivery = wasmill::Delivery::for_test("orders", "{}");
    /// delivery.attempt = 3;
    /// assert_eq!((delivery.message.topic.as_str(), delivery.max_attempts), ("orders", 5));
    /// ```
    #[must_use]
    pub fn for_test(topic: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        let message = Message {
            id: "test-message".to_owned(),
            topic: topic.into(),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: data.into(),
            published_at: 0,
        };
        Self { message, queue: "test-queue".to_owned(), sequence: 1, attempt: 1, max_attempts: 5 }
    }

    /// The same with a value as JSON for its data.
    ///
    /// # Panics
    /// When the value has no JSON.
    ///
    /// ```
    /// let delivery = wasmill::Delivery::json_for_test("orders", &["a", "b"]);
    /// assert_eq!(delivery.message.data, br#"["a","b"]"#);
    /// assert_eq!(delivery.message.content_type.as_deref(), Some("application/json"));
    /// ```
    #[must_use]
    pub fn json_for_test<T: serde::Serialize + ?Sized>(topic: impl Into<String>, value: &T) -> Self {
        let data = serde_json::to_vec(value).expect("a value for a test has JSON");
        Self::for_test(topic, data).with_content_type("application/json")
    }

    /// With a header more. The host makes names lower case, and so does this.
    ///
    /// ```
    /// let delivery = wasmill::Delivery::for_test("orders", "").with_header("Tenant", "acme");
    /// assert_eq!(delivery.message.headers, [("tenant".to_owned(), "acme".to_owned())]);
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.message.headers.push((name.into().to_ascii_lowercase(), value.into()));
        self
    }

    /// With this key.
    ///
    /// ```
    /// let delivery = wasmill::Delivery::for_test("orders", "").with_key("customer-7");
    /// assert_eq!(delivery.message.key.as_deref(), Some("customer-7"));
    /// ```
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.message.key = Some(key.into());
        self
    }

    /// With this content type.
    ///
    /// ```
    /// let delivery = wasmill::Delivery::for_test("orders", "a,b").with_content_type("text/csv");
    /// assert_eq!(delivery.message.content_type.as_deref(), Some("text/csv"));
    /// ```
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.message.content_type = Some(content_type.into());
        self
    }
}
