//! CloudEvents 1.0, as they come in messages: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.
//!
//! The host turns an event that reaches it over HTTP into a message: attributes as headers `ce-…`, `partitionkey` as the
//! key. A message that was published another way may hold an event as one JSON object; that is understood too.

use std::{collections::BTreeMap, ops::Deref};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value};

use crate::{Bytes, Context, Delivery, FromDelivery, Message, OptionalFromDelivery, OrFail, Outgoing, Result, reject};

const SPEC_VERSION: &str = "1.0";
const HEADER_PREFIX: &str = "ce-";
const STRUCTURED: &str = "application/cloudevents+json";

/// A CloudEvent: its attributes, and its data as [`Json`](crate::Json), [`Text`](crate::Text) or [`Bytes`]. A message that
/// is none is rejected; as an `Option` it is `None`.
///
/// ```
/// use wasmill::{CloudEvent, Context, Delivery, Json};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     total: u32,
/// }
///
/// #[wasmill::handler]
/// fn on_order(event: CloudEvent<Json<Order>>) -> wasmill::Result {
///     wasmill::ensure!(event.kind == "com.example.order.placed", "{} is no order", event.kind);
///     println!("{} of {} is worth {}", event.id, event.source, event.data.total);
///     Ok(())
/// }
///
/// let delivery = Delivery::for_test("orders", r#"{"total": 7}"#)
///     .with_header("ce-specversion", "1.0")
///     .with_header("ce-id", "1")
///     .with_header("ce-source", "/shop")
///     .with_header("ce-type", "com.example.order.placed");
/// assert_eq!(Context::for_delivery(delivery).call(on_order), Ok(()));
/// assert_eq!(
///     Context::for_test().call(on_order),
///     Err(wasmill::reject("the message is no CloudEvent: there is no specversion")),
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEvent<T = Bytes> {
    /// All of the event but its data.
    pub attributes: EventAttributes,
    /// What it carries.
    pub data: T,
}

/// The attributes of a CloudEvent. `datacontenttype` is the content type of its message.
///
/// ```
/// use wasmill::{EventAttributes, Outgoing};
///
/// let attributes = EventAttributes::new("1", "/shop", "com.example.order.shipped").subject("order-7");
/// let outgoing = Outgoing::json("shipped", &7)?.cloud_event(attributes.extension("partitionkey", "customer-3"));
/// assert!(outgoing.headers.contains(&("ce-subject".to_owned(), "order-7".to_owned())));
/// assert_eq!(outgoing.key.as_deref(), Some("customer-3"));
/// # Ok::<(), wasmill::PublishError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventAttributes {
    /// Together with `source` it is unique.
    pub id: String,
    /// Where it comes from: a URI reference.
    pub source: String,
    /// What happened: the attribute `type`, such as `com.example.order.placed`.
    pub kind: String,
    /// What it happened to.
    pub subject: Option<String>,
    /// When, as RFC 3339 writes it.
    pub time: Option<String>,
    /// What the data looks like: a URI.
    pub data_schema: Option<String>,
    /// All other attributes. Their names are lower case ASCII letters and digits.
    pub extensions: BTreeMap<String, String>,
}

impl EventAttributes {
    /// The attributes that every event has.
    ///
    /// [`Context::idempotency_key`](crate::Context::idempotency_key) is a good id: the same one whenever the same delivery
    /// makes the event.
    ///
    /// ```
    /// let ctx = wasmill::Context::for_test();
    /// let attributes = wasmill::EventAttributes::new(ctx.idempotency_key("shipped"), "/shop", "order.shipped");
    /// assert_eq!((attributes.source.as_str(), attributes.kind.as_str()), ("/shop", "order.shipped"));
    /// ```
    #[must_use]
    pub fn new(id: impl Into<String>, source: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { id: id.into(), source: source.into(), kind: kind.into(), ..Self::default() }
    }

    /// Say what it happened to.
    ///
    /// ```
    /// let attributes = wasmill::EventAttributes::new("1", "/shop", "order.shipped").subject("order-7");
    /// assert_eq!(attributes.subject.as_deref(), Some("order-7"));
    /// ```
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Say when it happened, as RFC 3339 writes it.
    ///
    /// ```
    /// let attributes = wasmill::EventAttributes::new("1", "/shop", "order.shipped").time("2026-01-01T00:00:00Z");
    /// assert_eq!(attributes.time.as_deref(), Some("2026-01-01T00:00:00Z"));
    /// ```
    #[must_use]
    pub fn time(mut self, time: impl Into<String>) -> Self {
        self.time = Some(time.into());
        self
    }

