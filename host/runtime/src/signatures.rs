//! Whose components may run.
//!
//! A signature is of a component, not of a handler: whoever is trusted has said that these bytes may run, under whatever
//! name. It is kept beside the component, so that a host which starts to ask for signatures finds those that it was given before.
//! The check is of the bytes that are about to be compiled, and comes before that.
//!
//! This is about who may have code run here by loading it. Whoever can write into the store's folder has the host anyway.

mod key;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use wasmill_delivery::name::Digest;
use wasmill_store::{Components, StoreError};

pub use self::key::{KEY_FILE_BYTES_MAX, KeyError, PrivateKey, PublicKey, Signature};

/// Keys that one host can trust.
pub const TRUSTED_KEYS_MAX: usize = 100;

/// A component to be loaded, with its signature when it has one.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its bytes.
    pub wasm: Bytes,
    /// Somebody's word for it.
    pub signature: Option<Signature>,
}

impl From<Bytes> for Component {
    fn from(wasm: Bytes) -> Self {
        Self { wasm, signature: None }
    }
}

impl From<Vec<u8>> for Component {
    fn from(wasm: Vec<u8>) -> Self {
        Bytes::from(wasm).into()
    }
}

impl Component {
    /// It with that signature, or none.
    #[must_use]
    pub fn signed(self, signature: Option<Signature>) -> Self {
        Self { signature, ..self }
    }
}

/// Who is trusted, and whether it takes that to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureRules {
    trusted: Vec<PublicKey>,
    required: bool,
}

impl SignatureRules {
    /// With nobody trusted any signature that matches its component will do; with `required` that would shut out everything.
    ///
    /// # Errors
    /// When a signature is required and nobody is trusted, or more are than can be.
    pub fn new(trusted: Vec<PublicKey>, required: bool) -> Result<Self, KeyError> {
        if required && trusted.is_empty() {
            return Err(KeyError::new(
                "signatures are required and no key is trusted, so nothing could run; name the keys in `trusted`",
            ));
        }
        if trusted.len() > TRUSTED_KEYS_MAX {
            return Err(KeyError::new(format!(
                "{} keys are trusted; at most {TRUSTED_KEYS_MAX} can be",
                trusted.len()
            )));
        }
        Ok(Self { trusted, required })
    }

    /// Whether the component with this digest may run by the word of this signature. A signature that was given has to be
    /// good even where none is required: somebody meant something by it.
    ///
    /// # Errors
    /// When it may not.
    pub fn check(&self, digest: &Digest, signature: Option<&Signature>) -> Result<(), SignatureProblem> {
        let digest = *digest;
        let Some(signature) = signature else {
            let missing = || SignatureProblem::Missing { digest, trusted: self.trusted.clone() };
            return if self.required { Err(missing()) } else { Ok(()) };
        };
        let key = signature.key();
        if !signature.matches(&digest) {
            return Err(SignatureProblem::Mismatch { digest, key });
        }
        if !self.trusted.is_empty() && !self.trusted.contains(&key) {
            return Err(SignatureProblem::Untrusted { digest, key, trusted: self.trusted.clone() });
        }
        Ok(())
    }
}

/// Why a component may not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// Nobody signed it.
    #[error(
        "component {digest} has no signature, and this host runs only what a trusted key signed ({}); sign it with \
         `wasmill handler sign FILE --key KEY`, and load it with the signature",
        list(.trusted)
    )]
    Missing {
        /// Which component.
        digest: Digest,
        /// Who could sign it.
        trusted: Vec<PublicKey>,
    },
    /// Somebody else signed it.
    #[error(
        "component {digest} is signed by {key}, which this host does not trust; it trusts {}", list(.trusted)
    )]
    Untrusted {
        /// Which component.
        digest: Digest,
        /// Who signed it.
        key: PublicKey,
        /// Who would have to.
        trusted: Vec<PublicKey>,
    },
    /// The signature is of something else.
    #[error(
        "the signature, by {key}, is not of component {digest}: either of the two was changed or is another version; sign \
         it again with `wasmill handler sign FILE --key KEY`"
    )]
    Mismatch {
        /// Which component.
        digest: Digest,
        /// Whose signature it says it is.
        key: PublicKey,
    },
    /// The signature that is kept with the component cannot be read.
    #[error(
        "the signature that the store keeps of component {digest} is damaged ({error}); load the component with its signature again"
    )]
    Damaged {
        /// Which component.
        digest: Digest,
        /// What is wrong with it.
        error: KeyError,
    },
}

