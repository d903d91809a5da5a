//! Who sent it: HMAC-SHA256 over id, time and body, and an id that is the same however often it is sent.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac_sha256::HMAC;
use wasmill::{Message, Result};
use wasmill_plugin_common::{digest, misconfigured};

/// What Standard Webhooks allows.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The header `webhook-signature`: a signature for each key of the secret. There may be two, while receivers change from the
/// old one to the new one: base64 with blanks between, each with or without `whsec_` in front.
pub(crate) fn signatures(secret: &str, id: &str, now_s: u64, body: &[u8]) -> Result<String> {
    let sign = |word: &str| {
        let key = STANDARD.decode(word.strip_prefix("whsec_").unwrap_or(word)).ok()?;
        let mut hmac = HMAC::new(&key);
        hmac.update(format!("{id}.{now_s}."));
        hmac.update(body);
        KEY_BYTES.contains(&key.len()).then(|| format!("v1,{}", STANDARD.encode(hmac.finalize())))
    };
    let signatures: Option<Vec<_>> = secret.split_whitespace().map(sign).collect();
    let wrong = "secret SIGNING_KEY must be 24 to 64 bytes in base64, with or without whsec_ in front";
    let signatures = signatures.filter(|signatures| !signatures.is_empty()).ok_or_else(|| misconfigured(wrong))?;
    Ok(signatures.join(" "))
}

/// What the receiver knows a repeat by. A host tells messages apart by topic and id, and CloudEvents by source and id.
pub(crate) fn webhook_id(message: &Message) -> String {
    let mut parts = vec![message.topic.as_bytes(), message.id.as_bytes()];
    parts.extend(message.header("ce-source").map(str::as_bytes));
    format!("msg_{:032x}", digest(&parts))
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
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let signature = signatures(KEY, id, 1_614_265_330, body).expect("a key");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_keys_make_two_signatures() {
        let bare = KEY.trim_start_matches("whsec_");
        let both = signatures(&format!("{KEY} {bare}"), "a", 1, b"").expect("keys");
        let [first, second] = both.split(' ').collect::<Vec<_>>()[..] else { panic!("{both}") };
        assert_eq!(first, second, "with and without whsec_ it is the same key");
    }

    #[test]
    fn what_is_no_key_makes_everything_wait() {
        for secret in ["", " ", "whsec_!", "c2hvcnQ=", &format!("{KEY} x")] {
            assert_eq!(signatures(secret, "a", 1, b""), Err(throttle(MISCONFIGURED_WAIT)), "{secret:?}");
        }
    }

    #[test]
    fn the_id_is_of_topic_source_and_id_and_nothing_else() {
        let message = |topic: &str, id: &str, data: &str| {
            let mut message = Delivery::for_test(topic, data).message;
            message.id = id.to_owned();
            webhook_id(&message)
        };
        assert_eq!(message("a", "1", "x"), message("a", "1", "y"));
        assert_ne!(message("a", "1", "x"), message("b", "1", "x"));
        assert_ne!(message("a", "1", "x"), message("a", "2", "x"));
        let event = |source: &str| {
            let mut message = Delivery::for_test("a", "").message;
            message.headers.push(("ce-source".to_owned(), source.to_owned()));
            webhook_id(&message)
        };
        assert_eq!(event("/x"), event("/x"));
        assert_ne!(event("/x"), event("/y"));
        let id = message("a.b", "…", "");
        assert!(id.len() == 36 && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'), "{id}");
    }
}
