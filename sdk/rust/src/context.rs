//! What a handler can reach besides the data of its message.

use std::{any::type_name, collections::BTreeMap, rc::Rc, str::FromStr, time::SystemTime};

use crate::{
    Delivery, Message, Outgoing, PublishError, Result, State, host::Host, percent::encoded, retry, values::unreadable,
};

#[cfg(not(target_family = "wasm"))]
mod testing;

/// The delivery under way and what a handler may do for it: publish, keep state, read its configured values.
///
/// Cheap to clone. In a component it speaks to the host. Natively it is an in-memory stand-in for unit tests, made by
/// [`Context::for_test`] or [`Context::for_delivery`], which takes effect at once: it knows no commit.
///
/// ```
/// use wasmill::{Context, Outgoing};
///
/// fn greet(ctx: &Context) -> wasmill::Result {
///     let who = ctx.config("who").unwrap_or_else(|| "world".to_owned());
///     ctx.publish(Outgoing::text("greetings", format!("hello {who}")).key(who))?;
///     Ok(())
/// }
///
/// let ctx = Context::for_test().with_config("who", "Ada");
/// assert_eq!(greet(&ctx), Ok(()));
/// assert_eq!(ctx.published(), [Outgoing::text("greetings", "hello Ada").key("Ada")]);
/// ```
#[derive(Clone, Debug)]
pub struct Context {
    delivery: Rc<Delivery>,
    host: Host,
}

