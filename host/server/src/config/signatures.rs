//! `[signatures]`: whose components may run.

use serde::{Deserialize, Deserializer, de::Error as _};
use wasmill_runtime::{PublicKey, SignatureRules};

/// `[signatures]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Raw {
    trusted: Vec<Key>,
    required: bool,
}

#[derive(Debug)]
struct Key(PublicKey);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

/// Checked: the two keys have to go together.
#[derive(Debug, Default)]
pub(super) struct RawSignatures(pub(super) SignatureRules);

impl<'de> Deserialize<'de> for RawSignatures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { trusted, required } = Raw::deserialize(deserializer)?;
        let trusted = trusted.into_iter().map(|key| key.0).collect();
        SignatureRules::new(trusted, required).map(Self).map_err(D::Error::custom)
    }
}
