//! Ways to read a message and a delivery. Their fields come from the contract.

use serde::de::DeserializeOwned;

use crate::{Delivery, Message, Result, reject};

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

    /// A delivery for unit tests: the first attempt of five, message `test-message`, queue `test-queue`. Its fields
    /// are open; change what the test is about. Not there in a component.
    #[cfg(not(target_family = "wasm"))]
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
}