impl Context {
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self { delivery: Rc::new(delivery), host: Host::new() }
    }

    /// What another delivery of the same call sees.
    pub(crate) fn of(&self, delivery: Delivery) -> Self {
        Self { delivery: Rc::new(delivery), host: self.host.clone() }
    }

    /// The delivery under way: the message, its queue and place, the attempt.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// assert_eq!((ctx.delivery().queue.as_str(), ctx.delivery().attempt), ("test-queue", 1));
    /// ```
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The message that is delivered.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_delivery(wasmill::Delivery::for_test("orders", "hello"));
    /// assert_eq!(ctx.message().data, b"hello");
    /// ```
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.delivery.message
    }

    /// Publish a message when, and only when, this delivery commits. Answers with the id of the new message, which is
    /// the same each time the same delivery makes the same call, so that a receiver outside can drop doubles.
    ///
    /// A handler that passes its limit of published messages or bytes is stopped: outcome `publish-limit`.
    ///
    /// ```
    /// use wasmill::{Context, Outgoing};
    ///
    /// let ctx = Context::for_test();
    /// ctx.publish(Outgoing::text("alerts", "fire").key("house 7").priority(9))?;
    /// assert!(ctx.publish(Outgoing::text("alerts.*", "fire")).is_err());
    /// # Ok::<(), wasmill::PublishError>(())
    /// ```
    ///
    /// # Errors
    /// When the message is not one that the host could ever queue; `?` on it rejects the delivery.
    #[allow(clippy::needless_pass_by_value, reason = "it is handed over: what is published is not used again")]
    pub fn publish(&self, outgoing: Outgoing) -> Result<String, PublishError> {
        let answer = self.host.publish(&outgoing);
        answer.map_err(|error| PublishError::from_contract(&outgoing.topic, error))
    }

    /// Where a reply to this message goes, when somebody waits for one: the topic to publish it to.
    ///
    /// ```
    /// use wasmill::{Context, Outgoing};
    ///
    /// fn quote(ctx: Context) -> wasmill::Result {
    ///     if let Some(topic) = ctx.reply_to() {
    ///         ctx.publish(Outgoing::text(topic, "42 EUR"))?;
    ///     }
    ///     Ok(())
    /// }
    /// assert_eq!(quote(Context::for_test()), Ok(()), "nobody waits, nothing is published");
    /// ```
    #[must_use]
    pub fn reply_to(&self) -> Option<String> {
        let headers = &self.message().headers;
        headers.iter().find(|(name, _)| name == "reply-to").map(|(_, topic)| topic.clone())
    }

    /// Publish a reply to whoever waits for one, which is none when nobody does: answers with its id then. `make` is called with the
    /// topic to reply to. The host keeps the correlation: header `correlationid` of a reply names the message that began
    /// the chain, `causationid` this one.
    ///
    /// ```
    /// use wasmill::{Context, Delivery, Outgoing};
    ///
    /// #[wasmill::handler]
    /// fn quote(ctx: Context) -> wasmill::Result {
    ///     ctx.reply(|topic| Outgoing::json(topic, &42))?;
    ///     Ok(())
    /// }
    ///
    /// let request = Delivery::for_test("quotes", "").with_header("reply-to", "$reply.1");
    /// let ctx = Context::for_delivery(request);
    /// assert_eq!(quote(ctx.clone()), Ok(()));
    /// assert_eq!(ctx.published()[0].topic, "$reply.1");
    /// ```
    ///
    /// # Errors
    /// As [`Context::publish`], and when `make` fails.
    pub fn reply(
        &self,
        make: impl FnOnce(String) -> Result<Outgoing, PublishError>,
    ) -> Result<Option<String>, PublishError> {
        let Some(topic) = self.reply_to() else { return Ok(None) };
        self.publish(make(topic)?).map(Some)
    }

    /// A key by which a receiver outside tells repeats apart: the same for every attempt of this delivery, another one for
    /// another message or purpose. It is made of queue, topic, the `source` of a CloudEvent, message id and `purpose`, in characters that
    /// fit a header and a URL: ids that publishers choose are told apart within their topic or source only.
    ///
    /// Name each effect of a handler, and of handlers that share a queue, with a purpose of its own. A message that was redriven is
    /// another message: what the receiver did for the old one it does again.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// let key = ctx.idempotency_key("charge");
    /// assert_eq!(key, "test-queue:test:test-message:charge");
    /// assert_eq!(ctx.with_attempt(2).idempotency_key("charge"), key);
    /// assert_ne!(ctx.idempotency_key("refund"), key);
    /// ```
    #[must_use]
    pub fn idempotency_key(&self, purpose: &str) -> String {
        let message = self.message();
        let source = message.header("ce-source");
        let parts = [&self.delivery.queue, &message.topic].map(String::as_str).into_iter();
        let parts = parts.chain(source).chain([message.id.as_str(), purpose]);
        parts.map(encoded).collect::<Vec<_>>().join(":")
    }

    /// The time of the clock on the wall. In a unit test it is what [`Context::with_time`] says.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let ctx = wasmill::Context::for_test().with_time(UNIX_EPOCH + Duration::from_secs(60));
    /// let age = ctx.now().duration_since(ctx.message().published_at())?;
    /// assert_eq!(age.as_secs(), 60);
    /// # Ok::<(), std::time::SystemTimeError>(())
    /// ```
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.host.now()
    }

    /// Random bytes, fit for secrets. Every attempt sees others. In a unit test they are the same ones in every run.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// assert_ne!(ctx.random_bytes::<16>(), ctx.random_bytes::<16>());
    /// ```
    #[must_use]
    pub fn random_bytes<const COUNT: usize>(&self) -> [u8; COUNT] {
        self.host.random(COUNT).try_into().unwrap_or([0; COUNT])
    }

    /// A random number from 0 up to, and without, `end`.
    ///
    /// # Panics
    /// When `end` is 0.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// let winners: std::collections::BTreeSet<u64> = (0..100).map(|_| ctx.random_below(3)).collect();
    /// assert_eq!(winners, [0, 1, 2].into());
    /// ```
    #[must_use]
    pub fn random_below(&self, end: u64) -> u64 {
        assert!(end > 0, "there is no number below 0");
        // The high half of a product of 128 bits; its bias is at most `end` in 2^64.
        let random = u128::from(u64::from_le_bytes(self.random_bytes()));
        u64::try_from((random * u128::from(end)) >> u64::BITS).unwrap_or_default()
    }

    /// Send an HTTP request, and wait for all of the answer. In a unit test the answer is what [`Context::with_http`] says.
    ///
    /// ```
    /// use wasmill::{Context, http::{Request, Response}};
    ///
    /// fn rate(ctx: &Context) -> wasmill::Result<f64> {
    ///     ctx.send(&Request::get("https://rates.example.com/eur"))?.or_fail()?.json()
    /// }
    ///
    /// let ctx = Context::for_test().with_http(|request| {
    ///     assert_eq!(request.url, "https://rates.example.com/eur");
    ///     Ok(Response::new(200, "1.08"))
    /// });
    /// assert_eq!(rate(&ctx), Ok(1.08));
    /// ```
    ///
    /// # Errors
    /// When there is no answer; `?` on it is a retry. A status that says that it failed is an answer:
    /// [`Response::or_fail`](crate::http::Response::or_fail) makes a failure of it.
    #[cfg(feature = "http")]
    pub fn send(&self, request: &crate::http::Request) -> Result<crate::http::Response, crate::http::Error> {
        self.host.send(request)
    }

    /// The durable keys and values of this handler.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// ctx.state().increment("seen", 1)?;
    /// assert_eq!(ctx.state().get_int("seen")?, 1);
    /// # Ok::<(), wasmill::StateError>(())
    /// ```
    #[must_use]
    pub fn state(&self) -> State<'_> {
        State::new(&self.host)
    }

    /// A value under `config` of this handler in the host's configuration, or a secret; none when it is not there.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_config("greeting", "hello");
    /// assert_eq!(ctx.config("greeting").as_deref(), Some("hello"));
    /// assert_eq!(ctx.config("other"), None);
    /// ```
    ///
    /// # Panics
    /// When the host cannot read its configuration: going on as if nothing were configured would be worse.
    #[must_use]
    pub fn config(&self, name: &str) -> Option<String> {
        self.host.config(name).unwrap_or_else(|problem| panic!("the host cannot read config {name}: {problem}"))
    }

    /// A configured value as a number or anything else that is read from text.
    ///
    /// # Errors
    /// Asks for a retry when it is configured but cannot be read: the message is not to blame, and the operator may
    /// correct the value meanwhile.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_config("magnitude-min", "4.5").with_config("limit", "many");
    /// assert_eq!(ctx.config_as::<f64>("magnitude-min"), Ok(Some(4.5)));
    /// assert_eq!(ctx.config_as::<f64>("other"), Ok(None));
    /// assert_eq!(ctx.config_as::<u8>("limit"), Err(wasmill::retry("config limit is \"many\"; it must be a u8")));
    /// ```
    pub fn config_as<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.config(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| retry(unreadable("config", name, &text, type_name::<T>())))
    }

    /// A secret that the operator gave this handler. The host keeps it out of logs and reasons; keep it out of messages and
    /// state.
    ///
    /// # Errors
    /// Asks for a retry when there is none of this name: the message is not to blame, and the operator may add it meanwhile.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_secret("API_KEY", "not-a-real-key");
    /// assert_eq!(ctx.secret("API_KEY").as_deref(), Ok("not-a-real-key"));
    /// assert_eq!(ctx.secret("TOKEN"), Err(wasmill::retry("there is no secret TOKEN; the operator must configure it")));
    /// ```
    pub fn secret(&self, name: &str) -> Result<String> {
        self.config(name).ok_or_else(|| retry(format!("there is no secret {name}; the operator must configure it")))
    }

    /// All values under `config` of this handler, without its secrets. [`Config`](crate::Config) reads them into a type.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test().with_config("a", "1").with_secret("B", "2");
    /// assert_eq!(ctx.config_all(), [("a".to_owned(), "1".to_owned())].into());
    /// ```
    ///
    /// # Panics
    /// As [`Context::config`].
    #[must_use]
    pub fn config_all(&self) -> BTreeMap<String, String> {
        self.host.config_all().unwrap_or_else(|problem| panic!("the host cannot read the configuration: {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Failure;

    #[test]
    fn published_messages_are_recorded_and_numbered() {
        let ctx = Context::for_test();
        let first = ctx.publish(Outgoing::text("a", "1")).expect("a good topic");
        let second = ctx.publish(Outgoing::text("b", "2")).expect("a good topic");
        assert_ne!(first, second);
        assert_eq!(ctx.published(), [Outgoing::text("a", "1"), Outgoing::text("b", "2")]);
    }

    #[test]
    fn messages_that_the_host_tells_apart_have_keys_of_their_own() {
        let of = |topic: &str, source: Option<&str>, id: &str| {
            let mut delivery = Delivery::for_test(topic, "");
            delivery.message.id = id.to_owned();
            delivery.message.headers.extend(source.map(|source| ("ce-source".to_owned(), source.to_owned())));
            Context::for_delivery(delivery).idempotency_key("note")
        };
        let keys = [
            of("a", None, "1"),
            of("b", None, "1"),
            of("a", Some("/x"), "1"),
            of("a", Some("/y"), "1"),
            of("a", None, "2"),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{key} is taken for an earlier one");
        }
        assert_eq!(keys[2], "test-queue:a:%2Fx:1:note");
    }

    #[test]
    fn topics_that_the_host_would_refuse_are_refused_and_rejected() {
        let ctx = Context::for_test();
        for topic in ["", "a..b", ".a", "a.*", "#", "a b", "$sys.x", &"x".repeat(256)] {
            let error = ctx.publish(Outgoing::text(topic, "x")).expect_err(topic);
            assert!(matches!(error, PublishError::InvalidTopic { .. }), "{error}");
            assert!(matches!(Failure::from(error), Failure::Reject(_)), "{topic}");
        }
        assert_eq!(ctx.published(), []);
    }

    #[test]
    fn another_attempt_shares_the_host() {
        let ctx = Context::for_test().with_config("a", "b");
        let second = ctx.with_attempt(2);
        assert_eq!((second.delivery().attempt, second.config("a").as_deref()), (2, Some("b")));
        assert_eq!(ctx.delivery().attempt, 1);
    }
}
