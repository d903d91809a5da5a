//! Who sent it: HMAC-SHA256 over id, time and body, and an id that is the same however often it is sent.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use wasmill::{Message, Result};
use wasmill_plugin_common::{digest, misconfigured};

/// What Standard Webhooks allows.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// One key, or two while receivers change from the old one to the new one.
#[derive(Debug)]
pub(crate) struct Keys(Vec<Vec<u8>>);

impl Keys {
    /// Keys in base64 with blanks between, each with or without `whsec_` in front.
    pub(crate) fn read(secret: Option<&str>) -> Result<Option<Self>> {
        let Some(secret) = secret else { return Ok(None) };
        let key = |word: &str| {
            let key = STANDARD.decode(word.strip_prefix("whsec_").unwrap_or(word)).ok()?;
            KEY_BYTES.contains(&key.len()).then_some(key)
        };
        let keys: Option<Vec<_>> = secret.split_whitespace().map(key).collect();
        let wrong = "secret SIGNING_KEY must be 24 to 64 bytes in base64, with or without whsec_ in front";
        keys.filter(|keys| !keys.is_empty()).map(|keys| Some(Self(keys))).ok_or_else(|| misconfigured(wrong))
    }

    /// The header `webhook-signature`.
    pub(crate) fn signatures(&self, id: &str, now_s: u64, body: &[u8]) -> String {
        let sign = |key: &Vec<u8>| {
            let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(key) else { unreachable!("HMAC takes keys of any size") };
            hmac.update(format!("{id}.{now_s}.").as_bytes());
            hmac.update(body);
            format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// What the receiver knows a repeat by. A host tells messages apart by topic and id, so both are in it.
pub(crate) fn webhook_id(message: &Message) -> String {
    format!("msg_{:032x}", digest(&[message.topic.as_bytes(), message.id.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use wasmill::{Delivery, throttle};
    use wasmill_plugin_common::MISCONFIGURED_WAIT;

    use super::*;

    /// The example of the specification's reference libraries.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_example_of_standard_webhooks_is_signed_as_there() {
        let keys = Keys::read(Some(KEY)).expect("a key").expect("a key");
        let signature = keys.signatures("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_keys_make_two_signatures() {
        let bare = KEY.trim_start_matches("whsec_");
        let both = Keys::read(Some(&format!("{KEY} {bare}"))).expect("keys").expect("keys").signatures("a", 1, b"");
        let [first, second] = both.split(' ').collect::<Vec<_>>()[..] else { panic!("{both}") };
        assert_eq!(first, second, "with and without whsec_ it is the same key");
    }

    #[test]
    fn what_is_no_key_makes_everything_wait_and_none_is_none() {
        for secret in ["", " ", "whsec_!", "c2hvcnQ=", &format!("{KEY} x")] {
            assert_eq!(Keys::read(Some(secret)).map(|_| ()), Err(throttle(MISCONFIGURED_WAIT)), "{secret:?}");
        }
        assert!(Keys::read(None).expect("nothing is wrong").is_none());
    }

    #[test]
    fn the_id_is_of_topic_and_id_and_nothing_else() {
        let message = |topic: &str, id: &str, data: &str| {
            let mut message = Delivery::for_test(topic, data).message;
            message.id = id.to_owned();
            webhook_id(&message)
        };
        assert_eq!(message("a", "1", "x"), message("a", "1", "y"));
        assert_ne!(message("a", "1", "x"), message("b", "1", "x"));
        assert_ne!(message("a", "1", "x"), message("a", "2", "x"));
        let id = message("a.b", "…", "");
        assert!(id.len() == 36 && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'), "{id}");
    }
}
