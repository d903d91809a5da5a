//! Secrets out of what is kept.
//!
//! In the place of each stands other text of the same length, made from its name, so that a replay, which gives the
//! guest the same text for the secret, does the same work. A secret that the guest encoded, or that an answer
//! encodes, cannot be found; in URLs it is also found percent-encoded.

use std::collections::BTreeMap;

use bytes::Bytes;
use memchr::memmem;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};

use crate::secrets::Secrets;

/// The text that stands for a secret: letters and digits, so many bytes.
pub(crate) fn stand_in(name: &str, bytes: usize) -> String {
    let hash: [u8; 32] = Sha256::digest(format!("the secret {name} is not in the capsule")).into();
    let digits = hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digits.chars().cycle().take(bytes).collect()
}

/// What must not be kept, and what stands for it.
pub(crate) struct Mask(Vec<(String, String)>);

impl Mask {
    pub(crate) fn new(secrets: &Secrets) -> Self {
        let mut all: Vec<(String, String)> = secrets
            .values()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (value.to_owned(), stand_in(name, value.len())))
            .collect();
        // One that holds another is replaced as a whole.
        all.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        Self(all)
    }

    /// The names of the secrets, and how long each is.
    pub(crate) fn lengths(secrets: &Secrets) -> BTreeMap<String, u64> {
        secrets.values().map(|(name, value)| (name.to_owned(), value.len() as u64)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn text(&self, text: &mut String) {
        for (value, instead) in &self.0 {
            if text.contains(value.as_str()) {
                *text = text.replace(value.as_str(), instead);
            }
        }
    }

    pub(crate) fn bytes(&self, bytes: &mut Bytes) {
        let mut masked = bytes.to_vec();
        if self.in_place(&mut masked) {
            *bytes = masked.into();
        }
    }

    /// Whether there was one.
    pub(crate) fn in_place(&self, bytes: &mut [u8]) -> bool {
        let mut found = false;
        for (value, instead) in &self.0 {
            let places: Vec<usize> = memmem::find_iter(bytes, value.as_bytes()).collect();
            for at in places {
                bytes[at..at + instead.len()].copy_from_slice(instead.as_bytes());
                found = true;
            }
        }
        found
    }

    /// A URL, in which a secret may be percent-encoded. It stands there decoded then, which is enough to know it by.
    pub(crate) fn url(&self, url: &mut String) {
        self.text(url);
        let decoded = percent_decode_str(url).decode_utf8_lossy();
        let mut masked = decoded.clone().into_owned();
        self.text(&mut masked);
        if masked != decoded {
            *url = masked;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Mask {
        let values = [("KEY", "sk-1/2+3"), ("LONG", "sk-1/2+3-and-more")];
        Mask::new(&Secrets::new(values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    #[test]
    fn nothing_of_a_secret_is_left_and_no_length_changes() {
        let (key, long) = (stand_in("KEY", 8), stand_in("LONG", 17));
        for (text, expected) in [
            ("nothing", "nothing".to_owned()),
            ("a sk-1/2+3 b", format!("a {key} b")),
            ("sk-1/2+3sk-1/2+3-and-more", format!("{key}{long}")),
        ] {
            let (mut masked, mut bytes) = (text.to_owned(), Bytes::from(text.to_owned()));
            mask().text(&mut masked);
            mask().bytes(&mut bytes);
            assert_eq!((masked.as_str(), bytes.as_ref()), (expected.as_str(), expected.as_bytes()));
            assert_eq!(masked.len(), text.len());
        }
    }

    #[test]
    fn a_secret_is_found_in_a_url_as_browsers_write_it() {
        let mut url = "https://host/?key=sk-1%2F2%2B3&x=%20".to_owned();
        mask().url(&mut url);
        assert_eq!(url, format!("https://host/?key={}&x= ", stand_in("KEY", 8)));
        let mut other = "https://host/?x=%20".to_owned();
        mask().url(&mut other);
        assert_eq!(other, "https://host/?x=%20", "any other stays as it is");
    }
}
