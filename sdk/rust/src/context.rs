//! What a handler can reach besides the data of its message.

use std::{any::type_name, rc::Rc, str::FromStr};

use crate::{Delivery, Message, Outgoing, PublishError, Result, State, host::Host, retry};

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

    /// The delivery under way: the message, its queue and place, the attempt.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The message that is delivered.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.delivery.message
    }

    /// Publish a message when, and only when, this delivery commits. Answers with the id of the new message, which is
    /// the same each time the same delivery makes the same call, so that a receiver outside can drop doubles.
    ///
    /// A handler that passes its limit of published messages or bytes is stopped: outcome `publish-limit`.
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

    /// The durable keys and values of this handler.
    #[must_use]
    pub fn state(&self) -> State<'_> {
        State::new(&self.host)
    }

    /// A value under `config` of this handler in the host's configuration, none when it is not there.
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
        let unreadable = || retry(format!("config {name} is {text:?}; it must be a {}", type_name::<T>()));
        text.parse().map(Some).map_err(|_| unreadable())
    }
}

/// For unit tests; not there in a component.
#[cfg(not(target_family = "wasm"))]
impl Context {
    /// A stand-in with an empty message on topic `test`, no config and no state.
    #[must_use]
    pub fn for_test() -> Self {
        Self::for_delivery(Delivery::for_test("test", ""))
    }

    /// A stand-in for this delivery, without config and state.
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
        Self { delivery: Rc::new(delivery), host: self.host.clone() }
    }

    /// The same delivery at this attempt.
    #[must_use]
    pub fn with_attempt(&self, attempt: u32) -> Self {
        self.with_delivery(Delivery { attempt, ..self.delivery().clone() })
    }

    /// Configure a value.
    #[must_use]
    pub fn with_config(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.host.configure(name.into(), value.into());
        self
    }

    /// What was published so far.
    #[must_use]
    pub fn published(&self) -> Vec<Outgoing> {
        self.host.published()
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
