//! The frames of a stream between a client and a host.
//!
//! A stream is a WebSocket at [`PATH`] with the subprotocol [`SUBPROTOCOL`]. Each binary message of it is one frame: one
//! [`ClientFrame`] or one [`HostFrame`] in MessagePack, structures as maps by the names of their fields, with what is
//! absent left out. Text messages are not used.
//!
//! - A client numbers its requests as it likes, from 1 on; an answer names the request. Requests are carried out in the order in which
//!   they arrive, and many may be under way: up to [`REQUESTS_OPEN_MAX`], after which the host reads no further.
//! - Answers come when what they say is durable, so not necessarily in order.
//! - A host sends deliveries of a consumer as long as fewer than its credit are out, and settling them gives credit back.
//! - When a client says [`ClientFrame::Release`] or closes the stream with code 1000, deliveries that it did not settle go
//!   back and burn no attempt. When the stream breaks, they fail as `lease-expired` at once: a message that ends the
//!   program that takes it must not come again for ever.

mod bounded;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use self::bounded::bounded;

/// Where a host takes streams.
pub const PATH: &str = "/v1/stream";
/// The subprotocol that a client asks for.
pub const SUBPROTOCOL: &str = "wasmill.v1.msgpack";
/// Messages of one publish, and settlements of one settle.
pub const MESSAGES_MAX: usize = 1_000;
/// Headers of a message.
pub const HEADERS_MAX: usize = 64;
/// Requests of one stream that are not answered yet.
pub const REQUESTS_OPEN_MAX: usize = 1_024;
/// Subscriptions of one stream.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Deliveries of one subscription that are out at once.
pub const CREDIT_MAX: u32 = 10_000;
/// What a side reads from the socket at once. The WebSocket library zeroes so much for each read.
pub const READ_BYTES: usize = 32 * 1024;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ClientFrame {
    /// Publish messages in one commit. Answered by [`HostFrame::Published`].
    Publish {
        /// What the answer names.
        request: u64,
        /// Where messages go that name neither topic nor queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        /// The media type of messages that name none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
        /// At most [`MESSAGES_MAX`].
        #[serde(deserialize_with = "bounded::<_, _, MESSAGES_MAX>")]
        messages: Vec<Outgoing>,
        /// Whether the answer shall say each message's id and places.
        #[serde(default, skip_serializing_if = "is_false")]
        receipts: bool,
    },
    /// Send deliveries of a consumer without a handler. Answered by [`HostFrame::Deliveries`] for as long as the stream lasts.
    Subscribe {
        /// What its deliveries name, and what they are settled with.
        subscription: u64,
        /// The queue.
        queue: String,
        /// The consumer; a pull consumer of that queue.
        consumer: String,
        /// So many deliveries may be out, 1 to [`CREDIT_MAX`].
        credit: u32,
    },
    /// Say how it went with deliveries, in one commit. Answered by [`HostFrame::Settled`].
    Settle {
        /// What the answer names.
        request: u64,
        /// Whose deliveries these are.
        subscription: u64,
        /// At most [`MESSAGES_MAX`], in the order in which they are to be settled.
        #[serde(deserialize_with = "bounded::<_, _, MESSAGES_MAX>")]
        settlements: Vec<Settlement>,
    },
    /// Hold deliveries for longer. Answered by [`HostFrame::Settled`].
    Extend {
        /// What the answer names.
        request: u64,
        /// Whose deliveries these are.
        subscription: u64,
        /// Sequence and fence of each, at most [`MESSAGES_MAX`].
        #[serde(deserialize_with = "bounded::<_, _, MESSAGES_MAX>")]
        leases: Vec<(u64, u64)>,
        /// For so long from now on; the consumer's own time when it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease_ms: Option<u64>,
    },
    /// Send no more; what is not settled goes back. Answered by [`HostFrame::Settled`].
    Release {
        /// What the answer names.
        request: u64,
        /// Whose deliveries these are.
        subscription: u64,
    },
}

/// What a host says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostFrame {
    /// The first frame: what this host takes.
    Welcome {
        /// The largest frame it reads, in bytes.
        frame_bytes_max: u64,
        /// The largest data of a message, in bytes.
        data_bytes_max: u64,
    },
    /// Messages are durable, but for those that are named here.
    Published {
        /// The request.
        request: u64,
        /// Those that were refused, and those that were there already; by their index in the request, ascending.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        exceptions: Vec<(u32, Exception)>,
        /// One for each message, where they were asked for; a refused one's is empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        receipts: Vec<Receipt>,
    },
    /// Deliveries of a subscription, oldest first.
    Deliveries {
        /// Whose.
        subscription: u64,
        /// At least one.
        deliveries: Vec<Delivery>,
    },
    /// What was asked is done and durable, but for what is named here.
    Settled {
        /// The request.
        request: u64,
        /// By their index in the request, ascending.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        exceptions: Vec<(u32, Exception)>,
    },
    /// A whole request was refused, and nothing of it done.
    Refused {
        /// The request, or the subscription; 0 when a frame cannot be read, for which the stream is closed.
        request: u64,
        /// Why.
        refusal: Refusal,
    },
    /// A subscription is over: its consumer is gone or cannot be read.
    Ended {
        /// Which.
        subscription: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The host stops. What is under way is answered, what comes from now on is refused, and the stream is closed.
    Closing {
        /// Why.
        detail: String,
    },
}

