//! One file with everything that it takes to run a quarantined delivery again, on a machine that knows nothing of the
//! host it comes from.
//!
//! ```text
//! "wasmill capsule\n" | version u8 | SHA-256 of the rest | MessagePack: record, capsule, component
//! ```
//!
//! `record` is the quarantine record with its message and all evidence, `capsule` a [`Capsule`] in its own form, and
//! `component` the component that ran; none in what a host answers, which gives components by themselves.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasmill_delivery::{
    name::Digest,
    record::{AttemptRecord, QuarantineRecord},
};

use crate::capsule::{Capsule, CapsuleError};

const MAGIC: &[u8; 16] = b"wasmill capsule\n";
/// The version that is written. Older ones are read for ever, newer ones are refused.
const VERSION: u8 = 1;
const HASH_BYTES: usize = 32;

/// What is in such a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapsuleFile {
    /// The delivery, with its message and all attempts that are known.
    pub record: QuarantineRecord,
    /// The inputs of its last attempt, as [`Capsule::from_bytes`] reads them.
    pub capsule: Bytes,
    /// The component of its last attempt.
    pub component: Option<Bytes>,
}

/// Bytes that are no such file, or one that cannot be read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleFileError {
    /// Something else.
    #[error("this is not a capsule file; `wasmill quarantine export ID --capsule FILE` writes them")]
    Foreign,
    /// A newer version wrote it.
    #[error(
        "the capsule file is of version {found}, and this program knows versions up to {VERSION}; use the one that wrote it"
    )]
    Newer {
        /// Its version.
        found: u8,
    },
    /// It is not what was written.
    #[error("the capsule file is damaged: {detail}; write it again with `wasmill quarantine export ID --capsule FILE`")]
    Damaged {
        /// What is wrong.
        detail: String,
    },
    /// What is in it is no capsule.
    #[error(transparent)]
    Capsule(#[from] CapsuleError),
}

impl CapsuleFile {
    /// As a file has it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &[VERSION], &[0; HASH_BYTES]].concat();
        let start = bytes.len();
        let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
        self.serialize(&mut serializer).expect("it has no maps or numbers that MessagePack cannot hold");
        let hash: [u8; HASH_BYTES] = Sha256::digest(&bytes[start..]).into();
        bytes[start - HASH_BYTES..start].copy_from_slice(&hash);
        bytes
    }

    /// Read what [`CapsuleFile::to_bytes`] wrote.
    ///
    /// # Errors
    /// When it is something else, newer or damaged, or the component in it is not the one that ran.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CapsuleFileError> {
        let damaged = |detail: &str| CapsuleFileError::Damaged { detail: detail.to_owned() };
        let rest = bytes.strip_prefix(MAGIC).ok_or(CapsuleFileError::Foreign)?;
        let (version, rest) = rest.split_first().ok_or_else(|| damaged("it is cut short"))?;
        if *version > VERSION {
            return Err(CapsuleFileError::Newer { found: *version });
        }
        let (hash, content) = rest.split_at_checked(HASH_BYTES).ok_or_else(|| damaged("it is cut short"))?;
        if Sha256::digest(content).as_slice() != hash {
            return Err(damaged("its checksum does not match"));
        }
        let file: Self = rmp_serde::from_slice(content).map_err(|error| damaged(&error.to_string()))?;
        let capsule = file.capsule()?;
        if let Some(component) = &file.component {
            let digest = Digest(Sha256::digest(component).into());
            if digest != capsule.digest {
                return Err(damaged("the component in it is not the one that ran"));
            }
        }
        file.last_attempt()?;
        Ok(file)
    }

    /// The inputs of the last attempt.
    ///
    /// # Errors
    /// When they are damaged, or of a newer version.
    pub fn capsule(&self) -> Result<Capsule, CapsuleFileError> {
        Ok(Capsule::from_bytes(&self.capsule)?)
    }

    /// What is known of the last attempt.
    ///
    /// # Errors
    /// When there is none, which no host writes.
    pub fn last_attempt(&self) -> Result<&AttemptRecord, CapsuleFileError> {
        let nothing = || CapsuleFileError::Damaged { detail: "it has no attempt".to_owned() };
        self.record.attempts.last().ok_or_else(nothing)
    }
}
