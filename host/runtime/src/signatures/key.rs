//! Ed25519 keys and signatures (RFC 8032) as people and files carry them.
//!
//! | what | text |
//! |---|---|
//! | public key | `ed25519:` and its 32 bytes in base64 |
//! | signature | the public key's text, `:`, and the 64 bytes of the signature in base64 |
//! | private key | PKCS #8 in PEM (RFC 8410), as `openssl genpkey -algorithm ed25519` writes it too |
//!
//! A signature is one line in `FILE.wasm.sig`, and the value of the header `Wasmill-Signature`.
//!
//! What is signed is 53 bytes: `wasmill.component.v1`, a zero byte, and the component's SHA-256. The name in front keeps a
//! signature that the same key made for something else from being one for a component.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use wasmill_delivery::name::Digest;

const ALGORITHM: &str = "ed25519";
const DOMAIN: &[u8] = b"wasmill.component.v1\0";
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
/// The most that is read of a file that should hold a key or a signature, in bytes. They are under 200.
pub const KEY_FILE_BYTES_MAX: u64 = 4 * 1024;
/// What PKCS #8 version 1 puts before the 32 bytes of an Ed25519 private key (RFC 8410, section 7).
const PKCS8_FRONT: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const PEM_FIRST: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_LAST: &str = "-----END PRIVATE KEY-----";
/// Points of small order, with the sign bit off: a signature that holds for any message can be made up for them. Zero, which
/// somebody may have written to be filled in later, is one. From <https://cr.yp.to/ecdh.html#validate>.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Something is no key or no signature. It never says what a private key holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

impl KeyError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// Who signs, as everybody may know it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_BYTES]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}:{}", BASE64.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(given: &str) -> Result<Self, KeyError> {
        let given = given.trim();
        let refuse = |problem: &str| {
            KeyError::new(format!(
                "{:?} is no public key: {problem}; `wasmill handler keygen` writes one, `{ALGORITHM}:` and 44 characters of base64",
                start_of(given)
            ))
        };
        if given.contains("PRIVATE KEY") {
            return Err(KeyError::new(
                "this is a private key; give the public one, which is in the file beside it that ends in .pub",
            ));
        }
        let encoded = given.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(':'));
        let encoded = encoded.ok_or_else(|| refuse("it does not begin with `ed25519:`"))?;
        let bytes = BASE64.decode(encoded).map_err(|error| refuse(&format!("{error} of its base64")))?;
        let bytes: [u8; KEY_BYTES] = bytes
            .try_into()
            .map_err(|bytes: Vec<u8>| refuse(&format!("it has {} bytes instead of 32", bytes.len())))?;
        if is_small_order(bytes) {
            return Err(refuse("everybody can sign for it"));
        }
        Ok(Self(bytes))
    }
}

/// Who signs, and can.
pub struct PrivateKey {
    seed: [u8; KEY_BYTES],
    pair: Ed25519KeyPair,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}

impl PrivateKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::new("the system gives no random numbers"))?;
        Self::of_seed(seed)
    }

    /// Read one from its PEM.
    ///
    /// # Errors
    /// When it is not one of Ed25519.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let refuse = |problem: &str| {
            KeyError::new(format!(
                "this is no Ed25519 private key: {problem}; `wasmill handler keygen` and `openssl genpkey -algorithm ed25519` write one"
            ))
        };
        let inner = text.trim().strip_prefix(PEM_FIRST).and_then(|rest| rest.strip_suffix(PEM_LAST));
        let inner = inner.ok_or_else(|| refuse(&format!("it is not between {PEM_FIRST} and {PEM_LAST}")))?;
        let encoded: String = inner.split_whitespace().collect();
        let bytes = BASE64.decode(encoded).map_err(|_| refuse("what is within is not base64"))?;
        let seed = bytes.strip_prefix(&PKCS8_FRONT).and_then(|seed| <[u8; KEY_BYTES]>::try_from(seed).ok());
        Self::of_seed(seed.ok_or_else(|| refuse("what is within is no Ed25519 key as RFC 8410 writes it (version 1)"))?)
    }

    /// It as PEM, to be kept where nobody else can read it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        format!("{PEM_FIRST}\n{}\n{PEM_LAST}\n", BASE64.encode([&PKCS8_FRONT[..], &self.seed].concat()))
    }

    /// What others know it by.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let bytes = self.pair.public_key().as_ref().try_into();
        PublicKey(bytes.expect("a public key of Ed25519 has 32 bytes"))
    }

    /// Sign the component with this digest.
    #[must_use]
    pub fn sign(&self, digest: &Digest) -> Signature {
        let bytes = self.pair.sign(&signed(digest)).as_ref().try_into();
        Signature { key: self.public(), bytes: bytes.expect("a signature of Ed25519 has 64 bytes") }
    }

    fn of_seed(seed: [u8; KEY_BYTES]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|error| KeyError::new(error.to_string()))?;
        Ok(Self { seed, pair })
    }
}

/// Somebody's word for a component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    key: PublicKey,
    bytes: [u8; SIGNATURE_BYTES],
}