    /// Add an attribute of another name: lower case ASCII letters and digits. `partitionkey` becomes the message's key.
    ///
    /// ```
    /// let attributes = wasmill::EventAttributes::new("1", "/shop", "order.shipped").extension("tenant", "acme");
    /// assert_eq!(attributes.extensions["tenant"], "acme");
    /// ```
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    fn set(&mut self, name: &str, value: String) -> Result {
        match name {
            "specversion" if value == SPEC_VERSION => {}
            "specversion" => return Err(no_event(&format!("specversion is {value}, not {SPEC_VERSION}"))),
            "id" => self.id = value,
            "source" => self.source = value,
            "type" => self.kind = value,
            "subject" => self.subject = Some(value),
            "time" => self.time = Some(value),
            "dataschema" => self.data_schema = Some(value),
            other => {
                self.extensions.insert(other.to_owned(), value);
            }
        }
        Ok(())
    }

    fn checked(self) -> Result<Self> {
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.kind)] {
            if value.is_empty() {
                return Err(no_event(&format!("there is no {name}")));
            }
        }
        Ok(self)
    }
}

impl Outgoing {
    /// Make it a CloudEvent in binary mode, as the host does with events that reach it over HTTP: attributes as headers
    /// `ce-…`, the data as it is. The attribute `partitionkey` becomes the key.
    ///
    /// ```
    /// use wasmill::{EventAttributes, Outgoing};
    ///
    /// let outgoing = Outgoing::text("shipped", "order 7").cloud_event(EventAttributes::new("1", "/shop", "shipped"));
    /// assert_eq!(outgoing.headers[0], ("ce-specversion".to_owned(), "1.0".to_owned()));
    /// ```
    #[must_use]
    pub fn cloud_event(mut self, attributes: EventAttributes) -> Self {
        let EventAttributes { id, source, kind, subject, time, data_schema, extensions } = attributes;
        if let Some(key) = extensions.get("partitionkey") {
            self.key = Some(key.clone());
        }
        let required = [("specversion", SPEC_VERSION.to_owned()), ("id", id), ("source", source), ("type", kind)];
        let optional = [("subject", subject), ("time", time), ("dataschema", data_schema)];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let known = required.into_iter().chain(optional).map(|(name, value)| (name.to_owned(), value));
        self.headers.extend(known.chain(extensions).map(|(name, value)| (format!("{HEADER_PREFIX}{name}"), value)));
        self
    }
}

impl<T: FromDelivery> FromDelivery for CloudEvent<T> {
    fn from_delivery(ctx: &Context) -> Result<Self> {
        Self::optional_from_delivery(ctx)?.ok_or_else(|| no_event("there is no specversion"))
    }
}

impl<T: FromDelivery> OptionalFromDelivery for CloudEvent<T> {
    fn optional_from_delivery(ctx: &Context) -> Result<Option<Self>> {
        let message = ctx.message();
        if is_structured(message) {
            return structured(ctx).map(Some);
        }
        let mut attributes = EventAttributes::default();
        for (name, value) in &message.headers {
            if let Some(name) = name.strip_prefix(HEADER_PREFIX) {
                attributes.set(name, value.clone())?;
            }
        }
        if message.header("ce-specversion").is_none() {
            return Ok(None);
        }
        Ok(Some(Self { attributes: attributes.checked()?, data: T::from_delivery(ctx)? }))
    }
}

impl<T> Deref for CloudEvent<T> {
    type Target = EventAttributes;

    fn deref(&self) -> &EventAttributes {
        &self.attributes
    }
}

fn no_event(problem: &str) -> crate::Failure {
    reject(format!("the message is no CloudEvent: {problem}"))
}

fn is_structured(message: &Message) -> bool {
    let media_type = message.content_type.as_deref().and_then(|given| given.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case(STRUCTURED)
}

/// An event that is one JSON object; its data is read as if it were that of a message of its own.
fn structured<T: FromDelivery>(ctx: &Context) -> Result<CloudEvent<T>> {
    let mut members: Map<String, Value> = ctx.message().json()?;
    let content_type = members.remove("datacontenttype").and_then(|given| given.as_str().map(ToOwned::to_owned));
    let mut attributes = EventAttributes::default();
    let (mut data, mut has_version) = (Vec::new(), false);
    for (name, value) in members {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("data", Value::String(text)) if !is_json(content_type.as_deref()) => data = text.into_bytes(),
            ("data", value) => data = value.to_string().into_bytes(),
            ("data_base64", Value::String(text)) => data = BASE64.decode(text).or_reject("data_base64")?,
            (_, Value::Array(_) | Value::Object(_)) => {
                return Err(no_event(&format!("{name} is an array or an object")));
            }
            (_, value) => {
                has_version |= name == "specversion";
                attributes.set(&name, value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))?;
            }
        }
    }
    if !has_version {
        return Err(no_event("there is no specversion"));
    }
    let message = Message { data, content_type, ..ctx.message().clone() };
    let inner = ctx.of(Delivery { message, ..ctx.delivery().clone() });
    Ok(CloudEvent { attributes: attributes.checked()?, data: T::from_delivery(&inner)? })
}

