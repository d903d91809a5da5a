//! The stand-in for unit tests; not there in a component.

use std::{collections::BTreeMap, time::SystemTime};

use super::Context;
use crate::{Delivery, Handler, Outgoing, Result};

impl Context {
    /// A stand-in with an empty message on topic `test`, no config and no state. Its clock stands at 2026-01-01T00:00:00Z.
    ///
    /// ```
    /// use wasmill::Context;
    ///
    /// let ctx = Context::for_test().with_config("who", "Ada").with_state("seen", "3").with_attempt(2);
    /// assert_eq!(ctx.state().get_int("seen"), Ok(3));
    /// assert_eq!(ctx.delivery().attempt, 2);
    /// ```
    #[must_use]
    pub fn for_test() -> Self {
        Self::for_delivery(Delivery::for_test("test", ""))
    }

    /// A stand-in for this delivery, without config and state.
    ///
    /// ```
    /// use wasmill::{Context, Delivery};
    ///
    /// let ctx = Context::for_delivery(Delivery::for_test("orders", "{}").with_key("7"));
    /// assert_eq!(ctx.message().key.as_deref(), Some("7"));
    /// ```
    #[must_use]
    pub fn for_delivery(delivery: Delivery) -> Self {
        Self::new(delivery)
    }

    /// Another delivery to the same handler: config, state and what was published are shared with `self`.
    ///
    /// ```
    /// use wasmill::{Context, Delivery};
    ///
    /// let first = Context::for_test();
    /// first.state().increment("seen", 1)?;
    /// let second = first.with_delivery(Delivery::for_test("quakes", "{}"));
    /// second.state().increment("seen", 1)?;
    /// assert_eq!(first.state().get_int("seen"), Ok(2));
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    #[must_use]
    pub fn with_delivery(&self, delivery: Delivery) -> Self {
        self.of(delivery)
    }

    /// The same delivery at this attempt.
    ///
    /// ```
    /// let last = wasmill::Context::for_test().with_attempt(5);
    /// assert!(last.delivery().is_last_attempt());
    /// ```
    #[must_use]
    pub fn with_attempt(&self, attempt: u32) -> Self {
        self.with_delivery(Delivery { attempt, ..self.delivery().clone() })
    }

    /// Call a handler as the host does: its parameters are made from the delivery.
    ///
    /// ```
    /// use wasmill::{Context, Delivery, Json};
    ///
    /// #[wasmill::handler]
    /// fn on_number(number: Json<i64>, ctx: Context) -> wasmill::Result {
    ///     ctx.state().increment("sum", *number)?;
    ///     Ok(())
    /// }
    ///
    /// let ctx = Context::for_test();
    /// assert_eq!(ctx.with_delivery(Delivery::for_test("numbers", "7")).call(on_number), Ok(()));
    /// assert!(ctx.with_delivery(Delivery::for_test("numbers", "seven")).call(on_number).is_err());
    /// assert_eq!(ctx.state().get_int("sum"), Ok(7));
    /// ```
    ///
    /// # Errors
    /// What the handler answers.
    pub fn call<Parameters>(&self, mut handler: impl Handler<Parameters>) -> Result {
        handler.handle(self)
    }

    /// Configure a value.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_config("magnitude-min", "4.5");
    /// assert_eq!(ctx.config_as("magnitude-min"), Ok(Some(4.5)));
    /// ```
    #[must_use]
    pub fn with_config(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.host.configure(name.into(), value.into());
        self
    }

    /// Give it a secret: found by its name, and not among all values.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_secret("API_KEY", "not-a-real-key");
    /// assert_eq!(ctx.config("API_KEY").as_deref(), Some("not-a-real-key"));
    /// assert!(ctx.config_all().is_empty());
    /// ```
    #[must_use]
    pub fn with_secret(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.host.keep_secret(name.into(), value.into());
        self
    }

    /// Have something in state before the handler runs.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_state("largest", "6.4");
    /// assert_eq!(ctx.state().get_json("largest"), Ok(Some(6.4)));
    /// ```
    #[must_use]
    pub fn with_state(self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.host.store(key.into(), value.into());
        self
    }

    /// Set the clock. It stands still otherwise.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let noon = UNIX_EPOCH + Duration::from_secs(12 * 3_600);
    /// assert_eq!(wasmill::Context::for_test().with_time(noon).now(), noon);
    /// ```
    #[must_use]
    pub fn with_time(self, now: SystemTime) -> Self {
        self.host.set_time(now);
        self
    }

    /// Answer the HTTP requests of [`Context::send`]. Without it there is nobody to send to, and every request fails.
    ///
    /// ```
    /// use wasmill::{Context, http::{Error, Request, Response}};
    ///
    /// let ctx = Context::for_test().with_http(|request| match request.url.as_str() {
    ///     "https://a.example/" => Ok(Response::new(503, "").with_header("retry-after", "2")),
    ///     _ => Err(Error::Denied),
    /// });
    /// assert_eq!(ctx.send(&Request::get("https://a.example/")).map(|answer| answer.status), Ok(503));
    /// assert_eq!(ctx.send(&Request::get("https://b.example/")), Err(Error::Denied));
    /// assert_eq!(ctx.requests().len(), 2);
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn with_http(
        self,
        answer: impl FnMut(&crate::http::Request) -> Result<crate::http::Response, crate::http::Error> + 'static,
    ) -> Self {
        self.host.answer_http(Box::new(answer));
        self
    }

    /// The HTTP requests that were sent so far.
    ///
    /// ```
    /// use wasmill::{Context, http::Request};
    ///
    /// let ctx = Context::for_test();
    /// assert!(ctx.send(&Request::get("https://a.example/")).is_err(), "nobody answers");
    /// assert_eq!(ctx.requests()[0].method, "GET");
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn requests(&self) -> Vec<crate::http::Request> {
        self.host.requests()
    }

    /// All that is in state, in the order of keys.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().increment("seen", 2)?;
    /// assert_eq!(ctx.stored(), [("seen".to_owned(), b"2".to_vec())].into());
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    #[must_use]
    pub fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        self.host.stored()
    }

    /// What was published so far.
    ///
    /// ```
    /// use wasmill::{Context, Outgoing};
    ///
    /// let ctx = Context::for_test();
    /// ctx.publish(Outgoing::text("alerts", "fire"))?;
    /// assert_eq!(ctx.published(), [Outgoing::text("alerts", "fire")]);
    /// # Ok::<(), wasmill::PublishError>(())
    /// ```
    #[must_use]
    pub fn published(&self) -> Vec<Outgoing> {
        self.host.published()
    }
}