impl Signature {
    /// Whose it says it is; true only of a component that it [matches](Self::matches).
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// Whether its key signed the component with this digest.
    #[must_use]
    pub fn matches(&self, digest: &Digest) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key.0).verify(&signed(digest), &self.bytes).is_ok()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, BASE64.encode(self.bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signature {
    type Err = KeyError;

    fn from_str(given: &str) -> Result<Self, KeyError> {
        let given = given.trim();
        let refuse = |problem: &str| {
            KeyError::new(format!(
                "{:?} is no signature: {problem}; `wasmill handler sign` writes one, `{ALGORITHM}:`, the key, `:` and 88 \
                 characters of base64",
                start_of(given)
            ))
        };
        let (key, encoded) = given.rsplit_once(':').ok_or_else(|| refuse("it has no `:`"))?;
        let key = key.parse().map_err(|error: KeyError| refuse(&error.0))?;
        let bytes = BASE64.decode(encoded).map_err(|error| refuse(&format!("{error} of its base64")))?;
        let bytes = bytes
            .try_into()
            .map_err(|bytes: Vec<u8>| refuse(&format!("it has {} bytes instead of 64", bytes.len())))?;
        Ok(Self { key, bytes })
    }
}

fn signed(digest: &Digest) -> Vec<u8> {
    [DOMAIN, &digest.0].concat()
}

fn is_small_order(mut key: [u8; KEY_BYTES]) -> bool {
    key[KEY_BYTES - 1] &= 0x7f;
    SMALL_ORDER.contains(&Digest(key).to_string().as_str())
}

/// Enough to recognise what was given; whole, it may be a file of another kind.
fn start_of(given: &str) -> String {
    given.chars().take(60).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DIGEST: Digest = Digest([7; 32]);

    fn key() -> PrivateKey {
        PrivateKey::of_seed([1; 32]).unwrap()
    }

    /// Signatures that exist must go on being good: this one was made with `openssl pkeyutl -sign -rawin`.
    #[test]
    fn the_format_does_not_change() {
        let signature = key().sign(&DIGEST);
        assert_eq!(key().public().to_string(), "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=");
        assert_eq!(signature.to_string(), GOLDEN);
        assert!(GOLDEN.parse::<Signature>().unwrap().matches(&DIGEST));
    }

    const GOLDEN: &str = concat!(
        "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=:",
        "ulsiAZJALVEvZVWXrygKFOoo4XiFMrqoV2q9PMYGikvRz7BWup9LXu+lozk40ASGVsfsJN836dIUuVb164GUDA==",
    );

    #[test]
    fn keys_and_signatures_are_what_they_were_after_they_were_text() {
        let key = PrivateKey::generate().unwrap();
        let read = PrivateKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(read.public(), key.public());
        assert_eq!(key.public().to_string().parse::<PublicKey>().unwrap(), key.public());
        let signature = read.sign(&DIGEST);
        assert_eq!(format!(" {signature}\n").parse::<Signature>().unwrap(), signature);
        assert!(signature.matches(&DIGEST));
        assert_ne!(PrivateKey::generate().unwrap().public(), key.public());
        assert!(!format!("{key:?}").contains(&BASE64.encode(key.seed)), "a private key is not shown");
    }

    #[test]
    fn a_signature_holds_for_one_component_and_one_key() {
        let signature = key().sign(&DIGEST);
        let mut other = DIGEST;
        other.0[31] ^= 1;
        assert!(!signature.matches(&other), "one bit of the component's digest");
        for bit in 0..512 {
            let mut tampered = signature;
            tampered.bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!tampered.matches(&DIGEST), "bit {bit} of the signature");
        }
        let stolen = Signature { key: PrivateKey::generate().unwrap().public(), ..signature };
        assert!(!stolen.matches(&DIGEST), "under another's name");
        let bare = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap().sign(&DIGEST.0);
        let bare = Signature { key: key().public(), bytes: bare.as_ref().try_into().unwrap() };
        assert!(!bare.matches(&DIGEST), "the digest alone is not what is signed");
    }

    #[track_caller]
    fn check<T: fmt::Debug>(read: Result<T, KeyError>, said: &str) {
        let error = read.unwrap_err().to_string();
        assert!(error.contains(said), "{error}\nshould say {said}");
    }

    #[test]
    fn what_is_no_key_and_no_signature_is_refused_with_the_reason() {
        let good = key().sign(&DIGEST).to_string();
        check(good[..good.len() - 1].parse::<Signature>(), "of its base64");
        check(good[..good.len() - 4].parse::<Signature>(), "it has 63 bytes instead of 64");
        check("".parse::<Signature>(), "it has no `:`");
        check(key().public().to_string().parse::<Signature>(), "is no signature");
        check("\0asm\u{1}\0\0\0".parse::<Signature>(), "it has no `:`");
        check("ed25519:AAAA".parse::<PublicKey>(), "it has 3 bytes instead of 32");
        check("rsa:AAAA".parse::<PublicKey>(), "it does not begin with `ed25519:`");
        check(key().to_pem().parse::<PublicKey>(), "this is a private key");
        check(PrivateKey::from_pem(&key().public().to_string()), "it is not between -----BEGIN");
        check(PrivateKey::from_pem(&key().to_pem().replace("MC4", "MC5")), "no Ed25519 key as RFC 8410");
        let short = key().to_pem().replace("AQEBAQ", "");
        check(PrivateKey::from_pem(&short), "this is no Ed25519 private key");
    }

    #[test]
    fn keys_that_everybody_can_sign_for_are_refused() {
        for text in SMALL_ORDER {
            let mut bytes = text.parse::<Digest>().unwrap().0;
            for sign in [0, 0x80] {
                bytes[31] = (bytes[31] & 0x7f) | sign;
                check(format!("ed25519:{}", BASE64.encode(bytes)).parse::<PublicKey>(), "everybody can sign for it");
            }
        }
    }
}