/// A message to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outgoing {
    /// Where to, by topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// To this queue and no other, whatever it binds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Publishing the same id to the same topic again within the dedup window adds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What the id is unique in, instead of the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Messages with the same key belong together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The media type of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Names and values, at most [`HEADERS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::<_, _, HEADERS_MAX>")]
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(default)]
    pub data: Bytes,
    /// Hold it back for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// It is of no use after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after_ms: Option<u64>,
}

/// A message that was leased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its place in the queue.
    pub sequence: u64,
    /// What it is settled with.
    pub fence: u64,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Until when it is held unless it is extended, in milliseconds since 1970.
    pub lease_until_ms: u64,
    /// The message's id.
    pub id: String,
    /// What it was published to.
    pub topic: String,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The media type of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// In the order they were given; names are lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// When the host accepted it, in milliseconds since 1970.
    pub published_at_ms: u64,
    /// The body.
    pub data: Bytes,
}

/// How it went with a delivery: sequence, fence, and what it is if it is not done. In MessagePack an array of two or three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement(
    /// The sequence.
    pub u64,
    /// The fence.
    pub u64,
    /// None when it is done.
    #[serde(default)]
    pub Option<Failure>,
);

/// How a delivery failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Failure {
    /// Try again. Burns an attempt.
    Nack {
        /// After so long; the consumer's backoff when it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Not now. Burns no attempt.
    Defer {
        /// Again after so long.
        after_ms: u64,
    },
    /// It can never succeed: to quarantine.
    Reject {
        /// Why.
        reason: String,
    },
}

/// A message is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its id, given or made.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Queue and sequence of each place that it went to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<(String, u64)>,
}

/// What did not go the usual way with one of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exception {
    /// The same id was published lately; nothing was added.
    Duplicate,
    /// The delivery is in quarantine now.
    Quarantined {
        /// Under this number.
        id: u64,
    },
    /// Nothing was done.
    Refused(Refusal),
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail} ({code})")]
pub struct Refusal {
    /// Kebab-case; the codes of the HTTP API.
    pub code: String,
    /// The HTTP status that goes with it.
    pub status: u16,
    /// What, where, and what to do.
    pub detail: String,
}