fn list(keys: &[PublicKey]) -> String {
    keys.iter().map(PublicKey::to_string).collect::<Vec<_>>().join(", ")
}

/// The rules of one host, with the signatures that it was given.
pub(crate) struct Signatures {
    rules: SignatureRules,
    components: Components,
    /// Who signed what was loaded; as many as there are components in the store, at most.
    signers: Mutex<BTreeMap<Digest, PublicKey>>,
}

/// Why a component may not run, or it cannot be told.
pub(crate) enum NotAdmitted {
    Problem(SignatureProblem),
    Store(StoreError),
}

impl Signatures {
    pub(crate) const fn new(rules: SignatureRules, components: Components) -> Self {
        Self { rules, components, signers: Mutex::new(BTreeMap::new()) }
    }

    /// The component is not kept any more.
    pub(crate) fn forget(&self, digest: &Digest) {
        self.signers.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }

    /// Whether a component may run, by the signature that it comes with, or by one that was kept of it.
    pub(crate) fn admit(&self, digest: &Digest, given: Option<&Signature>) -> Result<(), NotAdmitted> {
        if given.is_some() {
            return self.rules.check(digest, given).map_err(NotAdmitted::Problem);
        }
        let kept = self.components.signature(*digest).map_err(NotAdmitted::Store)?;
        let kept = kept.map(|text| String::from_utf8_lossy(&text).parse::<Signature>()).transpose();
        let checked = match kept {
            Ok(kept) => self.rules.check(digest, kept.as_ref()).inspect(|()| self.note(digest, kept.as_ref())),
            Err(error) => Err(SignatureProblem::Damaged { digest: *digest, error }),
        };
        match checked {
            Err(problem) if self.rules.required => Err(NotAdmitted::Problem(problem)),
            // What was kept and is no good is as good as nothing.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Keep the signature that a component came with, for the next start.
    pub(crate) fn keep(&self, digest: &Digest, given: Option<&Signature>) -> Result<(), StoreError> {
        if let Some(signature) = given {
            self.components.put_signature(*digest, format!("{signature}\n").as_bytes())?;
            self.note(digest, given);
        }
        Ok(())
    }

    /// Who signed a component that was loaded.
    pub(crate) fn signer(&self, digest: &Digest) -> Option<PublicKey> {
        self.signers.lock().unwrap_or_else(PoisonError::into_inner).get(digest).copied()
    }

    fn note(&self, digest: &Digest, signature: Option<&Signature>) {
        if let Some(signature) = signature {
            self.signers.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, signature.key());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DIGEST: Digest = Digest([7; 32]);

    #[test]
    fn what_may_run_by_whose_word() {
        let (ann, bob) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let (by_ann, by_bob, of_another) = (ann.sign(&DIGEST), bob.sign(&DIGEST), ann.sign(&Digest([8; 32])));
        let nobody = SignatureRules::default();
        let optional = SignatureRules::new(vec![ann.public()], false).unwrap();
        let required = SignatureRules::new(vec![ann.public()], true).unwrap();
        let both = SignatureRules::new(vec![bob.public(), ann.public()], true).unwrap();
        for (rules, none, by_ann_fits, by_bob_fits) in [
            (&nobody, true, true, true),
            (&optional, true, true, false),
            (&required, false, true, false),
            (&both, false, true, true),
        ] {
            let fits = |signature| rules.check(&DIGEST, signature).is_ok();
            assert_eq!(fits(None), none, "{rules:?}");
            assert_eq!((fits(Some(&by_ann)), fits(Some(&by_bob))), (by_ann_fits, by_bob_fits), "{rules:?}");
            assert!(
                matches!(rules.check(&DIGEST, Some(&of_another)), Err(SignatureProblem::Mismatch { .. })),
                "{rules:?}"
            );
        }
    }

    #[test]
    fn there_are_not_more_keys_than_the_limit() {
        let key = PrivateKey::generate().unwrap().public();
        assert!(SignatureRules::new(vec![key; TRUSTED_KEYS_MAX], true).is_ok());
        let error = SignatureRules::new(vec![key; TRUSTED_KEYS_MAX + 1], false).unwrap_err().to_string();
        assert_eq!(error, "101 keys are trusted; at most 100 can be");
        assert!(SignatureRules::new(Vec::new(), true).is_err());
    }
}
