//! The versions of a handler: which ran, which is tried, and how one takes the place of another.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    canary::{CanaryEnd, CanaryPolicy, Counts},
    limits::{HANDLER_VERSIONS_MAX, SAMPLE_DATA_BYTES_MAX},
    message::{Lineage, Message, check_content_type, check_headers},
    name::{Digest, MessageId, MessageKey, NameError},
    record::HandlerRecord,
    time::Timestamp,
    topic::Topic,
};

/// How another version takes the place of the one that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Replacing {
    /// A message that a new version must handle before it takes a delivery.
    pub sample: Option<Sample>,
    /// Which version runs a delivery that failed on an earlier one.
    pub retries: Retries,
    /// Whether a new version is tried first, and how.
    pub canary: CanaryPolicy,
}

impl Replacing {
    /// Whether it can be used.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn check(&self) -> Result<(), NameError> {
        self.canary.check()?;
        self.sample.as_ref().map_or(Ok(()), Sample::check)
    }
}

/// Which version runs a delivery again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retries {
    /// The one that would run it if it were new.
    #[default]
    MoveOn,
    /// The one that ran its last attempt, for as long as that is kept and was not given up.
    Stay,
}

/// A message to try a new version on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Where it was published to.
    pub topic: Topic,
    /// Its key.
    pub key: Option<MessageKey>,
    /// The media type of the data.
    pub content_type: Option<String>,
    /// Names are lower case and may repeat.
    pub headers: Vec<(String, String)>,
    /// The body, at most [`SAMPLE_DATA_BYTES_MAX`].
    pub data: Bytes,
}

impl Sample {
    /// Whether it could be a message.
    ///
    /// # Errors
    /// With the rule that it breaks.
    pub fn check(&self) -> Result<(), NameError> {
        if self.data.len() > SAMPLE_DATA_BYTES_MAX {
            let problem = format!("is too large; a sample has at most {SAMPLE_DATA_BYTES_MAX} bytes");
            return Err(NameError::new("sample of", &format!("{} bytes", self.data.len()), problem));
        }
        self.content_type.as_deref().map(check_content_type).transpose()?;
        check_headers(&mut self.headers.clone())
    }

    /// As it would be delivered.
    ///
    /// # Errors
    /// Never, as long as its id is a good one.
    pub fn message(&self, now: Timestamp) -> Result<Message, NameError> {
        Ok(Message {
            id: MessageId::new("sample")?,
            topic: self.topic.clone(),
            key: self.key.clone(),
            content_type: self.content_type.clone(),
            headers: self.headers.clone(),
            data: self.data.clone(),
            published_at: now,
            expires_at: None,
            lineage: Lineage::default(),
        })
    }
}

/// What is kept of a handler's versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// What happened to them, newest first, at most [`HANDLER_VERSIONS_MAX`].
    pub history: Vec<VersionEvent>,
    /// The one that is tried.
    pub canary: Option<CanaryRecord>,
}

/// Something that happened to a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionEvent {
    /// Which.
    pub digest: Digest,
    /// When.
    pub at: Timestamp,
    /// What it imports.
    pub imports: Vec<String>,
    /// What.
    pub change: VersionChange,
}

/// What happened to a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum VersionChange {
    /// It was loaded, and ran from then on.
    Loaded,
    /// It was tried, and ran for all from then on.
    Promoted {
        /// Why.
        end: CanaryEnd,
        /// What was counted until then.
        counts: Counts,
    },
    /// It was tried, and given up.
    GivenBack {
        /// Why.
        end: CanaryEnd,
        /// What was counted until then.
        counts: Counts,
    },
    /// An operator went back to it.
    RolledBack {
        /// What ran before.
        from: Option<Digest>,
    },
}

impl VersionChange {
    const fn is_current(&self) -> bool {
        match self {
            Self::Loaded | Self::Promoted { .. } | Self::RolledBack { .. } => true,
            Self::GivenBack { .. } => false,
        }
    }
}

/// A version that is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryRecord {
    /// Which.
    pub digest: Digest,
    /// What it imports.
    pub imports: Vec<String>,
    /// Since when.
    pub began_at: Timestamp,
    /// How, as it was when it began.
    pub policy: CanaryPolicy,
}

impl Versions {
    /// Whether an operator or a trial decided against this version, and nobody has loaded it since.
    #[must_use]
    pub fn is_given_up(&self, digest: Digest) -> bool {
        let last = self.history.iter().find_map(|event| {
            let left = matches!(&event.change, VersionChange::RolledBack { from } if *from == Some(digest));
            if left { Some(true) } else { (event.digest == digest).then(|| !event.change.is_current()) }
        });
        last.unwrap_or(false)
    }

    /// Where `rollback` goes: the last version that ran before this one and was not given up.
    #[must_use]
    pub fn before(&self, current: Option<Digest>) -> Option<&VersionEvent> {
        let ran = |event: &&VersionEvent| event.change.is_current() && Some(event.digest) != current;
        self.history.iter().filter(ran).find(|event| !self.is_given_up(event.digest))
    }