/// JSON is what the data is when nobody says otherwise.
fn is_json(content_type: Option<&str>) -> bool {
    let Some(given) = content_type else { return true };
    let media_type = given.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json") || media_type.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Json, Text};

    fn structured_event(event: &Value) -> Context {
        let delivery = Delivery::for_test("events", event.to_string());
        Context::for_delivery(delivery.with_content_type("application/cloudevents+json; charset=utf-8"))
    }

    #[test]
    fn a_structured_event_is_read_whatever_the_order_of_its_members() {
        let mut event = json!({
            "specversion": "1.0", "id": "1", "source": "/a", "type": "t", "subject": "s", "n": 5, "nothing": null,
            "data": {"a": [1]},
        });
        let ctx = structured_event(&event);
        let read = CloudEvent::<Json<Value>>::from_delivery(&ctx).expect("an event");
        assert_eq!((read.id.as_str(), read.subject.as_deref()), ("1", Some("s")));
        assert_eq!(read.extensions, BTreeMap::from([("n".to_owned(), "5".to_owned())]));
        assert_eq!(read.data.0, json!({"a": [1]}));
        event["datacontenttype"] = json!("text/plain");
        event["data"] = json!("hello");
        assert_eq!(CloudEvent::<Text>::from_delivery(&structured_event(&event)).expect("an event").data.0, "hello");
        event["datacontenttype"] = Value::Null;
        let read = CloudEvent::<Json<String>>::from_delivery(&structured_event(&event)).expect("an event");
        assert_eq!(read.data.0, "hello");
        event["data"] = Value::Null;
        event["data_base64"] = json!("AP8=");
        let read = CloudEvent::<Bytes>::from_delivery(&structured_event(&event)).expect("an event");
        assert_eq!(read.data.0, [0, 0xff]);
    }

    #[test]
    fn what_is_no_event_is_rejected_with_what_is_wrong() {
        let binary = |headers: &[(&str, &str)]| {
            let delivery = Delivery::for_test("events", "");
            let add = |delivery: Delivery, (name, value): &(&str, &str)| delivery.with_header(*name, *value);
            CloudEvent::<Bytes>::from_delivery(&Context::for_delivery(headers.iter().fold(delivery, add)))
        };
        let structured = |event: Value| CloudEvent::<Bytes>::from_delivery(&structured_event(&event));
        for (read, problem) in [
            (binary(&[("ce-id", "1")]), "there is no specversion"),
            (binary(&[("ce-specversion", "0.3")]), "specversion is 0.3, not 1.0"),
            (binary(&[("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "t")]), "there is no source"),
            (structured(json!({"id": "1", "source": "/a", "type": "t"})), "there is no specversion"),
            (structured(json!({"specversion": "1.0", "id": "1", "source": [], "type": "t"})), "source is an array"),
            (structured(json!({"specversion": "1.0", "id": "1", "source": "/a"})), "there is no type"),
        ] {
            let reason = read.expect_err(problem).to_string();
            assert!(reason.starts_with("the message is no CloudEvent: ") && reason.contains(problem), "{reason}");
        }
    }

    #[test]
    fn what_is_published_as_an_event_is_read_as_one() {
        let mut attributes = EventAttributes::new("1", "/a", "t").subject("s").time("2026-01-01T00:00:00Z");
        attributes.data_schema = Some("/schema".to_owned());
        let attributes = attributes.extension("partitionkey", "k");
        let outgoing = Outgoing::text("events", "hello").cloud_event(attributes.clone());
        let mut delivery = Delivery::for_test("events", outgoing.data);
        delivery.message.headers = outgoing.headers;
        let read = Option::<CloudEvent<Text>>::from_delivery(&Context::for_delivery(delivery)).expect("an event");
        assert_eq!(read, Some(CloudEvent { attributes, data: Text("hello".to_owned()) }));
        assert_eq!(Option::<CloudEvent>::from_delivery(&Context::for_test()), Ok(None));
    }
}