/// A frame that is none.
#[derive(Debug, thiserror::Error)]
#[error("a frame cannot be read: {0}")]
pub struct BadFrame(#[from] rmp_serde::decode::Error);

/// A frame as it is sent.
///
/// # Panics
/// Never: frames hold nothing that MessagePack cannot say.
pub fn encode(frame: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(512);
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    frame.serialize(&mut serializer).expect("a frame holds nothing that MessagePack cannot say");
    bytes.into()
}

/// A frame as it was sent.
///
/// # Errors
/// When the bytes are no frame of that kind.
pub fn decode<F: DeserializeOwned>(bytes: &[u8]) -> Result<F, BadFrame> {
    Ok(rmp_serde::from_slice(bytes)?)
}

/// Whether a client's frame publishes, before it is decoded. Of what is no frame it may say either.
#[must_use]
pub fn is_publish(frame: &[u8]) -> bool {
    // The name comes first, after at most five bytes for the map and five for its own length.
    let name = b"publish";
    frame[..frame.len().min(10 + name.len())].windows(name.len()).any(|bytes| bytes == name)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let outgoing =
            Outgoing { topic: Some("t".into()), data: Bytes::from_static(b"\xff\x00"), ..Outgoing::default() };
        let full = Outgoing {
            queue: Some("q".into()),
            id: Some("1".into()),
            source: Some("s".into()),
            key: Some("k".into()),
            content_type: Some("text/plain".into()),
            headers: vec![("a".into(), "b".into()), ("a".into(), "c".into())],
            delay_ms: Some(1),
            expires_after_ms: Some(2),
            ..outgoing.clone()
        };
        let failure = Failure::Nack { after_ms: None, reason: "no".into() };
        let frames = [
            ClientFrame::Publish {
                request: u64::MAX,
                topic: None,
                content_type: None,
                messages: vec![outgoing, full],
                receipts: true,
            },
            ClientFrame::Subscribe { subscription: 1, queue: "q".into(), consumer: "c".into(), credit: 7 },
            ClientFrame::Settle {
                request: 2,
                subscription: 1,
                settlements: vec![Settlement(1, 2, None), Settlement(3, 4, Some(failure))],
            },
            ClientFrame::Extend { request: 3, subscription: 1, leases: vec![(1, 2)], lease_ms: Some(5) },
            ClientFrame::Release { request: 4, subscription: 1 },
        ];
        for frame in frames {
            assert_eq!(is_publish(&encode(&frame)), matches!(frame, ClientFrame::Publish { .. }));
            assert_eq!(decode::<ClientFrame>(&encode(&frame)).expect("it is a frame"), frame);
        }
        let refusal = Refusal { code: "queue-full".into(), status: 429, detail: "full".into() };
        let frames = [
            HostFrame::Welcome { frame_bytes_max: 1, data_bytes_max: 2 },
            HostFrame::Published {
                request: 1,
                exceptions: vec![(0, Exception::Duplicate), (3, Exception::Refused(refusal.clone()))],
                receipts: vec![Receipt { id: "1".into(), places: vec![("q".into(), 9)] }, Receipt::default()],
            },
            HostFrame::Settled { request: 1, exceptions: vec![(1, Exception::Quarantined { id: 8 })] },
            HostFrame::Refused { request: 1, refusal: refusal.clone() },
            HostFrame::Ended { subscription: 1, refusal },
            HostFrame::Closing { detail: "bye".into() },
        ];
        for frame in frames {
            assert_eq!(decode::<HostFrame>(&encode(&frame)).expect("it is a frame"), frame);
        }
    }

    /// A frame of a few bytes for each must not become many times its size in memory.
    #[test]
    fn no_more_is_kept_of_a_list_than_tells_that_it_is_too_long() {
        let message = Outgoing { headers: vec![(String::new(), String::new()); 5_000], ..Outgoing::default() };
        let frame = ClientFrame::Publish {
            request: 1,
            topic: None,
            content_type: None,
            messages: vec![message; MESSAGES_MAX * 2],
            receipts: true,
        };
        let Ok(ClientFrame::Publish { messages, receipts: true, .. }) = decode(&encode(&frame)) else { panic!() };
        assert_eq!((messages.len(), messages[0].headers.len()), (MESSAGES_MAX + 1, HEADERS_MAX + 1));
        let settlements = vec![Settlement(1, 2, None); MESSAGES_MAX * 2];
        let frame = ClientFrame::Settle { request: 1, subscription: 1, settlements };
        let Ok(ClientFrame::Settle { settlements, .. }) = decode(&encode(&frame)) else { panic!() };
        assert_eq!(settlements.len(), MESSAGES_MAX + 1);
        let frame = ClientFrame::Extend {
            request: 1,
            subscription: 1,
            leases: vec![(1, 2); MESSAGES_MAX * 2],
            lease_ms: Some(3),
        };
        let Ok(ClientFrame::Extend { leases, lease_ms: Some(3), .. }) = decode(&encode(&frame)) else { panic!() };
        assert_eq!(leases.len(), MESSAGES_MAX + 1);
    }

    /// What clients in other languages write by hand.
    #[test]
    fn frames_are_maps_by_name_and_settlements_are_arrays() {
        // {"settle": {"request": 1, "subscription": 2, "settlements": [[3, 4], [5, 6, {"reject": {"reason": "no"}}]]}}
        let mut bytes = b"\x81\xa6settle\x83\xa7request\x01\xacsubscription\x02\xabsettlements\x92".to_vec();
        bytes.extend(b"\x92\x03\x04\x93\x05\x06\x81\xa6reject\x81\xa6reason\xa2no");
        let settlements =
            vec![Settlement(3, 4, None), Settlement(5, 6, Some(Failure::Reject { reason: "no".to_owned() }))];
        let frame = ClientFrame::Settle { request: 1, subscription: 2, settlements };
        assert_eq!(decode::<ClientFrame>(&bytes).expect("it is a frame"), frame);
    }

    #[test]
    fn what_is_no_frame_says_why() {
        let unknown = rmp_serde::to_vec_named(&std::collections::BTreeMap::from([("shout", 1)])).expect("it is a map");
        let error = decode::<ClientFrame>(&unknown).expect_err("there is no such frame").to_string();
        assert!(error.contains("shout"), "{error}");
        assert!(decode::<ClientFrame>(b"").is_err());
        let cut = encode(&ClientFrame::Release { request: 4, subscription: 1 });
        for length in 0..cut.len() {
            assert!(decode::<ClientFrame>(&cut[..length]).is_err(), "{length} bytes of {}", cut.len());
        }
    }
}