    /// The last that is known of a version.
    #[must_use]
    pub fn find(&self, digest: Digest) -> Option<&VersionEvent> {
        self.history.iter().find(|event| event.digest == digest)
    }

    /// Versions of which the digest begins so, each once.
    #[must_use]
    pub fn that_begin(&self, digits: &str) -> Vec<Digest> {
        let mut found: Vec<Digest> = self.history.iter().map(|event| event.digest).collect();
        found.retain(|digest| digest.to_string().starts_with(digits));
        found.sort_unstable();
        found.dedup();
        found
    }

    fn note(&mut self, event: VersionEvent) {
        self.history.insert(0, event);
        self.history.truncate(HANDLER_VERSIONS_MAX);
    }
}

impl HandlerRecord {
    /// Note what happened to a version, which is the current one from then on if that is what it means.
    pub fn note(&mut self, event: VersionEvent) {
        if let (true, Some(digest)) = (self.versions.history.is_empty(), self.digest) {
            // An earlier version of the host kept none.
            let (at, imports) = (self.loaded_at, self.imports.clone().unwrap_or_default());
            self.versions.note(VersionEvent { digest, at, imports, change: VersionChange::Loaded });
        }
        if event.change.is_current() {
            self.digest = Some(event.digest);
            self.loaded_at = event.at;
            self.imports = Some(event.imports.clone());
        }
        self.versions.note(event);
    }

    /// All versions that may be needed again.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        let canary = self.versions.canary.as_ref().map(|canary| canary.digest);
        self.versions.history.iter().map(|event| event.digest).chain(self.digest).chain(canary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        name::HandlerName,
        record::{Grants, HandlerLimits},
    };

    fn digest(number: u8) -> Digest {
        Digest([number; 32])
    }

    fn event(number: u8, change: VersionChange) -> VersionEvent {
        VersionEvent { digest: digest(number), at: Timestamp(number.into()), imports: Vec::new(), change }
    }

    fn given_back(number: u8) -> VersionEvent {
        event(number, VersionChange::GivenBack { end: CanaryEnd::FailedMore, counts: Counts::default() })
    }

    fn record() -> HandlerRecord {
        HandlerRecord {
            name: HandlerName::new("h").expect("a name"),
            digest: None,
            loaded_at: Timestamp(0),
            config: std::collections::BTreeMap::new(),
            limits: HandlerLimits::default(),
            grants: Grants::default(),
            secrets: std::collections::BTreeMap::new(),
            imports: None,
            versions: Box::default(),
            replacing: Box::default(),
        }
    }

    #[test]
    fn rollback_goes_back_step_by_step_and_never_to_what_was_given_up() {
        let mut record = record();
        let before = |record: &HandlerRecord| record.versions.before(record.digest).map(|event| event.digest);
        assert_eq!(before(&record), None);
        for number in [1, 2, 3] {
            record.note(event(number, VersionChange::Loaded));
        }
        record.note(given_back(4));
        assert_eq!((record.digest, before(&record)), (Some(digest(3)), Some(digest(2))));
        record.note(event(2, VersionChange::RolledBack { from: Some(digest(3)) }));
        assert_eq!((record.digest, before(&record)), (Some(digest(2)), Some(digest(1))));
        record.note(event(1, VersionChange::RolledBack { from: Some(digest(2)) }));
        assert_eq!(before(&record), None);
        for given_up in [2, 3, 4] {
            assert!(record.versions.is_given_up(digest(given_up)), "{given_up}");
        }
        record.note(event(3, VersionChange::Loaded));
        assert!(!record.versions.is_given_up(digest(3)), "somebody loaded it again");
        assert_eq!(before(&record), Some(digest(1)));
    }

    #[test]
    fn history_is_bounded_and_begins_with_what_an_earlier_host_loaded() {
        let mut record = HandlerRecord { digest: Some(digest(200)), ..record() };
        record.note(event(0, VersionChange::Loaded));
        assert_eq!(record.versions.history[1].digest, digest(200));
        for number in 1..=HANDLER_VERSIONS_MAX {
            record.note(event(u8::try_from(number).expect("few"), VersionChange::Loaded));
        }
        assert_eq!(record.versions.history.len(), HANDLER_VERSIONS_MAX);
        assert_eq!(record.versions.find(digest(0)), None, "the oldest went");
        assert_eq!(record.versions.find(digest(1)).map(|event| event.at), Some(Timestamp(1)));
        assert_eq!(record.versions.that_begin("0101").len(), 1);
        assert_eq!(record.versions.that_begin("0").len(), 15);
    }

    #[test]
    fn a_sample_is_as_large_as_it_may_be() {
        let sample = |bytes: usize| Sample {
            topic: Topic::new("t").expect("a topic"),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: vec![0; bytes].into(),
        };
        assert!(sample(SAMPLE_DATA_BYTES_MAX).check().is_ok());
        let refusal = sample(SAMPLE_DATA_BYTES_MAX + 1).check().expect_err("too large").to_string();
        assert!(refusal.contains("65537 bytes") && refusal.contains("at most 65536"), "{refusal}");
    }
}
